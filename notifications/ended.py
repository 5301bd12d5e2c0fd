"""Writes down what became of calls that ended, many at a time where nothing is remarkable about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, CharField, DateTimeField, Field, PositiveIntegerField, Value, When

from notifications import blocking
from notifications.models import Attempt, Channel, Delivery
from notifications.outcomes import Outcome
from notifications.settling import settle

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """A call that ended."""

    attempt: Attempt
    outcome: Outcome
    duration_ms: int | None
    ended_at: datetime


def settle_all(ended: Sequence[Ended]) -> None:
    """Settle each. What was simply accepted, which is nearly everything, is written together."""
    answered = {each.attempt.delivery.corp_id for each in ended if _proves_configuration(each)}
    if answered:
        blocking.unblock(answered, now=ended[0].ended_at)
    plain = [each for each in ended if each.outcome.is_plainly_accepted]
    if len(plain) > 1:
        try:
            _settle_accepted(plain)
        except Exception:  # the edge of the loop: one bad row must not leave the others unsettled
            logger.exception("%d accepted deliveries could not be settled together", len(plain))
            plain = []
    else:
        plain = []
    together = {each.attempt.pk for each in plain}
    for each in ended:
        if each.attempt.pk not in together:
            _settle_alone(each)


def _proves_configuration(each: Ended) -> bool:
    return each.outcome.proves_configuration and each.attempt.delivery.channel == Channel.WECOM


def _settle_alone(each: Ended) -> None:
    delivery = each.attempt.delivery
    try:
        is_held = settle(each.attempt, each.outcome, duration_ms=each.duration_ms, now=each.ended_at)
    except Exception:  # the edge of the loop: its lease will end
        logger.exception("delivery=%d could not be settled", delivery.pk)
        return
    _log(each, is_held=is_held)


def _log(each: Ended, *, is_held: bool) -> None:
    delivery = each.attempt.delivery
    logger.info(
        "delivery=%d corp=%d attempt=%d outcome=%s errcode=%s ms=%s%s",
        *(delivery.pk, delivery.corp_id, each.attempt.number, each.outcome.kind, each.outcome.errcode),
        each.duration_ms,
        "" if is_held else " (its lease was lost)",
    )


def _settle_accepted(ended: Sequence[Ended]) -> None:
    """One transaction and three statements for all of them."""
    with transaction.atomic():
        # Why ordered? The sweep and other tasks lock in this order, too: nobody waits in a circle.
        sending = Delivery.objects.filter(
            pk__in=[each.attempt.delivery_id for each in ended], status=Delivery.Status.SENDING
        )
        held = set(sending.order_by("pk").select_for_update().values_list("pk", "fencing_token"))
        _write_attempts(ended)
        _write_deliveries([each for each in ended if _holding(each) in held])
    for each in ended:
        _log(each, is_held=_holding(each) in held)


def _holding(each: Ended) -> tuple[int, Any]:
    return each.attempt.delivery_id, each.attempt.fencing_token


def _write_attempts(ended: Sequence[Ended]) -> None:
    Attempt.objects.filter(pk__in=[each.attempt.pk for each in ended]).update(
        outcome=Attempt.Outcome.ACCEPTED,
        errcode=0,
        duration_ms=_each({each.attempt.pk: each.duration_ms for each in ended}, PositiveIntegerField()),
        finished_at=_each({each.attempt.pk: each.ended_at for each in ended}, DateTimeField()),
    )


def _write_deliveries(ended: Sequence[Ended]) -> None:
    by_pk = {each.attempt.delivery_id: each for each in ended}
    Delivery.objects.filter(pk__in=by_pk).update(
        status=Delivery.Status.ACCEPTED,
        errcode=0,
        error="",
        settled_at=_each({pk: each.ended_at for pk, each in by_pk.items()}, DateTimeField()),
        msgid=_each({pk: each.outcome.msgid for pk, each in by_pk.items()}, CharField()),
        response_code=_each({pk: each.outcome.response_code for pk, each in by_pk.items()}, CharField()),
        fencing_token=None,
        lease_until=None,
        queued_until=None,
    )


def _each(values: dict[int, Any], field: Field[Any, Any]) -> Case | Value:
    """The value of each row; where all have the same, that one."""
    different = set(values.values())
    if len(different) <= 1:
        return Value(next(iter(different), None), output_field=field)
    return Case(*(When(pk=pk, then=Value(value)) for pk, value in values.items()), output_field=field)
