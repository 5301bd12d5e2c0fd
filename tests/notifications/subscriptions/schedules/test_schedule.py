"""Crontabs in their own time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from notifications.models import FreeDays, Subscription
from notifications.subscriptions.schedules import (
    DueTime,
    ScheduleError,
    crontab_slots,
    due_times,
    find_slots,
    next_due,
    read_zone,
    reschedule,
)

pytestmark = pytest.mark.django_db


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_slots(crontab: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(crontab_slots(crontab, read_zone(time_zone), after), count))


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


def next_of(subscription: Subscription, after: str) -> datetime | None:
    found = next_due(subscription, utc(after))
    return None if found is None else found.slot_at


def test_validity_limits_the_times_from_inclusive_to_exclusive() -> None:
    subscription = daily(valid_from=utc("2026-11-25 09:00"), valid_to=utc("2026-11-27 09:00"))

    found = list(due_times(subscription, utc("2026-11-20 00:00")))

    assert [one.slot_at for one in found] == [utc("2026-11-25 09:00"), utc("2026-11-26 09:00")]


def test_a_validity_with_microseconds_does_not_let_an_earlier_time_in() -> None:
    subscription = daily(valid_from=utc("2026-11-25 09:00") + timedelta(microseconds=1))

    assert next_of(subscription, "2026-11-20 00:00") == utc("2026-11-26 09:00")


def test_after_the_end_of_validity_there_is_no_next_time() -> None:
    assert next_of(daily(valid_to=utc("2026-11-24 09:00")), "2026-11-24 08:00") is None


def test_a_disabled_subscription_has_no_next_time() -> None:
    subscription = daily(is_enabled=False, next_run_at=utc("2026-11-25 09:00"))

    reschedule(subscription, now=utc("2026-11-24 00:00"))

    assert subscription.next_run_at is None


def test_rescheduling_looks_ahead_only() -> None:
    subscription = daily(next_run_at=utc("2026-11-01 09:00"))

    reschedule(subscription, now=utc("2026-11-24 12:00"))

    assert subscription.next_run_at == utc("2026-11-25 09:00")


# --- Working days ----------------------------------------------------------------------------------------------------


def test_a_crontab_without_free_days_leaves_whole_days_out() -> None:
    subscription = Subscription(crontab="*/30 9 * * *", time_zone="Asia/Shanghai", free_days=FreeDays.SKIP)

    found = list(islice(find_slots(subscription, utc("2026-09-30 01:00")), 4))

    # 09:30 of the last day before the holidays, then the 8th.
    assert found == [
        *[utc("2026-09-30 01:30"), utc("2026-10-08 01:00"), utc("2026-10-08 01:30"), utc("2026-10-09 01:00")],
    ]


@pytest.mark.parametrize("crontab", ["0 9 * * 6", "* * * * 0"])
def test_a_crontab_of_free_days_only_ends_instead_of_searching_for_ever(crontab: str) -> None:
    subscription = Subscription(crontab=crontab, time_zone="Asia/Shanghai", free_days=FreeDays.SKIP)

    assert next(find_slots(subscription, utc("2098-01-01 00:00")), None) is None


def test_the_leap_day_is_found_on_a_working_day_years_ahead() -> None:
    subscription = Subscription(crontab="0 9 29 2 *", time_zone="Asia/Shanghai", free_days=FreeDays.SKIP)

    # 2032 and 2036 are not known: 29 February is a Sunday, then a Friday.
    assert next(find_slots(subscription, utc("2030-01-01 00:00"))) == utc("2036-02-29 01:00")


# --- Spread ----------------------------------------------------------------------------------------------------------


def due(subscription: Subscription, after: str, count: int) -> list[tuple[datetime, datetime]]:
    found = islice(due_times(subscription, utc(after)), count)
    return [(one.slot_at, one.due_at) for one in found]


def test_without_a_spread_a_slot_is_due_when_it_is_named() -> None:
    assert due(daily(pk=7), "2026-11-24 00:00", 1) == [(utc("2026-11-24 09:00"), utc("2026-11-24 09:00"))]


def test_a_spread_is_the_same_whoever_asks_and_different_from_slot_to_slot() -> None:
    subscription = daily(pk=7, jitter_seconds=600)

    found = due(subscription, "2026-11-24 00:00", 20)

    assert found == due(daily(pk=7, jitter_seconds=600), "2026-11-24 00:00", 20)
    assert found[5:] == due(subscription, "2026-11-29 00:00", 15)
    seconds = [int((due_at - slot_at).total_seconds()) for slot_at, due_at in found]
    assert all(0 <= each <= 600 for each in seconds)
    assert len(set(seconds)) > 10
    others = due(daily(pk=8, jitter_seconds=600), "2026-11-24 00:00", 20)
    assert [slot for slot, _due in others] == [slot for slot, _due in found]
    assert others != found


def test_a_spread_is_drawn_evenly() -> None:
    subscription = Subscription(pk=7, crontab="*/10 * * * *", time_zone="UTC", jitter_seconds=99)

    seconds = [int((due_at - slot).total_seconds()) for slot, due_at in due(subscription, "2026-01-01 00:00", 2000)]

    assert set(seconds) == set(range(100))
    assert 40 < sum(seconds) / len(seconds) < 60


def test_a_slot_whose_spread_is_not_over_is_still_to_come() -> None:
    subscription = daily(pk=7, jitter_seconds=600)
    [(slot_at, due_at)] = due(subscription, "2026-11-24 00:00", 1)
    assert due_at > slot_at

    just_before = next_due(subscription, due_at - timedelta(seconds=1))
    just_then = next_due(subscription, due_at)

    assert just_before == DueTime(slot_at, due_at, 600)
    assert just_then is not None
    assert just_then.slot_at == utc("2026-11-25 09:00")


@given(st.integers(1, 3599), st.integers(1, 5), MOMENTS)
def test_a_spread_never_reaches_the_next_slot(jitter_seconds: int, pk: int, after: datetime) -> None:
    subscription = Subscription(pk=pk, crontab="*/5 * * * *", time_zone="UTC", jitter_seconds=jitter_seconds)

    found = list(islice(due_times(subscription, after), 5))

    assert all(one.slot_at <= one.due_at < following.slot_at for one, following in pairwise(found))
    assert found[0].due_at > after
    assert all(one.due_at - one.slot_at <= timedelta(seconds=one.spread_seconds) for one in found)


def test_validity_asks_for_the_slot_and_not_for_the_spread() -> None:
    subscription = daily(pk=7, jitter_seconds=600, valid_from=utc("2026-11-25 09:00"), valid_to=utc("2026-11-26 09:00"))

    assert [slot for slot, _due in due(subscription, "2026-11-20 00:00", 5)] == [utc("2026-11-25 09:00")]
