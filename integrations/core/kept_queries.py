"""Queries that are asked again and again, always the same: their SQL is written once in a process.

Django takes several times as long to write one as PostgreSQL to answer it, and psycopg to put many parameters in. So
they stand in the text. Nothing in it may depend on the moment: Now() stands for a time. Settings in it are those of the
first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Exists, Q, QuerySet, Value
from django.db.models.functions import Now
from django.db.models.sql import Query

if TYPE_CHECKING:
    from integrations.models.jobs import Moment


class KeptQuery:
    """`make`: the query, of values_list()."""

    def __init__(self, make: Callable[[], QuerySet[Any, Any]]) -> None:
        self._make = make

    def rows(self) -> list[tuple[Any, ...]]:
        """As PostgreSQL gives them: fields that convert values do not. Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(kept_sql(self._written))
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def _written(self) -> Query:
        return self._make().query


class AnyRow:
    """Whether there is a row in any of several querysets: one query, with the database's own clock. `make`: they, at a
    moment."""

    def __init__(self, make: Callable[[Moment], Iterable[QuerySet[Any]]]) -> None:
        self._make = make

    def exists(self) -> bool:
        """Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(kept_sql(self._written))
            return cursor.fetchone() is not None

    def _written(self) -> Query:
        query = Query(None)  # of no table, as Django's own Q.check()
        query.add_annotation(Value(1), "found")
        query.add_q(reduce(or_, (Q(Exists(rows.order_by())) for rows in self._make(Now()))))
        return query


@lru_cache(maxsize=64)
def kept_sql(write: Callable[[], Query]) -> str:
    """Write the statement with its values in the text. Needs an open connection."""
    statement: str = connection.ops.compose_sql(*write().sql_with_params())  # type: ignore[attr-defined]  # PostgreSQL's
    return statement
