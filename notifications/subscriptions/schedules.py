"""Slots of a schedule, the spread of their start times (`jitter_seconds`), and the working days that schedules use.

A slot is the time that the schedule names; it identifies a run. The run is due at its slot or, with a spread, some
seconds later: always the same number for the same slot, in every process, and always before the next slot.

A preset fires like a daily crontab with its time of day, on the days that it names. Clock changes follow the rules of
Debian's cron: a schedule that names minute and hour fires once for a skipped local time, at the first minute that
exists, and once for a doubled one, the first time. A schedule with a star in minute or hour follows the elapsed time.
"""

from __future__ import annotations

import hashlib
import logging
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import chinese_calendar
from chinese_calendar.constants import holidays
from cronsim import CronSim, CronSimError
from django.db import transaction
from django.db.models import QuerySet

from integrations.core.sentences import Sentence, SentenceError
from notifications.models import AlertRule, FreeDays, MonthDay, Repeat, Subscription, WorkdayCalendar

if TYPE_CHECKING:
    from notifications.models import Scheduled


logger = logging.getLogger(__name__)

# Fields of a subscription that its times depend on; spread times depend on its primary key as well.
TIME_FIELDS = (
    *("repeat", "on_date", "local_time", "weekdays", "month_day", "free_days", "crontab", "jitter_seconds"),
    *("time_zone", "valid_from", "valid_to"),
)
ONE_DAY = timedelta(days=1)
# Days to search before a schedule counts as having no further time. 29 February falls on a working day within them.
DAYS_LOOKED_AHEAD = 20 * 366
IsWorkday = Callable[[date], bool]


class ScheduleError(SentenceError, ValueError):
    """The schedule or time zone cannot be used; the text is a sentence for its author."""


@dataclass(frozen=True)
class DueTime:
    """A time of a schedule. `slot_at`: the time that the schedule names; `due_at`: when the run begins, at most
    `spread_seconds` later."""

    slot_at: datetime
    due_at: datetime
    spread_seconds: int = 0


