"""Queries that Django writes once in a process, and that then run with ever other values.

Why? Writing a query takes Django several times as long as the database needs to look up a row by its index. For what
people wait for at every sign-in, and for what an idle system asks every two seconds (benchmarks/README.md), and nothing
else: a plain queryset says the same more plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet, Value

M = TypeVar("M", bound=Model)
# They stand for the values while the query is written, and are found again among its parameters.
_STAND_INS: dict[type, list[Any]] = {
    int: [2**62 + place for place in range(4)],
    str: [f"prepared value {place}" for place in range(4)],
}
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Written(Generic[M]):
    """What Django's compiler knows once it has written a query. `columns_at`: where the model's stand in a row."""

    model: type[M]
    sql: str
    parameters: tuple[Any, ...]
    columns: list[str]
    columns_at: slice
    annotations: dict[str, int]
    converters: list[tuple[int, list[Callable[..., Any]], Any]]


class Prepared(Generic[M]):
    """`build` makes the queryset from values of these `kinds`, int or str, in this order.

    What it joins, filters, annotates and leaves out with `only()` holds; `select_related` is not for it. A value must
    reach the database as it is: `build` may decide nothing by it.
    """

    def __init__(self, build: Callable[..., QuerySet[M]], *kinds: type) -> None:
        self._build = build
        self._stand_ins = [_STAND_INS[kind][place] for place, kind in enumerate(kinds)]
        self._written: _Written[M] | None = None

    def first(self, *values: int | str) -> M | None:
        """The first row for these values, its annotations as attributes; None where there is none."""
        if any(isinstance(value, int) and value > _LARGEST for value in values):
            return None  # no row has that number, and the database would refuse the question
        if self._written is None:
            self._written = self._write()
        written, given = self._written, dict(zip(self._stand_ins, values, strict=True))
        with connection.cursor() as cursor:
            cursor.execute(written.sql, [given.get(parameter, parameter) for parameter in written.parameters])
            row = cursor.fetchone()
        return None if row is None else _instance(written, list(row))

    def _write(self) -> _Written[M]:
        compiler = self._build(*self._stand_ins).order_by().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        selected, info = [column for column, _sql, _alias in compiler.select], compiler.klass_info
        converters = compiler.get_converters(selected)
        places = info["select_fields"]
        return _Written(
            model=info["model"],
            sql=sql,
            parameters=parameters,
            columns=[selected[place].target.attname for place in places],
            columns_at=slice(places[0], places[-1] + 1),
            annotations=compiler.annotation_col_map or {},
            converters=[(place, found, column) for place, (found, column) in converters.items()],
        )


class PreparedExists:
    """Whether there are any rows of the queryset that `build` makes: a question without values.

    A moment in it is the database's own, `django.db.models.functions.Now()`, or it would stay that of the first time.
    """

    def __init__(self, build: Callable[[], QuerySet[Any]]) -> None:
        self._build = build
        self._written: tuple[str, tuple[Any, ...]] | None = None

    def __call__(self) -> bool:
        if self._written is None:
            self._written = self._build().order_by().values(found=Value(1))[:1].query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(*self._written)
            return cursor.fetchone() is not None

    def forget(self) -> None:
        """Have it written anew: what `build` reads besides the database has changed."""
        self._written = None


def _instance(written: _Written[M], row: list[Any]) -> M:
    for place, converters, column in written.converters:
        for convert in converters:
            row[place] = convert(row[place], column, connection)
    instance = written.model.from_db(connection.alias, written.columns, row[written.columns_at])
    for name, place in written.annotations.items():
        setattr(instance, name, row[place])
    return instance
