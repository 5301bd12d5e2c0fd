"""Turns due subscriptions into runs, once per slot, however many ticks run at once.

A run belongs to a slot (`slot_at`) and begins then or, if the schedule spreads its runs, later (`due_at`).
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Prefetch, Q, QuerySet, Value
from django.db.models.functions import Least

from integrations.clients.transport import read_boot_clock
from integrations.core import installation
from integrations.core.background import log_errors
from integrations.core.sentences import Sentence
from integrations.models import Installation
from integrations.models.installation import SINGLETON_PK
from notifications.delivery.rows import RENDER_LEASE, lock_skipping
from notifications.models import Repeat, Report, Run, Subscription
from notifications.subscriptions.schedules import TIME_FIELDS, DueTime, ScheduleError, find_due_times

logger = logging.getLogger(__name__)

# Name of the task and of its beat entry.
TICK_NAME = "notifications.tick"
BATCH = 1000
# A batch ends early after this long: after an outage many times have to be found, and other transactions wait.
BATCH_SECONDS = 1.0
# Missed times are counted up to this: after a year's outage of an every-minute subscription, "1000" is enough.
MISSED_COUNTED = 1000
# A claimed period further ahead than this was written under a wrong clock.
CLOCK_TOLERANCE_SECONDS = 60
# Prefix of the key of a run of missed times, if another run was under way then; that other run's id follows.
_OVERLAP = "overlap:"


def claim_tick(*, now: datetime, period_seconds: int) -> bool:
    """Claim the period of the tick that contains `now`. Return True to exactly one of many callers."""
    seconds = int(now.timestamp())
    period = seconds - seconds % period_seconds
    is_new = Q(tick_period__lt=period) | Q(tick_period__gt=period + CLOCK_TOLERANCE_SECONDS)
    mine = Installation.objects.filter(is_new, pk=SINGLETON_PK)
    if mine.update(tick_period=period):
        return True
    if Installation.objects.filter(pk=SINGLETON_PK).exists():
        return False
    installation.load_installation()
    return mine.update(tick_period=period) == 1


def claim_due_subscriptions(*, now: datetime) -> list[int]:
    """Make the runs of all due subscriptions, and set when these are due next. Return the ids of the runs to render.

    Each batch is one transaction, so a crash leaves either run and next time or neither. Times older than the grace
    period become one MISSED run. Times within it become one run, at the newest of them. While a run of the subscription
    is under way, no other begins; times whose grace period ends meanwhile are missed.
    """
    run_ids: list[int] = []
    while True:
        with transaction.atomic():
            # Not joined, because thousands of subscriptions may share a report.
            reports = Prefetch("report", Report.objects.only("corp"))
            due = find_claimable(now).prefetch_related(reports).only(*_PLAN_COLUMNS)
            subscriptions = list(lock_skipping(due.order_by("next_run_at"))[:BATCH])
            # The query above may not have seen the newest runs. All code that makes a run locks its subscription first,
            # and these are locked now, so this query sees all.
            under_way = Run.objects.under_way().filter(subscription__in=[one.pk for one in subscriptions])
            under_way = under_way.order_by("-pk").only("subscription_id", "slot_at")
            current_runs = {run.subscription_id: run for run in under_way}  # the oldest, if there are several
            # At least one is planned, then as many as fit into BATCH_SECONDS.
            end_at, plans = read_boot_clock() + BATCH_SECONDS, list[RunPlan]()
            known_times: dict[tuple[Any, ...], FoundTimes] = {}
            for one in subscriptions:
                with log_errors(logger, "subscription=%d could not be planned", one.pk) as row:
                    plans.append(plan_runs(one, now=now, current=current_runs.get(one.pk), known=known_times))
                if row.error is not None:  # an unforeseen error: this row must not block all others
                    sentence = Sentence(
                        "Its times could not be worked out (%(error)s). It is not sent until its schedule is saved "
                        "again."
                    )
                    plans.append(_plan_failure(one, now, sentence % {"error": type(row.error).__name__}))
                if read_boot_clock() >= end_at:
                    break
            planned = subscriptions[: len(plans)]
            is_any_moved = any(one.next_run_at != plan.next_run_at for one, plan in zip(planned, plans, strict=True))
            new_runs = []
            for run in (run for plan in plans for run in plan.runs):
                # Times missed during one run share a row: a later batch adds its times to it.
                slot_count = Least(F("slot_count") + run["slot_count"], MISSED_COUNTED)
                known = Run.objects.filter(key=run["key"])
                if not (run["key"].startswith(_OVERLAP) and known.update(slot_count=slot_count)):
                    new_runs.append(run)
            moved = [{"id": one.pk, "at": plan.next_run_at} for one, plan in zip(planned, plans, strict=True)]
            with connection.cursor() as cursor:
                cursor.execute(_INSERT_RUNS, [json.dumps(new_runs, default=str)])
                run_ids += [pk for pk, status in cursor.fetchall() if status == Run.Status.WAITING]
                cursor.execute(_MOVE_SUBSCRIPTIONS, [json.dumps(moved, default=str)])
        # A subscription that waits for its run under way keeps its time. If all do, the next batch would be the same.
        if not is_any_moved or len(plans) == len(subscriptions) < BATCH:
            return run_ids


class RunPlan(NamedTuple):
    """The plan of a due subscription. `runs`: the columns of at most one run to render, one of missed times and one
    that says why there is no further time; `next_run_at`: None if there is none."""

    runs: list[dict[str, Any]]
    next_run_at: datetime | None


class FoundTimes(NamedTuple):
    """Times of a schedule. `missed`: older than the grace period, counted up to MISSED_COUNTED; `due`: within it;
    `following`: the first to come."""

    missed: list[DueTime]
    due: list[DueTime]
    following: DueTime | None


# The columns that a plan needs: reading all fifty would cost time thousands of times.
_PLAN_COLUMNS = (*TIME_FIELDS, "grace_minutes", "next_run_at", "report")
_read_schedule = attrgetter(*TIME_FIELDS)


def plan_runs(
    subscription: Subscription,
    *,
    now: datetime,
    current: Run | None = None,
    known: dict[tuple[Any, ...], FoundTimes] | None = None,
) -> RunPlan:
    """Plan the runs of a due subscription without writing. `subscription.next_run_at`, set on every due one, is the
    earliest time not yet seen. `current`: its run that is under way. `known`: a cache of times by schedule, for many
    subscriptions with one `now`."""
    first, known = subscription.next_run_at or now, {} if known is None else known
    key = (first, subscription.grace_minutes, *_read_schedule(subscription))
    try:
        if key not in known or subscription.jitter_seconds:  # the jitter depends on the subscription's key
            known[key] = _find_times(subscription, first, now)
        missed, due, following = known[key]
    except ScheduleError as error:
        # Forms refuse such a schedule. If there is one, it must not block the other subscriptions.
        return _plan_failure(subscription, now, error.sentence)
    if current is not None:
        # If the clock was set back, the time of the run under way comes once more.
        missed = [time for time in missed if time.slot_at != current.slot_at]
    runs = []
    if missed:
        # One run for all missed times. Times missed during one run share a row, even if later ticks find more of them.
        reason = Sentence("It did not begin within its grace period of %(minutes)d minutes.")
        if current is not None:
            reason = Sentence(
                "The run before it was still under way at the end of its grace period of %(minutes)d minutes."
            )
        sentence = reason % {"minutes": subscription.grace_minutes}
        missed_run = _describe_run(subscription, missed[0], now, Run.Status.MISSED, len(missed), sentence)
        if current is not None:
            missed_run["key"] = f"{_OVERLAP}{current.pk}"
        runs.append(missed_run)
    if due and current is not None:  # these times are found again until `current` or their grace period ends
        return RunPlan(runs, due[0].due_at)
    if due:
        runs.append(_describe_run(subscription, due[-1], now, Run.Status.WAITING, len(due)))
    if following is None and subscription.valid_to is None and subscription.repeat != Repeat.ONCE:
        # The schedule has no end, but no further time was found. The owner is notified of the failed run.
        sentence = Sentence(
            "No further time is known: its days are all free days. It is not sent until its schedule is changed."
        )
        runs.append(_describe_run(subscription, DueTime(now, now), now, Run.Status.FAILED, 1, sentence))
        runs[-1]["key"] += ":end"  # a slot of the same minute may have a run
    return RunPlan(runs, None if following is None else following.due_at)


def _find_times(subscription: Subscription, first: datetime, now: datetime) -> FoundTimes:
    """Find the times of the schedule from `first` on. Raises ScheduleError."""
    grace_start = now - timedelta(minutes=subscription.grace_minutes)
    just_before_first = first - timedelta(seconds=1)
    missed: list[DueTime] = []
    if first < grace_start:
        old = takewhile(lambda time: time.due_at < grace_start, find_due_times(subscription, just_before_first))
        missed = list(islice(old, MISSED_COUNTED))
    due: list[DueTime] = []
    for found in find_due_times(subscription, max(just_before_first, grace_start - timedelta(seconds=1))):
        if found.due_at > now:
            return FoundTimes(missed, due, found)
        if found.due_at >= grace_start:
            due.append(found)
    return FoundTimes(missed, due, None)


# The rows are one JSON parameter: Django's update() with a CASE per row is too slow for 50,000 due subscriptions.
_INSERT_RUNS = """
    INSERT INTO notifications_run (
        key, subscription_id, corp_id, trigger, slot_at, due_at, slot_count, status, claimed_at, render_after,
        finished_at, error, render_count, recipient_count, skipped_count, resends_unknown, fingerprint
    )
    SELECT listed.*, 0, 0, 0, FALSE, '' FROM jsonb_to_recordset(%s::jsonb) AS listed (
        key text, subscription_id bigint, corp_id bigint, trigger text, slot_at timestamptz, due_at timestamptz,
        slot_count integer, status text, claimed_at timestamptz, render_after timestamptz, finished_at timestamptz,
        error text
    )
    ON CONFLICT (key) DO NOTHING
    RETURNING id, status
