"""Database connections of workers and beat. A worker's tasks share a pool.

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

# A worker without tasks closes one connection in each such interval. The last one stays open, since the worker checks
# the engine more often.
IDLE_SECONDS = 15
# The longest wait of a task for a connection while the database is unreachable.
WAIT_SECONDS = 10
# Connections besides those of the tasks: one for the worker's own thread, one for renewals of leases, which take turns.
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
    installed = _Fixup(app)
    installed.install()
    return installed


class _Fixup(DjangoFixup):
    @cached_property
    def worker_fixup(self) -> DjangoWorkerFixup:  # created later than `fixup`, since it reads the settings
        return _WorkerFixup(self.app)


class _WorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]  # as above
    """Fixup that keeps the pool of a forked process open. Celery closes its connection before and after each task, in a
    forked process also the pool: each chart would begin with four threads and a new connection."""

    # The parent's pools and connections. They must stay referenced: threads of the parent may hold their locks, and
    # closing the connections would end them in the parent.
    _inherited: tuple[Any, ...] = ()

    def on_worker_process_init(self, **_signal: Any) -> None:
        """Detach a forked process from the parent's connections before its first task."""
        pools = connection._connection_pools  # type: ignore[attr-defined]  # only PostgreSQL's backend has it
        self._inherited = (dict(pools), connections.all(initialized_only=True))
        pools.clear()
        for alias in connections:
            with suppress(AttributeError):  # this thread has not used it
                del connections[alias]
        self.close_cache()

    def _is_prefork(self) -> bool:
        """Return False, so that the pool is not closed with the connection."""
        return False


@beat_init.connect(weak=False)
def keep_connection(**_signal: Any) -> None:
    """Keep beat's connection open, and do not test it before each query.

    Beat asks twice for each entry whether its schedule changed. Testing the connection each time would be a fifth of
    its work. After an error it opens a new connection (DatabaseScheduler.schedule_changed).
    """
    connections.close_all()
    connections.databases["default"].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=False)
