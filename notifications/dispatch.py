"""Turns due subscriptions into runs, once per slot, with any number of dispatchers at work."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from notifications import schedule
from notifications.crontabs import ScheduleError
from notifications.locking import unlocked
from notifications.models import Run, Subscription, TickClaim
from notifications.schedule import DueTime
from notifications.timing import RENDER_LEASE

if TYPE_CHECKING:
    from accounts.models import User

logger = logging.getLogger(__name__)

BATCH = 500
# A batch ends early after so long: looking back over an outage takes time, and others wait for the transaction.
BATCH_SECONDS = 1.0
# More distinct next times than this are written by one statement.
UPDATES_AT_MOST = 20
# Missed times are counted no further: after a year's outage of a subscription for every minute, "1000" says enough.
MISSED_COUNTED = 1000
# A claimed period that lies further ahead than this was written under a wrong clock.
CLOCK_TOLERANCE_SECONDS = 60


def claim_tick(name: str, *, now: datetime, period_seconds: int) -> bool:
    """Whether this caller is the one that does the work of the period around `now`. Of many callers one is."""
    seconds = int(now.timestamp())
    period = seconds - seconds % period_seconds
    TickClaim.objects.bulk_create([TickClaim(name=name, period=0)], ignore_conflicts=True)
    is_new = Q(period__lt=period) | Q(period__gt=period + CLOCK_TOLERANCE_SECONDS)
    return TickClaim.objects.filter(is_new, name=name).update(period=period) == 1


def claim_due(*, now: datetime) -> list[int]:
    """Make the runs of all due subscriptions and move those on to their next time. Returns the ids to render.

    Each batch is one transaction, so a crash leaves either both or neither. Missed times: the latest one runs if it
    is no older than the subscription's grace period and stands for the others within it; older ones are recorded as
    missed, one row for the whole stretch.
    """
    run_ids: list[int] = []
    while True:
        is_last, claimed_run_ids = _claim_batch(now)
        run_ids += claimed_run_ids
        if is_last:
            return run_ids


def request_run(
    subscription: Subscription, *, trigger: Run.Trigger, token: str, person: User, now: datetime
) -> tuple[Run, bool]:
    """The run asked for by one form, and whether it is new. The same form sent twice gives the same run."""
    fields = run_fields(subscription, trigger, slot_at=now, now=now)
    return Run.objects.get_or_create(key=f"{trigger}:{token}", defaults={**fields, "requested_by": person})


@dataclass(frozen=True)
class Plan:
    """What a due subscription asks for: at most one run, at most one record of missed times, and its next time."""

    runs: list[Run]
    next_run_at: datetime | None


def plan(subscription: Subscription, *, now: datetime) -> Plan:
    """Decide without writing. `subscription.next_run_at`, set on every due one, is the earliest time not yet seen."""
    first = subscription.next_run_at or now
    try:
        found = _look_back(subscription, first, now)
    except ScheduleError as error:
        # Forms refuse such a schedule; one that came another way is switched off with a trace instead of blocking all.
        return _failed(subscription, now, str(error))
    runs = []
    if found.missed:
        runs.append(_scheduled_run(subscription, found.missed[0], now, Run.Status.MISSED, len(found.missed)))
    if found.due:
        runs.append(_scheduled_run(subscription, found.due[-1], now, Run.Status.WAITING, len(found.due)))
    if found.following is None:
        runs += _ended_early(subscription, now)
    return Plan(runs, None if found.following is None else found.following.due_at)


@dataclass(frozen=True)
class _Found:
    """Times of a schedule: older than the grace period (counted up to a limit), due, and the first to come."""

    missed: list[DueTime]
    due: list[DueTime]
    following: DueTime | None


def _look_back(subscription: Subscription, first: datetime, now: datetime) -> _Found:
    grace_start = now - timedelta(minutes=subscription.grace_minutes)
    just_before_first = first - timedelta(seconds=1)
    missed: list[DueTime] = []
    if first < grace_start:
        old = takewhile(lambda time: time.due_at < grace_start, schedule.due_times(subscription, just_before_first))
        missed = list(islice(old, MISSED_COUNTED))
    due: list[DueTime] = []
    for found in schedule.due_times(subscription, max(just_before_first, grace_start - timedelta(seconds=1))):
        if found.due_at > now:
            return _Found(missed, due, found)
        if found.due_at >= grace_start:
            due.append(found)
    return _Found(missed, due, None)


def _ended_early(subscription: Subscription, now: datetime) -> list[Run]:
    """A trace where no further time is found though the validity has not ended: nobody would miss it otherwise."""
    if subscription.valid_to is not None:
        return []
    sentence = _("No further time is known: its days are all free days. It is not sent until its schedule is changed.")
    run = _scheduled_run(subscription, DueTime(now, now), now, Run.Status.FAILED, 1, sentence)
    run.key += ":end"
    return [run]


def _claim_batch(now: datetime) -> tuple[bool, list[int]]:
    """Whether nothing due is left, and the ids of the new runs."""
    with transaction.atomic():
        due = Subscription.objects.due(now).select_related("report").order_by("next_run_at")
        found = list(unlocked(due)[:BATCH])
        plans = _plans_in_time(found, now)
        subscriptions = found[: len(plans)]
        runs = [run for planned in plans for run in planned.runs]
        # Why ignore conflicts? A slot is looked at again when a schedule was saved back and forth: its run exists.
        Run.objects.bulk_create(runs, ignore_conflicts=True)
        _move_on(zip(subscriptions, plans, strict=True))
        keys = [run.key for run in runs if run.status == Run.Status.WAITING]
        waiting = Run.objects.filter(key__in=keys, status=Run.Status.WAITING)
        is_last = len(subscriptions) == len(found) < BATCH
        return is_last, list(waiting.values_list("pk", flat=True))


def _plans_in_time(subscriptions: list[Subscription], now: datetime) -> list[Plan]:
    """The plans of the first subscriptions: of one at least, then of as many as fit into BATCH_SECONDS."""
    plans: list[Plan] = []
    end_at = time.monotonic() + BATCH_SECONDS
    for subscription in subscriptions:
        plans.append(_plan_or_trace(subscription, now))
        if time.monotonic() >= end_at:
            break
    return plans


def _plan_or_trace(subscription: Subscription, now: datetime) -> Plan:
    """The plan; where that fails as nobody foresaw, a failed run, so that this one row does not hold up all others."""
    try:
        return plan(subscription, now=now)
    except Exception as error:  # the edge of the loop
        logger.exception("subscription=%d could not be planned", subscription.pk)
        sentence = _("Its times could not be worked out (%(error)s). It is not sent until its schedule is saved again.")
        return _failed(subscription, now, sentence % {"error": type(error).__name__})


def _failed(subscription: Subscription, now: datetime, error: str) -> Plan:
    first = subscription.next_run_at or now
    return Plan([_scheduled_run(subscription, DueTime(first, first), now, Run.Status.FAILED, 1, error)], None)


def _move_on(planned: Iterable[tuple[Subscription, Plan]]) -> None:
    """One update per distinct next time: thousands of subscriptions share few of them, unless they are spread."""
    moved: dict[datetime | None, list[Subscription]] = defaultdict(list)
    for subscription, its_plan in planned:
        subscription.next_run_at = its_plan.next_run_at
        moved[its_plan.next_run_at].append(subscription)
    if len(moved) > UPDATES_AT_MOST:
        Subscription.objects.bulk_update(chain.from_iterable(moved.values()), ["next_run_at"])
        return
    for next_run_at, its_subscriptions in moved.items():
        ids = [subscription.pk for subscription in its_subscriptions]
        Subscription.objects.filter(pk__in=ids).update(next_run_at=next_run_at)


def _scheduled_run(
    subscription: Subscription, found: DueTime, now: datetime, status: Run.Status, slot_count: int, error: str = ""
) -> Run:
    return Run(
        key=f"sub:{subscription.pk}:{found.slot_at.astimezone(UTC):%Y-%m-%dT%H:%MZ}",
        due_at=None if found.due_at == found.slot_at else found.due_at,
        status=status,
        slot_count=slot_count,
        finished_at=None if status == Run.Status.WAITING else now,
        error=error,
        **run_fields(subscription, Run.Trigger.SCHEDULE, slot_at=found.slot_at, now=now),
    )


def run_fields(subscription: Subscription, trigger: Run.Trigger, *, slot_at: datetime, now: datetime) -> dict[str, Any]:
    return {
        "subscription": subscription,
        "corp_id": subscription.report.corp_id,
        "trigger": trigger,
        "slot_at": slot_at,
        "claimed_at": now,
        "render_after": now + RENDER_LEASE,
    }
