"""Heartbeats, with a row for each process, and readiness: whether this process can serve people.

Heartbeats are in the database and use its clock, so an emptied Valkey or differing clocks declare no process dead.
A load balancer asks for readiness every few seconds. Each time it writes to Valkey, but to the database only as often
as this process writes its heartbeat anyway.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache, lru_cache

import redis
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.clients.transport import read_boot_clock
from integrations.core.redis import valkey
from integrations.models import Heartbeat

HEARTBEAT_SECONDS = 5  # between two heartbeats of a process
# A process without a heartbeat for so many seconds, four intervals, counts as dead.
STALE_SECONDS = 20
# When a process starts, rows of dead processes are deleted: of its kind and queues after an hour, others after days.
_REPLACED_AFTER = timedelta(hours=1)
_FORGOTTEN_AFTER = timedelta(days=7)


def build_process_name() -> str:
    """Return the unique name of this process: host and id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def write_heartbeat(*, kind: Heartbeat.Kind, name: str, queues: Collection[str] = ()) -> None:
    """Write a heartbeat. `queues`: the queues that a worker consumes now. Raises django.db.Error."""
    joined = ",".join(sorted(queues))
    if Heartbeat.objects.filter(kind=kind, name=name).update(queues=joined, beat_at=Now()):
        return
    # A new process deletes rows of processes that it replaces, and of those dead for a long time.
    Heartbeat.objects.filter(kind=kind, queues=joined, beat_at__lt=Now() - _REPLACED_AFTER).delete()
    Heartbeat.objects.filter(beat_at__lt=Now() - _FORGOTTEN_AFTER).delete()
    Heartbeat.objects.bulk_create(
        [Heartbeat(kind=kind, name=name, queues=joined, beat_at=Now())], ignore_conflicts=True
    )


def find_living_processes() -> QuerySet[Heartbeat]:
    """Return rows of processes with a heartbeat within STALE_SECONDS."""
    return Heartbeat.objects.filter(beat_at__gt=Now() - timedelta(seconds=STALE_SECONDS))


def delete_heartbeat(*, kind: Heartbeat.Kind, name: str) -> None:
    """Delete the row of a process that was told to end. Raises django.db.Error.

    The rows of dead processes that it replaced go, too: they would otherwise be reported as dead.
    """
    for queues in Heartbeat.objects.filter(kind=kind, name=name).values_list("queues", flat=True):
        dead = Q(queues=queues, beat_at__lt=Now() - timedelta(seconds=STALE_SECONDS))
        Heartbeat.objects.filter(dead | Q(name=name), kind=kind).delete()


def is_served(queue: str, *, now: datetime) -> bool:
    """Return whether a living worker consumes the queue. `now`: by the database's clock, like the heartbeats."""
    living = Heartbeat.objects.filter(kind=Heartbeat.Kind.WORKER, beat_at__gt=now - timedelta(seconds=STALE_SECONDS))
    return any(queue in queues.split(",") for queues in living.values_list("queues", flat=True))


# --- Readiness --------------------------------------------------------------------------------------------------------

_PROBE_KEY, _PROBE_SECONDS = "health:probe", 60
# PostgreSQL's read_only_sql_transaction and disk_full.
_DATABASE_REASONS = {"25006": "read-only", "53100": "disk full"}
# Sorts more than PostgreSQL's smallest working memory holds, and so needs some disk space for a moment.
_SPILL = "SELECT count(*) FROM (SELECT md5(n::text) FROM generate_series(1, 5000) n ORDER BY 1 OFFSET 0) spilled"
NO_ANSWER = "no answer"


def find_readiness_failures() -> list[str]:
    """Return each part that fails, with the reason in brackets; an empty list if people can be served."""
    failures = []
    try:
        if missing := find_own_migrations() - set(MigrationRecorder(connection).applied_migrations()):
            failures.append(f"migrations ({len(missing)} not applied)")
        else:
            probe_writes(int(read_boot_clock() / HEARTBEAT_SECONDS))
    except Error as error:
        state = getattr(error.__cause__, "sqlstate", None) or ""
        failures.append(f"database ({_DATABASE_REASONS.get(state, NO_ANSWER)})")
    if reason := find_valkey_failure():
        failures.append(f"valkey ({reason})")
    return failures


@cache
def find_own_migrations() -> frozenset[tuple[str, str]]:
    """Return each app's last migration in this code. The database may have later ones of newer code."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())


@lru_cache(maxsize=1)
def probe_writes(_moment: int) -> None:
    """Write this process's heartbeat, once for each `_moment`; after a failure the next call tries again. Raises
    django.db.Error."""
    with transaction.atomic():
        write_heartbeat(kind=Heartbeat.Kind.WEB, name=build_process_name())
        # On a full disk the heartbeat's row still fits for a long time, but people's data does not.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '64kB'")
            cursor.execute(_SPILL)


def find_valkey_failure() -> str:
    """Return why Valkey accepts no writes; empty if it does."""
    try:
        valkey().set(_PROBE_KEY, 1, ex=_PROBE_SECONDS)
    except redis.exceptions.OutOfMemoryError:
        return "memory full"
    except redis.exceptions.ReadOnlyError:
        return "read-only"
    except redis.ResponseError as error:
        return "cannot save to its disk" if str(error).startswith("MISCONF") else NO_ANSWER
    except redis.RedisError:
        return NO_ANSWER
    return ""
