"""Forgets messages whose runs are forgotten, uploads and payloads whose time is over, and mails of the mail door that
became no message, in chunks that fit into a tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from notifications.inbound import calls, uploads
from notifications.inbound.mail import outgoing
from notifications.models import IncomingMessage
from notifications.models.lookups import Moment

CHUNK = 200


def due(now: Moment) -> list[QuerySet[Any]]:
    return [_forgotten(now), uploads.due(now), outgoing.old(now), *calls.due(now)]


def purge(*, now: datetime) -> int:
    """Delete at most CHUNK messages, and as many uploads. Returns how many."""
    ids = list(_forgotten(now).order_by("created_at").values_list("pk", flat=True)[:CHUNK])
    if ids:
        # Django reads what it deletes: not the texts and whole mails.
        IncomingMessage.objects.filter(pk__in=ids).only("pk").delete()
    outgoing.purge(now=now)
    calls.forget(now=now)
    return len(ids) + uploads.purge(now=now)


def _forgotten(now: Moment) -> QuerySet[IncomingMessage]:
    return IncomingMessage.objects.forgotten(now - timedelta(days=settings.LOG_RETENTION_DAYS))
