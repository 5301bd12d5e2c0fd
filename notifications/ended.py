"""Writes down what became of calls that ended, many at a time where nothing is remarkable about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from notifications import blocking, counters
from notifications.bulk_writes import settle_attempts, settle_deliveries
from notifications.claiming import StartedAttempt
from notifications.counters import EndedCall
from notifications.models import Channel
from notifications.outcomes import Kind, Outcome
from notifications.settling import settle

logger = logging.getLogger(__name__)

_LOST = " (its lease was lost)"


@dataclass(frozen=True)
class Ended:
    """A call that ended."""

    attempt: StartedAttempt
    outcome: Outcome
    duration_ms: int | None
    ended_at: datetime


def settle_all(ended: Sequence[Ended]) -> None:
    """Settle each. What was simply accepted, which is nearly everything, is written together."""
    answered = {each.attempt.delivery.corp_id for each in ended if _proves_configuration(each)}
    if answered:
        blocking.unblock(answered, now=ended[0].ended_at)
    counters.count_ended([_counted(each) for each in ended])
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


def _counted(each: Ended) -> EndedCall:
    delivery, outcome, lag_seconds = each.attempt.delivery, each.outcome, None
    if outcome.kind == Kind.ACCEPTED and delivery.due_at is not None:
        lag_seconds = max(0.0, (each.ended_at - delivery.due_at).total_seconds())
    code = outcome.kind.value if outcome.errcode is None else str(outcome.errcode)
    return EndedCall(delivery.channel, code, lag_seconds)


def _proves_configuration(each: Ended) -> bool:
    return each.outcome.proves_configuration and each.attempt.delivery.channel == Channel.WECOM


def _settle_alone(each: Ended) -> None:
    delivery = each.attempt.delivery
    try:
        is_held = settle(each.attempt, each.outcome, duration_ms=each.duration_ms, now=each.ended_at)
    except Exception:  # the edge of the loop: its lease will end
        logger.exception("delivery=%d could not be settled", delivery.pk)
        return
    logger.info(
        "delivery=%d corp=%d attempt=%d outcome=%s errcode=%s ms=%s%s",
        *(delivery.pk, delivery.corp_id, each.attempt.number, each.outcome.kind, each.outcome.errcode),
        each.duration_ms,
        "" if is_held else _LOST,
    )


def _settle_accepted(ended: Sequence[Ended]) -> None:
    """One transaction and two statements for all of them, the delivery before its attempt as everywhere."""
    with transaction.atomic():
        held = settle_deliveries(
            [
                (each.attempt.delivery_id, each.attempt.fencing_token, each.ended_at, each.outcome.msgid)
                for each in ended
            ]
        )
        settle_attempts([(each.attempt.pk, each.duration_ms, each.ended_at) for each in ended])
    # Why no line for each? Its row says it all, and lines cost more than writing the rows.
    logger.info("accepted deliveries=%d from=%d to=%d", len(held), min(held, default=0), max(held, default=0))
    for each in ended:
        if each.attempt.delivery_id not in held:
            logger.info("delivery=%d accepted%s", each.attempt.delivery_id, _LOST)
