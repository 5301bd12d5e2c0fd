"""Computes the slots of a schedule, and the spread of their start times.

A slot is the time that the schedule names; it identifies a run. With a spread the run is due some seconds later,
always the same for the same slot, whoever works it out, and always before the next slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from notifications.models import FreeDays, Repeat
from notifications.sentences import Sentence
from notifications.subscriptions.schedules import workdays
from notifications.subscriptions.schedules.crontab import ScheduleError, crontab_slots, crontab_slots_on
from notifications.subscriptions.schedules.presets import preset_slots

if TYPE_CHECKING:
    from notifications.models import AlertRule, Scheduled, Subscription

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
    return crontab_slots_on(subscription.crontab, where, after, workdays.is_workday)


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
