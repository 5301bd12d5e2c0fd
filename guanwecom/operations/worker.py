"""The heartbeat of each process, and the consumer of workers.

Every process checks all heartbeats, so a living one reports dead ones. The consumer takes no task in a copy of the
database, and survives the loss of the broker: a worker of Celery 5.7 with kombu 5.7 ends ("Unrecoverable error:
AttributeError") if the broker disappears during a task, as `make chaos` showed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.signals import worker_shutdown
from celery.worker.consumer import Consumer
from celery.worker.state import active_requests, maybe_shutdown, reserved_requests
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connections

from guanwecom.operations import watch
from integrations.core import heartbeats, installation
from integrations.core.background import log_errors
from integrations.models import Heartbeat

logger = logging.getLogger(__name__)


class HeartbeatThread(threading.Thread):
    """Thread that writes this process's heartbeat every few seconds until `stop()`.

    `queues`: returns the queues that the process serves, or None while it cannot work; then nothing is written.
    `watches`: the thread also checks all processes (guanwecom.operations.watch), and keeps its database connection
    between heartbeats. A process that forks must not watch, since the children would inherit the connection.
    """

    def __init__(self, kind: Heartbeat.Kind, queues: Callable[[], Collection[str] | None], *, watches: bool) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._kind, self._list_queues, self._watches = kind, queues, watches
        self._process = heartbeats.build_process_name()
        self._stopped = threading.Event()
        self._is_failing = False
        self._database = watch.DatabaseWatch()

    def run(self) -> None:
        # Use a connection outside the tasks' pool: a forked child would not have the threads of the pool.
        own = connections["default"].copy()
        options = own.settings_dict.get("OPTIONS", {})
        own.settings_dict["OPTIONS"] = {name: value for name, value in options.items() if name != "pool"}
        connections["default"] = own
        try:
            while True:
                self._beat()
                if self._stopped.wait(heartbeats.HEARTBEAT_SECONDS):
                    return
        finally:
            connections.close_all()

    def stop(self) -> None:
        self._stopped.set()

    def stop_and_delete_row(self) -> None:
        """Stop, and delete the heartbeat's row. Called when the process ends normally."""
        self.stop()
        try:
            heartbeats.delete_heartbeat(kind=self._kind, name=self._process)
        except Error as error:
            logger.warning("the heartbeat was not deleted: %s", type(error).__name__)

    def _beat(self) -> None:
        has_succeeded = False
        try:
            with log_errors(logger, "heartbeat failed", unless=(Error,)):
                queues = self._list_queues()
                if queues is not None:
                    heartbeats.write_heartbeat(kind=self._kind, name=self._process, queues=queues)
                    touch_heartbeat_file()
                if self._watches:
                    watch.refresh_contacts()
                    watch.check_engine()
                    self._database.note_answer(answers=True)
                self._is_failing = False
                has_succeeded = True
        except Error as error:
            if not self._is_failing:
                logger.warning("no heartbeat can be written: %s", type(error).__name__)
            self._is_failing = True
            if self._watches and isinstance(error, OperationalError | InterfaceError):
                self._database.note_answer(answers=False)
        finally:
            # Close the connection after an error, or if the process may fork. Otherwise keep it: opening one costs more
            # than all queries of a heartbeat.
            if not (has_succeeded and self._watches):
                connections.close_all()


def touch_heartbeat_file() -> None:
    """Touch settings.HEARTBEAT_FILE, which containers' health checks read."""
    if settings.HEARTBEAT_FILE:
        Path(settings.HEARTBEAT_FILE).touch()


class HeartbeatStep(bootsteps.StartStopStep):
    """Step of a worker's consumer (guanwecom.celery) that runs a HeartbeatThread for each connection to the broker."""

    requires = ("celery.worker.consumer:Tasks",)
    thread: HeartbeatThread | None = None

    def start(self, consumer: Any) -> None:
        # A prefork worker may fork at any moment, also while this thread sends mail, so it must not watch.
        is_prefork = "prefork" in consumer.controller.pool_cls.__module__
        self.thread = HeartbeatThread(Heartbeat.Kind.WORKER, lambda: _list_queues(consumer), watches=not is_prefork)
        self.thread.start()
        worker_shutdown.connect(self._delete_row, dispatch_uid="heartbeat")

    def stop(self, _consumer: Any) -> None:
        if self.thread is not None:
            self.thread.stop()

    def _delete_row(self, **_signal: Any) -> None:
        if self.thread is not None:
            self.thread.stop_and_delete_row()


def _list_queues(consumer: Any) -> list[str] | None:
    tasks = consumer.task_consumer
    return [queue.name for queue in tasks.queues] if tasks else None


# In a copy of the database, a worker checks this often, in seconds, whether the copy was confirmed, or whether to end.
COPY_CHECK_SECONDS = 2


class ResilientConsumer(Consumer):
    """Consumer of workers (setting worker_consumer in guanwecom.celery)."""

    # Attributes of Celery that its stubs lack.
    controller: Any
    prefetch_multiplier: int

    def start(self) -> None:
        """Start as soon as the database is reachable and is not a copy."""
        while True:
            try:
                if not installation.is_copy():
                    break
                installation.copy_warning.log("this worker takes no task")
            except Error as error:
                logger.warning("no task is taken while the database is unreachable (%s)", type(error).__name__)
            finally:
                connections.close_all()
            touch_heartbeat_file()
            maybe_shutdown()
            time.sleep(COPY_CHECK_SECONDS)
        super().start()

    @property
    def max_prefetch_count(self) -> int:
        """The count for the largest number of processes. With --autoscale, Celery multiplies by the running ones, which
        may be none: after a lost connection a worker would run one task at a time, and never a second process."""
        return int(self.controller.max_concurrency or self.pool.num_processes) * self.prefetch_multiplier

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Survive the loss of the broker. Unacknowledged tasks return later, and their work is in the database."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            # Celery dropped the connection before it failed. Mark all tasks as acknowledged, since a task that
            # acknowledged on the lost connection would also end the worker.
            for request in {*active_requests, *reserved_requests}:
                request.acknowledged = True
            logger.warning("the lost connection to the broker could not be closed: %s", error)
