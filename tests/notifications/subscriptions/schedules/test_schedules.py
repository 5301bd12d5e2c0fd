"""Crontabs in their own time zones."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from notifications.models import FreeDays, MonthDay, Repeat, Subscription, WorkdayCalendar
from notifications.subscriptions.schedules import (
    DueTime,
    ScheduleError,
    find_crontab_slots,
    find_crontab_slots_on,
    find_due_times,
    find_last_known_year,
    find_next_due,
    find_slots,
    find_unknown_years,
    read_workdays,
    read_zone,
    reschedule,
)
from tests.notifications.factories import utc

pytestmark = pytest.mark.django_db


def next_slots(crontab: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(find_crontab_slots(crontab, read_zone(time_zone), after), count))


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
        ("0 9 * * *", "UTC", "2026-11-24 09:00", ["2026-11-25 09:00"]),
        ("0 8 29 2 *", "UTC", "2026-01-01 00:00", ["2028-02-29 08:00", "2032-02-29 08:00"]),
        ("0 8 L * *", "UTC", "2026-02-01 00:00", ["2026-02-28 08:00", "2026-03-31 08:00"]),
        ("  0   9 * *  MON ", "UTC", "2026-11-24 00:00", ["2026-11-30 09:00", "2026-12-07 09:00"]),
    ],
)
def test_next_times(crontab: str, time_zone: str, after: str, expected: list[str]) -> None:
    assert next_slots(crontab, time_zone, utc(after), len(expected)) == [utc(text) for text in expected]


@pytest.mark.parametrize(
    ("time_zone", "crontab", "after", "expected"),
    [
        # Skipped local times fire at the first minute that exists, once; doubled ones the first time only.
        ("Europe/Berlin", "0 2,3 * * *", "2026-03-28 22:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        # Times after the second pass of the doubled hour has begun do not return to the first pass.
        ("Europe/Berlin", "30,45 2 * * *", "2026-10-25 01:10", ["2026-10-26 01:30", "2026-10-26 01:45"]),
        # With a star, real time counts, not the clock.
        ("Europe/Berlin", "30 * * * *", "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 01:30"]),
        ("Australia/Lord_Howe", "15 * * * *", "2026-04-04 14:00", ["2026-04-04 14:15", "2026-04-04 15:45"]),
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


FIELD = st.lists(
    st.sampled_from(["*", "*/5", "0", "1", "2", "1-3", "30", "2,3", "L", "MON"]), min_size=5, max_size=5
).map(" ".join)

MINUTES_OF_TWO_YEARS = 2 * 365 * 24 * 60

MOMENTS = st.integers(0, MINUTES_OF_TWO_YEARS).map(lambda n: utc("2026-01-01 00:00") + timedelta(minutes=n))


@given(
    st.text(max_size=128) | FIELD,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
    MOMENTS,
)
def test_any_text_is_refused_or_gives_whole_minutes_later_than_given_and_ascending(
    crontab: str, time_zone: str, after: datetime
) -> None:
    try:
        found = next_slots(crontab, time_zone, after, 6)
    except ScheduleError:
        return

    assert len(found) == 6
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert all(moment.second == moment.microsecond == 0 for moment in found)


def daily(**fields: object) -> Subscription:
    return Subscription(**{"crontab": "0 9 * * *", "time_zone": "UTC", **fields})


@pytest.mark.parametrize(
    ("fields", "slots"),
    [
        ({"valid_from": "2026-11-25 09:00", "valid_to": "2026-11-27 09:00"}, ["2026-11-25 09:00", "2026-11-26 09:00"]),
        ({"valid_from": "2026-11-25 09:00:00.000001", "valid_to": "2026-11-27 00:00"}, ["2026-11-26 09:00"]),
        ({"valid_to": "2026-11-20 09:00"}, []),
        ({"valid_from": "2026-11-25 09:00", "valid_to": "2026-11-26 09:00"}, ["2026-11-25 09:00"]),
    ],
)
@pytest.mark.parametrize("jitter_seconds", [0, 600])
def test_validity_limits_the_slots_from_inclusive_to_exclusive_whatever_their_spread(
    fields: dict[str, str], slots: list[str], jitter_seconds: int
) -> None:
    times = {name: utc(text) for name, text in fields.items()}
    subscription = daily(pk=7, jitter_seconds=jitter_seconds, **times)

    found = list(find_due_times(subscription, utc("2026-11-20 08:00")))

    assert [one.slot_at for one in found] == [utc(text) for text in slots]


def test_rescheduling_looks_ahead_only_and_not_for_what_is_disabled() -> None:
    subscription = daily(next_run_at=utc("2026-11-01 09:00"))

    reschedule(subscription, now=utc("2026-11-24 12:00"))
    assert subscription.next_run_at == utc("2026-11-25 09:00")
    subscription.is_enabled = False
    reschedule(subscription, now=utc("2026-11-24 12:00"))
    assert subscription.next_run_at is None


def test_a_crontab_without_free_days_leaves_whole_days_out() -> None:
    subscription = Subscription(crontab="*/30 9 * * *", time_zone="Asia/Shanghai", free_days=FreeDays.SKIP)

    found = list(islice(find_slots(subscription, utc("2026-09-30 01:00")), 4))

    # 09:30 of the last day before the holidays, then the 8th.
    assert found == [
        *[utc("2026-09-30 01:30"), utc("2026-10-08 01:00"), utc("2026-10-08 01:30"), utc("2026-10-09 01:00")]
    ]


def due(subscription: Subscription, after: str, count: int) -> list[tuple[datetime, datetime]]:
    found = islice(find_due_times(subscription, utc(after)), count)
    return [(one.slot_at, one.due_at) for one in found]


def test_a_spread_is_the_same_whoever_asks_and_different_from_slot_to_slot() -> None:
    subscription = daily(pk=7, jitter_seconds=600)

    found = due(subscription, "2026-11-24 00:00", 20)

    assert [(slot, slot) for slot, _due in found] == due(daily(pk=7), "2026-11-24 00:00", 20)
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

    just_before = find_next_due(subscription, due_at - timedelta(seconds=1))
    just_then = find_next_due(subscription, due_at)

    assert just_before == DueTime(slot_at, due_at, 600)
    assert just_then is not None
    assert just_then.slot_at == utc("2026-11-25 09:00")


@given(st.integers(1, 3599), st.integers(1, 5), MOMENTS)
def test_a_spread_never_reaches_the_next_slot(jitter_seconds: int, pk: int, after: datetime) -> None:
    subscription = Subscription(pk=pk, crontab="*/5 * * * *", time_zone="UTC", jitter_seconds=jitter_seconds)

    found = list(islice(find_due_times(subscription, after), 5))

    assert all(one.slot_at <= one.due_at < following.slot_at for one, following in pairwise(found))
    assert found[0].due_at > after
    assert all(one.due_at - one.slot_at <= timedelta(seconds=one.spread_seconds) for one in found)


def test_no_time_comes_twice_where_a_clock_is_set_back_across_midnight() -> None:
    """St John's went back from 0:01 on 7 November 2010 to 23:01 on the 6th."""
    zone = read_zone("America/St_Johns")

    found = find_crontab_slots_on("*/20 * * * *", zone, utc("2010-11-07 02:00"), lambda day: day == date(2010, 11, 7))

    assert list(islice(found, 3)) == [utc("2010-11-07 02:30"), utc("2010-11-07 03:30"), utc("2010-11-07 03:50")]


