"""Background work of the push engine. Tasks carry ids and are safe to run twice; the rows hold the state.

Workers, except those that make pictures and files, use a pool of threads, which has no time limits: every call to
WeCom has a deadline, and a sending task ends by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import billiard
from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy, override

from integrations.core.background import Tick, database_clock, database_now
from integrations.jobs.registry import RunAgain, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Installation
from integrations.models.jobs import Moment
from notifications.alerts import card_updates, evaluation, incidents, notify
from notifications.delivery import attachments, maintenance
from notifications.delivery.rendering import render
from notifications.delivery.rows import reserve_rows
from notifications.delivery.runs import recall, scheduler
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.delivery.runs.ownership import request_ownership_notices
from notifications.delivery.runs.triggers import NO_REQUEST, find_old_requests
from notifications.delivery.sending import queue, send, uploads
from notifications.inbound import accept, calls, webhook
from notifications.inbound.mail import outgoing
from notifications.models import (
    AlertCheck,
    AlertRule,
    CorpQueue,
    Delivery,
    Draft,
    Incident,
    IncomingMessage,
    Medium,
    OutgoingMail,
    Priority,
    Run,
    Subscription,
)
from notifications.models.subscriptions import DRAFT_KEPT

logger = logging.getLogger(__name__)

# Runs of a rendering task; more if there would otherwise be more than RENDERING_TASKS_AT_ONCE tasks.
RUNS_PER_TASK = 20
RENDERING_TASKS_AT_ONCE = 200
# Deliveries of a sending task; more if it may send more at once.
DELIVERIES_PER_TASK = 50
# Queues of settings.CELERY_TASK_QUEUES. The queues of pictures and files are in notifications.delivery.attachments.
URGENT_QUEUE, ORDINARY_QUEUE = "urgent", "celery"
# Queue of tasks that wait for other systems.
DATA_QUEUE = "data"
# Deliveries of a task that uploads; uploads.AT_ONCE of them are uploaded at the same time.
UPLOADS_PER_TASK = 50
# Webhooks of a task: so few that the last one ends within its lease even if each takes its full time.
CALLBACKS_PER_TASK = 5
# Mails of the mail door of a task: so few that the last one ends within its lease even if each takes its full time.
MAILS_PER_TASK = 10

# Set when this worker is asked to end. Only threads of this process see it, so workers run with --pool threads.
_stopping = threading.Event()


@worker_shutting_down.connect(weak=False)
def stop_between_messages(**_signal: Any) -> None:
    """Let running tasks end after their current message."""
    _stopping.set()


# The steps run in the order of this file.
TICK = Tick(
    scheduler.TICK_NAME,
    # Health checks look at the tick (health.TICK_STALE_SECONDS), and the tick repairs rows after a clock was set back.
    at_least_every_seconds=10,
)


@TICK.step(lambda now: [Subscription.objects.due(now)])
def _claim_due(now: datetime) -> None:
    enqueue_runs(scheduler.claim_due_subscriptions(now=now))


@TICK.step(
    lambda now: [
        AlertRule.objects.due(now),
        AlertRule.objects.interrupted(),
        AlertCheck.objects.filter(outcome=AlertCheck.Outcome.WAITING),
    ]
)
def _check_rules(now: datetime) -> None:
    evaluation.check_due_rules(now=now)


@TICK.step(lambda now: [incidents.find_orphaned_incidents(), Incident.objects.notice_due(now)])
def _notify_incidents(now: datetime) -> None:
    incidents.end_orphaned_incidents(now=now)
    enqueue_runs(notify.request_notices(now=now))


@TICK.step(
    lambda now: [
        Delivery.objects.unsettled(),
        Run.objects.filter(status=Run.Status.SENDING),
        Run.objects.unrendered(now),
        # Companies without a row for their queue.
        Corp.objects.filter(~Exists(CorpQueue.objects.filter(corp=OuterRef("pk")))),
    ]
)
def _sweep(now: datetime) -> None:
    queue.ensure_queues()
    enqueue_runs(maintenance.sweep_deliveries(now=now))


@TICK.step(lambda _now: [Run.objects.unnotified(), AlertRule.objects.unnotified()])
def _notify_owners(now: datetime) -> None:
    with override(settings.LANGUAGE_CODE):
        enqueue_runs(request_owner_notices(now=now))
        enqueue_runs(evaluation.request_broken_rule_notices(now=now))


@TICK.step(lambda _now: [])  # the query of _sweep finds these rows
def _hand_out(now: datetime) -> None:
    while handed_out := queue.hand_out_deliveries(now=now):
        enqueue_deliveries(handed_out.urgent, queue=URGENT_QUEUE)
        enqueue_deliveries(handed_out.ordinary)


@TICK.step(lambda now: [Medium.objects.filter(status=Medium.Status.WAITING), attachments.find_old_previews(now)])
def _make_media(now: datetime) -> None:
    attachments.sweep_media(now=now)
    _enqueue_media(attachments.hand_out_media(now=now))


@TICK.step(lambda _now: [])  # the query of _sweep finds these rows
def _prepare(now: datetime) -> None:
    handed_out = uploads.hand_out_uploads(now=now)
    _enqueue(prepare_deliveries, handed_out.urgent, UPLOADS_PER_TASK, URGENT_QUEUE)
    _enqueue(prepare_deliveries, handed_out.ordinary, UPLOADS_PER_TASK)


@TICK.step(lambda now: [card_updates.find_changeable_cards(now)])
def _update_cards(now: datetime) -> None:
    # Urgent: people look at them after a click.
    _enqueue(update_alert_cards, card_updates.claim_due_cards(now=now), DELIVERIES_PER_TASK, URGENT_QUEUE)


@TICK.step(lambda now: [recall.find_due_recalls(now)])
def _recall(now: datetime) -> None:
    _enqueue(recall_deliveries, recall.hand_out_recalls(now=now), DELIVERIES_PER_TASK, URGENT_QUEUE)


@TICK.step(lambda now: [OutgoingMail.objects.due(now)])
def _send_mails(now: datetime) -> None:
    _enqueue(send_outgoing_mails, outgoing.hand_out_mails(now=now), MAILS_PER_TASK)


TICK.step(lambda _now: [queue.find_unnotified_queues()])(queue.notify_administrators)


@TICK.step(lambda now: [IncomingMessage.objects.to_call_back(now)])
def _call_back(now: datetime) -> None:
    _enqueue(call_back, webhook.hand_out_callbacks(now=now), CALLBACKS_PER_TASK, DATA_QUEUE)


def _find_old_rows(now: Moment) -> list[QuerySet[Any]]:
    """Return the old rows that nothing depends on."""
    return [
        OutgoingMail.objects.filter(message__isnull=True, created_at__lte=now - outgoing.MAILS_KEPT),
        Medium.objects.filter(token__isnull=False, created_at__lte=now - accept.UPLOADS_KEPT),
        AlertCheck.objects.filter(requested_at__lt=now - evaluation.CHECKS_KEPT),
        Draft.objects.filter(saved_at__lte=now - DRAFT_KEPT),
    ]


@TICK.step(
    lambda now: [
        maintenance.find_old_runs(now),
        maintenance.find_old_incidents(now),
        *_find_old_rows(now),
        calls.find_old_messages(now),
        calls.find_old_payloads(now),
        find_old_requests(now),
    ]
)
def _purge(now: datetime) -> None:
    maintenance.purge_runs_and_incidents(now=now)
    calls.purge_calls(now=now)
    find_old_requests(now).update(**NO_REQUEST)
    for rows in _find_old_rows(now):
        maintenance.delete_chunk(rows)


@shared_task(name=scheduler.TICK_NAME, ignore_result=True)
def tick() -> None:
    """Run the steps of TICK if any has work. Beat queues this task when something is due, and every few seconds."""
    now = database_now()
    latest_period = now.timestamp() + scheduler.CLOCK_TOLERANCE_SECONDS
    # Repaired before the period is claimed: if this tick dies, the next one must still see that the clock was set back.
    if Installation.objects.filter(tick_period__gt=latest_period).exists():
        maintenance.repair_clock_damage(now=now)
    if not scheduler.claim_tick(now=now, period_seconds=settings.DISPATCH_INTERVAL_SECONDS):
        return
    # Checked again, because beat also queues this task after a pause, and when beat's own query has failed.
    if TICK.is_anything_due():
        TICK.do_steps(now=now)


@shared_task(name="notifications.notify_of_owners", ignore_result=True)
def notify_of_owners() -> None:
    """Notify people who can hand over what has lost its owner, and owners of tokens that expire. Runs each hour."""
    with override(settings.LANGUAGE_CODE):
        enqueue_runs(request_ownership_notices(now=database_now()))


@shared_task(name="notifications.render_runs", ignore_result=True)
def render_runs(run_ids: list[int]) -> None:
    """Render the messages of these runs and hand them out to be sent."""
    clock = database_clock()
    if render.render_runs(run_ids, clock=clock, is_stopping=_stopping.is_set):
        _hand_out(clock())


@shared_task(name="notifications.send_deliveries", ignore_result=True)
def send_deliveries(delivery_ids: list[int]) -> None:
    """Try to send these deliveries."""
    send.send_deliveries(delivery_ids, clock=database_clock(), is_stopping=_stopping.is_set)


# Acknowledged early: a task whose picture kills the worker must not come back for ever. The row counts the tries.
_ONCE: dict[str, Any] = {"ignore_result": True, "acks_late": False, "reject_on_worker_lost": False}


@shared_task(name="notifications.make_medium", time_limit=attachments.SECONDS_AT_MOST, **_ONCE)
def make_medium(medium_ids: list[int]) -> None:
    """Make this picture or file. A task has only one, so that its time limit ends the making of no other."""
    _produce(make_medium, medium_ids, attachments.CHARTS_QUEUE)


@shared_task(name="notifications.take_snapshots", time_limit=attachments.PAGE_SECONDS_AT_MOST, **_ONCE)
def take_snapshots(medium_ids: list[int]) -> None:
    """Take this picture of a page of the BI."""
    _produce(take_snapshots, medium_ids, attachments.SNAPSHOTS_QUEUE)


def _produce(task: Task[[list[int]], None], medium_ids: list[int], queue: str) -> None:
    if billiard.current_process().name == "MainProcess" and not task.request.is_eager:
        # A thread cannot be ended at a time limit, and the renderer would hold up all other threads of this process.
        logger.error("pictures and files are made in a worker of their own: -Q %s --pool prefork", queue)
        return
    for medium_id in medium_ids:
        attachments.produce_medium(medium_id, clock=database_clock())


@shared_task(name="notifications.prepare_deliveries", ignore_result=True)
def prepare_deliveries(delivery_ids: list[int]) -> None:
    """Upload the files of these deliveries, freeze them, and hand them out to be sent."""
    clock = database_clock()
    if uploads.prepare_deliveries(delivery_ids, clock=clock, is_stopping=_stopping.is_set):
        _hand_out(clock())


@job_kind(
    calls.FETCH,
    label=gettext_lazy("Pictures and files of an inbound call"),
    explain=lambda _job: "",  # the channel's log shows what was refused
    seconds=180,
    tries=calls.GIVEN_UP_AFTER,
    repeats_errors=True,
    give_up=calls.give_up_fetch,
    keep=timedelta(hours=1),
    see="notifications.view_inboundchannel",
    retry="notifications.change_inboundchannel",
)
def fetch_inbound(run: JobRun) -> dict[str, Any] | RunAgain:
    """Fetch the pictures and files that a call of an inbound channel names, and make its message."""
    result = calls.fetch_files(run)
    if isinstance(result, RunAgain):
        return result
    enqueue_runs(result)
    return {}


@shared_task(name="notifications.recall_deliveries", ignore_result=True)
def recall_deliveries(delivery_ids: list[int]) -> None:
    """Recall these messages from people's WeCom."""
    recall.recall_deliveries(delivery_ids, clock=database_clock(), is_stopping=_stopping.is_set)


