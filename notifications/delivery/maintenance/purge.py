"""Deletes runs and incidents older than the retention time, and old drafts, in chunks that fit into a tick."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from notifications.models import (
    AlertCard,
    Attachment,
    Attempt,
    CardCode,
    Delivery,
    Draft,
    FrozenContent,
    Incident,
    Medium,
    Receipt,
    Run,
)
from notifications.models.lookups import Moment

logger = logging.getLogger(__name__)

CHUNK = 2000
_DONE = (Run.Status.FINISHED, Run.Status.MISSED, Run.Status.FAILED, Run.Status.SKIPPED)


def due(now: Moment) -> list[QuerySet[Any]]:
    """Runs and incidents that are over and older than LOG_RETENTION_DAYS, and drafts that nobody came back to."""
    return [_old_runs(now), _old_incidents(now), Draft.objects.old(now)]


def _old_incidents(now: Moment) -> QuerySet[Incident]:
    return Incident.objects.over_before(now - timedelta(days=settings.LOG_RETENTION_DAYS))


def _old_runs(now: Moment) -> QuerySet[Run]:
    return Run.objects.filter(claimed_at__lt=now - timedelta(days=settings.LOG_RETENTION_DAYS), status__in=_DONE)


def purge(*, now: datetime) -> int:
    """Delete at most CHUNK rows of the oldest run that is over and older than LOG_RETENTION_DAYS. Returns how many.

    Its receipts go first, then attempts, deliveries, what they show, then the run: broken off anywhere, the next
    call goes on.
    """
    run = _old_runs(now).order_by("claimed_at").first()
    if run is None:
        return 0
    deliveries = Delivery.objects.filter(run=run)
    for rows in (
        Receipt.objects.filter(run=run),
        Attempt.objects.filter(delivery__in=deliveries.values("pk")),
        Attachment.objects.filter(delivery__in=deliveries.values("pk")),
        AlertCard.objects.filter(delivery__in=deliveries.values("pk")),
        CardCode.objects.filter(delivery__in=deliveries.values("pk")),
        deliveries,
        FrozenContent.objects.filter(run=run),
        Medium.objects.filter(run=run),
    ):
        count = _deleted(rows)
        if count:
            return count
    run_id = run.pk
    run.delete()
    logger.info("run=%d forgotten", run_id)
    return 1


def purge_incidents(*, now: datetime) -> int:
    """Delete at most CHUNK incidents that are over for longer than LOG_RETENTION_DAYS, with all that hangs on them. If
    they have pictures, at most CHUNK of these go first, and the next call goes on. Returns how many."""
    ids = list(_old_incidents(now).order_by("resolved_at").values_list("pk", flat=True)[:CHUNK])
    if not ids:
        return 0
    picture_count = _deleted(Medium.objects.filter(incident__in=ids))
    if picture_count:
        return picture_count
    Incident.objects.filter(pk__in=ids).delete()
    logger.info("incidents=%d forgotten", len(ids))
    return len(ids)


def purge_drafts(*, now: datetime) -> int:
    """Delete at most CHUNK drafts that nobody came back to. Returns how many."""
    return _deleted(Draft.objects.old(now))


def _deleted(rows: QuerySet[Any]) -> int:
    """Raw: Django would read every row and look for related rows, which are gone by then."""
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
    chunk = rows.filter(pk__in=ids)  # that are so still: somebody may come back to a draft
    return int(chunk._raw_delete(chunk.db)) if ids else 0