def read_zone(time_zone: str) -> ZoneInfo:
    """Return the time zone of this name. Raise ScheduleError."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(Sentence("“%(name)s” is not a time zone.") % {"name": time_zone}) from error


def find_slots(subscription: Scheduled, after: datetime) -> Iterator[datetime]:
    """Yield every slot later than `after`, in UTC, ascending, also outside `valid_from` to `valid_to`. Raise
    ScheduleError, also for a schedule that never fires."""
    zone = read_zone(subscription.time_zone)
    if subscription.repeat != Repeat.CRONTAB:
        at = subscription.local_time or time()
        return find_crontab_slots_on(f"{at.minute} {at.hour} * * *", zone, after, read_preset_days(subscription))
    if subscription.free_days == FreeDays.SEND:
        return find_crontab_slots(subscription.crontab, zone, after)
    return find_crontab_slots_on(subscription.crontab, zone, after, read_workdays())


def find_due_times(subscription: Scheduled, after: datetime) -> Iterator[DueTime]:
    """Yield the times due later than `after` whose slot s is valid: valid_from ≤ s < valid_to. Raise ScheduleError."""
    start = after - timedelta(seconds=subscription.jitter_seconds)
    if subscription.valid_from is not None and subscription.valid_from > start:
        start = subscription.valid_from.astimezone(UTC)
        # A slot exactly at `valid_from` counts, too. Slots lie on whole minutes, and cronsim drops microseconds.
        start -= timedelta(seconds=start.microsecond == 0)
    for found in _spread_slots(subscription, find_slots(subscription, start)):
        if subscription.valid_to is not None and found.slot_at >= subscription.valid_to:
            return
        if found.due_at > after:
            yield found


def find_next_due(subscription: Scheduled, after: datetime) -> DueTime | None:
    """Return the next valid time, or None. Raise ScheduleError."""
    return next(find_due_times(subscription, after), None)


def reschedule(subscription: Subscription | AlertRule, *, now: datetime) -> None:
    """Set `next_run_at` (not saved) after a change of the schedule. Times before `now` are not made up for. Raise
    ScheduleError."""
    found = find_next_due(subscription, now) if subscription.is_enabled else None
    subscription.next_run_at = None if found is None else found.due_at


def reschedule_rows(rows: QuerySet[Any], *, now: datetime) -> None:
    """Set and save the next time of each row; the rows (subscriptions or alert rules) are locked. A row whose schedule
    cannot be used keeps its time."""
    moved = []
    with transaction.atomic():
        for row in rows.order_by("pk").select_for_update(of=("self",)):
            try:
                reschedule(row, now=now)
            except ScheduleError as error:
                logger.warning("%s=%d has no further time: %s", row._meta.model_name, row.pk, error)
                continue
            moved.append(row)
        rows.model._default_manager.bulk_update(moved, ["next_run_at"])


def _spread_slots(subscription: Scheduled, slots: Iterator[datetime]) -> Iterator[DueTime]:
    """Yield each slot with the time when its run is due."""
    most = subscription.jitter_seconds
    if not most:
        yield from (DueTime(slot, slot) for slot in slots)
        return
    slot = next(slots, None)
    while slot is not None:
        following = next(slots, None)
        room = most if following is None else min(most, int((following - slot).total_seconds()) - 1)
        # Pseudo-random: the same in every process, and different from slot to slot.
        seed = f"{subscription.pk}:{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        seconds = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % (room + 1)
        yield DueTime(slot, slot + timedelta(seconds=seconds), room)
        slot = following


# --- Presets: once, daily, on weekdays, monthly, at a local time ------------------------------------------------------


def read_preset_days(subscription: Scheduled) -> IsWorkday:
    """Return a function that tells whether the preset fires on a day. It treats free days as the subscription says."""
    is_workday = read_workdays() if subscription.depends_on_workdays else is_published_workday
    weekdays = subscription.weekday_numbers

    def is_named(day: date) -> bool:
        if subscription.repeat == Repeat.ONCE:
            return day == subscription.on_date
        if subscription.repeat == Repeat.MONTHLY:
            return day == _find_day_of_month(subscription.month_day, day.year, day.month, is_workday)
        return subscription.repeat == Repeat.DAILY or day.isoweekday() in weekdays

    def is_reached(day: date) -> bool:
        """Return whether the day is a working day, and it or one of the free days just before it is named."""
        if not is_workday(day):
            return False
        while not is_named(day):
            day -= ONE_DAY
            if is_workday(day):
                return False
        return True

    match subscription.free_days:
        case FreeDays.SKIP:
            return lambda day: is_workday(day) and is_named(day)
        case FreeDays.NEXT:
            return is_reached
        case _:
            return is_named


def _find_day_of_month(month_day: str, year: int, month: int, is_workday: IsWorkday) -> date | None:
    """Return the day of a month. A month without that day has its last day instead, so that no report is missing. None
    if `month_day` names no day."""
    last = date(year, month, monthrange(year, month)[1])
    match month_day:
        case MonthDay.LAST:
            return last
        case MonthDay.FIRST_WORKDAY:
            return find_nearest_workday(date(year, month, 1), is_workday)
        case MonthDay.LAST_WORKDAY:
            return find_nearest_workday(last, is_workday, step=-1)
        case _ if month_day.isdecimal():
            return min(last, date(year, month, 1) + (int(month_day) - 1) * ONE_DAY)
    return None


# --- Five-field crontabs, read in a time zone -------------------------------------------------------------------------

FIELDS = (
    Sentence("minute"),
    Sentence("hour"),
    Sentence("day of month"),
    Sentence("month"),
    Sentence("day of week"),
)
NEVER_FIRES = Sentence("This schedule never fires: its fields name a date that no year has, like 30 February.")


def find_crontab_slots(crontab: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield every time of the crontab later than `after`, in UTC, ascending. Raise ScheduleError, also for one that
    never fires."""
    words, local_after = crontab.split(), after.astimezone(zone)
    if len(words) != len(FIELDS):
        message = Sentence(
            "A schedule has five fields (minute, hour, day of month, month, day of week), this has %(count)d."
        )
        raise ScheduleError(message % {"count": len(words)})
    try:
        simulation = CronSim(" ".join(words), local_after)
    except (CronSimError, ValueError) as error:
        for position, word in enumerate(words):
            alone = ["*"] * len(FIELDS)
            alone[position] = word
            try:
                CronSim(" ".join(alone), local_after)
            except (CronSimError, ValueError):
                sentence = Sentence("“%(word)s” is no %(field)s.")
                raise ScheduleError(sentence % {"word": word, "field": FIELDS[position]}) from error
        # Each field is right, but their combination names no day.
        raise ScheduleError(NEVER_FIRES) from error
    last = after
    found_any = False
    for local in simulation:
        found_any = True
        # In a doubled hour the simulation follows the wall clock and can fall behind `after`; around a skipped hour two
        # local times become the same moment.
        moment = local.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment
    if not found_any:
        raise ScheduleError(NEVER_FIRES)


