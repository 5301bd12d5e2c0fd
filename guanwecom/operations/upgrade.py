"""Upgrade of the database: the plan, its obstacles, and the application of pending migrations.

For each table of a pending migration the plan names the lock in PostgreSQL, and whether rows are rewritten, because
processes of the former version use the tables meanwhile.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.core import installation
from integrations.models import Installation

# Upgrades start from this version or a later one.
FIRST_VERSION = "1.1.0"
# The last version that did not record itself in the database.
LAST_UNRECORDED_VERSION = "0.9.0"
BACKUP_MAX_AGE = timedelta(days=1)
# The error of commands that is_pooled() forbids.
POOLED = (
    "This command is connected to PostgreSQL through a connection pooler such as PgBouncer, which would give its "
    "session to others. Set DATABASE_DIRECT_URL to PostgreSQL's own address."
)


def is_pooled() -> bool:
    """Return whether the connection goes through a pooler such as PgBouncer, which reports process ids of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != cursor.connection.info.backend_pid)


class BlockedUse(IntEnum):
    """Kinds of use that a lock on a table blocks for others."""

    NOTHING = 0
    WRITING = 1
    EVERYTHING = 2


class RowWork(IntEnum):
    """The work on a table's rows. The values are generous estimates of the seconds for a million rows. With rows of
    500 bytes and one index, PostgreSQL 18 on two busy cores needed 0.6, 2.6 and 15, without waiting for the disk."""

    NONE = 0
    READ = 1
    INDEX = 5
    REWRITE = 20


@dataclass(frozen=True)
class TableLock:
    """A lock on a table during a migration, and the work on its rows."""

    table: str
    blocks: BlockedUse
    work: RowWork
    row_count: int
    byte_count: int

    @property
    def seconds(self) -> float:
        return self.row_count * self.work / 1_000_000


@dataclass(frozen=True)
class Step:
    """A pending migration. `operations`: Django's descriptions of them. `runs_code`: whether any is RunPython or
    RunSQL."""

    migration: str
    operations: list[str]
    locks: list[TableLock]
    runs_code: bool = False


@dataclass(frozen=True)
class UpgradePlan:
    """The plan of an upgrade. `former_version`: empty for a new database. `refusals`: why the upgrade must not be done.
    `warnings`: what the operator should consider."""

    former_version: str
    steps: list[Step]
    refusals: list[str]
    warnings: list[str]


def make_plan() -> UpgradePlan:
    """Make the plan. Raises django.db.Error."""
    executor = MigrationExecutor(connection)
    former = ""
    if executor.loader.applied_migrations:
        is_recorded = Installation._meta.db_table in connection.introspection.table_names()
        version = Installation.objects.values_list("version", flat=True).first() if is_recorded else None
        former = version or LAST_UNRECORDED_VERSION
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if former:
        steps = []
        state = _read_state(executor) if pending else ProjectState()
        for migration, _is_backwards in pending:
            state, statements = _collect_statements(migration, state)
            described = [operation.describe() for operation in migration.operations]
            runs_code = any(isinstance(operation, RunPython | RunSQL) for operation in migration.operations)
            name = f"{migration.app_label}.{migration.name}"
            steps.append(Step(name, described, find_locks(statements), runs_code))
    else:  # nobody uses the new tables
        steps = [Step(_("all"), [_("%(count)d migrations create the tables") % {"count": len(pending)}], [])]
    refusals, warnings = _find_obstacles(executor, former, steps)
    return UpgradePlan(former, steps, refusals, warnings)


