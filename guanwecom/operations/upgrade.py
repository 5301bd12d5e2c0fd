"""Plans an upgrade of this database with its obstacles, then applies the pending migrations.

For each operation the plan names the lock in PostgreSQL, and whether rows are rewritten. Migrations are applied while
processes of the former version use the tables.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import DatabaseError, OperationalError, connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations import Migration, operations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field
from django.utils import timezone
from django.utils.translation import gettext as _

from integrations.core import installation
from integrations.models import Installation

# Upgrades start from this version or a later one.
FIRST = "1.1.0"
# The last version that did not record itself in the database.
UNRECORDED = "0.9.0"
BACKUP_FRESH = timedelta(days=1)
# Why some commands are refused if is_pooled().
POOLED = (
    "A connection pooler, as PgBouncer, stands between this command and PostgreSQL, and would mix its session with "
    "those of others. Name PostgreSQL's own address in DATABASE_DIRECT_URL."
)


def is_pooled() -> bool:
    """Return whether a connection pooler such as PgBouncer is in between: it reports process ids of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != cursor.connection.info.backend_pid)


@dataclass(frozen=True)
class Step:
    """An operation of a pending migration. `lock` is None if the schema does not change."""

    migration: str
    text: str
    lock: Lock | None
    row_count: int
    byte_count: int


@dataclass(frozen=True)
class Plan:
    """The plan of an upgrade. `former_version`: empty for a new database. `refusals`: why it must not be done;
    `warnings`: what the operator should consider."""

    former_version: str
    steps: list[Step]
    refusals: list[str]
    warnings: list[str]


def read() -> Plan:
    """Make the plan. Raises django.db.Error."""
    executor = MigrationExecutor(connection)
    former = _former_version(executor)
    if former:
        steps = list(_steps(executor))
    else:  # all tables are new, and nothing waits for them
        count = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        steps = [Step(_("all"), _("%(count)d migrations make the tables") % {"count": count}, None, 0, 0)]
    refusals = [*_encoding(), *_refuse_old(former)]
    warnings = [*_space(steps), *(_backup(timezone.now()) if former and steps else [])]
    # Only apps whose migrations we have count.
    known, ours = executor.loader.disk_migrations, executor.loader.migrated_apps
    unknown = sorted(key for key in executor.loader.applied_migrations if key not in known and key[0] in ours)
    if unknown:
        names = ", ".join(f"{app}.{name}" for app, name in unknown[:5])
        newer = _("The database has migrations that this version does not know: %(names)s.") % {"names": names}
        if steps:  # they are another branch's, and nobody has tried both together
            refusals.append(f"{newer} {_('Install a newer one.')}")
        else:  # a return to the former version, which runs on the newer database as in a rolling upgrade
            warnings.append(f"{newer} {_('It runs on them; nothing is taken back.')}")
    return Plan(former, steps, refusals, warnings)


def _former_version(executor: MigrationExecutor) -> str:
    if not executor.loader.applied_migrations:
        return ""
    if Installation._meta.db_table not in connection.introspection.table_names():
        return UNRECORDED
    return Installation.objects.values_list("version", flat=True).first() or UNRECORDED


