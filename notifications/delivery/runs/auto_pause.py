"""Pauses subscriptions after several failed runs in a row."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils.translation import gettext as _

from notifications.models import Delivery, Receipt, Run, Subscription

logger = logging.getLogger(__name__)
Status = Delivery.Status

# So many runs are looked at for each failure that counts: those between that say nothing are passed over.
_RUNS_PER_FAILURE = 4


class _Verdict(Enum):
    """What a run says of its subscription."""

    WORKED = "worked"
    FAILED = "failed"
    # Taken back, or held up by a company that is disabled, blocked or paused.
    NOTHING = "nothing"


def pause_failing(*, now: datetime) -> int:
    """Pause those of which a run has just gone wrong and as many in a row have failed as they allow. Returns how many.

    Called before the owners are told, who so learn of it. Safe in any number at once: the row of a subscription is
    locked.
    """
    concerned = Subscription.objects.filter(is_enabled=True, pauses_after_failures__gt=0)
    wrong = concerned.filter(pk__in=Run.objects.unnotified().values("subscription")).values_list("pk", flat=True)
    paused_ids = [pk for pk in wrong.order_by("pk") if _pause(pk, now)]
    if paused_ids:
        logger.warning("paused after failures: subscriptions=%s", paused_ids)
    return len(paused_ids)


@transaction.atomic
def _pause(pk: int, now: datetime) -> bool:
    rows = Subscription.objects.select_for_update(of=("self",)).filter(is_enabled=True, pauses_after_failures__gt=0)
    subscription = rows.filter(pk=pk).first()
    if subscription is None or _failures_in_a_row(subscription) < subscription.pauses_after_failures:
        return False
    subscription.is_enabled, subscription.failures_paused_at = False, now
    subscription.save(update_fields=["is_enabled", "failures_paused_at"])
    return True


def _failures_in_a_row(subscription: Subscription) -> int:
    """Counted no further than it allows."""
    at_most, count = subscription.pauses_after_failures, 0
    for verdict in map(_verdict, _ended(subscription)[: at_most * _RUNS_PER_FAILURE]):
        if verdict is _Verdict.WORKED or count == at_most:
            break
        count += verdict is _Verdict.FAILED
    return count


def _ended(subscription: Subscription) -> QuerySet[Run]:
    """Its runs for everybody that have ended since it was enabled last, the newest first."""
    ended = Run.objects.filter(
        subscription=subscription, status__in=[Run.Status.FAILED, Run.Status.FINISHED, Run.Status.SKIPPED]
    ).exclude(trigger__in=Run.PARTIAL)
    if subscription.failures_counted_from is not None:
        ended = ended.filter(claimed_at__gte=subscription.failures_counted_from)
    deliveries = Delivery.objects.filter(run=OuterRef("pk"))
    reached = deliveries.filter(
        status__in=[Status.ACCEPTED, Status.UNKNOWN], recipient_count__gt=F("invalid_count") + F("unlicensed_count")
    )
    receipts = Receipt.objects.filter(run=OuterRef("pk"))
    return ended.order_by("-pk").annotate(
        is_reaching=Exists(reached),
        is_held_up=Exists(deliveries.filter(status=Status.CANCELED))
        | Exists(receipts.filter(reason=Receipt.Reason.CORP_DISABLED)),
    )


def _verdict(run: Run) -> _Verdict:
    if run.recall_requested_at is not None:
        return _Verdict.NOTHING
    if run.status == Run.Status.FAILED:
        return _Verdict.FAILED
    is_reaching: bool = run.is_reaching  # type: ignore[attr-defined]  # annotated in _ended
    is_held_up: bool = run.is_held_up  # type: ignore[attr-defined]  # see above
    if run.status == Run.Status.SKIPPED or is_reaching or not run.error:
        return _Verdict.WORKED
    return _Verdict.NOTHING if is_held_up else _Verdict.FAILED


def resume(subscription: Subscription, *, now: datetime) -> set[str]:
    """For whoever enables it again: the count begins anew. Returns the columns that are to be saved."""
    subscription.failures_paused_at, subscription.failures_counted_from = None, now
    return {"failures_paused_at", "failures_counted_from"}


def sentences(subscriptions: Iterable[Subscription]) -> list[str]:
    """Of those that have paused themselves, each once: what happened, and what to do."""
    sentence = _(
        "“%(name)s” has paused itself after %(count)d failed runs in a row. Put right what the runs say, then tick "
        "“enabled” on its page."
    )
    found = {one.pk: one for one in subscriptions if one.failures_paused_at is not None}
    return [sentence % {"name": one, "count": one.pauses_after_failures} for one in found.values()]
