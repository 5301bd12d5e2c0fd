"""Applies pending migrations while processes of the former version work on the tables."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from guanwecom.operations.upgrade.locks import EVERYTHING, NOTHING, Lock
from guanwecom.operations.upgrade.plan import Plan

# Two statements that lock take less than PostgreSQL's deadlock_timeout, 1 s: in a circle it is the migration that
# gives up, and no other process is ended.
LOCK_MILLISECONDS = 400
PATIENCE_SECONDS = 600.0
# The lock came too late; the statement took too long; PostgreSQL ended a circle.
_IN_USE = {"55P03", "57014", "40P01"}


class TablesInUseError(Exception):
    """A migration could not have its tables. Nothing of it is done."""


def apply_pending(plan: Plan, say: Callable[[str], object], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Apply each migration in a transaction of its own, which locks all its tables before it does anything else.

    One that cannot have them at once lets them go and tries again, so that others wait for half a second at most. Its
    statements are written before: Django takes seconds for them. Raises TablesInUseError, django.db.Error.
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
                if not migration.atomic:  # it makes indexes beside the work of others
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
    """Lock those of the tables that are there already: the migration makes the others."""
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}; SET LOCAL statement_timeout = {LOCK_MILLISECONDS}")
    there = set(connection.introspection.table_names(cursor))
    whole = {lock.table for lock in locks if lock.blocks == EVERYTHING} & there
    shared = {lock.table for lock in locks if lock.blocks != NOTHING} & there - whole
    for tables, mode in ((whole, "ACCESS EXCLUSIVE"), (shared, "SHARE ROW EXCLUSIVE")):
        if tables:
            names = ", ".join(connection.ops.quote_name(table) for table in sorted(tables))
            cursor.execute(f"LOCK TABLE {names} IN {mode} MODE")
    cursor.execute("SET LOCAL statement_timeout = 0")
