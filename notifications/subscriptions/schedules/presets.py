"""Schedule presets: daily, on weekdays, monthly, at a local time.

Where clocks change they follow the rules of notifications.subscriptions.schedules.slots: a local time that is skipped
becomes the first minute that exists, of one that is doubled the first counts.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from notifications.models import FreeDays, MonthDay, Repeat
from notifications.subscriptions.schedules import workdays

if TYPE_CHECKING:
    from notifications.models import Scheduled
    from notifications.subscriptions.schedules.workdays import IsWorkday

ONE_DAY = timedelta(days=1)
# How far ahead days are looked for before a schedule counts as one without any further.
DAYS_LOOKED_AHEAD = 20 * 366
# A day that is moved to the next working day comes from no further back: no stretch of free days is longer.
MOVED_AT_MOST = timedelta(days=31)


def preset_slots(subscription: Scheduled, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Every time of the preset later than `after`, in UTC, ascending."""
    local_time = subscription.local_time or time()
    last = after
    # A day earlier: where a clock is set back over midnight, the local date goes back, too.
    for day in days(subscription, after.astimezone(zone).date() - ONE_DAY):
        moment = moment_of(day, local_time, zone)
        if moment > last:
            last = moment
            yield moment


def days(subscription: Scheduled, start: date) -> Iterator[date]:
    """The preset's days from `start` on, ascending, each once, free days treated as the subscription says."""
    is_workday = workdays.calendar() if subscription.is_by_workdays else workdays.is_published_workday
    match subscription.free_days:
        case FreeDays.SKIP:
            yield from filter(is_workday, _named_days(subscription, start, is_workday))
        case FreeDays.NEXT:
            last = start - ONE_DAY
            for named in _named_days(subscription, start - MOVED_AT_MOST, is_workday):
                day = workdays.nearest_workday(named, is_workday)
                if day > last:
                    last = day
                    yield day
        case _:
            yield from _named_days(subscription, start, is_workday)


def moment_of(day: date, local_time: time, zone: tzinfo) -> datetime:
    """A local time as a moment in UTC: the first of two, and for one that is skipped the first minute after."""
    local = datetime.combine(day, local_time.replace(fold=0))
    first = local.replace(tzinfo=zone)
    moment = first.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local:
        return moment
    # Skipped. Read with the offset after the change it lies before it, with the one before the change after it.
    early = first.replace(fold=1).astimezone(UTC)
    offset = moment.astimezone(zone).utcoffset()
    minutes = range(int((moment - early).total_seconds()) // 60)
    return early + timedelta(
        minutes=bisect_left(
            minutes, True, key=lambda n: (early + timedelta(minutes=n)).astimezone(zone).utcoffset() == offset
        )
    )


def _named_days(subscription: Scheduled, start: date, is_workday: IsWorkday) -> Iterator[date]:
    if subscription.repeat == Repeat.MONTHLY:
        month_day = subscription.month_day
        if month_day in MonthDay.values or month_day.isdecimal():  # else it has no days, as a week without days
            yield from _days_of_months(month_day, start, is_workday)
        return
    wanted = set(range(1, 8)) if subscription.repeat == Repeat.DAILY else subscription.weekday_numbers
    for ahead in range(DAYS_LOOKED_AHEAD):
        day = start + ahead * ONE_DAY
        if day.isoweekday() in wanted:
            yield day


def _days_of_months(month_day: str, start: date, is_workday: IsWorkday) -> Iterator[date]:
    year, month = start.year, start.month
    for _month in range(DAYS_LOOKED_AHEAD // 30):
        day = _day_of_month(month_day, year, month, is_workday)
        if day >= start:
            yield day
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _day_of_month(month_day: str, year: int, month: int, is_workday: IsWorkday) -> date:
    """A month that has no such day has its last day instead: nobody waits for a report in vain."""
    last = date(year, month, monthrange(year, month)[1])
    match month_day:
        case MonthDay.LAST:
            return last
        case MonthDay.FIRST_WORKDAY:
            return workdays.nearest_workday(date(year, month, 1), is_workday)
        case MonthDay.LAST_WORKDAY:
            return workdays.nearest_workday(last, is_workday, step=-1)
        case _:
            return min(last, date(year, month, 1) + (int(month_day) - 1) * ONE_DAY)
