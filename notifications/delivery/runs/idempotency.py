"""Idempotency-Key: a repeated request gets the first one's answer, for 24 hours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from notifications.models import AcceptedRequest, ApiToken, Run
from notifications.models.api import KEY_CHARACTERS
from notifications.models.lookups import Moment

KEPT = timedelta(hours=24)
PURGED_AT_ONCE = 2000
# Printable ASCII characters without spaces.
KEY_PATTERN = rf"^[!-~]{{1,{KEY_CHARACTERS}}}$"


class KeyReusedError(Exception):
    """The key belongs to another request of the same token."""


@dataclass(frozen=True)
class Answer:
    """What the caller is told of a run; `is_repeated`: it was told the same before."""

    text: str
    run_id: int
    is_repeated: bool = False


def fingerprint_of(method: str, path: str, body: str) -> str:
    """SHA-256, as 64 hexadecimal digits: equal for requests that ask for the same."""
    return hashlib.sha256("\n".join((method, path, body)).encode()).hexdigest()


def once(*, token: ApiToken, key: str, fingerprint: str, now: datetime, make: Callable[[], tuple[Run, str]]) -> Answer:
    """What `make` answers, or answered when it was asked with this key before; without a key always the first. In one
    transaction.

    `make` makes the run and words the answer; an exception from it undoes everything, so that the key stays free. Two
    at once: the second waits for the first one's transaction at the unique key. Raises KeyReusedError.
    """
    with transaction.atomic():
        if not key:
            run, text = make()
            return Answer(text, run.pk)
        mine = AcceptedRequest.objects.filter(token=token, key=key)
        mine.older_than(now - KEPT).delete()
        request, is_new = AcceptedRequest.objects.get_or_create(
            token=token, key=key, defaults={"fingerprint": fingerprint, "created_at": now}
        )
        if request.fingerprint != fingerprint:
            raise KeyReusedError
        if not is_new:
            return Answer(request.answer, request.run_id or 0, is_repeated=True)
        request.run, request.answer = make()
        request.save(update_fields=["run", "answer"])
        return Answer(request.answer, request.run.pk)


def due(now: Moment) -> QuerySet[AcceptedRequest]:
    """Requests whose time is over."""
    return AcceptedRequest.objects.older_than(now - KEPT)


def purge(*, now: datetime) -> int:
    """Forget at most PURGED_AT_ONCE requests whose time is over. Returns how many."""
    ids = list(due(now).order_by("created_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    return AcceptedRequest.objects.filter(pk__in=ids).delete()[0] if ids else 0
