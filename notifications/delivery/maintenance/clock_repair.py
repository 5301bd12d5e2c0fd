"""Repairs rows that were written while the database's clock was ahead, after it was set back.

The clock of a tick is compared with that of the last one: a tick further in the future than the tolerance was done
under a wrong clock. Whatever it wrote lies in the future now, and would wait until the right clock comes there.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import CharField, F, Q, Value
from django.db.models.functions import Cast, Coalesce, Concat

from integrations.companies.diagnosis import runner
from integrations.core.sentences import Sentence
from integrations.datasources import fetch
from integrations.jobs import requests
from notifications.delivery.leases import QUEUE_LEASE, RENDER_LEASE
from notifications.delivery.locking import BATCH, update_unlocked
from notifications.models import (
    REPEAT_SECONDS,
    AlertCheck,
    AlertRule,
    CorpQueue,
    Delivery,
    Incident,
    Medium,
    Run,
    Subscription,
)
from notifications.models.subscriptions import MAX_LIFETIME_HOURS
from notifications.subscriptions.schedules import slots

logger = logging.getLogger(__name__)

# The longest that a message waits with a right clock: for the next day's budget.
LONGEST_WAIT = timedelta(days=1)
LONGEST_LIFETIME = timedelta(hours=MAX_LIFETIME_HOURS)
# The longest that a company is held, by WeCom's limit of gettoken, and that a picture or file is left to its worker.
LONGEST_HOLD = timedelta(hours=1)
LONGEST_MAKING = timedelta(minutes=10)
# The longest that an incident is silenced (notifications.alerts.actions).
LONGEST_SILENCE = timedelta(hours=1)
# WeCom's duplicate check lasts so much longer than we repeat.
SPARE = timedelta(minutes=30)


def repair(*, now: datetime) -> int:
    """Put right all that lies in the future. Safe to run twice, and beside others. Returns how many runs it found.

    A slot that ran before its time, so that messages were made, has run: it does not run a second time. One of which
    none were made runs when its time comes.
    """
    count = 0
    while found_count := _repair_runs(now):
        count += found_count
    waiting = Run.objects.filter(status=Run.Status.WAITING)
    update_unlocked(waiting.filter(render_after__gt=now + 3 * RENDER_LEASE), render_after=now)
    _repair_deliveries(now)
    _repair_media(now)
    update_unlocked(CorpQueue.objects.filter(probe_at__gt=now + LONGEST_HOLD), probe_at=now)
    while _repair_rules(now):
        pass
    _repair_incidents(now)
    fetch.repair_times(now=now)
    runner.repair_times(now=now)
    requests.repair_times(now=now)
    logger.warning("the clock was set back: %d runs had been claimed in what is the future now", count)
    return count


def _repair_runs(now: datetime) -> int:
    with transaction.atomic():
        early = Run.objects.filter(claimed_at__gt=now).order_by("pk")
        found = dict(early.values_list("pk", "subscription_id")[:BATCH])
        # First, because a dispatcher locks a subscription before its runs, too.
        known = {pk for pk in found.values() if pk is not None}
        slots.reschedule_rows(Subscription.objects.filter(pk__in=known), now=now)
        runs = Run.objects.filter(pk__in=found)
        unmade = [Run.Status.WAITING, Run.Status.MISSED, Run.Status.FAILED, Run.Status.SKIPPED]
        runs.filter(trigger=Run.Trigger.SCHEDULE, status__in=unmade, slot_at__gt=now).update(
            status=Run.Status.MISSED,
            # The old key is that of a slot to come.
            key=Concat(F("key"), Value(":early:"), Cast("pk", CharField())),
            error=Sentence("This was written while the clock ran ahead. Its times run when they come.").stored(),
            finished_at=now,
            owner_notified_at=Coalesce("owner_notified_at", Value(now)),
        )
        runs.filter(status=Run.Status.WAITING).update(render_after=now)
        runs.update(claimed_at=now)
    return len(found)


def _repair_rules(now: datetime) -> int:
    """Alert rules that were checked in what is the future now are checked at their next time."""
    with transaction.atomic():
        found = dict(AlertCheck.objects.filter(requested_at__gt=now).order_by("pk").values_list("pk", "rule")[:BATCH])
        # First, because whoever decides a check locks it before its rule, too.
        checks = AlertCheck.objects.filter(pk__in=found)
        checks.filter(outcome=AlertCheck.Outcome.WAITING, slot_at__gt=now).delete()
        checks.update(requested_at=now)
        rules = AlertRule.objects.filter(pk__in=set(found.values()))
        slots.reschedule_rows(rules, now=now)
        # Or every check to come would count as one that was overtaken.
        rules.filter(checked_slot_at__gt=now).update(checked_slot_at=now)
    return len(found)


_WHEN_WE_HEARD = ("opened_at", "seen_at", "notified_at", "resolved_at", "acknowledged_at")
# Of a channel's incidents its sender says them.
_WHEN_RULES_FOUND = ("starts_at", "stretch_at", "ends_at")


def _repair_incidents(now: datetime) -> None:
    """What is to be told of them is told at once. What a rule found then began now, or it would never end."""
    is_early = Q(silenced_until__gt=now + LONGEST_SILENCE)
    for name in _WHEN_WE_HEARD:
        is_early |= Q(**{f"{name}__gt": now})
    update_unlocked(Incident.objects.filter(is_early, notice_due_at__gt=now), notice_due_at=now)
    update_unlocked(Incident.objects.filter(silenced_until__gt=now + LONGEST_SILENCE), silenced_until=now)
    for names, incidents in (
        (_WHEN_WE_HEARD, Incident.objects.all()),
        (_WHEN_RULES_FOUND, Incident.objects.filter(rule__isnull=False)),
    ):
        for name in names:
            update_unlocked(incidents.filter(**{f"{name}__gt": now}), **{name: now})


def _repair_media(now: datetime) -> None:
    waiting = Medium.objects.filter(status=Medium.Status.WAITING)
    update_unlocked(waiting.filter(make_after__gt=now + LONGEST_MAKING), make_after=now)
    update_unlocked(waiting.filter(created_at__gt=now), created_at=now)


def _repair_deliveries(now: datetime) -> None:
    pending = Delivery.objects.filter(status__in=[Delivery.Status.PREPARING, Delivery.Status.PENDING])
    update_unlocked(pending.filter(next_attempt_at__gt=now + LONGEST_WAIT), next_attempt_at=now)
    update_unlocked(pending.filter(expires_at__gt=now + LONGEST_LIFETIME), expires_at=now + LONGEST_WAIT)
    update_unlocked(pending.filter(queued_until__gt=now + 2 * QUEUE_LEASE), queued_until=None)
    lease = timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
    held = Delivery.objects.filter(status__in=[Delivery.Status.PREPARING, Delivery.Status.SENDING])
    update_unlocked(held.filter(lease_until__gt=now + 2 * lease), lease_until=now)
    # Nobody knows how long ago that was: what may not be repeated any more becomes unknown.
    too_old = now - timedelta(seconds=REPEAT_SECONDS)
    unsettled = Q(status__in=[Delivery.Status.PENDING, Delivery.Status.SENDING])
    unclear = Delivery.objects.filter(unsettled, unclear_since__gt=now + SPARE)
    update_unlocked(unclear, unclear_since=too_old)