def _find_obstacles(executor: MigrationExecutor, former: str, steps: list[Step]) -> tuple[list[str], list[str]]:
    """Return the plan's refusals and warnings."""
    refusals, warnings = [], []
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        [encoding] = cursor.fetchone()
    if encoding != "UTF8":  # SQL_ASCII, the default of servers without a locale, refuses much of our JSON
        text = _(
            "The database has the encoding %(encoding)s. Create one by createdb --encoding UTF8 --template template0."
        )
        refusals.append(text % {"encoding": encoding})
    if former and installation.parse_version(former) < installation.parse_version(FIRST_VERSION):
        text = _(
            "A database of version %(former)s cannot be upgraded: upgrades start from %(first)s. Create a new database."
        )
        refusals.append(text % {"former": former, "first": FIRST_VERSION})
    # Rewriting or indexing a table takes about as much space as the table.
    needed = sum({lock.table: lock.byte_count for step in steps for lock in step.locks if lock.work}.values())
    free = find_free_bytes()
    if free is None and needed:
        text = _("The free space of the database's disk cannot be seen from here; this needs %(needed)s MB.")
        warnings.append(text % {"needed": _format_megabytes(needed)})
    elif free is not None and free < 2 * needed:  # twice, so that the warning comes with a margin
        text = _("The database's disk has %(free)s MB free; this needs %(needed)s MB.")
        warnings.append(text % {"free": _format_megabytes(free), "needed": _format_megabytes(needed)})
    if former and steps and not refusals:
        now, made = timezone.now(), Installation.objects.values_list("backed_up_at", flat=True).first()
        if made is None:
            warnings.append(_("No backup by guanwecom backup is known. Make one before you upgrade."))
        elif now - made > BACKUP_MAX_AGE:
            text = _("The last backup by guanwecom backup is %(days)d days old. Make one before you upgrade.")
            warnings.append(text % {"days": (now - made).days})
    # Migrations of apps that this version does not have are ignored.
    known, ours = executor.loader.disk_migrations, executor.loader.migrated_apps
    unknown = sorted(key for key in executor.loader.applied_migrations if key not in known and key[0] in ours)
    if unknown:
        names = ", ".join(f"{app}.{name}" for app, name in unknown[:5])
        newer = _("The database has migrations that this version does not know: %(names)s.") % {"names": names}
        if steps:  # the unknown ones are of another branch; the combination is untested
            refusals.append(f"{newer} {_('Install a newer version.')}")
        else:  # a return to the former version, which works with the newer database, as in a rolling upgrade
            warnings.append(f"{newer} {_('It works with them; nothing is reverted.')}")
    return refusals, warnings


def _read_state(executor: MigrationExecutor) -> ProjectState:
    """Return the models as the applied migrations define them."""
    loader = executor.loader
    return loader.project_state([key for key in loader.applied_migrations if key in loader.graph.nodes])


def _collect_statements(migration: Migration, state: ProjectState) -> tuple[ProjectState, list[str]]:
    """Return the models after the migration, and its SQL statements, as Django's sqlmigrate prints them."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        after = migration.apply(state.clone(), editor, collect_sql=True)
    return after, [statement for statement in editor.collected_sql if not statement.startswith("--")]


# By pattern of a statement: what it blocks on the table or index `name`, and its work on the rows. The first match
# counts. Our migrations only lengthen varchars, since the former version still writes to them; that touches no row.
_STATEMENTS = (
    (r'CREATE(?: UNIQUE)? INDEX CONCURRENTLY .*? ON "(?P<name>\w+)"', BlockedUse.NOTHING, RowWork.READ),
    (r'DROP INDEX CONCURRENTLY IF EXISTS "(?P<name>\w+)"', BlockedUse.NOTHING, RowWork.READ),
    (r'CREATE(?: UNIQUE)? INDEX .*? ON "(?P<name>\w+)"', BlockedUse.WRITING, RowWork.INDEX),
    (
        r'ALTER TABLE "(?P<name>\w+)" .*(?:TYPE (?!varchar|text)|GENERATED ALWAYS)',
        BlockedUse.EVERYTHING,
        RowWork.REWRITE,
    ),
    (r'ALTER TABLE "(?P<name>\w+)" ADD COLUMN .* DEFAULT \(?[A-Za-z_]+\(', BlockedUse.EVERYTHING, RowWork.REWRITE),
    (r'ALTER TABLE "(?P<name>\w+)" .*(?:UNIQUE|PRIMARY KEY)', BlockedUse.EVERYTHING, RowWork.INDEX),
    (r'ALTER TABLE "(?P<name>\w+)" .*(?:SET NOT NULL|ADD CONSTRAINT)', BlockedUse.EVERYTHING, RowWork.READ),
    (r'(?:ALTER TABLE|DROP TABLE|DROP INDEX)(?: IF EXISTS)? "(?P<name>\w+)"', BlockedUse.EVERYTHING, RowWork.NONE),
)
_REFERRED = re.compile(r'REFERENCES "(\w+)"')


def find_locks(statements: Iterable[str]) -> list[TableLock]:
    """Return the strongest lock and the most work on each table that exists. Tables that the statements create are left
    out, since nothing uses them yet."""
    wanted: list[tuple[str, BlockedUse, RowWork]] = []  # names of tables and indexes
    for statement in statements:
        wanted += [(name, BlockedUse.WRITING, RowWork.NONE) for name in _REFERRED.findall(statement)]
        for pattern, blocks, work in _STATEMENTS:
            if match := re.match(pattern, statement, re.DOTALL):
                wanted.append((match["name"], blocks, work))
                break
    found: dict[str, TableLock] = {}
    with connection.cursor() as cursor:
        for name, blocks, work in wanted:
            quoted = connection.ops.quote_name(name)
            # Name, estimated number of rows, and bytes with indexes: of the table, or of the table of the index.
            cursor.execute(
                "SELECT relname, greatest(0, reltuples::bigint), pg_total_relation_size(oid) FROM pg_class WHERE oid = "
                "coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(%s)), to_regclass(%s))",
                [quoted, quoted],
            )
            for table, row_count, byte_count in cursor.fetchall():
                former = found.get(table)
                if former is not None:
                    blocks, work = max(blocks, former.blocks), max(work, former.work)
                found[table] = TableLock(table, blocks, work, row_count, byte_count)
    return list(found.values())


def find_free_bytes() -> int | None:
    """Return the free bytes of the database's disk; None on another machine, or without the right to see its folder."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr()")
            is_here = bool(cursor.fetchone()[0])
            cursor.execute("SHOW data_directory")
            folder = Path(cursor.fetchone()[0])
            return shutil.disk_usage(folder).free if is_here else None
    except (DatabaseError, OSError):
        return None


