"""A thread in each process that writes its heartbeat and watches all others.

Every process looks, so that whoever is left tells: a web process where all workers are dead, a worker where beat is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connections

from guanwecom.operations import operators, watch
from integrations.core import heartbeats
from integrations.core.background import guarded
from integrations.models import Heartbeat

logger = logging.getLogger(__name__)


class Pulse(threading.Thread):
    """Beats until `end()`. `queues`: those that the process takes from, asked each time; None while it does not do its
    work, and then no sign of life is written. `watches`: also looks at all others, and keeps its connection from one
    beat to the next; not in a process that forks children."""

    def __init__(self, kind: Heartbeat.Kind, queues: Callable[[], Collection[str] | None], *, watches: bool) -> None:
        super().__init__(name="pulse", daemon=True)
        self._kind, self._queues, self._watches = kind, queues, watches
        self._process = heartbeats.process_name()
        self._ended = threading.Event()
        self._is_failing = False
        self._database = watch.DatabaseWatch()

    def run(self) -> None:
        _use_own_connection()
        try:
            while True:
                self._beat()
                if self._ended.wait(heartbeats.HEARTBEAT_SECONDS):
                    return
        finally:
            connections.close_all()

    def end(self) -> None:
        self._ended.set()

    def forget(self) -> None:
        """End, and take the sign of life back: the process ends in order."""
        self.end()
        try:
            heartbeats.end(kind=self._kind, name=self._process)
        except Error as error:
            logger.warning("the heartbeat was not taken back: %s", type(error).__name__)

    def _beat(self) -> None:
        is_whole = False
        try:
            with guarded(logger, "heartbeat failed", unless=(Error,)):
                queues = self._queues()
                if queues is not None:
                    heartbeats.beat(kind=self._kind, name=self._process, queues=queues)
                    touch_file()
                if self._watches:
                    operators.remember()
                    watch.check()
                    self._database.answered()
                self._is_failing = False
                is_whole = True
        except Error as error:
            if not self._is_failing:
                logger.warning("no heartbeat can be written: %s", type(error).__name__)
            self._is_failing = True
            if self._watches and isinstance(error, OperationalError | InterfaceError):
                self._database.failed()
        finally:
            # After an error the next beat opens another one. A child that is forked meanwhile must inherit none. Else
            # it is kept: to open one costs more than all that a beat asks.
            if not (is_whole and self._watches):
                connections.close_all()


def _use_own_connection() -> None:
    """A connection of this thread outside the workers' pool, whose threads a forked child would miss."""
    own = connections["default"].copy()
    own.settings_dict["OPTIONS"] = {
        name: value for name, value in own.settings_dict.get("OPTIONS", {}).items() if name != "pool"
    }
    connections["default"] = own


def touch_file() -> None:
    """For who asks a container whether it is well."""
    if settings.HEARTBEAT_FILE:
        Path(settings.HEARTBEAT_FILE).touch()


def start_in_web() -> Pulse:
    """Called by a web process once it is ready to serve."""
    pulse = Pulse(Heartbeat.Kind.WEB, lambda: (), watches=True)
    pulse.start()
    return pulse
