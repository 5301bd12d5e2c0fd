"""A tick: the steps of an app's background work, done every few seconds, and one question whether any of them has work.

Most ticks find nothing. Beat asks before it queues one (guanwecom.operations.beat): a message, a task and a question of
each step cost ten times as much.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from integrations.core.background import guarded
from integrations.core.kept_queries import AnyRow
from integrations.models.jobs import Moment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A part of a tick. `due`: the rows that ask for it at a moment, beside those that the steps before it name. While
    no step has any, a tick ends after one question; otherwise all are done."""

    do: Callable[[datetime], None]
    due: Callable[[Moment], Sequence[QuerySet[Any]]]


class Tick:
    """`name`: of its task and of its entry in beat. `at_least_seconds`: it comes so often though nothing is due."""

    def __init__(self, name: str, *, at_least_seconds: float, steps: Sequence[Step]) -> None:
        self.name, self.at_least_seconds, self._steps = name, at_least_seconds, steps
        self._due = AnyRow(lambda now: [rows for step in steps for rows in step.due(now)])

    def is_anything_due(self) -> bool:
        """Whether a step has work. One query. Raises django.db.Error."""
        return self._due.exists()

    def do_steps(self, *, now: datetime) -> None:
        """What one step finds is done also where another one fails."""
        for step in self._steps:
            with guarded(logger, "tick: %s failed", step.do.__name__):
                step.do(now)
