"""Asks a card's source for earlier days, one after another, while somebody waits at a page.

    data = past_previews.advance("", card, person_id=person.pk, now=now)           # asks for the newest day
    data = past_previews.advance(data.token, card, person_id=person.pk, now=now)   # the next, once that one is there

A page that is left asks no more. What was asked is kept as long as other data for pages, so that the same token gives
it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.core import signing
from django.utils.timezone import get_default_timezone, localdate
from django.utils.translation import gettext as _

from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.models import Card, CardData
from integrations.models.datasources import SECRETS

DAYS = 30
# For all days together.
SECONDS_AT_MOST = 180
_SALT = "integrations.past_previews"


@dataclass(frozen=True, slots=True)
class PastData:
    """How far it is. `asked_count`: of DAYS days; `tables`: by day, of those that have an answer. `is_over`: no more is
    asked, because all days were, or because of a `problem`, a sentence."""

    token: str
    asked_count: int
    is_over: bool
    problem: str = ""
    tables: Mapping[date, Table] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Row ids of the days asked so far, back from `today`."""

    row_ids: tuple[int, ...]
    today: date
    began_at: int

    def signed(self, card: Card, person_id: int) -> str:
        parts = (self.row_ids, self.today.isoformat(), self.began_at, card.pk, person_id)
        return signing.dumps(parts, salt=_SALT)


def advance(token: str, card: Card, *, person_id: int, now: datetime) -> PastData:
    """Ask for the next day if the one before was answered. `card`: with its source, seen by the person. A token of
    somebody else, of another card, or that is too old begins anew."""
    asked = _read(token, card, person_id, now)
    rows = CardData.objects.previews().filter(pk__in=asked.row_ids).select_related("card__source")
    found = {row.pk: row for row in rows.defer(*(f"card__source__{column}" for column in SECRETS))}
    if len(found) < len(asked.row_ids):
        asked, found = _new(now), {}
    is_waiting = any(row.status == CardData.Status.WAITING for row in found.values())
    problem = _problem(asked, found, is_waiting=is_waiting, now=now)
    count = len(asked.row_ids)
    is_over = bool(problem) or (count == DAYS and not is_waiting)
    if not is_over and not is_waiting:
        row_id = fetch.request_day(card.pk, asked.today - timedelta(days=count), now=now)
        asked = _Asked((*asked.row_ids, row_id), asked.today, asked.began_at)
    days = {pk: asked.today - timedelta(days=number) for number, pk in enumerate(asked.row_ids)}
    tables = {days[pk]: row.table for pk, row in found.items() if row.status == CardData.Status.READY}
    return PastData(asked.signed(card, person_id), len(asked.row_ids), is_over, problem, tables if is_over else {})


def _problem(asked: _Asked, found: Mapping[int, CardData], *, is_waiting: bool, now: datetime) -> str:
    """Of a source that does not answer for the first day, no other is asked for."""
    first = found.get(asked.row_ids[0]) if asked.row_ids else None
    if first is not None and first.status == CardData.Status.FAILED:
        return first.problem
    is_done = len(asked.row_ids) == DAYS and not is_waiting
    if not is_done and now.timestamp() - asked.began_at > SECONDS_AT_MOST:
        return _("Given up after %(count)d seconds: the source answers too slowly.") % {"count": SECONDS_AT_MOST}
    return ""


def _new(now: datetime) -> _Asked:
    return _Asked((), localdate(now, get_default_timezone()), int(now.timestamp()))


def _read(token: str, card: Card, person_id: int, now: datetime) -> _Asked:
    try:
        row_ids, today, began_at, *owner = signing.loads(token, salt=_SALT, max_age=fetch.PREVIEW_KEPT)
    except signing.BadSignature:
        return _new(now)
    if owner != [card.pk, person_id]:
        return _new(now)
    return _Asked(tuple(row_ids), date.fromisoformat(today), began_at)
