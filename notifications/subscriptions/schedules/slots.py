"""Computes the slots of a schedule, and the spread of their start times.

A slot is the time that the schedule names; it identifies a run. With a spread the run is due some seconds later,
always the same for the same slot, whoever works it out, and always before the next slot.

Rules where clocks change (those of Debian's cron): a schedule that names minute and hour fires once for a local time
that is skipped, at the first minute that exists, and once for one that is doubled, the first time. A schedule with a
star in minute or hour follows the time that really passes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from django.db import transaction
from django.db.models import QuerySet

from integrations.core.sentences import Sentence, SentenceError
from notifications.models import AlertRule, FreeDays, Repeat, Subscription
from notifications.subscriptions.schedules import workdays
from notifications.subscriptions.schedules.presets import preset_slots

if TYPE_CHECKING:
    from notifications.models import Scheduled

logger = logging.getLogger(__name__)

# On what of a subscription its times depend; where they are spread, on its key as well.
TIME_FIELDS = (
    *("repeat", "local_time", "weekdays", "month_day", "free_days", "crontab", "jitter_seconds"),
    *("time_zone", "valid_from", "valid_to"),
)


@dataclass(frozen=True)
class DueTime:
    """A time of a schedule. `slot_at`: as named; `due_at`: when its run begins; `spread_seconds`: at most between."""

    slot_at: datetime
    due_at: datetime
    spread_seconds: int = 0


def zone(time_zone: str) -> ZoneInfo:
    """Raises ScheduleError for a name that is no time zone."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(Sentence("“%(name)s” is not a time zone.") % {"name": time_zone}) from error


def slots(subscription: Scheduled, after: datetime) -> Iterator[datetime]:
    """Every slot later than `after`, in UTC, ascending, whatever the validity. Raises ScheduleError, also for a
    schedule that never fires."""
    where = zone(subscription.time_zone)
    if subscription.repeat != Repeat.CRONTAB:
        return preset_slots(subscription, where, after)
    if subscription.free_days == FreeDays.SEND:
        return crontab_slots(subscription.crontab, where, after)
    return crontab_slots_on(subscription.crontab, where, after, workdays.calendar())


def due_times(subscription: Scheduled, after: datetime) -> Iterator[DueTime]:
    """Every time due later than `after` whose slot s is valid: valid_from ≤ s < valid_to. Raises ScheduleError."""
    start = after - timedelta(seconds=subscription.jitter_seconds)
    if subscription.valid_from is not None and subscription.valid_from > start:
        start = _just_before(subscription.valid_from)
    for found in _spread(subscription, slots(subscription, start)):
        if subscription.valid_to is not None and found.slot_at >= subscription.valid_to:
            return
        if found.due_at > after:
            yield found


def next_due(subscription: Scheduled, after: datetime) -> DueTime | None:
    """The next time within the subscription's validity, or None. Raises ScheduleError."""
    return next(due_times(subscription, after), None)


def reschedule(subscription: Subscription | AlertRule, *, now: datetime) -> None:
    """Set `next_run_at` (not saved) after a change of the schedule. Times before `now` are not made up for.

    Raises ScheduleError.
    """
    found = next_due(subscription, now) if subscription.is_enabled else None
    subscription.next_run_at = None if found is None else found.due_at


def reschedule_rows(rows: QuerySet[Any], *, now: datetime) -> None:
    """Set and save the next time of each. `rows`: subscriptions or alert rules; they are locked. One whose schedule
    cannot be used keeps the time that it has."""
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


def reschedule_by_workdays(*, now: datetime) -> None:
    """Work out the next times anew in which the calendar of working days has a say. What is due already stays due."""
    for rows in (Subscription.objects.by_workdays(), AlertRule.objects.by_workdays()):
        reschedule_rows(rows.filter(is_enabled=True).exclude(next_run_at__lte=now), now=now)


