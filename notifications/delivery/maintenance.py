"""Maintains the engine's rows: the sweep, the purge, and repairs after a wrong clock or a restored copy."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import redis
from django.conf import settings
from django.core import checks
from django.db import transaction
from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.utils.encoding import force_str
from django.utils.translation import gettext_lazy as _

from integrations.companies.diagnosis.checks import repair_times
from integrations.core.background import log_errors
from integrations.core.redis import valkey
from integrations.core.sentences import Sentence
from integrations.datasources import fetch
from integrations.jobs import requests
from integrations.models.jobs import Moment
from notifications import models
from notifications.delivery.channels import LOST_WORKER
from notifications.delivery.explanations import sum_up_losses
from notifications.delivery.rows import (
    BATCH,
    QUEUE_LEASE,
    RENDER_LEASE,
    compute_delivery_lease,
    lock_skipping,
    reserve_rows,
    update_unlocked,
)
from notifications.delivery.runs import recall
from notifications.delivery.sending.settle import settle_attempt, write_fallback_mails
from notifications.models import REPEAT_SECONDS, Delivery, Incident, Run
from notifications.models.subscriptions import MAX_LIFETIME_HOURS
from notifications.subscriptions.schedules import reschedule_rows

logger = logging.getLogger(__name__)

# The periodic tasks of settings.CELERY_BEAT_SCHEDULE and Celery's own, as pages name them.
TASK_NAMES = {
    "notifications.tick": _("Send pushes and check alerts"),
    "integrations.tick": _("Continue background jobs"),
    "accounts.directory_tick": _("Synchronise directories at night"),
    "accounts.purge_audit": _("Remove old audit entries"),
    "notifications.notify_of_owners": _("Announce owners who leave and tokens that expire"),
    "celery.backend_cleanup": _("Remove old results"),
}


def sweep_deliveries(*, now: datetime) -> list[int]:
    """Settle ended leases, give up what may not be tried any more, finish runs. Return the ids of runs whose rendering
    was lost and is to be started again.

    It is safe to run at any time, also several at once: a sweep skips rows that another one holds.
    """
    # Most of the time nothing is under way, and these short queries save many long ones.
    if Delivery.objects.unsettled().exists():
        settled_count = 0
        ended = Delivery.objects.filter(status=Delivery.Status.SENDING, lease_until__lt=now)
        # Each by itself, so that a bad row does not stop the others.
        for pk in list(ended.order_by("pk").values_list("pk", flat=True)):
            with log_errors(logger, "delivery=%d: its ended lease could not be settled", pk), transaction.atomic():
                delivery = lock_skipping(ended.filter(pk=pk)).first()
                if delivery is None:
                    continue
                attempt = delivery.attempts.order_by("number").last()
                if attempt is not None and attempt.fencing_token == delivery.fencing_token:
                    settle_attempt(attempt, LOST_WORKER, duration_ms=None, now=now)
                else:  # the claim has no attempt, so nothing was sent
                    released = {"fencing_token": None, "lease_until": None, "queued_until": None}
                    ended.filter(pk=pk).update(status=Delivery.Status.PENDING, next_attempt_at=now, **released)
                settled_count += 1
        # Pending messages that have expired are canceled. Those that may have arrived become unknown instead.
        preparing = Delivery.objects.filter(status=Delivery.Status.PREPARING)
        pending = Delivery.objects.filter(status=Delivery.Status.PENDING)
        expired = pending.filter(expires_at__lte=now)
        repeat_end = now - timedelta(seconds=REPEAT_SECONDS)
        unknown = {"status": Delivery.Status.UNKNOWN, "settled_at": now}
        canceled = {"status": Delivery.Status.CANCELED, "settled_at": now}
        given_up_count = (
            recall.cancel_recalled(now=now)
            + update_unlocked(preparing.filter(expires_at__lte=now), **canceled)
            + update_unlocked(pending.filter(unclear_since__lte=repeat_end), **unknown)
            + update_unlocked(expired.filter(unclear_since__isnull=False), **unknown)
            + update_unlocked(expired.filter(unclear_since__isnull=True), **canceled)
        )
        if settled_count or given_up_count:
            logger.warning("swept: %d ended leases, %d given up", settled_count, given_up_count)
    if run_ids := reserve_rows(Run.objects.unrendered(now), BATCH, render_after=now + RENDER_LEASE):
        logger.warning("swept: %d lost renderings", len(run_ids))
    if Run.objects.filter(status=Run.Status.SENDING).exists():
        _finish_runs(now)
    return run_ids


def _finish_runs(now: datetime) -> None:
    """Finish runs whose deliveries are all settled. First write mails to people whom the runs did not reach. A run
    without such mails ends, with a sentence about people not reached."""
    unsettled = Delivery.objects.unsettled().filter(run=OuterRef("pk"))
    sending = Run.objects.filter(~Exists(unsettled), status=Run.Status.SENDING)
    while True:
        with transaction.atomic():
            recall_times = dict(lock_skipping(sending.order_by("pk")).values_list("pk", "recall_requested_at")[:BATCH])
            # Called while the runs are locked: else a run whose last answer comes meanwhile would end without mails.
            write_fallback_mails(recall_times, now=now)
            mailed = Delivery.objects.unsettled().filter(run__in=recall_times).values_list("run", flat=True)
            finished = recall_times.keys() - set(mailed)
            ended = Run.objects.filter(pk__in=finished)
            ended.update(status=Run.Status.FINISHED, finished_at=now)
            for run_id, sentence in sum_up_losses([pk for pk in finished if recall_times[pk] is None]).items():
                ended.filter(pk=run_id).update(error=sentence.serialize())
        if len(recall_times) < BATCH:
            return


# --- Old runs and incidents are deleted in chunks that fit into a tick ---

CHUNK = 2000
_ENDED_STATUSES = (Run.Status.FINISHED, Run.Status.MISSED, Run.Status.FAILED, Run.Status.SKIPPED)


def find_old_incidents(now: Moment) -> QuerySet[Incident]:
    """Return incidents that ended more than LOG_RETENTION_DAYS ago."""
    before = now - timedelta(days=settings.LOG_RETENTION_DAYS)
    return Incident.objects.filter(status=Incident.Status.RESOLVED, resolved_at__lt=before)


def find_old_runs(now: Moment) -> QuerySet[Run]:
    """Return runs that are over and older than LOG_RETENTION_DAYS."""
    return Run.objects.filter(
        claimed_at__lt=now - timedelta(days=settings.LOG_RETENTION_DAYS), status__in=_ENDED_STATUSES
    )


def purge_runs_and_incidents(*, now: datetime) -> int:
    """Delete at most CHUNK rows of the oldest of the old runs, and at most CHUNK old incidents. Return how many.

    Receipts are deleted first, then attempts, deliveries, their contents, and the run last; pictures of incidents are
    deleted before the incidents. So after an interruption the next call continues.
    """
    count = 0
    run = find_old_runs(now).order_by("claimed_at").first()
    if run is not None:
        deliveries = Delivery.objects.filter(run=run)
        of_deliveries: tuple[Any, ...] = (models.Attempt, models.AlertCard)
        in_order = (
            models.Receipt.objects.filter(run=run),
            *(model.objects.filter(delivery__in=deliveries.values("pk")) for model in of_deliveries),
            deliveries,
            models.FrozenContent.objects.filter(run=run),
            models.Medium.objects.filter(run=run),
        )
        count = next(filter(None, map(delete_chunk, in_order)), 0)
        if not count:
            run_id = run.pk
            run.delete()
            logger.info("run=%d deleted", run_id)
            count = 1
    ids = list(find_old_incidents(now).order_by("resolved_at").values_list("pk", flat=True)[:CHUNK])
    picture_count = delete_chunk(models.Medium.objects.filter(incident__in=ids)) if ids else 0
    if ids and not picture_count:
        Incident.objects.filter(pk__in=ids).delete()  # with their dependent rows
        logger.info("incidents=%d deleted", len(ids))
    return count + (picture_count or len(ids))


def delete_chunk(rows: QuerySet[Any]) -> int:
    """Delete at most CHUNK of these rows. Return how many. The delete is raw: Django would read every row and look for
    related rows, which are deleted already."""
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
    chunk = rows.filter(pk__in=ids)  # filtered again: somebody may have saved a draft meanwhile
    return int(chunk._raw_delete(chunk.db)) if ids else 0


# --- Rows that were written while the database's clock was ahead, after it was set back ---

# With a right clock a message waits at most until the next day's budget.
LONGEST_WAIT = timedelta(days=1)
LONGEST_LIFETIME = timedelta(hours=MAX_LIFETIME_HOURS)
# The longest block of a company (WeCom's limit of gettoken), and the longest silence (notifications.alerts.actions).
LONGEST_HOLD = LONGEST_SILENCE = timedelta(hours=1)
# The longest lease of a picture or file.
LONGEST_MAKING = timedelta(minutes=10)
# WeCom's duplicate check lasts this much longer than we repeat.
SPARE = timedelta(minutes=30)
_TIMES_SET_HERE = ("opened_at", "seen_at", "notified_at", "resolved_at", "acknowledged_at")
# For a channel's incidents the sender sets these times, by its own clock. For a rule's incidents we set them, and an
# incident with a future beginning would never end.
_TIMES_SET_BY_RULES = ("starts_at", "stretch_at", "ends_at")


def repair_clock_damage(*, now: datetime) -> int:
    """Correct times that lie in the future. It is safe to repeat and to run in parallel. Return how many runs were
    found.

    A slot that ran early and made messages does not run again. A slot without messages runs when its time comes.
    """
    count = 0
    while found_count := _repair_runs(now):
        count += found_count
    while _repair_rules(now):
        pass
    # Do this first: the corrections below remove the times by which early incidents are found.
    is_early = Q(silenced_until__gt=now + LONGEST_SILENCE)
    for name in _TIMES_SET_HERE:
        is_early |= Q(**{f"{name}__gt": now})
    update_unlocked(Incident.objects.filter(is_early, notice_due_at__gt=now), notice_due_at=now)
    preparing, pending, sending = (Delivery.objects.filter(status=status) for status in Delivery.UNSETTLED)
    making = models.Medium.objects.filter(status=models.Medium.Status.WAITING)
    incidents, of_rules = Incident.objects.all(), Incident.objects.filter(rule__isnull=False)
    zero = timedelta()
    # Rows; a column of times; how far these are in the future at most with a right clock; what later ones are set to.
    limits: list[tuple[QuerySet[Any], str, timedelta, datetime | None]] = [
        (Run.objects.filter(status=Run.Status.WAITING), "render_after", 3 * RENDER_LEASE, now),
        (preparing | pending, "next_attempt_at", LONGEST_WAIT, now),
        (preparing | pending, "expires_at", LONGEST_LIFETIME, now + LONGEST_WAIT),
        (preparing | pending, "queued_until", 2 * QUEUE_LEASE, None),
        (sending, "lease_until", 2 * compute_delivery_lease(), now),
        # Nobody knows when the unclear attempt really was. It counts as too old to repeat: the outcome becomes unknown.
        (pending | sending, "unclear_since", SPARE, now - timedelta(seconds=REPEAT_SECONDS)),
        (making, "make_after", LONGEST_MAKING, now),
        (making, "created_at", zero, now),
        (models.CorpQueue.objects.all(), "probe_at", LONGEST_HOLD, now),
        (incidents, "silenced_until", LONGEST_SILENCE, now),
        *((incidents, name, zero, now) for name in _TIMES_SET_HERE),
        *((of_rules, name, zero, now) for name in _TIMES_SET_BY_RULES),
    ]
    for rows, name, longest, corrected in limits:
        update_unlocked(rows.filter(**{f"{name}__gt": now + longest}), **{name: corrected})
    for repair in (fetch.repair_times, repair_times, requests.repair_times):
        repair(now=now)
    logger.warning("the clock was set back: %d runs had been claimed in what is the future now", count)
    return count


def _repair_runs(now: datetime) -> int:
    with transaction.atomic():
        early = Run.objects.filter(claimed_at__gt=now).order_by("pk")
        found = dict(early.values_list("pk", "subscription_id")[:BATCH])
        # Subscriptions come first, because a tick locks a subscription before its runs.
        known = {pk for pk in found.values() if pk is not None}
        reschedule_rows(models.Subscription.objects.filter(pk__in=known), now=now)
        runs = Run.objects.filter(pk__in=found)
        unmade = [Run.Status.WAITING, Run.Status.MISSED, Run.Status.FAILED, Run.Status.SKIPPED]
        runs.filter(trigger=Run.Trigger.SCHEDULE, status__in=unmade, slot_at__gt=now).update(
            status=Run.Status.MISSED,
            # The old key belongs to a slot that is still to come.
            key=Concat(F("key"), Value(":early:"), Cast("pk", CharField())),
            error=Sentence("This was written while the clock ran ahead. Its times run when they come.").serialize(),
            finished_at=now,
            owner_notified_at=Coalesce("owner_notified_at", Value(now)),
        )
        runs.filter(status=Run.Status.WAITING).update(render_after=now)
        runs.update(claimed_at=now)
    return len(found)


def _repair_rules(now: datetime) -> int:
    """Reschedule alert rules that were checked at a time which is in the future now."""
    with transaction.atomic():
        rows = models.AlertCheck.objects.filter(requested_at__gt=now).order_by("pk")
        found = dict(rows.values_list("pk", "rule")[:BATCH])
        # Checks come first, because deciding a check locks the check before its rule.
        early = models.AlertCheck.objects.filter(pk__in=found)
        early.filter(outcome=models.AlertCheck.Outcome.WAITING, slot_at__gt=now).delete()
        early.update(requested_at=now)
        rules = models.AlertRule.objects.filter(pk__in=set(found.values()))
        reschedule_rows(rules, now=now)
        # Otherwise every further check would have the outcome "arrived after a later check".
        rules.filter(checked_slot_at__gt=now).update(checked_slot_at=now)
    return len(found)


# --- A restored copy: messages that wait in it were sent by the original, or are out of date ---

_NOT_SENT_LATE = Sentence("It waited in a restored copy of the database, and is not sent late.")


@transaction.atomic
def end_all_waiting(*, now: datetime) -> int:
    """End everything that waits, notify nobody, and move schedules to their next time. Return how many runs ended."""
    models.AlertCheck.objects.filter(outcome=models.AlertCheck.Outcome.WAITING).delete()
    for rows in (models.Subscription.objects.due(now), models.AlertRule.objects.due(now)):
        reschedule_rows(rows, now=now)
    ended = {"finished_at": now, "error": _NOT_SENT_LATE.serialize(), "owner_notified_at": now}
    count = Run.objects.filter(status=Run.Status.WAITING).update(status=Run.Status.FAILED, **ended)
    # Deliveries that may have arrived become unknown.
    unsettled = Delivery.objects.unsettled()
    may_have_arrived = Q(unclear_since__isnull=False) | Q(status=Delivery.Status.SENDING)
    unsettled.filter(may_have_arrived).update(status=Delivery.Status.UNKNOWN, settled_at=now, lease_until=None)
    unsettled.update(status=Delivery.Status.CANCELED, settled_at=now)
    count += Run.objects.filter(status=Run.Status.SENDING).update(status=Run.Status.FINISHED, **ended)
    Run.objects.unnotified().update(owner_notified_at=now)
    models.AlertRule.objects.filter(is_broken=True, owner_notified_at__isnull=True).update(owner_notified_at=now)
    Incident.objects.notice_due(now).update(notice_due_at=None, notice_kind="")
    for sources in (models.InboundChannel.objects.all(), models.AlertRule.objects.all()):
        sources.filter(gather_until__isnull=False).update(gather_until=None)
    models.AlertCard.objects.filter(is_stale=True).update(is_stale=False)
    models.CorpQueue.objects.blocked().filter(notified_at__isnull=True).update(notified_at=now)
    # Callbacks to other systems and outgoing mails last.
    messages = models.IncomingMessage.objects.filter(callback_state=models.IncomingMessage.Callback.WAITING)
    messages.update(callback_state=models.IncomingMessage.Callback.GIVEN_UP, callback_error=_NOT_SENT_LATE.serialize())
    mails = models.OutgoingMail.objects.filter(
        status__in=[models.OutgoingMail.Status.WAITING, models.OutgoingMail.Status.STARTED]
    )
    mails.update(status=models.OutgoingMail.Status.FAILED, error=_NOT_SENT_LATE.msgid)
    return count


# --- System checks; `manage.py check` runs them ---


@checks.register(checks.Tags.database)
def check_valkey(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Warn about settings of Valkey that lose data. `manage.py migrate` and `check --database default` run it."""
    store = valkey()
    try:
        # The stubs allow for an awaited client, which this is not.
        found: dict[str, str] = store.config_get("maxmemory-policy", "save", "appendonly")  # type: ignore[assignment]
    except redis.ResponseError:  # managed services may refuse CONFIG: `save` is unknown then
        found = {"maxmemory-policy": str(store.info("memory")["maxmemory_policy"])}
    except redis.RedisError:  # other checks report an unreachable server
        return []
    found = {force_str(name): force_str(value) for name, value in found.items()}
    evicts = checks.Warning(
        f"Valkey evicts keys (maxmemory-policy {found['maxmemory-policy']}).",
        hint="Calls would be counted too low and tasks lost, unnoticed. Set maxmemory-policy noeviction.",
        id="notifications.W001",
    )
    restores_old_data = checks.Warning(
        "Valkey keeps snapshots and no log: after a crash it starts with old data.",
        hint='Ended sessions, used sign-in states and finished tasks would return. Set appendonly yes, or save "".',
        id="notifications.W002",
    )
    warnings: list[checks.CheckMessage] = []
    if found["maxmemory-policy"] != "noeviction":
        warnings.append(evicts)
    if found.get("save") and found["appendonly"] != "yes":
        warnings.append(restores_old_data)
    return warnings
