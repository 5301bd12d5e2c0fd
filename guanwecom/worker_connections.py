"""Database connections of workers and beat. A worker's tasks share a pool.

Celery closes a task's connection when the task ends. Opening the next one would cost some 10 ms of processor time, as
much as sending a dozen messages. With a pool, closing a connection only returns it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # no stub of it
from celery.signals import beat_init, worker_init
from django.db import connection, connections

# While a worker has no tasks, its pool closes one connection every so many seconds.
IDLE_SECONDS = 15
# Seconds that a task waits for a connection while the database is unreachable.
WAIT_SECONDS = 10
# Connections besides those of the tasks: one for the worker's own thread, one that renewals of leases use in turn.
EXTRA_CONNECTIONS = 2


@worker_init.connect(weak=False)
def pool_connections(sender: Any = None, **_signal: Any) -> None:
    """Set up the pool before a worker's first task: from then on, closing a connection returns it to the pool."""
    connections.close_all()
    database = connections.databases["default"]
    size = {"min_size": 0, "max_size": sender.concurrency + EXTRA_CONNECTIONS}
    database["OPTIONS"] = {
        **database.get("OPTIONS", {}),
        "pool": {**size, "max_idle": IDLE_SECONDS, "timeout": WAIT_SECONDS},
    }
    database["CONN_MAX_AGE"] = 0  # the pool decides


def fixup(app: Celery) -> DjangoFixup:
    """Install our fixup in place of Celery's own; guanwecom.celery names it."""
    installed_fixup = _Fixup(app)
    installed_fixup.install()
    return installed_fixup


class _Fixup(DjangoFixup):
    @cached_property
    def worker_fixup(self) -> DjangoWorkerFixup:  # created later than `fixup`, since it reads the settings
        return _WorkerFixup(self.app)


class _WorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]  # as above
    """Fixup that keeps the pool of a forked process, which draws pictures, open. Celery would close it before and after
    each task there, so that each picture would begin with four new threads and a new connection."""

    # The parent's pools and connections. They must stay referenced: their destructors would wait for locks that threads
    # of the parent held, and would end the parent's connections.
    _inherited: tuple[Any, ...] = ()

    def on_worker_process_init(self, **_signal: Any) -> None:
        """Detach a forked process from the parent's connections before its first task."""
        pools = connection._connection_pools  # type: ignore[attr-defined]  # only PostgreSQL's backend has it
        self._inherited = (dict(pools), connections.all(initialized_only=True))
        pools.clear()
        for alias in connections:
            with suppress(AttributeError):  # this thread has no connection of that alias
                del connections[alias]
        self.close_cache()

    def _is_prefork(self) -> bool:
        """Return False, so that Celery does not close the pool."""
        return False


@beat_init.connect(weak=False)
def keep_connection(**_signal: Any) -> None:
    """Keep beat's connection open, and do not test it before each query.

    Beat queries twice for each entry whether its schedule changed; testing the connection each time would add a fifth
    to its work. After an error a new connection is opened (DatabaseScheduler.schedule_changed).
    """
    connections.close_all()
    connections.databases["default"].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=False)
