"""Lists of the BI's pages and their cards, from which a card is chosen. Each list is a job, fresh for ten minutes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.translation import gettext_lazy

from integrations.clients.errors import IntegrationError, UnreadableSecretError
from integrations.clients.sources.guandata_card import explain_call_failure
from integrations.core.client_factory import guandata_client
from integrations.data import Problem, SourceError
from integrations.jobs import requests
from integrations.jobs.registry import JobFailedError, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import BiConnection, Job
from integrations.models.datasources import explain_problem
from integrations.models.fields import Person
from integrations.models.installation import SINGLETON_PK

LIST = "bi.list"
# A list younger than this is shown without a new request.
FRESH_FOR = timedelta(minutes=10)


def find_listing(page_id: str = "") -> Job | None:
    """Return the last listing for the present connection, finished or under way. `page_id`: the page whose cards are
    listed; empty for the list of pages."""
    job = requests.find_newest_job(LIST, f"/{page_id}")
    return job if job is not None and job.payload.get("version") == _read_connection_version() else None


class ListedEntry(NamedTuple):
    """A page or card of the BI."""

    entry_id: str
    name: str
    kind: str


def read_entries(listing: Job | None) -> list[ListedEntry]:
    """Return the entries of a listing; none without a listing, while it runs and after a failure."""
    entries = listing.result.get("entries", []) if listing is not None else []
    return [ListedEntry(*entry) for entry in entries]


def request_listing(*, page_id: str, by: Person, now: datetime, refresh: bool = False) -> Job:
    """Request a listing, unless a fresh one exists or is under way. `refresh`: repeat a fresh one, too. A failed one is
    always repeated."""
    last = find_listing(page_id)
    if last is not None:
        is_fresh = last.status == Job.Status.DONE and last.requested_at > now - FRESH_FOR
        if last.is_unfinished or (is_fresh and not refresh):
            return last
    payload = {"page": page_id, "version": _read_connection_version()}
    return requests.request_job(LIST, key=f"/{page_id}", subject=page_id, payload=payload, by=by, now=now)


@job_kind(
    LIST,
    label=gettext_lazy("List of the BI's pages and cards"),
    explain=lambda job: explain_problem(job.problem, job.facts),
    keep=timedelta(hours=1),
    see="integrations.change_biconnection",
    retry="integrations.change_biconnection",
)
def list_pages(run: JobRun) -> dict[str, Any]:
    """List the BI's pages, or the cards of one page. Return ids, names and kinds."""
    page_id = run.job.payload["page"]
    connection = BiConnection.objects.defer("private_key").filter(pk=SINGLETON_PK).first()
    try:
        if connection is None or not connection.base_url:
            raise SourceError(Problem.NOT_SET_UP, missing="bi-address")
        if not connection.app_token:
            raise SourceError(Problem.NOT_SET_UP, missing="app-token")
        client = guandata_client(connection)
        entries = client.page_cards(page_id) if page_id else client.page_list()
        return {"entries": [[entry.entry_id, entry.name, entry.kind] for entry in entries]}
    except UnreadableSecretError:
        failure = SourceError(Problem.KEY_MISSING)
    except IntegrationError as error:
        failure = explain_call_failure(error, settings.WECOM_TOTAL_TIMEOUT_SECONDS)  # the limit of calls to the BI, too
    except SourceError as error:
        failure = error
    # Raised outside the block: inside, its __context__ would be the first error, with the BI's text.
    raise JobFailedError(failure.problem.value, **failure.facts)


def _read_connection_version() -> int:
    return BiConnection.objects.filter(pk=SINGLETON_PK).values_list("connection_version", flat=True).first() or 0
