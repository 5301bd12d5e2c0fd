"""China's working days, with the weekends on which work is made up for, and what holds for years not known yet."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from notifications.models import WorkdayCalendar
from notifications.subscriptions.schedules import (
    is_published_workday,
    last_known_year,
    nearest_workday,
    read_workdays,
    unknown_years,
)

pytestmark = pytest.mark.django_db


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
    assert read_workdays()(date.fromisoformat(day)) is is_worked_on


def test_beyond_the_last_known_year_monday_to_friday_count() -> None:
    monday = date(last_known_year() + 1, 1, 4)
    monday += timedelta(days=(8 - monday.isoweekday()) % 7)
    week = [monday + timedelta(days=n) for n in range(7)]

    assert [read_workdays()(day) for day in week] == [True] * 5 + [False] * 2
    assert unknown_years([date(last_known_year(), 12, 31), *week]) == [monday.year]


def test_before_the_first_known_year_monday_to_friday_count() -> None:
    assert read_workdays()(date(1999, 10, 8))  # a Friday
    assert unknown_years([date(1999, 10, 8)]) == []


def test_the_nearest_working_day_in_both_directions() -> None:
    published = is_published_workday
    assert nearest_workday(date(2026, 10, 1), published) == date(2026, 10, 8)
    assert nearest_workday(date(2026, 10, 4), published, step=-1) == date(2026, 9, 30)
    for step in (1, -1):
        assert nearest_workday(date(2026, 2, 14), published, step=step) == date(2026, 2, 14)


def test_no_stretch_of_free_days_is_longer_than_a_move_looks_back() -> None:
    first = date(2004, 1, 1)
    days = [first + timedelta(days=n) for n in range((date(last_known_year(), 12, 1) - first).days)]

    assert max((nearest_workday(day, is_published_workday) - day).days for day in days) <= 10


@pytest.mark.parametrize("day", ["01-01", "05-01", "05-02", "10-01", "10-02", "10-03"])
def test_holidays_that_no_year_moves_are_known_of_every_year(day: str) -> None:
    years = range(last_known_year() + 1, last_known_year() + 8)
    assert [year for year in years if read_workdays()(date.fromisoformat(f"{year}-{day}"))] == []


def test_what_is_entered_counts_before_what_is_published() -> None:
    year = last_known_year() + 1
    days = f"{year}-02-05 至 {year}年2月7日 休 春节\n\n {year}/1/1\t班\t\n2026-11-25 off, move\n2026-11-21 work"
    WorkdayCalendar.objects.create(days=days)

    is_workday = read_workdays()
    assert [is_workday(date(year, 2, day)) for day in (5, 6, 7)] == [False] * 3
    assert (is_workday(date(year, 1, 1)), is_workday(date(2026, 11, 25)), is_workday(date(2026, 11, 21))) == (
        True,
        False,
        True,
    )
    assert unknown_years([date(year, 2, 1), date(year + 1, 2, 1)]) == [year + 1]