def preset(repeat: Repeat, at: str = "09:00", **fields: object) -> Subscription:
    defaults = {"repeat": repeat, "local_time": time.fromisoformat(at), "time_zone": "Asia/Shanghai"}
    return Subscription(**{**defaults, **fields})


def next_local(subscription: Subscription, after: str, count: int) -> list[str]:
    """Return the next times in the subscription's time zone."""
    zone = ZoneInfo(subscription.time_zone)
    found = islice(find_slots(subscription, utc(after)), count)
    return [f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" for moment in found]


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


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (preset(Repeat.DAILY), "2026-11-24 01:00", ["2026-11-25", "2026-11-26"]),
        (preset(Repeat.WEEKLY, weekdays="1,4"), *("2026-11-24 00:00", ["2026-11-26", "2026-11-30", "2026-12-03"])),
        # Make-up days are in, holidays out.
        (
            preset(Repeat.DAILY, free_days=FreeDays.SKIP),
            *("2026-09-29 12:00", ["2026-09-30", "2026-10-08", "2026-10-09", "2026-10-10", "2026-10-12"]),
        ),
        # 25 September is Mid-Autumn Festival: moved to Monday. 1 and 2 October: both moved to the 8th, one itself.
        (
            preset(Repeat.WEEKLY, weekdays="4,5", free_days=FreeDays.NEXT),
            *("2026-09-24 12:00", ["2026-09-28", "2026-10-08", "2026-10-09", "2026-10-15"]),
        ),
        # 2032 and 2036 are not known: 29 February is a Sunday, then a Friday.
        (preset(Repeat.CRONTAB, crontab="0 9 29 2 *", free_days=FreeDays.SKIP), *("2030-01-01 00:00", ["2036-02-29"])),
        # A moved slot is still found after its own day has passed.
        (
            preset(Repeat.MONTHLY, month_day="1", free_days=FreeDays.NEXT),
            *("2026-10-05 00:00", ["2026-10-08", "2026-11-02"]),
        ),
        # Months that begin with a holiday; on 4 January, a Sunday, work is made up for.
        (
            preset(Repeat.MONTHLY, month_day=MonthDay.FIRST_WORKDAY),
            *("2025-12-31 12:00", ["2026-01-04", "2026-02-02", "2026-03-02", "2026-04-01", "2026-05-06"]),
        ),
        # In unknown years workdays are Monday to Friday.
        (preset(Repeat.MONTHLY, month_day=MonthDay.FIRST_WORKDAY), *("2098-12-31 12:00", ["2099-01-02", "2099-02-02"])),
    ],
)
def test_days_of_schedules(schedule: Subscription, after: str, expected: list[str]) -> None:
    assert next_local(schedule, after, len(expected)) == [f"{day} 09:00" for day in expected]


