"""Messages that wait for people whom WeCom does not let in any more, or who have another userid by now.

A message of which nothing was tried yet is still ours: it is written anew without those people, or with the new userid,
and canceled where nobody is left. From its first attempt on it stays as it is, recipients and all (design: the outbox
is frozen); WeCom itself then names the leavers as invalid.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from accounts.models import WeComAccount, fold_userid
from integrations.models import Corp
from integrations.wecom.bodies import body_bytes
from notifications.models import Channel, Delivery, Receipt, Run

logger = logging.getLogger(__name__)


@transaction.atomic
def withdraw(corp: Corp, userids: Sequence[str], now: datetime) -> None:
    """Take these people, folded, out of what was not tried yet, mails too. One query where nothing waits for them.

    Their receipts say why; other people get the message as before. Safe to repeat.
    """
    if not _waiting(corp).exists():
        return
    gone = frozenset(userids)
    for delivery in _untried(corp, gone):
        receipts = Receipt.objects.filter(delivery=delivery, status="", address__in=_addresses(corp, gone))
        count = receipts.update(status=Receipt.Status.SKIPPED, reason=Receipt.Reason.BARRED)
        is_left = _write_recipients(delivery, lambda userid: None if fold_userid(userid) in gone else userid)
        _settle(delivery, count, is_left, now)
    for mail in _untried_mails(corp):
        count = Receipt.objects.filter(delivery=mail, status="").update(
            status=Receipt.Status.SKIPPED, reason=Receipt.Reason.BARRED
        )
        _settle(mail, count, False, now)


def _settle(delivery: Delivery, count: int, is_left: bool, now: datetime) -> None:
    """Count `count` people out of it; where nobody `is_left`, it is canceled."""
    if not is_left:
        delivery.status, delivery.settled_at = Delivery.Status.CANCELED, now
    delivery.recipient_count = max(0, delivery.recipient_count - count)
    delivery.save(update_fields=["body", "plain_body", "status", "settled_at", "recipient_count"])
    Run.objects.filter(pk=delivery.run_id).update(
        recipient_count=F("recipient_count") - count, skipped_count=F("skipped_count") + count
    )
    logger.info("delivery=%d recipients withdrawn=%d%s", delivery.pk, count, "" if is_left else " (canceled)")


@transaction.atomic
def readdress(corp: Corp, old: str, new: str) -> None:
    """Somebody has another userid: what was not tried yet goes to the new one."""
    if not _waiting(corp).exists():
        return
    folded, address = fold_userid(old), f"{corp.pk}:{fold_userid(new)}"
    for delivery in _untried(corp, frozenset({folded})):
        if Receipt.objects.filter(run=delivery.run_id, channel=delivery.channel, address=address).exists():
            continue  # meant for whoever had the new userid before: WeCom refuses the former one
        Receipt.objects.filter(delivery=delivery, address=f"{corp.pk}:{folded}").update(address=address)
        _write_recipients(delivery, lambda userid: new if fold_userid(userid) == folded else userid)
        delivery.save(update_fields=["body", "plain_body"])


def _untried(corp: Corp, userids: frozenset[str]) -> list[Delivery]:
    """Locked, so that no worker claims them meanwhile: a claim asks for the status again once it has the row."""
    return _meant_by(corp, Q(address__in=_addresses(corp, userids)))


def _untried_mails(corp: Corp) -> list[Delivery]:
    """To people who are disabled by now, or whom WeCom does not let in: each mail has one recipient, by its address."""
    barred = WeComAccount.objects.shut_out().filter(user=OuterRef("user"), corp=corp)
    return _meant_by(corp, Q(user__is_active=False) | Q(Exists(barred)), channel=Channel.EMAIL)


def _meant_by(corp: Corp, condition: Q, **more: Any) -> list[Delivery]:
    waiting = _waiting(corp).filter(**more)
    meant = Receipt.objects.filter(condition, delivery__in=waiting, status="")
    keys = set(meant.order_by().values_list("delivery", flat=True))
    return list(waiting.filter(pk__in=keys).select_for_update(of=("self",)).order_by("pk")) if keys else []


def _waiting(corp: Corp) -> QuerySet[Delivery]:
    untried = [Delivery.Status.PREPARING, Delivery.Status.PENDING]
    return Delivery.objects.filter(corp=corp, status__in=untried, attempt_count=0)


def _addresses(corp: Corp, userids: frozenset[str]) -> list[str]:
    return [f"{corp.pk}:{userid}" for userid in userids]


def _write_recipients(delivery: Delivery, change: Callable[[str], str | None]) -> bool:
    """Change the recipients in the frozen body, in their order. Returns whether anybody is left; else it stays."""
    payload = json.loads(bytes(delivery.body))
    users = [user for user in map(change, payload["touser"].split("|")) if user]
    if users:
        delivery.body = body_bytes(payload | {"touser": "|".join(users)})
        if delivery.plain_body:
            plain = json.loads(bytes(delivery.plain_body))
            delivery.plain_body = body_bytes(plain | {"touser": "|".join(users)})
    return bool(users)
