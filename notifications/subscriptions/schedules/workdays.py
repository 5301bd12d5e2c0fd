"""Working days in China with make-up days (调休), from the library chinesecalendar.

The State Council publishes each year's days in the November before; the library follows with a release. For years
that it does not know yet, Monday to Friday count as working days but for the holidays that no year moves.
`last_known_year()` tells where that begins. What administrators entered counts before all that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import cache, lru_cache

import chinese_calendar
from chinese_calendar.constants import holidays

from notifications.models import WorkdayCalendar

# Month and day: New Year's Day, Labour Day (two days since 2025) and the National Day's three.
FIXED_HOLIDAYS = frozenset({(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)})
IsWorkday = Callable[[date], bool]


def calendar() -> IsWorkday:
    """Return the test whether China works on a day, as it was entered, else as it is published. One query."""
    entered = WorkdayCalendar.objects.entered()
    return lambda day: entered[day] if day in entered else is_published_workday(day)


@lru_cache(maxsize=4096)
def is_published_workday(day: date) -> bool:
    """Return whether China works on that day by what this version knows."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.isoweekday() < 6 and (day.month, day.day) not in FIXED_HOLIDAYS


@cache
def last_known_year() -> int:
    """The last year whose holidays and make-up days are known."""
    return int(max(holidays).year)


def unknown_years(days: Iterable[date]) -> list[int]:
    """The years of these days of which nothing is published or entered, ascending."""
    years = {day.year for day in days if day.year > last_known_year()}
    return sorted(years - {day.year for day in WorkdayCalendar.objects.entered()} if years else years)


def nearest_workday(day: date, is_workday: IsWorkday, *, step: int = 1) -> date:
    """The day itself if it is worked on, else the next one that is; with a step of -1 the last one before that is."""
    while not is_workday(day):
        day += timedelta(days=step)
    return day
