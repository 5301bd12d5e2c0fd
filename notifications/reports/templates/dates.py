"""Dates for templates, counted from the slot in the subscription's time zone. Pure."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _

from integrations.core.sentences import Sentence
from notifications.reports.templates.values import DASH, NOTHING, Exposed, ExpressionError, Nothing, exposed_of

USUAL_FORMAT = "YYYY-MM-DD"
MOMENT_FORMAT = "YYYY-MM-DD HH:mm"
_TOKEN = re.compile(r"YYYY|YY|MM|M|DD|D|HH|H|mm|ss|ddd|W|Q")
_TOKENS: dict[str, Callable[[Any], str]] = {
    "YYYY": lambda at: f"{at.year:04}",
    "YY": lambda at: f"{at.year % 100:02}",
    "MM": lambda at: f"{at.month:02}",
    "M": lambda at: str(at.month),
    "DD": lambda at: f"{at.day:02}",
    "D": lambda at: str(at.day),
    "HH": lambda at: f"{getattr(at, 'hour', 0):02}",
    "H": lambda at: str(getattr(at, "hour", 0)),
    "mm": lambda at: f"{getattr(at, 'minute', 0):02}",
    "ss": lambda at: f"{getattr(at, 'second', 0):02}",
    "ddd": lambda at: str(WEEKDAYS_ABBR[at.weekday()]),
    "W": lambda at: str(at.isocalendar().week),
    "Q": lambda at: str((at.month + 2) // 3),
}
MOST_DAYS = 10_000
_FORMAT_CHARACTERS = 64


class Period(Exposed):
    """Days from `start` to `end`, both counted."""

    __slots__ = ("end", "start")

    def __init__(self, start: date, end: date) -> None:
        self.start, self.end = start, end

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end

    def exposed(self, name: str) -> Any:
        days = (self.end - self.start).days + 1
        return exposed_of({"start": self.start, "end": self.end, "days": days}, name)

    def shown(self) -> str:
        return self.formatted(USUAL_FORMAT)

    def formatted(self, pattern: str) -> str:
        return _("%(start)s to %(end)s") % {"start": written(self.start, pattern), "end": written(self.end, pattern)}


@dataclass(frozen=True)
class Macro:
    """A name for a day, a period or the moment of the slot. `chinese`: by which it is known, too."""

    name: str
    chinese: str
    of: Callable[[date], date | Period]


def written(at: Any, pattern: str = "") -> str:
    """A day, moment or period by a pattern of YYYY, MM, M, DD, D, HH, H, mm, ss, ddd (weekday), W (week), Q (quarter).

    Raises ExpressionError for what is no time.
    """
    if not isinstance(pattern, str) or len(pattern) > _FORMAT_CHARACTERS:
        raise ExpressionError(
            Sentence("A time's format is a short text, such as %(example)s.") % {"example": "YYYY-MM-DD"}
        )
    if isinstance(at, Period):
        return at.formatted(pattern or USUAL_FORMAT)
    if not isinstance(at, date):
        raise ExpressionError(Sentence("This is neither a day nor a time."))
    usual = MOMENT_FORMAT if isinstance(at, datetime) else USUAL_FORMAT
    return _TOKEN.sub(lambda found: _TOKENS[found[0]](at), pattern or usual)


def written_or_dash(at: Any, pattern: str = "") -> str:
    """A date or period by `pattern`, as `written`; a dash for anything else."""
    return DASH if not isinstance(at, date | Period) else written(at, pattern)


def moved(day: date, days: int) -> date:
    """So many days later; a negative number goes back. Raises ExpressionError for more than 10,000."""
    if isinstance(days, bool) or not isinstance(days, int) or abs(days) > MOST_DAYS or not isinstance(day, date):
        raise ExpressionError(Sentence("A day is moved by a number of days, %(most)d at most.") % {"most": MOST_DAYS})
    try:
        return day + timedelta(days=days)
    except OverflowError as error:
        raise ExpressionError(Sentence("There is no such day.")) from error


def same_day_of_last_year(day: date) -> date:
    """A 29 February has the 28th in its place."""
    return _months_back(day, 12)


def same_day_of_last_month(day: date) -> date:
    """The last day, where last month is too short."""
    return _months_back(day, 1)


# The day with which another is compared, by what it lies before.
EARLIER: Mapping[str, Callable[[date], date]] = MappingProxyType(
    {
        "day": lambda day: moved(day, -1),
        "week": lambda day: moved(day, -7),
        "month": same_day_of_last_month,
        "year": same_day_of_last_year,
    }
)


def _months_back(day: date, count: int) -> date:
    months = day.year * 12 + day.month - 1 - count
    year, month = divmod(months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _month(day: date) -> Period:
    return Period(day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))


def _quarter(day: date) -> Period:
    first = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return Period(first, _month(first.replace(month=first.month + 2)).end)


def _before(start: date) -> date:
    return start - timedelta(days=1)


MACROS = (
    Macro("today", "今天", lambda day: day),
    Macro("yesterday", "昨天", _before),
    Macro("day_before_yesterday", "前天", lambda day: day - timedelta(days=2)),
    Macro("same_day_last_week", "上周同日", lambda day: day - timedelta(days=7)),
    Macro("same_day_last_month", "上月同日", same_day_of_last_month),
    Macro("same_day_last_year", "去年同日", same_day_of_last_year),
    Macro("this_week", "本周", lambda day: Period(_monday(day), _monday(day) + timedelta(days=6))),
    Macro("week_to_date", "本周至今", lambda day: Period(_monday(day), day)),
    Macro("last_week", "上周", lambda day: Period(_monday(day) - timedelta(days=7), _before(_monday(day)))),
    Macro("this_month", "本月", _month),
    Macro("month_to_date", "本月至今", lambda day: Period(day.replace(day=1), day)),
    Macro("last_month", "上月", lambda day: _month(_before(day.replace(day=1)))),
    Macro("this_quarter", "本季度", _quarter),
    Macro("quarter_to_date", "本季至今", lambda day: Period(_quarter(day).start, day)),
    Macro("last_quarter", "上季度", lambda day: _quarter(_before(_quarter(day).start))),
    Macro("this_year", "今年", lambda day: Period(date(day.year, 1, 1), date(day.year, 12, 31))),
    Macro("year_to_date", "今年至今", lambda day: Period(date(day.year, 1, 1), day)),
    Macro("last_year", "去年", lambda day: Period(date(day.year - 1, 1, 1), date(day.year - 1, 12, 31))),
    Macro("last_7_days", "近7天", lambda day: Period(day - timedelta(days=7), _before(day))),
    Macro("last_30_days", "近30天", lambda day: Period(day - timedelta(days=30), _before(day))),
)
# The moment itself, in the subscription's time zone.
SLOT, SLOT_CHINESE = "slot", "计划时间"


# The periods around any day, such as the latest of a table.
AROUND: dict[str, Callable[[date], Period]] = {
    "week_of": lambda day: Period(_monday(day), _monday(day) + timedelta(days=6)),
    "month_of": _month,
    "quarter_of": _quarter,
    "year_of": lambda day: Period(date(day.year, 1, 1), date(day.year, 12, 31)),
}


def of_day(period: Callable[[date], Period]) -> Callable[[Any], Any]:
    """For templates: nothing around no day. Raises ExpressionError for what is no day."""

    def around(day: Any) -> Any:
        if isinstance(day, Nothing):
            return NOTHING
        if not isinstance(day, date):
            raise ExpressionError(Sentence("This is neither a day nor a time."))
        return period(day)

    return around


def named_times(slot_at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Each macro's value by both of its names."""
    return dict(_named_times(slot_at, zone))


# One time of one subscription is rendered for each of its recipients.
@lru_cache(maxsize=16)
def _named_times(slot_at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    local = slot_at.astimezone(zone)
    found: dict[str, Any] = {SLOT: local, SLOT_CHINESE: local}
    for macro in MACROS:
        found[macro.name] = found[macro.chinese] = macro.of(local.date())
    return found
