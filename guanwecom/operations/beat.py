"""Beat's scheduler: uses the database's clock, writes a heartbeat, and queues the tasks of TICKS only if work is due.

A tick without work would cost ten times as much as beat's query for due work: a message, a task, and more queries.
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

from guanwecom.operations.worker import HeartbeatThread
from integrations import tasks as integrations_tasks
from integrations.clients.transport import read_boot_clock
from integrations.core import installation
from integrations.core.background import database_clock
from integrations.models import Heartbeat
from notifications import tasks as notifications_tasks
from notifications.delivery.runs import scheduler

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

TICKS = {tick.name: tick for tick in (notifications_tasks.TICK, integrations_tasks.TICK)}
# Subscriptions are due at whole minutes, and beat checks for due work this many seconds after each period begins.
CHECK_AFTER_SECONDS = 0.1
# If the database's clock jumps by more than this, the entries are sorted again.
CLOCK_JUMP_SECONDS = 1.0
# Beat counts as stuck if its loop, which django_celery_beat runs at least every five seconds, did not run for so long.
STUCK_SECONDS = 15
# In a copy of the database, beat checks this often, in seconds, whether the copy was confirmed as the installation.
COPY_CHECK_SECONDS = 2.0


class PeriodicEntry(ModelEntry):  # type: ignore[misc]  # django_celery_beat has no types
    """A row of beat's table. The push engine's tick is due at fixed moments, which do not depend on beat's start."""

    # The database's clock, set by the scheduler, since hosts' clocks may be wrong or differ.
    clock: ClassVar[Clock] = staticmethod(timezone.now)
    last_run_at: datetime

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schedule = self.schedule
        schedule.nowfun = lambda: PeriodicEntry.clock().astimezone(schedule.tz)

    def _default_now(self) -> datetime:
        return PeriodicEntry.clock()

    def is_due(self) -> schedstate:
        # Otherwise an entry that ran while the clock was ahead would not be due until the right clock reached that.
        self.last_run_at = self.model.last_run_at = min(self.last_run_at, self._default_now())
        state: schedstate = super().is_due()
        if self.name != scheduler.TICK_NAME or not state.is_due:
            return state
        return schedstate(True, settings.DISPATCH_INTERVAL_SECONDS - _seconds_since_check(self._default_now()))

    def __next__(self) -> PeriodicEntry:
        following: PeriodicEntry = super().__next__()
        if self.name == scheduler.TICK_NAME:
            # Note the moment of the check, not that of the run: otherwise a late run would make all later checks late.
            at = following.last_run_at
            following.last_run_at = following.model.last_run_at = at - timedelta(seconds=_seconds_since_check(at))
        return following


def _seconds_since_check(now: datetime) -> float:
    """Return the seconds since the latest moment at which the tick was due."""
    return (now.timestamp() - CHECK_AFTER_SECONDS) % settings.DISPATCH_INTERVAL_SECONDS


class HeartbeatScheduler(DatabaseScheduler):  # type: ignore[misc]  # django_celery_beat has no types
    """Beat's scheduler (guanwecom.celery). It goes by the database's clock, writes a heartbeat and skips idle ticks."""

    Entry = PeriodicEntry
    # Whether this tick() reads changes of the entries. Otherwise every tick() would, several times a second.
    _reads_changes = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_loop_at = read_boot_clock()
        self._changes_read_at = float("-inf")
        self._queued_at = dict.fromkeys(TICKS, float("-inf"))
        self._heartbeat: HeartbeatThread | None = None

    def setup_schedule(self) -> None:
        """Read the entries. If the database is unreachable, log a line and exit; the service manager restarts beat."""
        try:
            self._read_time()
            super().setup_schedule()
        except (OperationalError, InterfaceError) as error:
            logger.error("beat does not start: the database is unreachable (%s)", type(error).__name__)
            raise SystemExit(1) from None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Queue the tasks of due entries: one turn of Celery's loop, not a tick of TICKS. Return the seconds until the
        next turn."""
        is_copy = False
        with suppress(Error):  # DatabaseScheduler logs the error
            is_copy = installation.is_copy_by_cache()
        if is_copy:
            installation.copy_warning.log("beat queues no task")
            wait = COPY_CHECK_SECONDS
        else:
            self._reads_changes = read_boot_clock() >= self._changes_read_at + self.max_interval
            if self._reads_changes:
                self._changes_read_at = read_boot_clock()
                with suppress(Error):  # without the database, the last known time is extrapolated
                    self._read_time()
            wait = super().tick(*args, **kwargs)
        self._last_loop_at = read_boot_clock()
        if self._heartbeat is None:
            # Beat serves no queue. None while the loop is stuck: then no heartbeat is written.
            self._heartbeat = HeartbeatThread(
                Heartbeat.Kind.BEAT,
                lambda: () if read_boot_clock() - self._last_loop_at < STUCK_SECONDS else None,
                watches=True,
            )
            self._heartbeat.start()
        return wait

    def _read_time(self) -> None:
        """Read the database's clock. If it jumped, let Celery sort the entries again."""
        clock, before = database_clock(), PeriodicEntry.clock()
        if abs((clock() - before).total_seconds()) > CLOCK_JUMP_SECONDS:
            self._heap = None
        PeriodicEntry.clock = staticmethod(clock)

    def schedule_changed(self) -> bool:
        return self._reads_changes and bool(super().schedule_changed())

    def adjust(self, n: float | None, drift: float = 0.0) -> float | None:
        """Return `n` unchanged. Celery would subtract 10 ms, and then loop until the entry is due."""
        return n

    def apply_entry(self, entry: PeriodicEntry, producer: Any = None) -> None:
        """Queue the entry's task. A tick without due work is queued only every `at_least_every_seconds`."""
        tick = TICKS.get(entry.name)
        if tick is not None:
            is_due = read_boot_clock() >= self._queued_at[tick.name] + tick.at_least_every_seconds
            if not is_due:
                try:
                    is_due = tick.is_anything_due()
                except Error:  # the worker that runs the tick logs the error
                    connection.close_if_unusable_or_obsolete()
                    is_due = True
            if not is_due:
                return
            self._queued_at[tick.name] = read_boot_clock()
        super().apply_entry(entry, producer=producer)

    def close(self) -> None:
        super().close()
        if self._heartbeat is not None:
            self._heartbeat.stop_and_delete_row()