def _spread(subscription: Scheduled, found: Iterator[datetime]) -> Iterator[DueTime]:
    most = subscription.jitter_seconds
    if not most:
        yield from (DueTime(slot, slot) for slot in found)
        return
    slot = next(found, None)
    while slot is not None:
        following = next(found, None)
        room = most if following is None else min(most, int((following - slot).total_seconds()) - 1)
        yield DueTime(slot, slot + timedelta(seconds=_seconds(subscription.pk, slot, room)), room)
        slot = following


def _seconds(subscription_id: int | None, slot: datetime, most: int) -> int:
    """From 0 to `most`, the same for everybody who asks, and different from slot to slot."""
    seed = f"{subscription_id}:{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % (most + 1)


def _just_before(moment: datetime) -> datetime:
    # Slots lie on whole minutes; cronsim drops microseconds, so a whole second before is the closest that it sees.
    return datetime.fromtimestamp(moment.timestamp() - 1, tz=UTC) if moment.microsecond == 0 else moment


# --- Five-field crontabs, read in a time zone ---

FIELDS = (
    Sentence("minute"),
    Sentence("hour"),
    Sentence("day of month"),
    Sentence("month"),
    Sentence("day of week"),
)
# Any moment will do to read a field; this one is before every schedule.
SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
# How far a crontab is followed through days that are left out. 29 February falls on a working day within that.
LOOKED_AHEAD = timedelta(days=20 * 366)


class ScheduleError(SentenceError, ValueError):
    """A schedule or time zone that cannot be used; the text is a sentence for the person who wrote it."""


def crontab_slots(crontab: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Every time of the crontab later than `after`, in UTC, ascending. Raises ScheduleError, also for one that never
    fires."""
    simulation = _simulation(crontab, after.astimezone(zone))
    last = after
    found_any = False
    for local in simulation:
        found_any = True
        # Compared: in a doubled hour the simulation goes by the wall clock and can fall behind `after`; around a
        # skipped hour two local times become the same moment.
        moment = local.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment
    if not found_any:
        raise ScheduleError(never_fires())


def crontab_slots_on(
    crontab: str, zone: tzinfo, after: datetime, is_chosen: Callable[[date], bool]
) -> Iterator[datetime]:
    """The same without the days that are not chosen. Ends where LOOKED_AHEAD holds none. Raises ScheduleError."""
    last = after
    while True:
        for moment in crontab_slots(crontab, zone, last):
            if moment - after > LOOKED_AHEAD:
                return
            day = moment.astimezone(zone).date()
            if not is_chosen(day):
                # Begins anew: a schedule for every minute has 1440 times on a day that is left out.
                last = max(moment, _end_of(day, zone))
                break
            last = after = moment
            yield moment


def _end_of(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(23, 59, 59), tzinfo=zone).replace(fold=1).astimezone(UTC)


def _simulation(crontab: str, after: datetime) -> CronSim:
    words = crontab.split()
    if len(words) != len(FIELDS):
        message = Sentence(
            "A schedule has five fields (minute, hour, day of month, month, day of week), this has %(count)d."
        )
        raise ScheduleError(message % {"count": len(words)})
    try:
        return CronSim(" ".join(words), after)
    except (CronSimError, ValueError) as error:
        raise ScheduleError(_complaint(words)) from error


def _complaint(words: list[str]) -> Sentence:
    """Which field of a refused crontab is wrong; if each is right by itself, their combination names no day."""
    for position, word in enumerate(words):
        if not _is_readable(position, word):
            return Sentence("“%(word)s” is no %(field)s.") % {"word": word, "field": FIELDS[position]}
    return never_fires()


def _is_readable(position: int, word: str) -> bool:
    words = ["*"] * len(FIELDS)
    words[position] = word
    try:
        CronSim(" ".join(words), SOME_TIME)
    except (CronSimError, ValueError):
        return False
    return True


def never_fires() -> Sentence:
    return Sentence("This schedule never fires: its fields name a date that no year has, like 30 February.")
