"""Tests of data sources by a worker of the queue "data": as saved, and as it stands in a form.

Results are kept in the cache, for whoever looks at the page now. What was typed into a form waits there encrypted, for
two minutes at most; so do the rows that came of it. No password is in a task, a result or a page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.utils.crypto import get_random_string

from integrations.clients.sources import Problem, SourceError
from integrations.core import background
from integrations.core.background import Clock
from integrations.data.table import Table, from_document, to_document
from integrations.datasources import fetch, query
from integrations.models import Card, DataSource, SourceKind
from integrations.models.datasources import SECRETS
from integrations.models.fields import Unreadable, cipher

if TYPE_CHECKING:
    from integrations.core.background import Clock


SOURCE_TEST_TASK = "integrations.test_source"
TASK_SECONDS = 120
SOURCE_TEST_KEPT = timedelta(hours=1)
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
    """The BI has a test of its own (integrations.bi)."""
    return source.kind in (SourceKind.SQL, SourceKind.JSON)


def request_source_test(source_id: int, *, now: datetime) -> None:
    cache.set(_source_test_key(source_id), SourceTest(now), SOURCE_TEST_KEPT.total_seconds())
    background.queue_by_name_on_commit(SOURCE_TEST_TASK, [source_id], expires_seconds=TASK_SECONDS)


def latest_source_test(source_id: int) -> SourceTest | None:
    found: SourceTest | None = cache.get(_source_test_key(source_id))
    return found


def carry_out_source_test(*, source_id: int, clock: Clock) -> None:
    """Try the source and keep what came of it; nothing where the test is no longer wanted."""
    asked, source = latest_source_test(source_id), DataSource.objects.defer(*SECRETS).filter(pk=source_id).first()
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
    cache.set(
        _source_test_key(source_id),
        replace(asked, finished_at=ended_at, milliseconds=took, **found),
        SOURCE_TEST_KEPT.total_seconds(),
    )


def _source_test_key(source_id: int) -> str:
    return f"integrations.source_test:{source_id}"


UNSAVED_TEST_TASK = "integrations.test_unsaved"
UNSAVED_TEST_KEPT = timedelta(minutes=5)
ROWS_SHOWN = 10
_OF_SOURCE = (
    *("kind", "sql_url", "http_url", "http_headers", "allows_private_addresses", "ca_bundle", "timeout_seconds"),
)
_OF_CARD = (
    *("bi_card_id", "bi_page_id", "bi_view", "bi_filters", "bi_parameters", "sql", "sql_parameters"),
    *("http_method", "http_path", "http_body", "expression", "kinds", "units", "as_of_column"),
)


@dataclass(frozen=True)
class UnsavedTest:
    """`sealed`: what is tried, then its first rows. `finished_at`: None while it is tried. `problem`: a code of
    clients.sources.errors; empty where it answers."""

    person_id: int
    requested_at: datetime
    sealed: str
    finished_at: datetime | None = None
    milliseconds: int = 0
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> Table | None:
        """The first rows, of a card that was tried and answered."""
        if self.finished_at is None or not self.sealed:
            return None
        return from_document(_opened(self.sealed))


def request_unsaved_test(source: DataSource, card: Card | None, *, person_id: int, now: datetime) -> str:
    """Have it tried. `source`: a saved one is read again by the worker, unless it is tried itself."""
    typed: dict[str, Any] = {"source": source.pk} if card is not None else _values(source, _OF_SOURCE)
    if card is not None:
        typed["card"] = _values(card, _OF_CARD)
    found = UnsavedTest(person_id, now, _sealed(typed))
    if any(isinstance(value, Unreadable) for value in typed.values()):
        found = replace(found, sealed="", finished_at=now, problem=Problem.KEY_MISSING.value)
    token = get_random_string(32)
    cache.set(_unsaved_test_key(token), found, UNSAVED_TEST_KEPT.total_seconds())
    if found.finished_at is None:
        background.queue_by_name_on_commit(UNSAVED_TEST_TASK, [token], expires_seconds=TASK_SECONDS)
    return token


def latest_unsaved_test(token: str, *, person_id: int) -> UnsavedTest | None:
    found: UnsavedTest | None = cache.get(_unsaved_test_key(token))
    return found if found is not None and found.person_id == person_id else None


def is_given_up(found: UnsavedTest, *, now: datetime) -> bool:
    """Whether no worker answers any more."""
    return found.finished_at is None and now - found.requested_at >= WAITED_AT_MOST


def carry_out_unsaved_test(*, token: str, clock: Clock) -> None:
    """Try it and keep what came of it; nothing where it was tried already, or is no longer wanted."""
    asked: UnsavedTest | None = cache.get(_unsaved_test_key(token))
    if asked is None or asked.finished_at is not None:
        return
    began_at = clock()
    done: dict[str, Any] = {"sealed": ""}
    try:
        table = _read(_opened(asked.sealed), began_at)
        done["sealed"] = "" if table is None else _sealed(to_document(table))
    except SourceError as error:
        done |= {"problem": error.problem.value, "facts": error.facts}
    ended_at = clock()
    took = round((ended_at - began_at).total_seconds() * 1000)
    found = replace(asked, finished_at=ended_at, milliseconds=took, **done)
    cache.set(_unsaved_test_key(token), found, UNSAVED_TEST_KEPT.total_seconds())


def _read(typed: dict[str, Any], now: datetime) -> Table | None:
    """The first rows of a card; None of a source that answers. Raises SourceError."""
    if "card" not in typed:
        source = DataSource(**typed, is_enabled=True)
        try:
            query.try_source(source, now=now)
        except SourceError as error:
            if not (source.kind == SourceKind.JSON and error.problem in ANSWERED):
                raise
        return None
    saved = DataSource.objects.defer(*SECRETS).filter(pk=typed["source"]).first()
    if saved is None:
        raise SourceError(Problem.SOURCE_OFF)
    if not fetch.has_place(saved, now):
        raise SourceError(Problem.BUSY)
    return query.read(Card(source=saved, **typed["card"]), rows_at_most=ROWS_SHOWN, now=now)


def _values(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _sealed(document: Any) -> str:
    return cipher().encrypt(json.dumps(document).encode()).decode()


def _opened(sealed: str) -> Any:
    return json.loads(cipher().decrypt(sealed.encode()))


def _unsaved_test_key(token: str) -> str:
    return f"integrations.unsaved_test:{token}"
