"""China's working days, with the weekends on which work is made up for, and what holds for years not known yet."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from notifications.subscriptions.schedules import workdays


@pytest.mark.parametrize(
    ("day", "is_worked_on"),
    [
        ("2026-01-01", False),  # New Year's Day, a Thursday
        ("2026-01-02", False),  # a Friday, free for the long weekend
        ("2026-01-04", True),  # a Sunday, made up for
        ("2026-02-14", True),  # a Saturday before the Spring Festival, made up for
        ("2026-02-16", False),  # a Monday, New Year's Eve of the lunar year
        ("2026-02-28", True),  # a Saturday after it, made up for
        ("2026-10-01", False),
        ("2026-10-10", True),  # a Saturday, made up for
        ("2026-11-21", False),  # an ordinary Saturday
        ("2026-11-25", True),  # an ordinary Wednesday
    ],
)
def test_the_days_that_the_state_council_published_for_2026(day: str, is_worked_on: bool) -> None:
    assert workdays.is_workday(date.fromisoformat(day)) is is_worked_on


def test_beyond_the_last_known_year_monday_to_friday_count() -> None:
    monday = date(workdays.last_known_year() + 1, 1, 1)
    monday += timedelta(days=(8 - monday.isoweekday()) % 7)
    week = [monday + timedelta(days=n) for n in range(7)]

    assert [workdays.is_workday(day) for day in week] == [True] * 5 + [False] * 2
    assert workdays.unknown_years([date(workdays.last_known_year(), 12, 31), *week]) == [monday.year]


def test_before_the_first_known_year_monday_to_friday_count() -> None:
    assert workdays.is_workday(date(1999, 10, 1))  # a Friday
    assert workdays.unknown_years([date(1999, 10, 1)]) == []


def test_the_nearest_working_day_in_both_directions() -> None:
    assert workdays.from_workday(date(2026, 10, 1)) == date(2026, 10, 8)
    assert workdays.until_workday(date(2026, 10, 4)) == date(2026, 9, 30)
    assert workdays.from_workday(date(2026, 2, 14)) == workdays.until_workday(date(2026, 2, 14)) == date(2026, 2, 14)


def test_no_stretch_of_free_days_is_longer_than_a_move_looks_back() -> None:
    first = date(2004, 1, 1)
    days = [first + timedelta(days=n) for n in range((date(workdays.last_known_year(), 12, 1) - first).days)]

    assert max((workdays.from_workday(day) - day).days for day in days) <= 10
