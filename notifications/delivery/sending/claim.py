"""Claims deliveries: lease, fencing token and a started attempt each, committed before the first call."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from integrations.models import Corp
from notifications.delivery.bulk import begin_attempts
from notifications.delivery.channels.base import SENT, Sendable
from notifications.delivery.locking import unlocked
from notifications.models import Delivery, Run

# What a call needs of its company: secrets most of all cost time.
_CALLED = ("name", "corpid", "agentid", "secret", "api_base_url", "proxy_url", "ca_bundle")


@dataclass(frozen=True, slots=True)
class StartedAttempt:
    """An attempt whose row is committed, and whose call may be made."""

    pk: int
    delivery: Sendable
    number: int
    fencing_token: uuid.UUID
    started_at: datetime

    @property
    def delivery_id(self) -> int:
        return self.delivery.pk


def pending(delivery_ids: Collection[int]) -> list[Sendable]:
    """Those that wait still, as the limiter is asked for them. What is sent is what the claim returns."""
    return _sendables(Delivery.objects.filter(pk__in=delivery_ids, status=Delivery.Status.PENDING))


def claim_deliveries(deliveries: Collection[Sendable], *, now: datetime) -> list[StartedAttempt]:
    """The attempts of those that may be tried now, each with its delivery as it was locked, and its company.

    Left out are those whose time has not come, that are settled, that another worker has or looks at, and that are not
    any more what `deliveries` say: people were withdrawn, a picture was renewed, or somebody tried them meanwhile. The
    limiter was asked for something else; they are asked for anew. The attempts share one fencing token: it is taken
    away from each by itself.
    """
    known = {row.pk: row for row in deliveries}
    with transaction.atomic():
        # PostgreSQL reads a row again once it has its lock: these are the values that nobody can change any more.
        locked = _sendables(unlocked(Delivery.objects.sendable(now).filter(pk__in=known).order_by("pk")))
        rows = [row for row in locked if row == known[row.pk]]
        if not rows:
            return []
        # Before they are claimed: a company that cannot be read must leave them untouched.
        corps = Corp.objects.only(*_CALLED).in_bulk({row.corp_id for row in rows})
        for row in rows:
            row.corp = corps[row.corp_id]
        token = uuid.uuid4()
        _mark_sending(rows, token, now)
        ids = begin_attempts([row.pk for row in rows], token, now)
    return [StartedAttempt(ids[row.pk], row, row.attempt_count, token, now) for row in rows]


def _sendables(rows: QuerySet[Delivery]) -> list[Sendable]:
    run = Run.objects.filter(pk=OuterRef("run")).values(at=Coalesce("due_at", "slot_at"))
    # No join: its run would be locked with it.
    return [Sendable(*row) for row in rows.values_list(*SENT, Subquery(run))]


def _mark_sending(rows: Collection[Sendable], token: uuid.UUID, now: datetime) -> None:
    lease_until = now + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
    claimed = Delivery.objects.filter(pk__in=[row.pk for row in rows], status=Delivery.Status.PENDING)
    claimed.update(
        status=Delivery.Status.SENDING,
        fencing_token=token,
        lease_until=lease_until,
        attempt_count=F("attempt_count") + 1,
    )
    for row in rows:
        row.attempt_count += 1
