"""What a migration's operation does to its tables in PostgreSQL: its lock, and whether rows are rewritten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import connection, models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field

# Estimates of rows in a second. Of a million rows of 500 bytes, PostgreSQL 18 on two busy cores rewrote 67,000 a second
# with one index, indexed 390,000 and read 1,800,000, without waiting for its disk.
REWRITTEN_A_SECOND = 50_000
INDEXED_A_SECOND = 200_000
READ_A_SECOND = 1_000_000


class Work(Enum):
    """What is done with a table's rows, and how many a second; None: nothing, or nobody knows."""

    NONE = None
    READ = READ_A_SECOND
    INDEX = INDEXED_A_SECOND
    REWRITE = REWRITTEN_A_SECOND
    UNKNOWN = 0


@dataclass(frozen=True)
class Lock:
    """`table`: empty where an operation says none. `blocks`: what others cannot do meanwhile, for the operator."""

    table: str
    blocks: str
    work: Work

    def seconds(self, row_count: int) -> float | None:
        """Roughly how long; None where nobody knows."""
        if self.work is Work.UNKNOWN:
            return None
        return row_count / self.work.value if self.work.value else 0.0


NOTHING = "nothing"
WRITES = "writing"
EVERYTHING = "reading and writing"


def of(operation: Operation, app: str, before: ProjectState, after: ProjectState) -> list[Lock]:
    """The locks of one operation, between the states before and after it; none where the schema stays."""
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return [lock for one in operation.database_operations for lock in of(one, app, before, after)]
    if isinstance(operation, operations.RunPython | operations.RunSQL):
        return [Lock("", "what its code touches", Work.UNKNOWN)]
    if not getattr(operation, "reduces_to_sql", True) or _only_state(operation):
        return []
    if isinstance(operation, operations.CreateModel):
        return _created(after.apps.get_model(app, operation.name))
    model = _model(operation, app, before)
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
    # Removed or renamed: the catalogue changes, and no row.
    return [Lock(table, EVERYTHING, Work.NONE)]


def _only_state(operation: Operation) -> bool:
    return isinstance(
        operation, operations.AlterModelOptions | operations.AlterModelManagers | operations.AlterOrderWithRespectTo
    )


def _model(operation: Operation, app: str, before: ProjectState) -> Any:
    name = getattr(operation, "model_name", None) or getattr(operation, "old_name", None) or operation.name  # type: ignore[attr-defined]  # each operation has one of them
    return before.apps.get_model(app, name)


def _created(model: Any) -> list[Lock]:
    """A new table is nobody's yet; those that it refers to are not written for a moment."""
    return _referred([*model._meta.local_fields, *model._meta.local_many_to_many], model._meta.db_table)


def _referred(fields: Iterable[Any], table: str) -> list[Lock]:
    """A foreign key looks at the table that it refers to, which is not written for a moment."""
    keys = [field for field in fields if _is_foreign_key(field) or isinstance(field, models.ManyToManyField)]
    targets = {field.remote_field.model._meta.db_table for field in keys}
    return [Lock(target, WRITES, Work.NONE) for target in sorted(targets - {table})]


def _added(field: Any, table: str) -> list[Lock]:
    """A constant default is kept in the catalogue; one that is computed is written into each row."""
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
    """varchar that becomes longer, or text: PostgreSQL rewrites nothing."""
    if not isinstance(old, models.CharField):
        return False
    return isinstance(new, models.TextField) or (new.max_length or 0) >= (old.max_length or 0)


def _default(field: Any) -> object:
    """Of the database; a constant as it is."""
    return getattr(field.db_default, "value", field.db_default) if field.has_db_default() else None


def _is_foreign_key(field: Any) -> bool:
    return isinstance(field, models.ForeignKey) and bool(field.db_constraint)  # type: ignore[attr-defined]  # the stubs lack it
