"""Database connections of workers and beat; a worker's tasks share them.

Celery closes a task's connection when the task ends, so that an idle worker holds none. Opening the next one costs
PostgreSQL and us some 10 ms of processor time, as much as sending a dozen messages.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # no stub of it
from celery.signals import beat_init, worker_init
from django.db import connection, connections

# A worker that has nothing to do closes one connection after the other, one in so many seconds. It keeps the last one:
# it looks at the engine more often than that.
IDLE_SECONDS = 15
# How long a task waits for a connection while the database is away.
WAIT_SECONDS = 10
# Beside those of the tasks: for the worker's own thread, and for renewals of leases, which take turns.
SPARE = 2


@worker_init.connect(weak=False)
def pool_connections(sender: Any = None, **_signal: Any) -> None:
    """Called in a worker before its first task: from then on closing a connection gives it back to a pool."""
    connections.close_all()
    database = connections.databases["default"]
    size = {"min_size": 0, "max_size": sender.concurrency + SPARE}
    database["OPTIONS"] = {
        **database.get("OPTIONS", {}),
        "pool": {**size, "max_idle": IDLE_SECONDS, "timeout": WAIT_SECONDS},
    }
    database["CONN_MAX_AGE"] = 0  # the pool decides


def fixup(app: Celery) -> DjangoFixup:
    """Named in guanwecom.celery, in place of Celery's own."""
    found = _Fixup(app)
    found.install()
    return found


class _Fixup(DjangoFixup):
    @cached_property
    def worker_fixup(self) -> DjangoWorkerFixup:  # later than `fixup`: it reads the settings
        return _WorkerFixup(self.app)


class _WorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]  # as above
    """Before and after each task Celery closes its connection, and in a forked process the pool as well: then each
    chart would begin with four threads and a new connection."""

    # What a forked process has of its parent's. Kept: its locks may be held by threads that are not here, and closing
    # its connections would end them there.
    _inherited: tuple[Any, ...] = ()

    def on_worker_process_init(self, **_signal: Any) -> None:
        """Called in each forked process before its first task."""
        pools = connection._connection_pools  # type: ignore[attr-defined]  # PostgreSQL's alone has it
        self._inherited = (dict(pools), connections.all(initialized_only=True))
        pools.clear()
        for alias in connections:
            with suppress(AttributeError):  # not used by this thread
                del connections[alias]
        self.close_cache()

    def _is_prefork(self) -> bool:
        """Asked whether the pool is to be closed with the connection."""
        return False


@beat_init.connect(weak=False)
def keep_connection(**_signal: Any) -> None:
    """Called in beat before its first tick: its connection lasts, and is not tested before each question.

    Why? Beat asks twice for each entry whether its schedule changed, and lets the connection be looked after each time:
    a fifth of its work. After an error it takes a new one (DatabaseScheduler.schedule_changed).
    """
    connections.close_all()
    connections.databases["default"].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=False)