def _format_megabytes(size: int) -> str:
    return f"{-(-size // 1_000_000):,}"


# Limit of each of two locking statements. Together they end before PostgreSQL's deadlock_timeout, 1 s: in a deadlock
# the migration gives up before PostgreSQL ends another process's transaction.
LOCK_MILLISECONDS = 400
# A migration whose tables cannot be locked is tried again for this long.
PATIENCE_SECONDS = 600.0
# PostgreSQL's codes of a lock time-out, a statement time-out and a deadlock.
_IN_USE = {"55P03", "57014", "40P01"}


class TablesInUseError(Exception):
    """A migration could not lock its tables, and was not applied."""


def apply_migrations(write_line: Callable[[str], object], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Apply each migration in its own transaction, which first locks all its tables.

    A transaction that cannot lock all of them at once releases them and tries again, so that other processes wait for
    at most half a second. The statements are generated before the locks, since that takes Django seconds. `write_line`:
    called with a line for each migration. Raises TablesInUseError after `patience_seconds`, and django.db.Error.
    """
    executor = MigrationExecutor(connection)
    state = _read_state(executor)
    for migration, _is_backwards in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        name, give_up_at = f"{migration.app_label}.{migration.name}", time.monotonic() + patience_seconds
        after, statements = _collect_statements(migration, state)
        while True:
            try:
                _apply_migration(executor, migration, state, statements)
                break
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", "") not in _IN_USE:
                    raise
                if time.monotonic() > give_up_at:
                    sentence = _(
                        "The tables of %(migration)s are always in use. It was not applied; the migrations before it "
                        "were. Stop workers and beat, or look in pg_stat_activity for a transaction that does not end. "
                        "Then run the upgrade again."
                    )
                    raise TablesInUseError(sentence % {"migration": name}) from None
            time.sleep(random.uniform(0.2, 2))  # noqa: S311  # no secret
        state = after
        write_line(_("%(migration)s: done") % {"migration": name})


def _apply_migration(
    executor: MigrationExecutor, migration: Migration, state: ProjectState, statements: list[str]
) -> None:
    if not migration.atomic:  # it creates an index concurrently, which no transaction may do
        executor.apply_migration(state.clone(), migration)
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
            cursor.execute(f"SET LOCAL statement_timeout = {LOCK_MILLISECONDS}")
            locks = find_locks(statements)  # within the time-out, since reading a table's size may wait for a lock
            for blocks, mode in (
                (BlockedUse.EVERYTHING, "ACCESS EXCLUSIVE"),
                (BlockedUse.WRITING, "SHARE ROW EXCLUSIVE"),
            ):
                tables = sorted(lock.table for lock in locks if lock.blocks is blocks)
                if tables:
                    cursor.execute(f"LOCK TABLE {', '.join(map(connection.ops.quote_name, tables))} IN {mode} MODE")
            cursor.execute("SET LOCAL statement_timeout = 0")
        if all(operation.reduces_to_sql for operation in migration.operations):
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            executor.recorder.record_applied(migration.app_label, migration.name)
        else:
            executor.apply_migration(state.clone(), migration)
