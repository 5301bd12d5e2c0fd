"""Tries a data source itself, as soon as it is saved and before any card asks it.

    source_tests.request(source_id, now=now)
    source_tests.latest(source_id)             # None where nobody asked within the last hour

A worker of the queue "data" tries it. What it found is kept in the cache: it is for whoever looks at the page now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache

from integrations.clients.sources.errors import Problem, SourceError
from integrations.core import queues
from integrations.core.background import Clock
from integrations.datasources import query
from integrations.models import DataSource, SourceKind
from integrations.models.datasources import SECRETS

TASK = "integrations.test_source"
TASK_SECONDS = 120
KEPT = timedelta(hours=1)
# After so long no worker answers any more.
WAITED_AT_MOST = timedelta(seconds=TASK_SECONDS + 30)
# The service answered; what its queries ask for lies below its address.
ANSWERED = frozenset({Problem.NOT_FOUND, Problem.NO_TABLE, Problem.NOT_UNDERSTOOD, Problem.EXPRESSION})


@dataclass(frozen=True)
class SourceTest:
    """`finished_at`: None while it is tried. `problem`: a code of clients.sources.errors; empty where it answers."""

    requested_at: datetime
    finished_at: datetime | None = None
    milliseconds: int = 0
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def can_be_tested(source: DataSource) -> bool:
    """The BI has a test of its own (integrations.bi.connection_test)."""
    return source.kind in (SourceKind.SQL, SourceKind.JSON)


def request(source_id: int, *, now: datetime) -> None:
    cache.set(_key(source_id), SourceTest(now), KEPT.total_seconds())
    queues.queue_by_name_on_commit(TASK, [source_id], expires_seconds=TASK_SECONDS)


def latest(source_id: int) -> SourceTest | None:
    found: SourceTest | None = cache.get(_key(source_id))
    return found


def carry_out(*, source_id: int, clock: Clock) -> None:
    """Try the source and keep what came of it; nothing where the test is no longer wanted."""
    asked, source = latest(source_id), DataSource.objects.defer(*SECRETS).filter(pk=source_id).first()
    if asked is None or asked.finished_at is not None or source is None:
        return
    began_at = clock()
    found: dict[str, Any] = {}
    try:
        query.try_source(source, now=began_at)
    except SourceError as error:
        if not (source.kind == SourceKind.JSON and error.problem in ANSWERED):
            found = {"problem": error.problem.value, "facts": error.facts}
    ended_at = clock()
    took = round((ended_at - began_at).total_seconds() * 1000)
    cache.set(_key(source_id), replace(asked, finished_at=ended_at, milliseconds=took, **found), KEPT.total_seconds())


def _key(source_id: int) -> str:
    return f"integrations.source_test:{source_id}"
