"""Takes a run back: what waits is canceled at once, what was accepted is recalled from people's WeCom."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import QuerySet

from integrations import clients
from integrations.errors import ConfigurationError, IntegrationError, RateLimitedError, TransientError
from notifications import admission
from notifications.channels.wecom_app import address_scope, company_scope
from notifications.limiter import Permit, Request
from notifications.locking import update_unlocked
from notifications.models import Channel, Delivery, Run
from notifications.moments import Moment
from notifications.outcomes import Outcome, outcome_of_error
from notifications.sentences import Sentence

if TYPE_CHECKING:
    from accounts.models import User
    from notifications.clock import Clock

logger = logging.getLogger(__name__)

# WeCom's limit (42052 later).
RECALL_WITHIN = timedelta(hours=24)
HANDED_OUT_AT_ONCE = 500
# When a recall that failed for the moment, or for which the limits have no room, is tried again.
RETRY = timedelta(minutes=1)
# WeCom counts the calls of each API by themselves.
RECALL_API = "message_recall"
_TAKEN_BACK = Sentence("Taken back before its messages were made.")


def can_be_recalled(run: Run, *, now: datetime) -> bool:
    """Whether anything of the run is not final yet: not rendered, waiting, or accepted within the last day."""
    if run.recall_asked_at is not None:
        return False
    if run.status == Run.Status.WAITING:
        return True
    return run.deliveries.unsettled().exists() or _accepted(run, now).exists()


def request_recall(run: Run, *, person: User, now: datetime) -> bool:
    """Stop the run and mark what is to be recalled. False if that was asked for already."""
    asked = Run.objects.filter(pk=run.pk, recall_asked_at__isnull=True)
    if not asked.update(recall_asked_at=now, recall_asked_by=person):
        return False
    waiting = Run.objects.filter(pk=run.pk, status=Run.Status.WAITING)
    waiting.update(status=Run.Status.FAILED, finished_at=now, error=_TAKEN_BACK.stored())
    cancel_recalled(now=now)
    return True


def cancel_recalled(*, now: datetime) -> int:
    """Pending messages of recalled runs do not go out. One that may have arrived is unknown instead."""
    recalled = Delivery.objects.filter(run__recall_asked_at__isnull=False)
    pending = recalled.filter(status=Delivery.Status.PENDING)
    unclear = pending.filter(unclear_since__isnull=False)
    certain = pending.filter(unclear_since__isnull=True)
    canceled = {"status": Delivery.Status.CANCELED, "settled_at": now}
    return (
        update_unlocked(recalled.filter(status=Delivery.Status.PREPARING), **canceled)
        + update_unlocked(unclear, status=Delivery.Status.UNKNOWN, settled_at=now)
        + update_unlocked(certain, **canceled)
    )


def due(now: Moment) -> QuerySet[Delivery]:
    """Accepted messages of recalled runs that are to be recalled, or to be tried again."""
    runs = Run.objects.filter(recall_asked_at__gt=now - 2 * RECALL_WITHIN).values("pk")
    return _recallable(now).filter(run__in=runs, next_attempt_at__lte=now)


def to_recall(*, now: datetime) -> list[int]:
    """Ids of accepted messages of recalled runs to hand to a task; nobody else gets them for RETRY."""
    ids = list(due(now).order_by("pk").values_list("pk", flat=True)[:HANDED_OUT_AT_ONCE])
    # The row is settled: its next attempt is the recall's.
    Delivery.objects.filter(pk__in=ids).update(next_attempt_at=now + RETRY)
    return ids


def recall_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Recall each from WeCom. Returns how many were. What fails for the moment is handed out again.

    What concerns the whole company, as a refused IP or too many calls, is not tried again with each of its messages.
    """
    count, waiting_corps = 0, set[int]()
    rows = Delivery.objects.filter(pk__in=list(delivery_ids), recalled_at__isnull=True, recall_error="")
    for delivery in rows.select_related("corp").defer("body", "text"):
        if is_stopping():
            break
        if delivery.corp_id in waiting_corps:
            continue
        permit = admission.permit(_request(delivery))
        if not isinstance(permit, Permit):
            waiting_corps.add(delivery.corp_id)
            continue
        try:
            count += _recall(delivery, clock)
        except (ConfigurationError, RateLimitedError) as error:
            waiting_corps.add(delivery.corp_id)
            _postpone(delivery, outcome_of_error(error), clock())
        finally:
            admission.release([permit])
    return count


def _request(delivery: Delivery) -> Request:
    scopes = (address_scope(delivery.corp, RECALL_API), company_scope(delivery.corpid, RECALL_API))
    return Request(id=f"recall:{delivery.pk}.{secrets.token_hex(4)}", scopes=scopes, is_urgent=True)


def _recall(delivery: Delivery, clock: Clock) -> bool:
    """Raises ConfigurationError and RateLimitedError."""
    mine = Delivery.objects.filter(pk=delivery.pk, recalled_at__isnull=True, recall_error="")
    # Why again? Since the task read it, another may have recalled it, and somebody may have mended its company.
    held = mine.select_related("corp").defer("body", "text").first()
    if held is None:
        return False
    try:
        clients.wecom_client(held.corp).message_recall(held.msgid)
    except (ConfigurationError, RateLimitedError):
        raise
    except TransientError as error:
        logger.info("delivery=%d not recalled for the moment errcode=%s", delivery.pk, error.code)
        return False
    except IntegrationError as error:
        mine.update(recall_error=str(error))
        logger.warning("delivery=%d cannot be recalled errcode=%s", delivery.pk, error.code)
        return False
    logger.info("delivery=%d recalled", delivery.pk)
    return mine.update(recalled_at=clock()) == 1


def _postpone(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """All that is to be recalled of the company waits as long as the answer asks for."""
    logger.info("corp=%d: recalls wait errcode=%s", delivery.corp_id, outcome.errcode)
    if outcome.is_rate_limited:
        admission.hold([company_scope(delivery.corpid, RECALL_API)], outcome)
    theirs = _recallable(now).filter(corp=delivery.corp_id, run__recall_asked_at__isnull=False)
    theirs.update(next_attempt_at=now + timedelta(seconds=outcome.wait_seconds))


def _accepted(run: Run, now: datetime) -> QuerySet[Delivery]:
    return _recallable(now).filter(run=run)


def _recallable(now: Moment) -> QuerySet[Delivery]:
    """WeCom knows a message by its msgid; one accepted on a repeat may have none, robots and mail never do."""
    return Delivery.objects.filter(
        channel=Channel.WECOM,
        status=Delivery.Status.ACCEPTED,
        recalled_at__isnull=True,
        recall_error="",
        settled_at__gt=now - RECALL_WITHIN,
    ).exclude(msgid="")
