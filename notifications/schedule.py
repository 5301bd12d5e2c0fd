"""When a subscription is due: five-field crontabs in a time zone of their own.

Rules where clocks change (those of Debian's cron): a schedule that names minute and hour fires once for a local time
that is skipped, at the first minute that exists, and once for one that is doubled, the first time. A schedule with a
star in minute or hour follows the time that really passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from notifications.models import Subscription

FIELDS: tuple[StrOrPromise, ...] = (
    gettext_lazy("minute"),
    gettext_lazy("hour"),
    gettext_lazy("day of month"),
    gettext_lazy("month"),
    gettext_lazy("day of week"),
)
# Any moment will do to read a field; this one is before every schedule.
SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class ScheduleError(ValueError):
    """A crontab or time zone that cannot be used; the text is a sentence for the person who wrote it."""


def zone(time_zone: str) -> ZoneInfo:
    """Raises ScheduleError for a name that is no time zone."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(_("“%(name)s” is not a time zone.") % {"name": time_zone}) from error


def slots(crontab: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """Every time of the schedule later than `after`, in UTC, ascending. Raises ScheduleError, also for one that never
    fires."""
    simulation = _simulation(crontab, after.astimezone(zone(time_zone)))
    last = after
    found_any = False
    for local in simulation:
        found_any = True
        # Why compare? In a doubled hour the simulation goes by the wall clock and can fall behind `after`; around a
        # skipped hour two local times become the same moment.
        moment = local.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment
    if not found_any:
        raise ScheduleError(_never_fires())


def next_slots(crontab: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` times later than `after`, in UTC. Raises ScheduleError."""
    return list(islice(slots(crontab, time_zone, after), count))


def valid_slots(subscription: Subscription, after: datetime) -> Iterator[datetime]:
    """Every time t later than `after` with valid_from ≤ t < valid_to. Raises ScheduleError."""
    if subscription.valid_from is not None and subscription.valid_from > after:
        after = _just_before(subscription.valid_from)
    for moment in slots(subscription.crontab, subscription.time_zone, after):
        if subscription.valid_to is not None and moment >= subscription.valid_to:
            return
        yield moment


def next_slot_of(subscription: Subscription, after: datetime) -> datetime | None:
    """The next time within the subscription's validity, or None. Raises ScheduleError."""
    return next(valid_slots(subscription, after), None)


def reschedule(subscription: Subscription, *, now: datetime) -> None:
    """Set `next_run_at` (not saved) after a change of the schedule. Times before `now` are not made up for.

    Raises ScheduleError.
    """
    subscription.next_run_at = next_slot_of(subscription, now) if subscription.is_enabled else None


def _just_before(moment: datetime) -> datetime:
    # Slots lie on whole minutes; cronsim drops microseconds, so a whole second before is the closest that it sees.
    return datetime.fromtimestamp(moment.timestamp() - 1, tz=UTC) if moment.microsecond == 0 else moment


def _simulation(crontab: str, after: datetime) -> CronSim:
    words = crontab.split()
    if len(words) != len(FIELDS):
        message = _("A schedule has five fields (minute, hour, day of month, month, day of week), this has %(count)d.")
        raise ScheduleError(message % {"count": len(words)})
    try:
        return CronSim(" ".join(words), after)
    except (CronSimError, ValueError) as error:
        raise ScheduleError(_complaint(words)) from error


def _complaint(words: list[str]) -> str:
    """Which field of a refused crontab is wrong; if each is right by itself, their combination names no day."""
    for position, word in enumerate(words):
        if not _is_readable(position, word):
            return _("“%(word)s” is no %(field)s.") % {"word": word, "field": FIELDS[position]}
    return _never_fires()


def _is_readable(position: int, word: str) -> bool:
    words = ["*"] * len(FIELDS)
    words[position] = word
    try:
        CronSim(" ".join(words), SOME_TIME)
    except (CronSimError, ValueError):
        return False
    return True


def _never_fires() -> str:
    return _("This schedule never fires: its fields name a date that no year has, like 30 February.")
