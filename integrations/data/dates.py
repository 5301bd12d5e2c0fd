"""Relative dates (today, the last 7 days, this month), reckoned from a day, and the days that are compared. Pure.

The day is that of the slot in the zone of the push or rule, never the clock's. One list serves pushes and alerts.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

Workday = Callable[[date], bool]


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `start` to `end`, both counted."""

    start: date
    end: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end

    @property
    def days(self) -> list[date]:
        return [self.start + timedelta(days=number) for number in range((self.end - self.start).days + 1)]


@dataclass(frozen=True, slots=True)
class RelativeDate:
    """A name for a day or a period, and what it is on a given day. `chinese`: another name of it."""

    name: str
    chinese: str
    on: Callable[[date], date | Period]


def same_day_of_last_month(day: date) -> date:
    """Return the same day a month before; the last one where that month is too short."""
    return _months_before(day, 1)


def same_day_of_last_year(day: date) -> date:
    """Return the same day a year before; the 28th for a 29 February."""
    return _months_before(day, 12)


def _months_before(day: date, count: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# The day with which a day is compared, by what lies between them.
EARLIER: Mapping[str, Callable[[date], date]] = MappingProxyType(
    {
        "day": lambda day: day - timedelta(days=1),
        "week": lambda day: day - timedelta(days=7),
        "month": same_day_of_last_month,
        "year": same_day_of_last_year,
    }
)


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def month_of(day: date) -> Period:
    return Period(day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))


def quarter_of(day: date) -> Period:
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return Period(first, month_of(first.replace(month=first.month + 2)).end)


def year_of(day: date) -> Period:
    return Period(date(day.year, 1, 1), date(day.year, 12, 31))


def week_of(day: date) -> Period:
    return Period(monday_of(day), monday_of(day) + timedelta(days=6))


def _days_before(day: date, count: int) -> Period:
    return Period(day - timedelta(days=count), day - timedelta(days=1))


def _day_before(day: date) -> date:
    return day - timedelta(days=1)


# A period that is not over ends today: days to come are a plan. `*_to_date` are second names of the same periods.
RELATIVE_DATES = (
    RelativeDate("today", "今天", lambda day: day),
    RelativeDate("yesterday", "昨天", _day_before),
    RelativeDate("day_before_yesterday", "前天", lambda day: day - timedelta(days=2)),
    RelativeDate("same_day_last_week", "上周同日", lambda day: day - timedelta(days=7)),
    RelativeDate("same_day_last_month", "上月同日", same_day_of_last_month),
    RelativeDate("same_day_last_year", "去年同日", same_day_of_last_year),
    RelativeDate("last_7_days", "近7天", lambda day: _days_before(day, 7)),
    RelativeDate("last_30_days", "近30天", lambda day: _days_before(day, 30)),
    RelativeDate("this_week", "本周", lambda day: Period(monday_of(day), day)),
    RelativeDate("week_to_date", "本周至今", lambda day: Period(monday_of(day), day)),
    RelativeDate("last_week", "上周", lambda day: week_of(day - timedelta(days=7))),
    RelativeDate("this_month", "本月", lambda day: Period(day.replace(day=1), day)),
    RelativeDate("month_to_date", "本月至今", lambda day: Period(day.replace(day=1), day)),
    RelativeDate("last_month", "上月", lambda day: month_of(_day_before(day.replace(day=1)))),
    RelativeDate("this_quarter", "本季度", lambda day: Period(quarter_of(day).start, day)),
    RelativeDate("quarter_to_date", "本季至今", lambda day: Period(quarter_of(day).start, day)),
    RelativeDate("last_quarter", "上季度", lambda day: quarter_of(_day_before(quarter_of(day).start))),
    RelativeDate("this_year", "今年", lambda day: Period(date(day.year, 1, 1), day)),
    RelativeDate("year_to_date", "今年至今", lambda day: Period(date(day.year, 1, 1), day)),
    RelativeDate("last_year", "去年", lambda day: year_of(date(day.year - 1, 1, 1))),
)
# The names of the workday before, which needs a calendar of holidays.
LAST_WORKDAY = ("last_workday", "上一工作日")
_BY_NAME = {name: one for one in RELATIVE_DATES for name in (one.name, one.chinese)}
_LONGEST_HOLIDAY = 31


def named_days(today: date) -> dict[str, date | Period]:
    """Return what each relative date is on `today`, by each of its names; the last workday is not among them."""
    return {name: one.on(today) for name, one in _BY_NAME.items()}


def last_workday(today: date, is_workday: Workday) -> date:
    """Return the workday before `today`; yesterday where the calendar knows none within a month."""
    earlier = (today - timedelta(days=number) for number in range(1, _LONGEST_HOLIDAY))
    return next((day for day in earlier if is_workday(day)), _day_before(today))