@shared_task(name="notifications.update_alert_cards", ignore_result=True)
def update_alert_cards(card_ids: list[int]) -> None:
    """Change these cards to the current state of their incidents."""
    card_updates.update_cards(card_ids, clock=database_clock(), is_stopping=_stopping.is_set)


@shared_task(name="notifications.call_back", ignore_result=True)
def call_back(message_ids: list[int]) -> None:
    """Call back the senders of these settled messages."""
    webhook.call_back_senders(message_ids, clock=database_clock(), is_stopping=_stopping.is_set)


@shared_task(name="notifications.send_outgoing_mails", ignore_result=True)
def send_outgoing_mails(mail_ids: list[int]) -> None:
    """Send the mail door's reports and forwarded mails."""
    outgoing.send_mails(mail_ids, clock=database_clock(), is_stopping=_stopping.is_set)


def enqueue_runs(run_ids: Sequence[int]) -> None:
    """Queue the rendering of these runs, once the open transaction is committed. Alerts and urgent runs overtake
    others."""
    is_urgent = Q(subscription__priority=Priority.URGENT) | Q(message__priority=Priority.URGENT)
    is_urgent |= Q(trigger=Run.Trigger.ALERT)
    urgent = Run.objects.filter(is_urgent, pk__in=run_ids).values_list("pk", flat=True)
    overtaking = set(urgent) if run_ids else set()
    size = max(RUNS_PER_TASK, len(run_ids) // RENDERING_TASKS_AT_ONCE)
    _enqueue(render_runs, sorted(overtaking), size, URGENT_QUEUE)
    _enqueue(render_runs, [pk for pk in run_ids if pk not in overtaking], size)


def enqueue_waiting_runs(card_id: int, slot_at: datetime) -> None:
    """Queue the rendering of the runs that waited for this card's data. Runs that wait for other data as well go on
    waiting. Registered with integrations.datasources.fetch."""
    waiting = Run.objects.filter(
        status=Run.Status.WAITING, slot_at=slot_at, subscription__report__report_cards__card=card_id
    )
    enqueue_runs(list(waiting.order_by("pk").values_list("pk", flat=True).distinct()))


def enqueue_deliveries(delivery_ids: Sequence[int], *, queue: str = ORDINARY_QUEUE) -> None:
    """Queue the sending of these deliveries, once the open transaction is committed."""
    size = max(DELIVERIES_PER_TASK, settings.SEND_PARALLEL_PER_TASK)
    _enqueue(send_deliveries, delivery_ids, size, queue)


def enqueue_previews(medium_ids: list[int]) -> None:
    """Queue the pictures that somebody on a page waits for, before the media that the tick will hand out."""
    now = database_now()
    due = Medium.objects.due(now).previews().filter(pk__in=medium_ids).order_by("pk")
    _enqueue_media(reserve_rows(due, len(medium_ids), make_after=now + attachments.RESERVATION))


def _enqueue_media(medium_ids: list[int]) -> None:
    media = Medium.objects.only("queue", "kind").in_bulk(medium_ids)
    for medium in (media[pk] for pk in medium_ids if pk in media):
        if medium.queue == attachments.SNAPSHOTS_QUEUE:
            # Without a worker the same rows are handed out again and again; each task in the queue expires before that.
            _enqueue(take_snapshots, [medium.pk], 1, medium.queue, expires=attachments.RESERVATION.total_seconds())
        else:
            _enqueue(make_medium, [medium.pk], 1, medium.queue, time_limit=attachments.find_time_limit(medium))


def _enqueue(
    task: Task[[list[int]], None], ids: Sequence[int], size: int, queue: str = ORDINARY_QUEUE, **options: Any
) -> None:
    for start in range(0, len(ids), size):
        message = task.si(list(ids[start : start + size])).set(queue=queue, **options)
        # robust: without a broker the rows wait for the sweep, and no page fails.
        transaction.on_commit(message.apply_async, robust=True)