def _encoding() -> list[str]:
    """Refuse encodings other than UTF8. SQL_ASCII, used by servers without a locale, refuses much of our JSON."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        [encoding] = cursor.fetchone()
    if encoding == "UTF8":
        return []
    text = _("The database has the encoding %(encoding)s. Make one by createdb --encoding UTF8 --template template0.")
    return [text % {"encoding": encoding}]


def _refuse_old(former: str) -> list[str]:
    if not former or installation.numbers(former) >= installation.numbers(FIRST):
        return []
    text = _(
        "A database of version %(former)s cannot be upgraded: upgrades start from %(first)s. Begin with a new one."
    )
    return [text % {"former": former, "first": FIRST}]


def _steps(executor: MigrationExecutor) -> Iterator[Step]:
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not pending:
        return
    loader = executor.loader
    state = loader.project_state([key for key in loader.applied_migrations if key in loader.graph.nodes])
    for migration, _is_backwards in pending:
        for operation in migration.operations:
            before = state.clone()
            operation.state_forwards(migration.app_label, state)
            found: list[Lock | None] = [*of(operation, migration.app_label, before, state)]
            for lock in found or [None]:
                rows, size = _size(lock.table) if lock is not None and lock.table else (0, 0)
                yield Step(f"{migration.app_label}.{migration.name}", operation.describe(), lock, rows, size)


def _size(table: str) -> tuple[int, int]:
    """Return the planner's estimate of rows, and the bytes with indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint, pg_total_relation_size(oid) FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        found = cursor.fetchone() or (0, 0)
        return max(0, found[0]), found[1]


# --- Warnings for the operator ----------------------------------------------------------------------------------------


def _space(steps: list[Step]) -> list[str]:
    """Warn of too little space: rewriting or indexing a table needs its size once more."""
    needed = sum({step.lock.table: step.byte_count for step in steps if step.lock and step.lock.work.value}.values())
    free = free_bytes()
    if free is None:
        text = _("The free space of the database's disk is not known here; it needs %(needed)s MB.")
        return [text % {"needed": _megabytes(needed)}] * (needed > 0)
    text = _("The database's disk has %(free)s MB free; this needs %(needed)s MB.")
    return [text % {"free": _megabytes(free), "needed": _megabytes(needed)}] * (free < 2 * needed)


def free_bytes() -> int | None:
    """Return the free bytes of the database's disk; None on another machine, or if our role may not see its folder."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr()")
            is_here = bool(cursor.fetchone()[0])
            cursor.execute("SHOW data_directory")
            folder = Path(cursor.fetchone()[0])
            return shutil.disk_usage(folder).free if is_here else None
    except (DatabaseError, OSError):
        return None


def _megabytes(size: int) -> str:
    return f"{-(-size // 1_000_000):,}"


def _backup(now: datetime) -> list[str]:
    made = None
    if Installation._meta.db_table in connection.introspection.table_names():
        made = Installation.objects.values_list("backed_up_at", flat=True).first()
    if made is None:
        return [_("No backup by guanwecom backup is known. Make one before you upgrade.")]
    if now - made > BACKUP_FRESH:
        text = _("The last backup by guanwecom backup is %(days)d days old. Make one before you upgrade.")
        return [text % {"days": (now - made).days}]
    return []


# Estimated rows a second. With a million rows of 500 bytes, PostgreSQL 18 on two busy cores rewrote 67,000 a second
# with one index, indexed 390,000 and read 1,800,000, without waiting for its disk.
REWRITTEN_A_SECOND = 50_000
INDEXED_A_SECOND = 200_000
READ_A_SECOND = 1_000_000


class Work(Enum):
    """The work on a table's rows, with the rows a second. None: no work; 0: unknown."""

    NONE = None
    READ = READ_A_SECOND
    INDEX = INDEXED_A_SECOND
    REWRITE = REWRITTEN_A_SECOND
    UNKNOWN = 0


@dataclass(frozen=True)
class Lock:
    """The lock of an operation. `table`: empty if unknown. `blocks`: the operations of others that it blocks."""

    table: str
    blocks: str
    work: Work

    def seconds(self, row_count: int) -> float | None:
        """Estimate the seconds; None if unknown."""
        if self.work is Work.UNKNOWN:
            return None
        return row_count / self.work.value if self.work.value else 0.0


_ONLY_STATE = operations.AlterModelOptions | operations.AlterModelManagers | operations.AlterOrderWithRespectTo
NOTHING = "nothing"
WRITES = "writing"
EVERYTHING = "reading and writing"


