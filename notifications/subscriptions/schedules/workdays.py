"""Working days in China with make-up days (调休), from the library chinesecalendar.

The State Council publishes each year's days in the November before; the library follows with a release. For years
that it does not know yet, Monday to Friday count as working days: `last_known_year()` tells where that begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache, lru_cache

import chinese_calendar
from chinese_calendar.constants import holidays

FRIDAY = 5


@lru_cache(maxsize=4096)
def is_workday(day: date) -> bool:
    """Whether China works on that day; where that is not known, whether it is one from Monday to Friday."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.isoweekday() <= FRIDAY


@cache
def last_known_year() -> int:
    """The last year whose holidays and make-up days are known."""
    return int(max(holidays).year)


def unknown_years(days: Iterable[date]) -> list[int]:
    """The years of these days for which only Monday to Friday are known, ascending."""
    return sorted({day.year for day in days if day.year > last_known_year()})


def from_workday(day: date) -> date:
    """The day itself if it is worked on, else the next one that is."""
    while not is_workday(day):
        day += timedelta(days=1)
    return day


def until_workday(day: date) -> date:
    """The day itself if it is worked on, else the last one before that is."""
    while not is_workday(day):
        day -= timedelta(days=1)
    return day
