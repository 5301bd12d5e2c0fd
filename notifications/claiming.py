"""Takes deliveries to send: lease, fencing token and a started attempt for each, committed before the first call."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from integrations.models import Corp
from notifications.bulk_writes import begin_attempts
from notifications.channels.base import SENT, Sendable
from notifications.locking import unlocked
from notifications.models import Delivery

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
    """Those that wait still, as their calls need them."""
    rows = Delivery.objects.filter(pk__in=delivery_ids, status=Delivery.Status.PENDING)
    return [Sendable(*row) for row in rows.values_list(*SENT, Coalesce("run__due_at", "run__slot_at"))]


def claim_deliveries(deliveries: Collection[Sendable], *, now: datetime) -> list[StartedAttempt]:
    """The attempts of those that may be tried now, each with its delivery (of `pending`) and company.

    Left out are those whose time has not come, that are settled, and that another worker has or looks at. They share
    one fencing token: it is taken away from each by itself.
    """
    known = {row.pk: row for row in deliveries}
    with transaction.atomic():
        claimable = unlocked(Delivery.objects.sendable(now).filter(pk__in=known).order_by("pk"))
        rows = []
        for pk, attempt_count in claimable.values_list("pk", "attempt_count"):
            known[pk].attempt_count = attempt_count
            rows.append(known[pk])
        if not rows:
            return []
        # Why before they are taken? A company that cannot be read must leave them untouched.
        corps = Corp.objects.only(*_CALLED).in_bulk({row.corp_id for row in rows})
        for row in rows:
            row.corp = corps[row.corp_id]
        token = uuid.uuid4()
        _take(rows, token, now)
        ids = begin_attempts([row.pk for row in rows], token, now)
    return [StartedAttempt(ids[row.pk], row, row.attempt_count, token, now) for row in rows]


def claim_delivery(delivery_id: int, *, now: datetime) -> StartedAttempt | None:
    """The same for one, by its id; None if it may not be tried now."""
    return next(iter(claim_deliveries(pending([delivery_id]), now=now)), None)


def _take(rows: Collection[Sendable], token: uuid.UUID, now: datetime) -> None:
    lease_until = now + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
    taken = Delivery.objects.filter(pk__in=[row.pk for row in rows], status=Delivery.Status.PENDING)
    taken.update(
        status=Delivery.Status.SENDING,
        fencing_token=token,
        lease_until=lease_until,
        attempt_count=F("attempt_count") + 1,
    )
    for row in rows:
        row.attempt_count += 1
