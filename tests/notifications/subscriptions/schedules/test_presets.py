"""Schedules for people who know no crontab, on local clocks of every kind."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifications.models import FreeDays, MonthDay, Repeat, Subscription
from notifications.subscriptions.schedules import crontab_slots, find_slots, moment_of

pytestmark = pytest.mark.django_db


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def preset(repeat: Repeat, at: str = "09:00", **fields: object) -> Subscription:
    defaults = {"repeat": repeat, "local_time": time.fromisoformat(at), "time_zone": "Asia/Shanghai"}
    return Subscription(**{**defaults, **fields})


def next_local(subscription: Subscription, after: str, count: int) -> list[str]:
    """The next times as the clock on the wall shows them."""
    zone = ZoneInfo(subscription.time_zone)
    found = islice(find_slots(subscription, utc(after)), count)
    return [f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" for moment in found]


def next_utc(subscription: Subscription, after: str, count: int) -> list[datetime]:
    return list(islice(find_slots(subscription, utc(after)), count))


def test_every_day() -> None:
    found = next_local(preset(Repeat.DAILY), "2026-11-24 01:00", 2)

    assert found == ["2026-11-25 09:00", "2026-11-26 09:00"]


def test_several_days_of_the_week() -> None:
    found = next_local(preset(Repeat.WEEKLY, weekdays="1,4"), "2026-11-24 00:00", 3)

    assert found == ["2026-11-26 09:00", "2026-11-30 09:00", "2026-12-03 09:00"]


@pytest.mark.parametrize(
    ("month_day", "expected"),
    [
        ("1", ["2026-02-01", "2026-03-01", "2026-04-01"]),
        ("15", ["2026-01-15", "2026-02-15", "2026-03-15"]),
        # A month without such a day has its last instead.
        ("31", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("30", ["2026-01-30", "2026-02-28", "2026-03-30"]),
        (MonthDay.LAST, ["2026-01-31", "2026-02-28", "2026-03-31"]),
        # 1 February and 1 March are Sundays; work on 28 February, a Saturday, is made up for.
        (MonthDay.FIRST_WORKDAY, ["2026-02-02", "2026-03-02", "2026-04-01"]),
        (MonthDay.LAST_WORKDAY, ["2026-01-30", "2026-02-28", "2026-03-31"]),
    ],
)
def test_days_of_the_month(month_day: str, expected: list[str]) -> None:
    found = next_local(preset(Repeat.MONTHLY, month_day=month_day), "2026-01-10 00:00", 3)

    assert [text[:10] for text in found] == expected


def test_the_first_working_day_of_months_that_begin_with_a_holiday() -> None:
    found = next_local(preset(Repeat.MONTHLY, month_day=MonthDay.FIRST_WORKDAY), "2025-12-31 12:00", 10)

    assert found[0] == "2026-01-04 09:00"  # a Sunday on which work is made up for
    assert found[4] == "2026-05-06 09:00"
    assert found[9] == "2026-10-08 09:00"


def test_the_first_working_day_of_a_year_that_is_not_known_is_one_from_monday_to_friday() -> None:
    found = next_local(preset(Repeat.MONTHLY, month_day=MonthDay.FIRST_WORKDAY), "2098-12-31 12:00", 2)

    assert found == ["2099-01-02 09:00", "2099-02-02 09:00"]


def test_only_on_working_days_leaves_holidays_out_and_takes_make_up_days_in() -> None:
    found = next_local(preset(Repeat.DAILY, free_days=FreeDays.SKIP), "2026-09-29 12:00", 5)

    assert [text[:10] for text in found] == ["2026-09-30", "2026-10-08", "2026-10-09", "2026-10-10", "2026-10-12"]


def test_what_is_moved_comes_on_the_next_working_day_once() -> None:
    subscription = preset(Repeat.WEEKLY, weekdays="4,5", free_days=FreeDays.NEXT)

    found = next_local(subscription, "2026-09-24 12:00", 4)

    # 25 September is Mid-Autumn Festival: moved to Monday. 1 and 2 October: both moved to the 8th, which is one itself.
    assert [text[:10] for text in found] == ["2026-09-28", "2026-10-08", "2026-10-09", "2026-10-15"]


def test_what_was_moved_is_still_found_when_its_own_day_has_passed() -> None:
    subscription = preset(Repeat.MONTHLY, month_day="1", free_days=FreeDays.NEXT)

    assert next_local(subscription, "2026-10-05 00:00", 2) == ["2026-10-08 09:00", "2026-11-02 09:00"]


def test_a_schedule_without_any_working_day_ends() -> None:
    subscription = preset(Repeat.WEEKLY, weekdays="6", free_days=FreeDays.SKIP)

    assert next_local(subscription, "2099-01-01 00:00", 1) == []


# Where clocks change: (zone, local time, from, what is due in UTC), on the day of the change and the one after.
CHANGES = [
    ("Asia/Shanghai", "02:30", "2026-03-28 12:00", ["2026-03-28 18:30", "2026-03-29 18:30"]),
    ("America/New_York", "02:30", "2026-03-08 05:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
    ("America/New_York", "01:30", "2026-11-01 04:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
    ("Europe/Berlin", "02:30", "2026-03-28 22:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
    ("Europe/Berlin", "02:30", "2026-10-24 22:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
    # Half an hour: skipped 02:00–02:30, doubled 01:30–02:00.
    ("Australia/Lord_Howe", "02:15", "2026-10-03 12:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
    ("Australia/Lord_Howe", "01:45", "2026-04-04 12:00", ["2026-04-04 14:45", "2026-04-05 15:15"]),
    # At midnight: the day begins at 01:00, and at the end of summer 23:00–24:00 comes twice.
    ("America/Santiago", "00:00", "2026-09-06 00:00", ["2026-09-06 04:00", "2026-09-07 03:00"]),
    ("America/Santiago", "23:30", "2026-04-04 12:00", ["2026-04-05 02:30", "2026-04-06 03:30"]),
    # Summer time is suspended for Ramadan.
    ("Africa/Casablanca", "02:30", "2026-02-14 12:00", ["2026-02-15 01:30", "2026-02-16 02:30"]),
    ("Africa/Casablanca", "02:30", "2026-03-21 12:00", ["2026-03-22 02:00", "2026-03-23 01:30"]),
    ("Asia/Kathmandu", "09:00", "2026-03-28 12:00", ["2026-03-29 03:15", "2026-03-30 03:15"]),
]


@pytest.mark.parametrize(("time_zone", "at", "after", "expected"), CHANGES)
def test_a_daily_time_where_clocks_change(time_zone: str, at: str, after: str, expected: list[str]) -> None:
    found = next_utc(preset(Repeat.DAILY, at, time_zone=time_zone), after, 2)

    assert found == [utc(text) for text in expected]


@pytest.mark.parametrize(("time_zone", "at", "after", "expected"), CHANGES)
def test_a_crontab_of_the_same_time_agrees(time_zone: str, at: str, after: str, expected: list[str]) -> None:
    hour, minute = at.split(":")
    crontab = f"{int(minute)} {int(hour)} * * *"

    found = next_utc(Subscription(crontab=crontab, time_zone=time_zone), after, 2)

    assert found == [utc(text) for text in expected]


@pytest.mark.parametrize(("time_zone", "at", "after", "expected"), CHANGES)
def test_a_weekly_and_a_monthly_time_where_clocks_change(
    time_zone: str, at: str, after: str, expected: list[str]
) -> None:
    day = _local_day(time_zone, utc(expected[0]), at)

    weekly = preset(Repeat.WEEKLY, at, time_zone=time_zone, weekdays=str(day.isoweekday()))
    monthly = preset(Repeat.MONTHLY, at, time_zone=time_zone, month_day=str(day.day))

    assert next_utc(weekly, after, 1) == [utc(expected[0])]
    assert next_utc(monthly, after, 1) == [utc(expected[0])]


def _local_day(time_zone: str, moment: datetime, at: str) -> date:
    day = moment.astimezone(ZoneInfo(time_zone)).date()
    assert moment_of(day, time.fromisoformat(at), ZoneInfo(time_zone)) == moment
    return day


ZONES = st.sampled_from([change[0] for change in CHANGES])


@settings(max_examples=60)
@given(
    ZONES, st.times().map(lambda t: t.replace(second=0, microsecond=0)), st.dates(date(2020, 1, 1), date(2030, 1, 1))
)
# The end of summer time, and a time that calls itself the second of two: the first counts all the same.
@example("America/New_York", time(1, 0, fold=1), date(2021, 11, 6))
def test_presets_and_crontabs_follow_one_rule(time_zone: str, at: time, day: date) -> None:
    """Two readings of the rule: ours, and cronsim's. A month around any day."""
    after = datetime.combine(day, time(12), tzinfo=UTC)
    daily = Subscription(repeat=Repeat.DAILY, local_time=at, time_zone=time_zone)

    by_preset = islice(find_slots(daily, after), 30)
    by_crontab = islice(crontab_slots(f"{at.minute} {at.hour} * * *", ZoneInfo(time_zone), after), 30)

    assert list(by_preset) == list(by_crontab)


@settings(max_examples=60)
@given(
    st.sampled_from([Repeat.DAILY, Repeat.WEEKLY, Repeat.MONTHLY]),
    st.sampled_from(["1", "31", *MonthDay.values]),
    st.sampled_from(FreeDays.values),
    ZONES,
    st.dates(date(2025, 1, 1), date(2027, 12, 1)),
)
def test_looking_from_any_moment_gives_the_same_times(
    repeat: Repeat, month_day: str, free_days: str, time_zone: str, day: date
) -> None:
    """What is due does not depend on when one asks: every dispatcher sees the same slots."""
    subscription = preset(
        repeat, "02:15", month_day=month_day, weekdays="1,6", free_days=free_days, time_zone=time_zone
    )
    start, later = utc("2024-12-01 00:00"), datetime.combine(day, time(18), tzinfo=UTC)

    passed = sum(1 for _slot in takewhile(lambda slot: slot <= later, find_slots(subscription, start)))
    whole = list(islice(find_slots(subscription, start), passed, passed + 3))

    assert list(islice(find_slots(subscription, later), 3)) == whole
    assert whole == sorted(set(whole))
