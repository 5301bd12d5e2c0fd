"""Recovers ended leases and lost tasks, cancels expired messages, finishes runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from integrations.core.background import guarded
from notifications.delivery.channels.outcomes import LOST_WORKER
from notifications.delivery.failures import sum_up_losses
from notifications.delivery.leases import RENDER_LEASE
from notifications.delivery.locking import BATCH, unlocked, update_unlocked
from notifications.delivery.runs import recall
from notifications.delivery.sending import fallback, settle
from notifications.models import REPEAT_SECONDS, Attempt, Delivery, Run
from notifications.models.lookups import Moment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """What one sweep did, and the runs whose rendering is to be started again."""

    run_ids: list[int]
    lease_count: int
    given_up_count: int
    mailed_count: int
    finished_count: int


def due(now: Moment) -> list[QuerySet[Any]]:
    """The rows that a sweep may have something to do with."""
    return [
        Delivery.objects.unsettled(),
        Run.objects.filter(status=Run.Status.SENDING),
        Run.objects.unrendered(now),
    ]


def sweep(*, now: datetime) -> Swept:
    """Settle ended leases, give up what may not be tried any more, finish runs, find lost renderings.

    Safe at any time, in any number: rows that another sweep holds are left to it.
    """
    # Most of the time there is nothing under way, and one short question spares many long ones.
    is_waiting = Delivery.objects.unsettled().exists()
    lease_count = _settle_ended_leases(now) if is_waiting else 0
    given_up_count = _give_up(now) if is_waiting else 0
    is_sending = Run.objects.filter(status=Run.Status.SENDING).exists()
    run_ids = _unrendered(now)
    mailed_count, finished_count = _finish_runs(now) if is_sending else (0, 0)
    swept = Swept(
        run_ids=run_ids,
        lease_count=lease_count,
        given_up_count=given_up_count,
        mailed_count=mailed_count,
        finished_count=finished_count,
    )
    if swept.run_ids or swept.lease_count or swept.given_up_count:
        logger.warning(
            "swept: %d lost renderings, %d ended leases, %d given up",
            *(len(swept.run_ids), swept.lease_count, swept.given_up_count),
        )
    return swept


def _unrendered(now: datetime) -> list[int]:
    with transaction.atomic():
        ids = [run.pk for run in unlocked(Run.objects.unrendered(now).only("pk"))[:BATCH]]
        Run.objects.filter(pk__in=ids).update(render_after=now + RENDER_LEASE)
    return ids


def _settle_ended_leases(now: datetime) -> int:
    count = 0
    while True:
        with transaction.atomic():
            ended = list(unlocked(Delivery.objects.lease_expired(now))[:BATCH])
            settled = sum(_is_settled(delivery, now) for delivery in ended)
        count += settled
        if len(ended) < BATCH or not settled:
            return count


def _is_settled(delivery: Delivery, now: datetime) -> bool:
    """Whether its ended lease could be settled: one bad row must not keep the others waiting."""
    with guarded(logger, "delivery=%d: its ended lease could not be settled", delivery.pk) as row, transaction.atomic():
        _settle_ended_lease(delivery, now)
    return row.error is None


def _settle_ended_lease(delivery: Delivery, now: datetime) -> None:
    attempt = Attempt.objects.filter(delivery=delivery).order_by("number").last()
    if attempt is not None and attempt.fencing_token == delivery.fencing_token:
        settle.settle(attempt, LOST_WORKER, duration_ms=None, now=now)
        return
    # Without an attempt nothing was sent.
    Delivery.objects.filter(pk=delivery.pk).update(
        status=Delivery.Status.PENDING, next_attempt_at=now, fencing_token=None, lease_until=None, queued_until=None
    )


def _give_up(now: datetime) -> int:
    """Pending messages that are worthless by now are canceled. One that may have arrived is unknown instead."""
    pending = Delivery.objects.filter(status=Delivery.Status.PENDING)
    worthless = pending.filter(expires_at__lte=now)
    repeat_end = now - timedelta(seconds=REPEAT_SECONDS)
    unknown = {"status": Delivery.Status.UNKNOWN, "settled_at": now}
    canceled = {"status": Delivery.Status.CANCELED, "settled_at": now}
    return (
        recall.cancel_recalled(now=now)
        + update_unlocked(Delivery.objects.filter(status=Delivery.Status.PREPARING, expires_at__lte=now), **canceled)
        + update_unlocked(pending.filter(unclear_since__lte=repeat_end), **unknown)
        + update_unlocked(worthless.filter(unclear_since__isnull=False), **unknown)
        + update_unlocked(worthless.filter(unclear_since__isnull=True), **canceled)
    )


def _finish_runs(now: datetime) -> tuple[int, int]:
    """Runs of which nothing is under way have ended; those that did not reach everybody say so, or mail the others
    before. Returns how many mails were written, and how many runs ended."""
    unsettled = Delivery.objects.unsettled().filter(run=OuterRef("pk"))
    sending = Run.objects.filter(~Exists(unsettled), status=Run.Status.SENDING)
    mailed_count = finished_count = 0
    while True:
        with transaction.atomic():
            rows = unlocked(sending.order_by("pk")).values_list("pk", "recall_requested_at")[:BATCH]
            recalls = dict(rows)
            # Only now: asked before, a run whose last answer came in between would end without its mails.
            mailed_count += fallback.fall_back(recalls, now=now)
            finished_count += _finish(recalls, now)
        if len(recalls) < BATCH:
            return mailed_count, finished_count


def _finish(recalls: Mapping[int, datetime | None], now: datetime) -> int:
    """End those of these runs, which are locked, that have no mails under way. Returns how many."""
    under_way = set(Delivery.objects.unsettled().filter(run__in=recalls).values_list("run", flat=True))
    over = {pk: at for pk, at in recalls.items() if pk not in under_way}
    ended = Run.objects.filter(pk__in=over)
    ended.update(status=Run.Status.FINISHED, finished_at=now)
    for run_id, sentence in sum_up_losses([pk for pk, at in over.items() if at is None]).items():
        ended.filter(pk=run_id).update(error=sentence.stored())
    return len(over)
