"""SELECTs written by hand for what is asked at each sign-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models

M = TypeVar("M", bound=models.Model)


class WrittenQuery(Generic[M]):
    """One such SELECT, with the primary key of `model` among its columns.

    As Model.objects.raw(), which works out each time anew what the columns mean: that takes it longer than PostgreSQL
    the answer. Here it is kept for the life of the process, so `sql` names its columns: those of `table.*` change with
    a migration.
    """

    def __init__(self, model: type[M], sql: str) -> None:
        self._model, self._sql = model, sql
        self._columns: _Columns | None = None

    def first(self, values: Sequence[Any] | Mapping[str, Any]) -> M | None:
        """The first row as an instance of the model.

        Columns that are no field of it become attributes. Fields that were not selected are read when they are asked
        for. Raises django.db.Error.
        """
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            row = cursor.fetchone()
            if row is None:
                return None
            if self._columns is None:
                self._columns = _meaning_of([column[0] for column in cursor.description], self._model)
        return self._columns.instance(self._model, row)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names and their places in a row. `converters`: of a place, from the database's value to the field's."""

    fields: tuple[tuple[str, int], ...]
    further: tuple[tuple[str, int], ...]
    converters: tuple[tuple[int, Callable[[Any], Any]], ...]

    def instance(self, model: type[M], row: Sequence[Any]) -> M:
        values = list(row)
        for place, convert in self.converters:
            values[place] = convert(values[place])
        names = [name for name, _place in self.fields]
        made = model.from_db(DEFAULT_DB_ALIAS, names, [values[place] for _name, place in self.fields])
        for name, place in self.further:
            setattr(made, name, values[place])
        return made


def _meaning_of(columns: list[str], model: type[models.Model]) -> _Columns:
    fields = {field.column: field for field in model._meta.concrete_fields}
    of_fields = {
        place: fields[name].get_col(model._meta.db_table) for place, name in enumerate(columns) if name in fields
    }
    return _Columns(
        fields=tuple((field.attname, columns.index(name)) for name, field in fields.items() if name in columns),
        further=tuple((name, place) for place, name in enumerate(columns) if place not in of_fields),
        converters=tuple(
            (place, partial(convert, expression=field, connection=connection))
            for place, field in of_fields.items()
            for convert in (*connection.ops.get_db_converters(field), *field.get_db_converters(connection))
        ),
    )
