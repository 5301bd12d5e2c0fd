"""Pages of the BI and their cards, fetched in the background and cached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from integrations.clients.errors import IntegrationError, UnreadableSecretError
from integrations.clients.guandata.client import GuandataClient
from integrations.clients.sources.errors import Problem, SourceError
from integrations.clients.sources.guandata_card import as_source_error
from integrations.core.client_factory import guandata_client
from integrations.models import BiConnection, BiListing
from integrations.models.bi import THE_ONE

Clock = Callable[[], datetime]
# What is younger is shown without asking again, and a question that waits longer was lost.
FRESH = timedelta(minutes=10)
NOT_QUEUED = "not-queued"


def latest(page_id: str = "") -> BiListing | None:
    """The last one of the connection as it is now, finished or under way. `page_id`: empty for the list of pages."""
    return BiListing.objects.filter(page_id=page_id, version=_version()).first()


def request(*, page_id: str, now: datetime, anew: bool = False) -> int | None:
    """Note that somebody wants the list. The id for the task that carries it out; None where a fresh one is there, or
    under way. `anew`: whether a finished one is asked for again, which failures are anyway."""
    row, is_new = BiListing.objects.get_or_create(page_id=page_id, defaults={"requested_at": now})
    stale = Q(requested_at__lte=now - FRESH) | ~Q(version=_version()) | ~Q(problem_code="")
    if anew:
        stale |= Q(listed_at__isnull=False)
    mine = BiListing.objects.filter(pk=row.pk) if is_new else BiListing.objects.filter(stale, pk=row.pk)
    values = {"requested_at": now, "version": _version(), "listed_at": None, "problem_code": "", "problem_facts": {}}
    return row.pk if mine.update(**values) else None


def give_up_unqueued(listing_id: int, *, clock: Clock) -> None:
    """Say so where the question could not be handed to the background."""
    BiListing.objects.filter(pk=listing_id).update(listed_at=clock(), problem_code=NOT_QUEUED)


def carry_out(*, listing_id: int, clock: Clock) -> None:
    """Ask the BI and keep what it lists, or why it does not; nothing where that was done already."""
    row = BiListing.objects.filter(pk=listing_id, listed_at__isnull=True).first()
    if row is None:
        return
    found: dict[str, object]
    try:
        found = {"entries": _entries(row.page_id)}
    except SourceError as error:
        found = {"problem_code": error.problem.value, "problem_facts": error.facts}
    requested = BiListing.objects.filter(pk=row.pk, requested_at=row.requested_at)  # not for who asked again meanwhile
    requested.update(listed_at=clock(), **found)


def _entries(page_id: str) -> list[list[str]]:
    """Raises SourceError."""
    failure: SourceError
    try:
        client = _client()
        if page_id:
            return [[card.card_id, card.name, card.kind] for card in client.page_cards(page_id)]
        return [[page.page_id, page.name, page.kind] for page in client.page_list() if not page.is_deleted]
    except UnreadableSecretError:
        failure = SourceError(Problem.KEY_MISSING)
    except IntegrationError as error:
        failure = as_source_error(error, settings.WECOM_TOTAL_TIMEOUT_SECONDS)
    # Raised outside the block: inside, it would carry the other error, and with it the BI's text.
    raise failure


def _client() -> GuandataClient:
    connection = BiConnection.objects.defer("private_key").filter(pk=THE_ONE).first()
    if connection is None or not connection.base_url:
        raise SourceError(Problem.NOT_SET_UP, missing="bi-address")
    if not connection.app_token:
        raise SourceError(Problem.NOT_SET_UP, missing="app-token")
    return guandata_client(connection)


def _version() -> int:
    return BiConnection.objects.filter(pk=THE_ONE).values_list("connection_version", flat=True).first() or 0
