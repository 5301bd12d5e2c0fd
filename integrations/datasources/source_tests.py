"""Tests of data sources, as jobs of the queue "data": of a saved source alone, and of a form's unsaved input.

    token = request_unsaved_test(source, card, by=person, now=now)  # `card` None: test the source alone
    requests.find_newest_job(UNSAVED_TEST, token)                   # the test's job; only the person who asked sees it

The cache keeps a form's input and the rows that a test read, encrypted, for at most five minutes. An empty input means
that a secret in it cannot be decrypted. No job, task or page holds a password.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.data import Problem, SourceError
from integrations.data.table import Table, from_document, to_document
from integrations.datasources import fetch, query
from integrations.jobs import requests
from integrations.jobs.registry import JobFailedError, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Card, DataSource, Job, SourceKind
from integrations.models.datasources import SECRETS, explain_problem
from integrations.models.fields import Person, Unreadable, get_cipher

SOURCE_TEST = "source.test"
# The problem of a test that starts after its unsaved input has expired.
INPUT_EXPIRED = "forgotten"
# How long a page shows a finished test; afterwards it only offers a new one.
SHOWN_FOR = timedelta(hours=1)


def can_be_tested(source: DataSource) -> bool:
    """Return whether the source can be tested here; the BI has a test of its own (integrations.bi)."""
    return source.kind in (SourceKind.SQL, SourceKind.JSON)


def request_source_test(source: DataSource, *, by: Person | None, now: datetime) -> Job:
    """Request a test of the saved source."""
    return requests.request_job(SOURCE_TEST, key=source.pk, subject=source.name, corp=source.corp, by=by, now=now)


def explain_test(job: Job) -> str:
    """Return the sentence on why a test failed."""
    if job.problem == INPUT_EXPIRED:
        return _("No worker came in time, and what was typed is not kept any longer. Test it on its page once more.")
    if job.problem == Problem.SOURCE_OFF and job.facts.get("deleted"):
        return _("The data source was deleted.")
    return explain_problem(job.problem, job.facts)


@job_kind(
    SOURCE_TEST,
    label=gettext_lazy("Test of a data source"),
    explain=explain_test,
    queue="data",
    keep=timedelta(hours=1),
    see="integrations.change_datasource",
    retry="integrations.change_datasource",
    template="admin/integrations/datasource/_answered.html",
)
def test_source(run: JobRun) -> dict[str, Any]:
    """Test whether the source answers. Return the milliseconds that it took."""
    source = DataSource.objects.defer(*SECRETS).filter(pk=int(run.job.key or 0)).first()
    if source is None:
        raise JobFailedError(Problem.SOURCE_OFF.value, deleted=True)
    _table, result = _measure_time(run, lambda now: query.try_source(source, now=now))
    return result


def _measure_time(run: JobRun, read: Callable[[datetime], Table | None]) -> tuple[Table | None, dict[str, Any]]:
    """Return what `read` returns, and the job's result: the milliseconds that it took. Raises JobFailedError."""
    began_at = run.clock()
    failure: JobFailedError | None = None
    try:
        table = read(began_at)
    except SourceError as error:
        failure = JobFailedError(error.problem.value, **error.facts)
    if failure is not None:  # raised outside the block: inside, its __context__ would be the error of the source
        raise failure
    return table, {"milliseconds": round((run.clock() - began_at).total_seconds() * 1000)}


# --- Tests before saving ----------------------------------------------------------------------------------------------

UNSAVED_TEST = "source.try"
CACHED_FOR = timedelta(minutes=5)
ROWS_SHOWN = 10
_SOURCE_COLUMNS = (
    "kind",
    "sql_url",
    "http_url",
    "http_headers",
    "allows_private_addresses",
    "ca_bundle",
    "timeout_seconds",
)
_CARD_COLUMNS = tuple(
    column.name for column in Card._meta.fields if column.editable and column.name not in {"id", "name", "source"}
)


def request_unsaved_test(source: DataSource, card: Card | None, *, by: Person, now: datetime) -> str:
    """Request a test of unsaved input. Return the token by which the page finds its job.

    `card` None: the source is tested as typed. Else the card is tested as typed, with the source as saved.
    """
    typed: dict[str, Any]
    if card is None:
        typed = {name: getattr(source, name) for name in _SOURCE_COLUMNS}
    else:
        typed = {"source": source.pk, "card": {name: getattr(card, name) for name in _CARD_COLUMNS}}
    token = get_random_string(32)
    is_unreadable = any(isinstance(value, Unreadable) for value in typed.values())
    _cache_encrypted(f"{token}:typed", {} if is_unreadable else typed)
    requests.request_job(UNSAVED_TEST, key=token, subject=source.name, by=by, now=now)
    return token


def find_first_rows(job: Job) -> Table | None:
    """Return the first rows that a test of a card has read, while the cache keeps them."""
    rows = _read_cached(f"{job.key}:rows")
    return from_document(rows) if rows is not None else None


@job_kind(
    UNSAVED_TEST,
    label=gettext_lazy("Test of unsaved settings"),
    explain=explain_test,
    queue="data",
    keep=CACHED_FOR,
    template="admin/integrations/datasource/_answered.html",
)
def try_unsaved(run: JobRun) -> dict[str, Any]:
    """Test the source, or fetch the first rows of the card. Return the milliseconds that it took."""
    typed = _read_cached(f"{run.job.key}:typed")
    if not typed:
        raise JobFailedError(INPUT_EXPIRED if typed is None else Problem.KEY_MISSING.value)

    def read(now: datetime) -> Table | None:
        if "card" not in typed:
            query.try_source(DataSource(**typed, is_enabled=True), now=now)
            return None
        saved = DataSource.objects.defer(*SECRETS).filter(pk=typed["source"]).first()
        if saved is None:
            raise SourceError(Problem.SOURCE_OFF)
        if not fetch.has_place(saved, now):
            raise SourceError(Problem.BUSY)
        return query.read_card_data(Card(source=saved, **typed["card"]), rows_at_most=ROWS_SHOWN, now=now)

    table, result = _measure_time(run, read)
    if table is not None:
        _cache_encrypted(f"{run.job.key}:rows", to_document(table))
    return result


def _cache_encrypted(name: str, document: Any) -> None:
    cache.set(f"{UNSAVED_TEST}:{name}", get_cipher().encrypt(json.dumps(document).encode()), CACHED_FOR.total_seconds())


def _read_cached(name: str) -> Any:
    encrypted = cache.get(f"{UNSAVED_TEST}:{name}")
    return None if encrypted is None else json.loads(get_cipher().decrypt(encrypted))