def of(operation: Operation, app: str, before: ProjectState, after: ProjectState) -> list[Lock]:
    """Return the locks of one operation, between the states before and after it; none if the schema does not change."""
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return [lock for one in operation.database_operations for lock in of(one, app, before, after)]
    if isinstance(operation, operations.RunPython | operations.RunSQL):
        return [Lock("", "what its code touches", Work.UNKNOWN)]
    if not getattr(operation, "reduces_to_sql", True) or isinstance(operation, _ONLY_STATE):
        return []
    if isinstance(operation, operations.CreateModel):  # nothing uses a new table yet
        made = after.apps.get_model(app, operation.name)._meta
        return _referred([*made.local_fields, *made.local_many_to_many], made.db_table)
    name = getattr(operation, "model_name", None) or getattr(operation, "old_name", None) or operation.name  # type: ignore[attr-defined]  # each operation has one of them
    model = before.apps.get_model(app, name)
    table = model._meta.db_table
    if isinstance(operation, operations.AddField):
        return _added(after.apps.get_model(app, operation.model_name)._meta.get_field(operation.name), table)
    if isinstance(operation, operations.AlterField):
        old = model._meta.get_field(operation.name)
        return _altered(old, after.apps.get_model(app, operation.model_name)._meta.get_field(operation.name), table)
    if isinstance(operation, AddIndexConcurrently | RemoveIndexConcurrently):
        return [Lock(table, NOTHING, Work.READ)]
    if isinstance(operation, operations.AddIndex):
        return [Lock(table, WRITES, Work.INDEX)]
    if isinstance(operation, operations.AddConstraint):
        is_index = isinstance(operation.constraint, models.UniqueConstraint)
        return [Lock(table, EVERYTHING, Work.INDEX if is_index else Work.READ)]
    # Removing or renaming changes the catalogue, and no row.
    return [Lock(table, EVERYTHING, Work.NONE)]


def _referred(fields: Iterable[Any], table: str) -> list[Lock]:
    """Return the locks of foreign keys: each blocks writing to the table that it refers to for a moment."""
    keys = [
        field
        for field in fields
        if isinstance(field, models.ManyToManyField) or (isinstance(field, models.ForeignKey) and field.db_constraint)  # type: ignore[attr-defined]  # the stubs lack it
    ]
    targets = {field.remote_field.model._meta.db_table for field in keys}
    return [Lock(target, WRITES, Work.NONE) for target in sorted(targets - {table})]


def _added(field: Any, table: str) -> list[Lock]:
    """Return the locks of a new field: a constant default is stored in the catalogue, a computed one in each row."""
    referred = _referred([field], table)
    if isinstance(field, models.ManyToManyField):
        return [Lock(table, WRITES, Work.NONE), *referred]
    is_computed = field.has_db_default() and not isinstance(_default(field), str | int | float | bool)
    if isinstance(field, models.GeneratedField) or is_computed:
        return [Lock(table, EVERYTHING, Work.REWRITE), *referred]
    if field.unique or field.db_index:
        return [Lock(table, EVERYTHING, Work.INDEX), *referred]
    return [Lock(table, EVERYTHING, Work.NONE), *referred]


def _altered(old: Any, new: Any, table: str) -> list[Lock]:
    before, after = old.db_parameters(connection), new.db_parameters(connection)
    if before["type"] != after["type"] and not _is_widened(old, new):
        return [Lock(table, EVERYTHING, Work.REWRITE)]
    if (new.unique and not old.unique) or (new.db_index and not old.db_index):
        return [Lock(table, EVERYTHING, Work.INDEX)]
    if (old.null and not new.null) or before["check"] != after["check"]:
        return [Lock(table, EVERYTHING, Work.READ)]
    is_changed = before != after or old.null != new.null or _default(old) != _default(new)
    return [Lock(table, EVERYTHING, Work.NONE)] if is_changed else []