@pytest.mark.parametrize(
    "schedule",
    [
        preset(Repeat.CRONTAB, crontab="0 9 * * 6", free_days=FreeDays.SKIP),
        preset(Repeat.CRONTAB, crontab="* * * * 0", free_days=FreeDays.SKIP),
        preset(Repeat.WEEKLY, weekdays="6", free_days=FreeDays.SKIP),
    ],
)
def test_a_schedule_without_any_working_day_ends_instead_of_searching_for_ever(schedule: Subscription) -> None:
    assert next_local(schedule, "2098-01-01 00:00", 1) == []


# Clock changes: (zone, local time, from, due times in UTC), on the day of the change and the next.
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
    found = islice(find_slots(preset(Repeat.DAILY, at, time_zone=time_zone), utc(after)), 2)
    assert list(found) == [utc(text) for text in expected]


ZONES = st.sampled_from([change[0] for change in CHANGES])


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
    """Dispatchers see the same slots whenever they look."""
    subscription = preset(
        repeat, "02:15", month_day=month_day, weekdays="1,6", free_days=free_days, time_zone=time_zone
    )
    start, later = utc("2024-12-01 00:00"), datetime.combine(day, time(18), tzinfo=UTC)

    passed = sum(1 for _slot in takewhile(lambda slot: slot <= later, find_slots(subscription, start)))
    whole = list(islice(find_slots(subscription, start), passed, passed + 3))

    assert list(islice(find_slots(subscription, later), 3)) == whole
    assert whole == sorted(set(whole))


def test_beyond_the_known_years_monday_to_friday_count() -> None:
    monday = date(find_last_known_year() + 1, 1, 4)
    monday += timedelta(days=(8 - monday.isoweekday()) % 7)
    week = [monday + timedelta(days=n) for n in range(7)]

    assert [read_workdays()(day) for day in week] == [True] * 5 + [False] * 2
    assert find_unknown_years([date(find_last_known_year(), 12, 31), *week]) == [monday.year]
    assert read_workdays()(date(1999, 10, 8))  # a Friday
    assert find_unknown_years([date(1999, 10, 8)]) == []


@pytest.mark.parametrize("day", ["01-01", "05-01", "05-02", "10-01", "10-02", "10-03"])
def test_holidays_that_no_year_moves_are_known_of_every_year(day: str) -> None:
    years = range(find_last_known_year() + 1, find_last_known_year() + 8)
    assert [year for year in years if read_workdays()(date.fromisoformat(f"{year}-{day}"))] == []


def test_what_is_entered_counts_before_what_is_published() -> None:
    year = find_last_known_year() + 1
    days = f"{year}-02-05 至 {year}年2月7日 休 春节\n\n {year}/1/1\t班\t\n2026-11-25 off, move\n2026-11-21 work"
    WorkdayCalendar.objects.create(days=days)

    is_workday, entered = read_workdays(), [date(year, 1, 1), date(2026, 11, 25), date(2026, 11, 21)]
    assert [is_workday(date(year, 2, day)) for day in (5, 6, 7)] == [False] * 3
    assert [is_workday(day) for day in entered] == [True, False, True]
    assert find_unknown_years([date(year, 2, 1), date(year + 1, 2, 1)]) == [year + 1]
