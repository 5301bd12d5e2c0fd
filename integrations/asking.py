"""Asks a card's question: from its rows to a Table. The place where credentials of sources are read."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ImproperlyConfigured

from integrations.bi import entry
from integrations.clients import guandata_client
from integrations.models import BiConnection, Card, SourceKind
from integrations.models.bi import THE_ONE
from integrations.sources.failing import Problem, SourceError
from integrations.sources.guandata_card import GuandataQuestion, read_card
from integrations.sources.shaping import Wishes
from integrations.sources.table import Table


def ask(card: Card, *, rows_at_most: int, now: datetime) -> Table:
    """The answer to a card's question, within its source's time limit. Raises SourceError."""
    if not card.source.is_enabled:
        raise SourceError(Problem.SOURCE_OFF)
    try:
        return _ASKED[SourceKind(card.source.kind)](card, rows_at_most, now)
    except ImproperlyConfigured:  # a secret that no key opens
        failure = SourceError(Problem.KEY_MISSING)
    raise failure


def _ask_guandata(card: Card, rows_at_most: int, now: datetime) -> Table:
    connection = BiConnection.objects.defer("private_key").filter(pk=THE_ONE).first() or entry.connection()
    if not connection.base_url or not connection.api_login:
        raise SourceError(Problem.NOT_SET_UP, missing="bi")
    question = GuandataQuestion(
        card_id=card.bi_card_id,
        view="GRAPH" if card.bi_view == "GRAPH" else "GRID",
        filters=card.bi_filters,
        parameters=card.bi_parameters,
        wishes=_wishes(card),
    )
    client = guandata_client(connection)
    return read_card(client, question, rows_at_most=rows_at_most, seconds=card.source.timeout_seconds, now=now)


def _wishes(card: Card) -> Wishes:
    return Wishes(kinds=card.kinds, units=card.units)


_ASKED = {SourceKind.GUANDATA: _ask_guandata}