"""
_MOVE_SUBSCRIPTIONS = """
    UPDATE notifications_subscription SET next_run_at = listed.at
    FROM jsonb_to_recordset(%s::jsonb) AS listed (id bigint, at timestamptz)
    WHERE notifications_subscription.id = listed.id
"""


def find_claimable(now: datetime) -> QuerySet[Subscription]:
    """Return subscriptions that are due and have no run under way, or have waited so long that a time is missed."""
    under_way = Run.objects.under_way().filter(subscription=OuterRef("pk"))
    grace = ExpressionWrapper(F("grace_minutes") * Value(timedelta(minutes=1)), output_field=DurationField())
    due = Subscription.objects.due(now).alias(grace_end=F("next_run_at") + grace)
    return due.filter(Q(grace_end__lt=now) | ~Exists(under_way))


def _plan_failure(subscription: Subscription, now: datetime, reason: Sentence) -> RunPlan:
    """Return a plan that stops the subscription with a failed run."""
    first = subscription.next_run_at or now
    return RunPlan([_describe_run(subscription, DueTime(first, first), now, Run.Status.FAILED, 1, reason)], None)


def _describe_run(
    subscription: Subscription,
    found: DueTime,
    now: datetime,
    status: Run.Status,
    slot_count: int,
    reason: Sentence | None = None,
) -> dict[str, Any]:
    """Return the columns of a scheduled run."""
    return {
        "key": f"sub:{subscription.pk}:{found.slot_at.astimezone(UTC):%Y-%m-%dT%H:%MZ}",
        "subscription_id": subscription.pk,
        "corp_id": subscription.report.corp_id,
        "trigger": Run.Trigger.SCHEDULE,
        "slot_at": found.slot_at,
        "due_at": None if found.due_at == found.slot_at else found.due_at,
        "slot_count": slot_count,
        "status": status,
        "claimed_at": now,
        "render_after": now + RENDER_LEASE,
        "finished_at": None if status == Run.Status.WAITING else now,
        "error": reason.serialize() if reason is not None else "",
    }


def make_run_fields(
    subscription: Subscription, trigger: Run.Trigger, *, slot_at: datetime, now: datetime
) -> dict[str, Any]:
    """Return the fields of a run made now, to be rendered at once; the caller adds the key."""
    return {
        "subscription": subscription,
        "corp_id": subscription.report.corp_id,
        "trigger": trigger,
        "slot_at": slot_at,
        "claimed_at": now,
        "render_after": now + RENDER_LEASE,
    }
