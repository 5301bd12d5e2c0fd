"""Fetches a card's data for a page on which somebody waits.

    token = previews.request(cards, person_id=person.pk, now=now)         # the answer to the request: come again
    preview = previews.read(token, cards, person_id=person.pk, now=now)   # how far it is, as often as the page asks

Nothing is fetched in the request: the workers of the queue "data" do it, as for a report
(integrations.datasources.fetch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core import signing
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.models import Card, CardData
from integrations.models.datasources import SECRETS

# No worker has begun after so long: then the page says why.
LATE = timedelta(seconds=10)
# A page waits so much longer than its slowest source may take: for a worker, and for a turn at the source.
SPARE = timedelta(seconds=60)
_SALT = "integrations.card_previews"


@dataclass(frozen=True, slots=True)
class DataPreview:
    """How far it is. While it waits, `token` is what the page asks with again, and `hindrance` a sentence where that
    takes longer than usual. Then there is a `problem`, also a sentence, or the `tables`, by card. `lost`: cards that
    their source refuses or does not know, which asking again will not change.
    """

    seconds: int = 0
    token: str = ""
    hindrance: str = ""
    problem: str = ""
    tables: Mapping[int, Table] = field(default_factory=dict)
    lost: frozenset[int] = frozenset()

    @property
    def is_there(self) -> bool:
        return not self.token and not self.problem


def request(cards: Sequence[Card], *, person_id: int, now: datetime) -> str:
    """Have the data of the cards fetched. The token with which this person, for an hour, learns how far it is."""
    row_ids = fetch.request_previews([card.pk for card in cards], now=now)
    return signing.dumps(([*row_ids.values()], person_id, int(now.timestamp())), salt=_SALT)


def read(token: str, cards: Sequence[Card], *, person_id: int, now: datetime) -> DataPreview:
    """How far it is with `cards`, which the person must be allowed to see. A token that is not the person's own, is too
    old, or was for other cards, is answered with a problem."""
    gone = DataPreview(problem=_("This is no longer there. Press the button again."))
    try:
        row_ids, owner_id, since = signing.loads(token, salt=_SALT, max_age=fetch.PREVIEW_KEPT)
    except signing.BadSignature:
        return gone
    found = CardData.objects.previews().filter(pk__in=row_ids).select_related("card__source")
    unread = ("content", *(f"card__source__{column}" for column in SECRETS))
    rows = {row.card_id: row for row in found.defer(*unread)}
    if owner_id != person_id or any(card.pk not in rows for card in cards):
        return gone
    seconds = max(0, int(now.timestamp()) - since)
    return _progress([rows[card.pk] for card in cards], token, seconds, now)


def _progress(rows: list[CardData], token: str, seconds: int, now: datetime) -> DataPreview:
    for row in rows:
        if row.status == CardData.Status.FAILED:
            sentence = _("There is no data of the card “%(card)s”: %(problem)s")
            lost = frozenset(one.card_id for one in rows if one.is_lost)
            return DataPreview(seconds, problem=sentence % {"card": row.card, "problem": row.problem}, lost=lost)
    waiting = [row for row in rows if row.status == CardData.Status.WAITING]
    if not waiting:
        return DataPreview(seconds, tables={row.card_id: row.table for row in rows})
    why = next((said for row in waiting if (said := hindrance(row, now=now))), "")
    if seconds >= max(row.card.source.timeout_seconds for row in rows) + SPARE.total_seconds():
        return DataPreview(seconds, problem=_given_up(seconds, why))
    return DataPreview(seconds, token, hindrance=why)


def _given_up(seconds: int, why: str) -> str:
    sentence = ngettext(
        "Given up after %(count)d second. %(why)s", "Given up after %(count)d seconds. %(why)s", seconds
    )
    why = why or _("The worker that fetches it says nothing more: it may have been ended. Try again.")
    return sentence % {"count": seconds, "why": why}


def hindrance(row: CardData, *, now: datetime) -> str:
    """Why no worker has begun with the row, once that takes longer than usual; else empty. `row`: with its source."""
    if row.try_count or row.is_in_hand(now) or now - row.requested_at < LATE:
        return ""
    source, in_hand = row.card.source, CardData.objects.in_hand(now)
    if in_hand.filter(card__source=source).count() >= source.parallel_limit:
        sentence = _("It waits for its turn: the data source “%(source)s” is busy with other queries.")
        return sentence % {"source": source}
    if not fetch.has_place(source, now):
        sentence = _(
            "It waits for its turn: the data source “%(source)s” was too slow last time, and such sources are asked "
            "only a few at once."
        )
        return sentence % {"source": source}
    if in_hand.exists():
        return _("It waits for its turn: the workers of the queue “data” are busy with other data.")
    return _("No worker has taken it yet: does one take from the queue “data”, and can the queue be reached?")
