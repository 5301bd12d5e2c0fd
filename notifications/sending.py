"""Sends deliveries: claim, commit, call, settle. No database transaction is open while WeCom is asked.

Claiming is a conditional update that takes a lease and a fencing token and writes an attempt, all committed before the
call. Settling needs the token: a worker that was thought dead and comes back changes nothing any more.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import F

from integrations import clients
from integrations.errors import IntegrationError
from notifications import settling
from notifications.models import Attempt, Delivery
from notifications.outcomes import OTHER_APP, Outcome, not_begun, outcome_of_error, outcome_of_result
from notifications.timing import TASK_SECONDS

if TYPE_CHECKING:
    from notifications.clock import Clock

logger = logging.getLogger(__name__)


def send_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Try each delivery whose time has come. Returns how many were tried.

    Between two messages `is_stopping` is asked: a worker that ends, or was busy for too long, gives the rest back.
    """
    remaining, passed_over = deque(delivery_ids), []
    give_back_at = clock() + timedelta(seconds=TASK_SECONDS)
    tried_count = 0
    while remaining and not is_stopping() and clock() < give_back_at:
        delivery_id = remaining.popleft()
        is_tried = _tried(delivery_id, clock)
        tried_count += is_tried is True
        if is_tried is False:  # a disabled company's, say: it can be handed out the moment that is enabled again
            passed_over.append(delivery_id)
    untried = [*remaining, *passed_over]
    if untried:
        Delivery.objects.filter(pk__in=untried, status=Delivery.Status.PENDING).update(queued_until=None)
    return tried_count


def send_delivery(delivery_id: int, *, clock: Clock) -> bool:
    """Try one delivery now. False if it may not be tried: not its time, settled, or another worker has it."""
    attempt = claim_delivery(delivery_id, now=clock())
    if attempt is None:
        return False
    started = time.monotonic()
    outcome = _call(attempt.delivery)
    duration_ms = round((time.monotonic() - started) * 1000)
    is_held = settling.settle(attempt, outcome, duration_ms=duration_ms, now=clock())
    logger.info(
        "delivery=%d corp=%d attempt=%d outcome=%s errcode=%s ms=%d%s",
        *(delivery_id, attempt.delivery.corp_id, attempt.number, outcome.kind, outcome.errcode, duration_ms),
        "" if is_held else " (its lease was lost)",
    )
    return True


def claim_delivery(delivery_id: int, *, now: datetime) -> Attempt | None:
    """Take the lease and write the attempt, or None if the delivery may not be tried now."""
    token = uuid.uuid4()
    with transaction.atomic():
        claimed = Delivery.objects.sendable(now).filter(pk=delivery_id)
        if not claimed.update(
            status=Delivery.Status.SENDING,
            fencing_token=token,
            lease_until=now + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS),
            attempt_count=F("attempt_count") + 1,
        ):
            return None
        delivery = Delivery.objects.select_related("corp").get(pk=delivery_id)
        return Attempt.objects.create(
            delivery=delivery, number=delivery.attempt_count, fencing_token=token, started_at=now
        )


def _tried(delivery_id: int, clock: Clock) -> bool | None:
    """As send_delivery; None where that failed: such a row waits until its time in the queue is over."""
    try:
        return send_delivery(delivery_id, clock=clock)
    except Exception:  # the edge of the loop: one bad row must not keep the others from going out
        logger.exception("delivery=%d could not be tried", delivery_id)
        return None


def _call(delivery: Delivery) -> Outcome:
    if (delivery.corpid, delivery.agentid) != (delivery.corp.corpid, delivery.corp.agentid):
        return OTHER_APP
    try:
        client = clients.wecom_client(delivery.corp)
    except IntegrationError as error:
        return outcome_of_error(error)
    except Exception as error:  # WeCom was not asked: left to itself, the attempt would count as unclear
        logger.exception("delivery=%d could not be sent: no client", delivery.pk)
        return not_begun(error)
    try:
        return outcome_of_result(client.message_send(bytes(delivery.body)))
    except IntegrationError as error:
        return outcome_of_error(error)
