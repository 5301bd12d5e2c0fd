"""Crontabs in their own time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from notifications import schedule
from notifications.models import Subscription
from notifications.schedule import ScheduleError, next_slots


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.mark.parametrize(
    ("crontab", "time_zone", "after", "expected"),
    [
        ("0 9 * * *", "Asia/Shanghai", "2026-11-24 00:00", ["2026-11-24 01:00", "2026-11-25 01:00"]),
        ("0 9 * * 1-5", "Asia/Shanghai", "2026-11-27 02:00", ["2026-11-30 01:00", "2026-12-01 01:00"]),
        ("*/20 * * * *", "UTC", "2026-11-24 10:20", ["2026-11-24 10:40", "2026-11-24 11:00"]),
        ("0 8 29 2 *", "UTC", "2026-01-01 00:00", ["2028-02-29 08:00", "2032-02-29 08:00"]),
        ("0 8 L * *", "UTC", "2026-02-01 00:00", ["2026-02-28 08:00", "2026-03-31 08:00"]),
        ("  0   9 * *  MON ", "UTC", "2026-11-24 00:00", ["2026-11-30 09:00", "2026-12-07 09:00"]),
    ],
)
def test_next_times(crontab: str, time_zone: str, after: str, expected: list[str]) -> None:
    assert next_slots(crontab, time_zone, utc(after), len(expected)) == [utc(text) for text in expected]


def test_the_time_given_is_not_among_the_next() -> None:
    assert next_slots("0 9 * * *", "UTC", utc("2026-11-24 09:00"), 1) == [utc("2026-11-25 09:00")]


@pytest.mark.parametrize(
    ("time_zone", "crontab", "after", "expected"),
    [
        # Skipped local times fire at the first minute that exists, once.
        ("America/New_York", "30 2 * * *", "2026-03-08 05:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
        ("Europe/Berlin", "30 2 * * *", "2026-03-28 22:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("Europe/Berlin", "0 2,3 * * *", "2026-03-28 22:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        # Doubled local times fire the first time only.
        ("America/New_York", "30 1 * * *", "2026-11-01 04:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-24 22:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        # From within the doubled hour's second pass nothing of its first pass comes back.
        ("Europe/Berlin", "30,45 2 * * *", "2026-10-25 01:10", ["2026-10-26 01:30", "2026-10-26 01:45"]),
        # A star follows the time that passes.
        ("Europe/Berlin", "30 * * * *", "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 01:30"]),
        ("Australia/Lord_Howe", "15 * * * *", "2026-04-04 14:00", ["2026-04-04 14:15", "2026-04-04 15:45"]),
        ("Asia/Kolkata", "0 9 * * *", "2026-11-24 00:00", ["2026-11-24 03:30", "2026-11-25 03:30"]),
        ("Asia/Shanghai", "30 2 * * *", "2026-03-28 00:00", ["2026-03-28 18:30", "2026-03-29 18:30"]),
    ],
)
def test_where_clocks_change(time_zone: str, crontab: str, after: str, expected: list[str]) -> None:
    assert next_slots(crontab, time_zone, utc(after), len(expected)) == [utc(text) for text in expected]


@pytest.mark.parametrize(
    ("crontab", "sentence"),
    [
        ("", "this has 0"),
        ("0 9 * *", "this has 4"),
        ("0 0 9 * * *", "this has 6"),
        ("60 9 * * *", "“60” is no minute."),
        ("0 24 * * *", "“24” is no hour."),
        ("0 9 32 * *", "“32” is no day of month."),
        ("0 9 * 13 *", "“13” is no month."),
        ("0 9 * * 8", "“8” is no day of week."),
        ("0 9 * * FUN", "“FUN” is no day of week."),
        ("*/0 9 * * *", "“*/0” is no minute."),
        ("0 9 30 2 *", "never fires"),
        ("0 9 31 4,6,9,11 *", "never fires"),
    ],
)
def test_a_crontab_that_cannot_work_is_refused_with_a_sentence(crontab: str, sentence: str) -> None:
    with pytest.raises(ScheduleError, match=sentence.replace("*", r"\*")):
        next_slots(crontab, "UTC", utc("2026-11-24 00:00"), 1)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Asia", "x" * 5000])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ScheduleError, match="is not a time zone"):
        next_slots("0 9 * * *", name, utc("2026-11-24 00:00"), 1)


@given(st.text(max_size=128))
def test_any_text_gives_times_or_is_refused(crontab: str) -> None:
    try:
        found = next_slots(crontab, "Asia/Shanghai", utc("2026-11-24 00:00"), 2)
    except ScheduleError:
        return

    assert len(found) == 2


FIELD = st.lists(
    st.sampled_from(["*", "*/5", "0", "1", "2", "1-3", "30", "2,3", "L", "MON"]), min_size=5, max_size=5
).map(" ".join)

MINUTES_OF_TWO_YEARS = 2 * 365 * 24 * 60
MOMENTS = st.integers(0, MINUTES_OF_TWO_YEARS).map(lambda n: utc("2026-01-01 00:00") + timedelta(minutes=n))


@given(
    FIELD,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
    MOMENTS,
)
def test_times_are_whole_minutes_later_than_given_and_ascending(crontab: str, time_zone: str, after: datetime) -> None:
    try:
        found = next_slots(crontab, time_zone, after, 6)
    except ScheduleError:
        return

    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert all(moment.second == moment.microsecond == 0 for moment in found)


def daily(**fields: object) -> Subscription:
    return Subscription(**{"crontab": "0 9 * * *", "time_zone": "UTC", **fields})


def test_validity_limits_the_times_from_inclusive_to_exclusive() -> None:
    subscription = daily(valid_from=utc("2026-11-25 09:00"), valid_to=utc("2026-11-27 09:00"))

    found = list(schedule.valid_slots(subscription, utc("2026-11-20 00:00")))

    assert found == [utc("2026-11-25 09:00"), utc("2026-11-26 09:00")]


def test_a_validity_with_microseconds_does_not_let_an_earlier_time_in() -> None:
    subscription = daily(valid_from=utc("2026-11-25 09:00") + timedelta(microseconds=1))

    assert schedule.next_slot_of(subscription, utc("2026-11-20 00:00")) == utc("2026-11-26 09:00")


def test_after_the_end_of_validity_there_is_no_next_time() -> None:
    assert schedule.next_slot_of(daily(valid_to=utc("2026-11-24 09:00")), utc("2026-11-24 08:00")) is None


def test_a_disabled_subscription_has_no_next_time() -> None:
    subscription = daily(is_enabled=False, next_run_at=utc("2026-11-25 09:00"))

    schedule.reschedule(subscription, now=utc("2026-11-24 00:00"))

    assert subscription.next_run_at is None


def test_rescheduling_looks_ahead_only() -> None:
    subscription = daily(next_run_at=utc("2026-11-01 09:00"))

    schedule.reschedule(subscription, now=utc("2026-11-24 12:00"))

    assert subscription.next_run_at == utc("2026-11-25 09:00")