def find_crontab_slots_on(
    crontab: str, zone: tzinfo, after: datetime, is_chosen: Callable[[date], bool]
) -> Iterator[datetime]:
    """Yield the crontab's times on chosen days only. Stop after DAYS_LOOKED_AHEAD without any. Raise ScheduleError."""
    last = after
    while True:
        for moment in find_crontab_slots(crontab, zone, last):
            day = moment.astimezone(zone).date()
            if moment - after > timedelta(days=DAYS_LOOKED_AHEAD):
                return
            if not is_chosen(day):
                # Start again at the next chosen day: a schedule for every minute has 1440 times on a day that is left
                # out.
                following = (day + number * ONE_DAY for number in range(1, DAYS_LOOKED_AHEAD))
                chosen = next(filter(is_chosen, following), None)
                if chosen is None:
                    return
                start = datetime.combine(chosen, time(), tzinfo=zone).astimezone(UTC) - timedelta(seconds=1)
                last = max(moment, start)  # where a clock is set back across midnight, the chosen day has begun before
                break
            last = after = moment
            yield moment


# --- Working days in China with make-up days (调休), from the library chinesecalendar ---
# The State Council publishes a year's days in November before; the library follows with a release. In years that it
# does not know yet, Monday to Friday are working days except for the fixed holidays. Days that administrators entered
# take precedence.

# Month and day: New Year's Day, Labour Day (two days since 2025) and three days of the National Day.
FIXED_HOLIDAYS = frozenset({(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)})


def read_workdays() -> IsWorkday:
    """Return a function that tells whether China works on a day, as entered, else as published. Makes one query."""
    entered = WorkdayCalendar.objects.read_entered_days()
    return lambda day: entered[day] if day in entered else is_published_workday(day)


@lru_cache(maxsize=4096)
def is_published_workday(day: date) -> bool:
    """Return whether the day is a working day in China by this version's calendar."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.isoweekday() < 6 and (day.month, day.day) not in FIXED_HOLIDAYS


@cache
def find_last_known_year() -> int:
    """Return the last year whose holidays and make-up days are known."""
    return int(max(holidays).year)


def find_unknown_years(days: Iterable[date]) -> list[int]:
    """Return the years of these days for which nothing is published or entered, ascending."""
    years = {day.year for day in days if day.year > find_last_known_year()}
    return sorted(years - {day.year for day in WorkdayCalendar.objects.read_entered_days()} if years else years)


def find_nearest_workday(day: date, is_workday: IsWorkday, *, step: int = 1) -> date:
    """Return the day if it is a working day, else the next working day; with a step of -1 the last one before."""
    while not is_workday(day):
        day += timedelta(days=step)
    return day
