"""A migration's operation that makes the tables of several migrations at once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.db.migrations.operations import CreateModel, SeparateDatabaseAndState
from django.db.migrations.state import ProjectState


class NewTables(SeparateDatabaseAndState):
    """The tables of an app as these migrations of it leave them. They may change the schema alone, no rows.

    Why? After each operation Django makes the classes of all related models anew, which takes longer than to make the
    tables. Here it makes them once.
    """

    def __init__(self, app: str, names: Sequence[str]) -> None:
        self.app, self.names = app, names
        state = ProjectState()
        for name in names:
            for operation in import_module(f"{app}.migrations.{name}").Migration.operations:
                operation.state_forwards(app, state)
        tables = [
            CreateModel(one.name, list(one.fields.items()), one.options, one.bases, one.managers)
            for one in state.models.values()
        ]
        super().__init__(database_operations=tables, state_operations=tables)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [self.app, self.names], {}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.__dict__.pop("apps", None)  # the classes, which Django makes again when it needs them
        super().state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for table in self.database_operations:
            table.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for table in reversed(self.database_operations):
            table.database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Create the {len(self.database_operations)} tables of {self.app}"