def _is_widened(old: Field[Any, Any], new: Field[Any, Any]) -> bool:
    """Return whether a varchar becomes longer, or text: PostgreSQL rewrites nothing then."""
    if not isinstance(old, models.CharField):
        return False
    return isinstance(new, models.TextField) or (new.max_length or 0) >= (old.max_length or 0)


def _default(field: Any) -> object:
    """Return the database's default; a constant as its value."""
    return getattr(field.db_default, "value", field.db_default) if field.has_db_default() else None


# Two locking statements take less than PostgreSQL's deadlock_timeout, 1 s: in a deadlock the migration gives up, and no
# other process is ended.
LOCK_MILLISECONDS = 400
PATIENCE_SECONDS = 600.0
# Lock time-out, statement time-out, deadlock.
_IN_USE = {"55P03", "57014", "40P01"}


class TablesInUseError(Exception):
    """A migration could not lock its tables. Nothing of it is done."""


def apply_pending(plan: Plan, say: Callable[[str], object], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Apply each migration in its own transaction, which first locks all its tables.

    If it cannot lock them at once it releases them and tries again, so that others wait for half a second at most. Its
    statements are generated before, which takes Django seconds. Raises TablesInUseError, django.db.Error.
    """
    executor = MigrationExecutor(connection)
    loader = executor.loader
    state = loader.project_state([key for key in loader.applied_migrations if key in loader.graph.nodes])
    for migration, _is_backwards in executor.migration_plan(loader.graph.leaf_nodes()):
        name, give_up_at = f"{migration.app_label}.{migration.name}", time.monotonic() + patience_seconds
        locks = [step.lock for step in plan.steps if step.migration == name and step.lock is not None]
        is_sql = all(operation.reduces_to_sql for operation in migration.operations)
        after, statements = _write(migration, state) if is_sql and migration.atomic else (state, [])
        while True:
            try:
                if not migration.atomic:  # it creates indexes concurrently
                    after = executor.apply_migration(state, migration)
                    break
                with transaction.atomic(), connection.cursor() as cursor:
                    _lock(cursor, locks)
                    for statement in statements:
                        cursor.execute(statement)
                    if is_sql:
                        executor.recorder.record_applied(migration.app_label, migration.name)
                    else:
                        after = executor.apply_migration(state.clone(), migration)
                break
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", "") not in _IN_USE:
                    raise
                if time.monotonic() > give_up_at:
                    sentence = _(
                        "Others use the tables of %(migration)s all the time: it is not done, what came before it is. "
                        "Stop workers and beat, or look in pg_stat_activity for a transaction that does not end. Then "
                        "start this again."
                    )
                    raise TablesInUseError(sentence % {"migration": name}) from None
            time.sleep(random.uniform(0.2, 2))  # noqa: S311  # no secret
        state = after
        say(_("%(migration)s: done") % {"migration": name})


def _write(migration: Migration, state: ProjectState) -> tuple[ProjectState, list[str]]:
    """Return the state after the migration, and its statements."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        after = migration.apply(state.clone(), editor, collect_sql=True)
    return after, [statement for statement in editor.collected_sql if not statement.startswith("--")]


def _lock(cursor: CursorWrapper, locks: Sequence[Lock]) -> None:
    """Lock those tables that exist; the migration creates the others."""
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}; SET LOCAL statement_timeout = {LOCK_MILLISECONDS}")
    there = set(connection.introspection.table_names(cursor))
    whole = {lock.table for lock in locks if lock.blocks == EVERYTHING} & there
    shared = {lock.table for lock in locks if lock.blocks != NOTHING} & there - whole
    for tables, mode in ((whole, "ACCESS EXCLUSIVE"), (shared, "SHARE ROW EXCLUSIVE")):
        if tables:
            names = ", ".join(connection.ops.quote_name(table) for table in sorted(tables))
            cursor.execute(f"LOCK TABLE {names} IN {mode} MODE")
    cursor.execute("SET LOCAL statement_timeout = 0")
