"""The databases of a test run: migrated once, then copied by the server (CREATE DATABASE … TEMPLATE).

To migrate takes seconds; to copy the result takes none.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations

from guanwecom.environment import database

# The database lets nobody else delete entries of the audit trail.
LET_DELETE_AUDIT = "SET LOCAL guanwecom.removes_old_audit = 'on'"


def use(name: str) -> None:
    """From now on every thread of this process connects to this database."""
    connection.close()
    connection.settings_dict["NAME"] = name


@contextmanager
def used(url: str) -> Iterator[None]:
    """This process asks that database meanwhile."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database(url), CONN_MAX_AGE=0)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(before)


def drop(name: str) -> None:
    _administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def copy(source: str | None, name: str) -> None:
    """Make a database as `source` is, or an empty one. Nobody may be connected to either."""
    drop(name)
    _administer(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{source}"' if source else ""))


def _administer(statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process of this run is inside."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def make_migrated(name: str, *, template: str, lock: Path) -> None:
    """Make a database that holds what a first `migrate` leaves. The first of a run's processes migrates for all."""
    with alone(lock):
        if not lock.read_text():
            copy(None, template)
            use(template)
            call_command("migrate", verbosity=0)
            connection.close()
            lock.write_text("migrated")
        copy(template, name)
    use(name)


def keep_rows() -> list[str]:
    """Keep a copy of what the freshly migrated tables hold, and return the names of those that hold anything."""
    kept = []
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True, include_views=False):
            cursor.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")')  # noqa: S608  # our tables
            if cursor.fetchone()[0]:
                cursor.execute(f'CREATE TABLE "migrated_{table}" AS SELECT * FROM "{table}"')  # noqa: S608  # our tables
                kept.append(table)
    return kept


def put_back(kept: list[str]) -> None:
    """After `flush`, leave what its post_migrate would: 400 ms of signals make the same rows anew, with other ids."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in kept:
            cursor.execute(f'INSERT INTO "{table}" SELECT * FROM "migrated_{table}"')  # noqa: S608  # our tables
    apps.get_model("contenttypes", "ContentType").objects.clear_cache()


def statements_that_empty(operations: BaseDatabaseOperations, tables: list[str]) -> list[str]:
    """In one transaction and one round trip. Foreign keys are looked at when it ends.

    Why not TRUNCATE? It makes new files for each table and its indexes, full or not, and needs 300 ms for a hundred
    tables where this needs 20. The lock waits, as TRUNCATE does, until others' transactions have ended; their rows go,
    too.
    """
    names = [operations.quote_name(table) for table in tables]
    deletes = [f"DELETE FROM {name}" for name in names]  # noqa: S608  # our tables
    return ["; ".join([LET_DELETE_AUDIT, f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE", *deletes])]


def somebody_waits() -> bool:
    """Whether a connection to this database waits for another's lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])
