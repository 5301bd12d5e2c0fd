"""Beat's scheduler, by the database's clock, with a heartbeat: it queues the ticks of TICKS when something is due.

A tick that finds nothing costs a worker ten times what the question costs beat: a message, a task, and more questions.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from celery.schedules import schedstate
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from guanwecom.operations import tasks
from guanwecom.operations.worker import HeartbeatThread
from integrations import tasks as integrations_tasks
from integrations.clients.transport import read_boot_clock
from integrations.core import installation
from integrations.core.background import Tick, database_clock
from integrations.models import Heartbeat
from notifications import tasks as notifications_tasks
from notifications.delivery.runs import scheduler

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

TICKS = {tick.name: tick for tick in (notifications_tasks.TICK, integrations_tasks.TICK)}
# Times of subscriptions are whole minutes: beat looks so long after a period of the tick begins, in seconds.
LOOK_AFTER_SECONDS = 0.1
# Where the database's clock moves by more than this between two questions, the order of the entries is made anew.
STEP_SECONDS = 1.0
# It turns every five seconds at least (django_celery_beat).
STUCK_SECONDS = 15
# How soon beat begins once a copy was confirmed.
COPY_SECONDS = 2.0


class PeriodicEntry(ModelEntry):  # type: ignore[misc]  # django_celery_beat has no types
    """A row of beat's table. That of the tick is due at the same moments, whenever beat was started."""

    # The database's, set by the scheduler: hosts' clocks may be wrong, and two beats must agree.
    clock: ClassVar[Clock] = staticmethod(timezone.now)
    last_run_at: datetime

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schedule = self.schedule
        schedule.nowfun = lambda: PeriodicEntry.clock().astimezone(schedule.tz)

    def _default_now(self) -> datetime:
        return PeriodicEntry.clock()

    def is_due(self) -> schedstate:
        # One that ran while the clock was ahead would not be due until the clock comes there again.
        self.last_run_at = self.model.last_run_at = min(self.last_run_at, self._default_now())
        state: schedstate = super().is_due()
        if self.name != scheduler.TICK or not state.is_due:
            return state
        return schedstate(True, settings.DISPATCH_INTERVAL_SECONDS - _seconds_since_look(self._default_now()))

    def __next__(self) -> PeriodicEntry:
        following: PeriodicEntry = super().__next__()
        if self.name == scheduler.TICK:
            at = following.last_run_at
            following.last_run_at = following.model.last_run_at = at - timedelta(seconds=_seconds_since_look(at))
        return following


def _seconds_since_look(now: datetime) -> float:
    """How long ago the latest moment for a look was."""
    return (now.timestamp() - LOOK_AFTER_SECONDS) % settings.DISPATCH_INTERVAL_SECONDS


class LivingScheduler(DatabaseScheduler):  # type: ignore[misc]  # django_celery_beat has no types
    """Named in guanwecom.celery."""

    Entry = PeriodicEntry
    # Whether it asks in this turn for changed entries. Each turn asks twice, and there are several in a second.
    _asks_for_changes = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turned_at = read_boot_clock()
        self._asked_at = float("-inf")
        self._ticked_at = dict.fromkeys(TICKS, float("-inf"))
        self._heartbeat: HeartbeatThread | None = None

    def setup_schedule(self) -> None:
        """Without its database beat cannot begin: it says so in one line and ends, to be started again."""
        try:
            self._read_time()
            super().setup_schedule()
        except (OperationalError, InterfaceError) as error:
            logger.error("beat does not start: the database cannot be asked (%s)", type(error).__name__)
            raise SystemExit(1) from None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if _is_copy():
            tasks.copy_warning.log("beat queues no task")
            wait = COPY_SECONDS
        else:
            self._asks_for_changes = read_boot_clock() >= self._asked_at + self.max_interval
            if self._asks_for_changes:
                self._asked_at = read_boot_clock()
                with suppress(Error):  # where it cannot be asked, the time that is known goes on
                    self._read_time()
            wait = super().tick(*args, **kwargs)
        self._turned_at = read_boot_clock()
        if self._heartbeat is None:
            self._heartbeat = HeartbeatThread(Heartbeat.Kind.BEAT, self._queues, watches=True)
            self._heartbeat.start()
        return wait

    def _read_time(self) -> None:
        """Take the database's time. Where its clock was set, put the entries in order anew."""
        clock, before = database_clock(), PeriodicEntry.clock()
        if abs((clock() - before).total_seconds()) > STEP_SECONDS:
            self._heap = None
        PeriodicEntry.clock = staticmethod(clock)

    def schedule_changed(self) -> bool:
        return self._asks_for_changes and bool(super().schedule_changed())

    def adjust(self, n: float | None, drift: float = 0.0) -> float | None:
        """Celery's wakes 10 ms before an entry is due, and turns and turns until it is."""
        return n

    def apply_entry(self, entry: PeriodicEntry, producer: Any = None) -> None:
        tick = TICKS.get(entry.name)
        if tick is not None:
            is_old = read_boot_clock() >= self._ticked_at[tick.name] + tick.at_least_seconds
            if not (is_old or _is_anything_due(tick)):
                return
            self._ticked_at[tick.name] = read_boot_clock()
        super().apply_entry(entry, producer=producer)

    def close(self) -> None:
        super().close()
        if self._heartbeat is not None:
            self._heartbeat.forget()

    def _queues(self) -> tuple[()] | None:
        """It takes from none; None while the scheduler does not turn."""
        return () if read_boot_clock() - self._turned_at < STUCK_SECONDS else None


def _is_anything_due(tick: Tick) -> bool:
    """True also while the database cannot be asked: the tick, and its worker, say what is wrong."""
    try:
        return tick.is_anything_due()
    except Error:
        connection.close_if_unusable_or_obsolete()
        return True


def _is_copy() -> bool:
    """False where the database cannot be asked: the scheduler says so itself."""
    try:
        return installation.is_known_copy()
    except Error:
        return False
