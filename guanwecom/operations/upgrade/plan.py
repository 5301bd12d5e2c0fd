"""What an upgrade of this database would do, and what stands in its way. Changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.translation import gettext as _

from guanwecom.operations.upgrade import locks
from guanwecom.operations.upgrade.locks import Lock
from integrations.core import installation
from integrations.models import Installation

# Versions whose migrations must have run before any later one's: nobody jumps over them.
MILESTONES = ("1.0.0",)
# The last version that did not write down which one it was.
UNRECORDED = "0.9.0"
BACKUP_FRESH = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """One operation of a pending migration. `lock` is None where the schema stays as it is."""

    migration: str
    text: str
    lock: Lock | None
    row_count: int
    byte_count: int


@dataclass(frozen=True)
class Plan:
    """`refusals`: why it must not be done; `warnings`: what the operator should think of. `former_version`: empty for a
    new database."""

    former_version: str
    steps: list[Step]
    refusals: list[str]
    warnings: list[str]


def read() -> Plan:
    """Raises django.db.Error."""
    executor = MigrationExecutor(connection)
    former = _former_version(executor)
    steps = list(_steps(executor)) if former else list(_new(executor))
    refusals = [*_encoding(), *_jump(former, settings.VERSION)]
    warnings = [*_space(steps), *(_backup(timezone.now()) if former and steps else [])]
    unknown = sorted(key for key in executor.loader.applied_migrations if _is_ours(executor, key))
    if unknown:
        names = ", ".join(f"{app}.{name}" for app, name in unknown[:5])
        newer = _("The database has migrations that this version does not know: %(names)s.") % {"names": names}
        if steps:  # of another branch, so nobody has tried the two together
            refusals.append(f"{newer} {_('Install a newer one.')}")
        else:  # back to the former version, which runs on the newer database as in a rolling upgrade
            warnings.append(f"{newer} {_('It runs on them; nothing is taken back.')}")
    return Plan(former, steps, refusals, warnings)


def _is_ours(executor: MigrationExecutor, key: tuple[str, str]) -> bool:
    """Whether it is applied and not there, of an app whose migrations we have."""
    return key not in executor.loader.disk_migrations and key[0] in executor.loader.migrated_apps


def _former_version(executor: MigrationExecutor) -> str:
    if not executor.loader.applied_migrations:
        return ""
    if Installation._meta.db_table not in connection.introspection.table_names():
        return UNRECORDED
    return Installation.objects.values_list("version", flat=True).first() or UNRECORDED


def _encoding() -> list[str]:
    """A server that was installed without a locale makes databases in SQL_ASCII, which refuse much of our JSON."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        [encoding] = cursor.fetchone()
    if encoding == "UTF8":
        return []
    text = _("The database has the encoding %(encoding)s. Make one by createdb --encoding UTF8 --template template0.")
    return [text % {"encoding": encoding}]


def _jump(former: str, present: str) -> list[str]:
    before, after = installation.numbers(former), installation.numbers(present)
    skipped = [version for version in MILESTONES if before < installation.numbers(version) < after] if former else []
    if not skipped:
        return []
    text = _(
        "Version %(former)s cannot be upgraded to %(present)s at once. Install %(first)s first, and upgrade to it."
    )
    return [text % {"former": former, "present": present, "first": skipped[0]}]


def _new(executor: MigrationExecutor) -> Iterator[Step]:
    """A new database: all tables are made, and nobody waits for them."""
    count = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if count:
        yield Step(_("all"), _("%(count)d migrations make the tables") % {"count": count}, None, 0, 0)


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
            found: list[Lock | None] = [*locks.of(operation, migration.app_label, before, state)]
            for lock in found or [None]:
                rows, size = _size(lock.table) if lock is not None and lock.table else (0, 0)
                yield Step(f"{migration.app_label}.{migration.name}", operation.describe(), lock, rows, size)


def _size(table: str) -> tuple[int, int]:
    """Rows, as the planner thinks, and bytes with indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint, pg_total_relation_size(oid) FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        found = cursor.fetchone() or (0, 0)
        return max(0, found[0]), found[1]


# --- What the operator should think of --------------------------------------------------------------------------------


def _space(steps: list[Step]) -> list[str]:
    """A table that is rewritten, or indexed, needs its size once more."""
    needed = sum({step.lock.table: step.byte_count for step in steps if step.lock and step.lock.work.value}.values())
    free = free_bytes()
    if free is None:
        text = _("The free space of the database's disk is not known here; it needs %(needed)s MB.")
        return [text % {"needed": _megabytes(needed)}] * (needed > 0)
    text = _("The database's disk has %(free)s MB free; this needs %(needed)s MB.")
    return [text % {"free": _megabytes(free), "needed": _megabytes(needed)}] * (free < 2 * needed)


def free_bytes() -> int | None:
    """Of the disk of the database; None where that is another machine's, or its folder is not told to our role."""
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
