"""Readiness of this process: database and Valkey accept writes, migrations are applied.

A load balancer asks every few seconds. Valkey is written to each time, the database only as often as this process
writes its sign of life anyway.
"""

from __future__ import annotations

from functools import cache

import redis
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from integrations.clients.clock import read_boot_clock
from integrations.core import heartbeats
from integrations.core.redis import valkey
from integrations.models import Heartbeat

_PROBE_KEY, _PROBE_SECONDS = "health:probe", 60
# PostgreSQL's read_only_sql_transaction and disk_full.
_DATABASE_REASONS = {"25006": "read-only", "53100": "disk full"}
# Sorts more than PostgreSQL's smallest working memory holds, and so needs some room on its disk for a moment.
_SPILL = "SELECT count(*) FROM (SELECT md5(n::text) FROM generate_series(1, 5000) n ORDER BY 1 OFFSET 0) spilled"
NO_ANSWER = "no answer"


def failures() -> list[str]:
    """Each part that fails, with its reason in brackets; nothing where people can be served."""
    valkey_reason = valkey_failure()
    return [found for found in (_database_failure(), f"valkey ({valkey_reason})" if valkey_reason else "") if found]


def _database_failure() -> str:
    try:
        if missing := own_migrations() - _applied_migrations():
            return f"migrations ({len(missing)} not applied)"
        write_probe.write()
    except Error as error:
        return f"database ({_reason(error)})"
    return ""


@cache
def own_migrations() -> frozenset[tuple[str, str]]:
    """The last ones of each app that this code brings. Those of newer code may be there as well."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())


def _applied_migrations() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connection).applied_migrations())


class _WriteProbe:
    """Writes this process's sign of life where the last one is old enough; after a failure each time."""

    def __init__(self) -> None:
        self._written_at: float | None = None

    def write(self) -> None:
        """Raises django.db.Error."""
        now = read_boot_clock()
        if self._written_at is not None and now - self._written_at < heartbeats.HEARTBEAT_SECONDS:
            return
        self.forget()
        with transaction.atomic():
            heartbeats.beat(kind=Heartbeat.Kind.WEB, name=heartbeats.process_name())
            _write_to_disk()
        self._written_at = now

    def forget(self) -> None:
        """The next call writes, whenever the last one did."""
        self._written_at = None


write_probe = _WriteProbe()


def _write_to_disk() -> None:
    """The heartbeat's row finds room on a full disk for long; what people write does not. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute(_SPILL)


def _reason(error: Error) -> str:
    return _DATABASE_REASONS.get(getattr(error.__cause__, "sqlstate", None) or "", NO_ANSWER)


def valkey_failure() -> str:
    """Return why Valkey takes no writes; empty where it does."""
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
