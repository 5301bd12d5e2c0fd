"""The databases of a test run: migrated once (seconds), then copied by the server (CREATE DATABASE … TEMPLATE)."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations

from guanwecom.environment import database

# The database allows the deletion of audit entries only after this statement.
LET_DELETE_AUDIT = "SET LOCAL guanwecom.removes_old_audit = 'on'"


def connect_to(name: str) -> None:
    """Connect every thread of this process to this database from now on."""
    connection.close()
    connection.settings_dict["NAME"] = name


@contextmanager
def use_database(url: str) -> Iterator[None]:
    """Connect this process to another database while the block runs."""
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
    """Copy the database `source`, or make an empty one. No connection to either may be open."""
    drop(name)
    _administer(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{source}"' if source else ""))


def _administer(statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def hold_lock(lock: Path) -> Iterator[None]:
    """Wait until no other process of this run is inside the block."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def make_migrated(name: str, *, template: str, lock: Path) -> None:
    """Make a database as a first `migrate` leaves it. The first of a run's processes migrates for all."""
    with hold_lock(lock):
        if not lock.read_text():
            copy(None, template)
            connect_to(template)
            call_command("migrate", verbosity=0)
            connection.close()
            lock.write_text("migrated")
        copy(template, name)
    connect_to(name)


def copy_rows() -> list[str]:
    """Copy the rows of the freshly migrated tables. Return the names of the tables that have rows."""
    tables = []
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True, include_views=False):
            cursor.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")')  # noqa: S608  # our tables
            if cursor.fetchone()[0]:
                cursor.execute(f'CREATE TABLE "migrated_{table}" AS SELECT * FROM "{table}"')  # noqa: S608  # our tables
                tables.append(table)
    return tables


def restore_rows(tables: list[str]) -> None:
    """Restore the rows of migrations after `flush`, whose post_migrate signals take 400 ms and give rows other ids."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'INSERT INTO "{table}" SELECT * FROM "migrated_{table}"')  # noqa: S608  # our tables
    apps.get_model("contenttypes", "ContentType").objects.clear_cache()


def write_emptying_sql(operations: BaseDatabaseOperations, tables: list[str]) -> list[str]:
    """Return statements that empty the tables in one transaction and one round trip. Foreign keys are checked at its
    end.

    TRUNCATE makes new files for each table and index, full or not: 300 ms for a hundred tables, where this needs 20.
    As with TRUNCATE, the lock waits for other transactions to end, and their rows are deleted, too.
    """
    names = [operations.quote_name(table) for table in tables]
    deletes = [f"DELETE FROM {name}" for name in names]  # noqa: S608  # our tables
    return ["; ".join([LET_DELETE_AUDIT, f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE", *deletes])]


def somebody_waits() -> bool:
    """Return whether a connection to this database waits for another's lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])
