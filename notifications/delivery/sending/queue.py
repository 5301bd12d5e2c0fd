"""The queue of deliveries: hands out as many per company as its limits allow soon, and claims what a task tries.

What waits stays in the table, in its order, instead of standing in the broker before everybody else's messages.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, zip_longest

from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from integrations.models import Corp
from notifications.delivery.bulk import begin_attempts
from notifications.delivery.channels.base import SENT, Sendable
from notifications.delivery.channels.wecom_app import app_scopes
from notifications.delivery.leases import QUEUE_LEASE
from notifications.delivery.limiter import Scope, StoreLostError, query
from notifications.delivery.locking import unlocked
from notifications.delivery.sending import circuit_breaker
from notifications.models import Attempt, Channel, Delivery, Priority, Run

logger = logging.getLogger(__name__)

# Of one company at once; what is more follows with the next call.
AT_ONCE = 2000
# Room that comes free this long after the next tick counts, too: tasks wait so long for it, and no window stands empty.
AHEAD_SECONDS = 2.0


@dataclass(frozen=True)
class HandedOut:
    """Ids to give to tasks now, by queue."""

    urgent: list[int] = field(default_factory=list)
    ordinary: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.urgent or self.ordinary)


def hand_out(*, now: datetime, limit: int = AT_ONCE) -> HandedOut:
    """Deliveries for which tasks are to be queued now; nobody else gets them for QUEUE_LEASE.

    At most `limit` of each company. To be repeated until nothing comes any more.
    """
    # Most of the time nothing waits, and one short question spares the long ones.
    if not Delivery.objects.unqueued(now).filter(status=Delivery.Status.PENDING, next_attempt_at__lte=now).exists():
        return HandedOut()
    sendable = Delivery.objects.sendable(now).unqueued(now)
    found = []
    for is_urgent in (True, False):
        rows = sendable.filter(priority=Priority.URGENT if is_urgent else Priority.ORDINARY)
        by_way = _of_companies(rows.filter(channel=Channel.WECOM), now, limit, is_urgent=is_urgent)
        # Robots and mail have limits of their own, which seldom bind: what must wait comes back from its task.
        by_way.append(_queued(rows.exclude(channel=Channel.WECOM), limit, now))
        found.append(_interleaved(by_way))
    return HandedOut(*found)


def _of_companies(sendable: QuerySet[Delivery], now: datetime, limit: int, *, is_urgent: bool) -> list[list[int]]:
    """Ids by company, each in its order."""
    corps = list(_corps_with(sendable))
    if not corps:
        return []
    waiting = {corp.pk: sendable.filter(corp=corp).order_by()[:limit].count() for corp in corps}
    shares = _shares(corps, waiting, _outstanding(corps, now), is_urgent=is_urgent)
    for pk, may_probe in circuit_breaker.probes([pk for pk, share in shares.items() if share], now=now).items():
        shares[pk] = int(may_probe)
    return [_queued(sendable.filter(corp=corp), shares[corp.pk], now) for corp in corps if shares[corp.pk] > 0]


def _corps_with(sendable: QuerySet[Delivery]) -> QuerySet[Corp]:
    # By a subquery: of EXISTS the database makes a join, which reads all that wait.
    theirs = sendable.filter(corp=OuterRef("pk")).order_by().values("pk")[:1]
    found = Corp.objects.enabled().alias(first=Subquery(theirs)).filter(first__isnull=False)
    return found.only("corpid", "proxy_url").order_by("pk")


def _outstanding(corps: Sequence[Corp], now: datetime) -> dict[int, int]:
    """How many are in tasks' hands already: they will take of the room, too."""
    queued = Delivery.objects.filter(channel=Channel.WECOM, status=Delivery.Status.PENDING, queued_until__gt=now)
    return {corp.pk: queued.filter(corp=corp).order_by()[:AT_ONCE].count() for corp in corps}


