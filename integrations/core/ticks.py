"""A tick: the steps of an app's background work, done every few seconds, and one question whether any of them has work.

Most ticks find nothing. Beat asks before it queues one (guanwecom.operations.beat): a message, a task and a question of
each step cost ten times as much.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Exists, Q, QuerySet, Value
from django.db.models.functions import Now
from django.db.models.sql import Query

from integrations.core.background import guarded
from integrations.models.jobs import Moment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A part of a tick. `due`: the rows that ask for it at a moment, beside those that the steps before it name. While
    no step has any, a tick ends after one question; otherwise all are done."""

    do: Callable[[datetime], None]
    due: Callable[[Moment], Sequence[QuerySet[Any]]]


@dataclass(frozen=True, eq=False)
class Tick:
    """`name`: of its task and of its entry in beat. `at_least_seconds`: it comes so often though nothing is due."""

    name: str
    at_least_seconds: float
    steps: tuple[Step, ...]

    def is_anything_due(self) -> bool:
        """Whether a step has work. One query, with the database's own clock. Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(*question(self))
            return cursor.fetchone() is not None

    def do_steps(self, *, now: datetime) -> None:
        """What one step finds is done also where another one fails."""
        for step in self.steps:
            with guarded(logger, "tick: %s failed", step.do.__name__):
                step.do(now)


@lru_cache
def question(tick: Tick) -> tuple[str, tuple[Any, ...]]:
    """The SQL of a row while a step has work, and its parameters, written once in a process: Django takes twenty times
    as long to write it as PostgreSQL to answer. The database's now() stands in it, and settings of days and addresses.
    """
    query = Query(None)  # of no table, as Django's own Q.check()
    query.add_annotation(Value(1), "due")
    query.add_q(reduce(or_, (Q(Exists(rows.order_by())) for step in tick.steps for rows in step.due(Now()))))
    return query.sql_with_params()
