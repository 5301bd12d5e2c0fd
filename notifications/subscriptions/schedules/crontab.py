"""Five-field crontabs, read in a time zone.

Rules where clocks change (those of Debian's cron): a schedule that names minute and hour fires once for a local time
that is skipped, at the first minute that exists, and once for one that is doubled, the first time. A schedule with a
star in minute or hour follows the time that really passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from cronsim import CronSim, CronSimError

from notifications.sentences import Sentence, SentenceError

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