def _shares(
    corps: Sequence[Corp], waiting: Mapping[int, int], outstanding: Mapping[int, int], *, is_urgent: bool
) -> dict[int, int]:
    """How many of those that wait, of each company: what every window has room for, in equal parts."""
    scopes = list(chain.from_iterable(map(app_scopes, corps)))
    ahead = settings.DISPATCH_INTERVAL_SECONDS + AHEAD_SECONDS
    try:
        room = query(lambda gate: gate.room(scopes, within_seconds=ahead, is_urgent=is_urgent))
    except StoreLostError:  # another worker fills it just now: the next tick finds it full
        return dict.fromkeys(waiting, 0)
    shares = dict(waiting)
    by_scope: dict[Scope, list[int]] = defaultdict(list)
    for corp in corps:
        for scope in app_scopes(corp):
            by_scope[scope].append(corp.pk)
    for scope, corp_ids in by_scope.items():
        most = room.of(scope)
        if most is not None:
            left = max(0, most - sum(outstanding[pk] for pk in corp_ids))
            shares |= evenly({pk: shares[pk] for pk in corp_ids}, left)
    return shares


def evenly(wanted: Mapping[int, int], total: int) -> dict[int, int]:
    """Parts of `total`: as equal as can be, none larger than wanted, the rest of a small one shared by the others."""
    given = dict.fromkeys(wanted, 0)
    open_keys = sorted(wanted, key=lambda key: wanted[key])
    while open_keys:
        part = total // len(open_keys)
        smallest = open_keys.pop(0)
        given[smallest] = min(wanted[smallest], part if open_keys else total)
        total -= given[smallest]
    return given


def _queued(sendable: QuerySet[Delivery], count: int, now: datetime) -> list[int]:
    with transaction.atomic():
        first = sendable.order_by("priority", "next_attempt_at", "pk").only("pk")
        ids = [delivery.pk for delivery in unlocked(first)[:count]]
        Delivery.objects.filter(pk__in=ids).update(queued_until=now + QUEUE_LEASE)
    return ids


def _interleaved(by_corp: Sequence[list[int]]) -> list[int]:
    """One of each company in turn."""
    return [pk for turn in zip_longest(*by_corp) for pk in turn if pk is not None]


# --- Claims: a lease, a started attempt and the very rows that were locked ---

# What a call needs of its company: secrets most of all cost time.
CALLED = ("name", "corpid", "agentid", "secret", "api_base_url", "proxy_url", "ca_bundle")


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


def claim_deliveries(
    deliveries: Collection[Sendable], *, now: datetime, token: uuid.UUID | None = None
) -> list[StartedAttempt]:
    """The attempts of those that may be tried now, each with its delivery as it was locked, and its company.

    Left out are those whose time has not come, that are settled, that another worker has or looks at, and that are not
    any more what `deliveries` say: people were withdrawn, a picture was renewed, or somebody tried them meanwhile. The
    limiter was asked for something else; they are asked for anew. The attempts share one fencing `token`: it is taken
    away from each by itself.
    """
    known, token = {row.pk: row for row in deliveries}, token or uuid.uuid4()
    with transaction.atomic():
        # PostgreSQL reads a row again once it has its lock: these are the values that nobody can change any more.
        locked = _sendables(unlocked(Delivery.objects.sendable(now).filter(pk__in=known).order_by("pk")))
        rows = [row for row in locked if row == known[row.pk]]
        if not rows:
            return []
        # Before they are claimed: a company that cannot be read must leave them untouched.
        corps = Corp.objects.only(*CALLED).in_bulk({row.corp_id for row in rows})
        for row in rows:
            row.corp = corps[row.corp_id]
        _mark_sending(rows, token, now)
        ids = begin_attempts([row.pk for row in rows], token, now)
    return [StartedAttempt(ids[row.pk], row, row.attempt_count, token, now) for row in rows]


def claimed_without_answer(delivery_ids: Collection[int], token: uuid.UUID) -> list[Attempt]:
    """The attempts of a claim that failed, if it took effect all the same: the answer to its COMMIT was lost."""
    with transaction.atomic():
        # Waits where the claim is still being committed.
        rows = Delivery.objects.filter(pk__in=delivery_ids).order_by("pk").select_for_update()
        held = [pk for pk, its_token in rows.values_list("pk", "fencing_token") if its_token == token]
    return list(Attempt.objects.filter(delivery__in=held, fencing_token=token))


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
