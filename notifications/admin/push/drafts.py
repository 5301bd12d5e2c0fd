"""Drafts of pages: kept while somebody types, offered when they come back, dropped when they save."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.http import QueryDict

from notifications.models import Draft
from notifications.models.drafts import KEPT

if TYPE_CHECKING:
    from accounts.models import User

CHARACTERS_AT_MOST = 200_000
# About the request or the page, not typed.
_NOT_TYPED = (
    "csrfmiddlewaretoken",
    "token",
    "_token",
    "_id",
    "_as",
    "_save",
    "_try",
    "_enable",
    "_disable",
    "_buttons",
    "is_enabled",
)


def keep(person: User, page: str, values: QueryDict, *, now: datetime) -> bool:
    """Whether it was kept: what is longer than CHARACTERS_AT_MOST is not."""
    typed = values.copy()
    for name in _NOT_TYPED:
        typed.pop(name, None)
    text = typed.urlencode()
    if len(text) > CHARACTERS_AT_MOST:
        return False
    Draft.objects.update_or_create(person=person, page=page, defaults={"values": text, "saved_at": now})
    return True


def find(person: User, page: str, *, now: datetime) -> Draft | None:
    return Draft.objects.filter(person=person, page=page, saved_at__gt=now - KEPT).first()


def values_of(draft: Draft) -> QueryDict:
    return QueryDict(draft.values, mutable=True)


def drop(person: User, page: str) -> None:
    Draft.objects.filter(person=person, page=page).delete()
