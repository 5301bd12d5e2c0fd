"""Rows of messages whose picture or file is uploaded: claimed together, and frozen together.

A delivery is taken under a lease with a fencing token, as for sending; the lease ends by itself, since uploading twice
harms nobody: only who still holds the token freezes the bytes, once.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Length

from integrations.clients.wecom.builders import MessageError, body_bytes
from integrations.core.background import guarded
from integrations.models import Corp
from notifications.delivery import bulk
from notifications.delivery.channels.outcomes import Outcome
from notifications.delivery.locking import unlocked, update_unlocked
from notifications.delivery.sending.queue import CALLED
from notifications.models import Channel, Delivery, Medium

logger = logging.getLogger(__name__)

# Longer than the longest upload (integrations.clients.wecom.calls.Timeouts.transfer_seconds).
LEASE = timedelta(seconds=120)
# Of pictures in the bodies that one statement writes, or one picture: on its way each is in memory some eight times.
BYTES_AT_ONCE = 4 * 2**20

_FREE: dict[str, None] = {"fencing_token": None, "lease_until": None, "queued_until": None}
_READ = (
    *("run", "corp", "channel", "message_form", "priority", "created_at", "title", "corpid", "agentid", "body"),
    *("language", "prepare_count", "fencing_token"),
    *("robot__key", "medium__name", "medium__content_type", "medium__status", "medium__error"),
)


def sizes(delivery_ids: Collection[int]) -> dict[int, int]:
    """Bytes of what each of them carries."""
    rows = Delivery.objects.filter(pk__in=delivery_ids, medium__isnull=False).order_by()
    return dict(rows.values_list("pk", Length("medium__content")))


def claim(delivery_ids: Collection[int], now: datetime) -> list[Delivery]:
    """Those that may be prepared now, with company, robot and medium, but without its content; ours until the lease
    ends. `is_shared`: others carry the same."""
    token = uuid.uuid4()
    mine = Delivery.objects.preparable(now).filter(pk__in=delivery_ids).order_by("pk")
    with transaction.atomic():
        ids = [row.pk for row in unlocked(mine.only("pk"))]
        if not ids:
            return []
        Delivery.objects.filter(pk__in=ids).update(
            fencing_token=token, lease_until=now + LEASE, prepare_count=F("prepare_count") + 1
        )
        others = Delivery.objects.filter(medium=OuterRef("medium")).exclude(pk=OuterRef("pk"))
        # Inside: the token of a worker that takes it over later is not ours.
        rows = Delivery.objects.filter(pk__in=ids).select_related("robot", "medium").only(*_READ).order_by("pk")
        found = list(rows.annotate(is_shared=Exists(others)))
        corps = Corp.objects.only(*CALLED).in_bulk({row.corp_id for row in found})
    for row in found:
        row.corp = corps[row.corp_id]
    return found


def contents(held: Iterable[Delivery]) -> dict[int, bytes]:
    """What they carry, by the medium's id."""
    ids = [row.medium_id for row in held if row.medium_id]
    return {pk: bytes(content) for pk, content in Medium.objects.filter(pk__in=ids).values_list("pk", "content")}


@dataclass(frozen=True, slots=True)
class Prepared:
    """`completed`: makes the final body of what the row holds; raises MessageError. Without it the words go alone, and
    `reason` says why. `until`: when what was uploaded is forgotten. `size`: bytes of a picture that the body holds."""

    held: Delivery
    completed: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    until: datetime | None = None
    reason: str = ""
    size: int = 0


def freeze(prepared: Iterable[Prepared], now: datetime) -> int:
    """Write the final bytes, so many at a time as BYTES_AT_ONCE says. Returns how many may be sent now."""
    parts = bulk.in_parts(prepared, lambda one: one.size, BYTES_AT_ONCE)
    return sum(_freeze_part(part, now) for part in parts)


def _freeze_part(prepared: Sequence[Prepared], now: datetime) -> int:
    """One by one where that fails together: a bad row is tried again when its lease has ended, and does not keep the
    others."""
    with guarded(logger, "%d deliveries could not be frozen together", len(prepared)) as together:
        count = _freeze(prepared, now)
    if together.error is None:
        return count
    count = 0
    for one in prepared if len(prepared) > 1 else ():
        with guarded(logger, "delivery=%d could not be frozen", one.held.pk):
            count += _freeze([one], now)
    return count


@transaction.atomic
def _freeze(prepared: Sequence[Prepared], now: datetime) -> int:
    """From what the rows hold now: people may have been taken out of them meanwhile."""
    by_id = {one.held.pk: one for one in prepared}
    rows = _preparing(by_id).select_for_update(of=("self",)).order_by("pk")
    frozen = []
    for row in rows.only("body", "plain_body", "channel", "fencing_token"):
        one = by_id[row.pk]
        if row.fencing_token == one.held.fencing_token:
            final = _final(row, one)
            if final.body:
                frozen.append(final)
            else:  # prepared anew, its plain body is gone
                failed = {"status": Delivery.Status.FAILED, "settled_at": now, "error": final.error}
                Delivery.objects.filter(pk=row.pk).update(**failed, **_FREE)
    bulk.freeze_deliveries(frozen, now)
    return len(frozen)


def _final(row: Delivery, one: Prepared) -> bulk.Frozen:
    """Without a body where there is none."""
    reason = one.reason
    if one.completed is not None:
        try:
            return bulk.Frozen(row.pk, _bytes(row, one.completed(json.loads(bytes(row.body)))), one.until)
        except MessageError as error:
            logger.warning("delivery=%d: its picture or file does not fit into it", row.pk)
            reason = str(error)
    return bulk.Frozen(row.pk, bytes(row.plain_body), None, reason)


def give_back(held: Delivery, at: datetime, outcome: Outcome | None = None, **fields: Any) -> None:
    """It is tried again at that time. `outcome`: what became of the upload, for whoever looks at it."""
    said = {"errcode": outcome.errcode, "error": outcome.message} if outcome else {}
    mine = _preparing([held.pk]).filter(fencing_token=held.fencing_token)
    mine.update(next_attempt_at=at, **said, **fields, **_FREE)


def give_back_unbegun(delivery_ids: Collection[int]) -> None:
    """They can be handed out again."""
    if delivery_ids:
        update_unlocked(_preparing(delivery_ids).filter(queued_until__isnull=False), queued_until=None)


def _preparing(ids: Collection[int]) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=list(ids), status=Delivery.Status.PREPARING)


def _bytes(delivery: Delivery, body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode() if delivery.channel == Channel.EMAIL else body_bytes(body)
