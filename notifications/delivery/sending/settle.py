"""Settles attempts: records their outcomes, and decides what happens to their deliveries."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import translation
from structlog.contextvars import bound_contextvars

from accounts.models import WeComAccount, fold_userid
from integrations.clients.wecom.errcodes import BUSY
from integrations.core.background import log_errors
from integrations.core.metrics import CountedMetric, TimedMetric
from notifications.delivery.channels import SENDERS, Outcome, OutcomeKind, Sendable
from notifications.delivery.rendering.render import plan_mails, write_deliveries
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource
from notifications.delivery.rows import lock_freezing_shared, update_unlocked
from notifications.delivery.sending.queue import block_company, unblock_companies
from notifications.models import REPEAT_SECONDS, Attempt, Channel, Delivery, Receipt, Run
from notifications.sources import Content, RenderingError
from notifications.subscriptions.recipients import Recipient, make_mail_address

T = TypeVar("T")
logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 5
BACKOFF_SECONDS_AT_MOST = 15 * 60
# WeCom asks for at most three retries of "system busy". With these waits they go on for more than half an hour.
BUSY_WAITS_SECONDS = (30, 300, 1800)
# WeCom's errcode for a media_id that is unknown or older than three days, and how often a message is uploaded at most
# because of this error.
MEDIA_GONE = 40007
UPLOADS_AT_MOST = 3
# Up to this many messages that end together get a log line each; more share one line.
LINES_AT_MOST = 10

_ATTEMPT_OUTCOMES = {
    OutcomeKind.ACCEPTED: Attempt.Outcome.ACCEPTED,
    OutcomeKind.REFUSED: Attempt.Outcome.REFUSED,
    OutcomeKind.RECIPIENTS: Attempt.Outcome.REFUSED,
    OutcomeKind.NOT_SENT: Attempt.Outcome.NOT_SENT,
    OutcomeKind.POSTPONED: Attempt.Outcome.NOT_SENT,
    OutcomeKind.UNCLEAR: Attempt.Outcome.UNCLEAR,
}


def settle_attempt(attempt: Attempt, outcome: Outcome, *, duration_ms: int | None, now: datetime) -> bool:
    """Write the attempt's outcome and, if the attempt still holds the delivery's lease, the delivery's outcome. Return
    whether it holds the lease."""
    with transaction.atomic():
        # Lock the delivery first, as the sweep does: another order could deadlock.
        held = Delivery.objects.filter(
            pk=attempt.delivery_id, status=Delivery.Status.SENDING, fencing_token=attempt.fencing_token
        )
        delivery = held.select_for_update().first()
        Attempt.objects.filter(pk=attempt.pk).update(
            outcome=_ATTEMPT_OUTCOMES[outcome.kind],
            errcode=outcome.errcode,
            answer=(outcome.answer or outcome.message)[:500],
            duration_ms=duration_ms,
            finished_at=now,
        )
        if delivery is None:
            return False
        fields = decide_delivery_fields(delivery, attempt, outcome, now=now)
        if fields["status"] in {Delivery.Status.ACCEPTED, Delivery.Status.FAILED}:
            # The receipts of people whom WeCom names get a status of their own.
            receipts = Receipt.objects.filter(delivery=delivery, status="")
            unlicensed = _mark_receipts(receipts, delivery, outcome.unlicensed_userids, Receipt.Status.UNLICENSED)
            if outcome.is_for_everyone:
                invalid = receipts.update(status=Receipt.Status.INVALID)
            else:
                invalid = _mark_receipts(receipts, delivery, outcome.invalid_userids, Receipt.Status.INVALID)
            fields |= {"invalid_count": invalid, "unlicensed_count": unlicensed}
        released = {"fencing_token": None, "lease_until": None, "queued_until": None}
        Delivery.objects.filter(pk=delivery.pk).update(**fields, **released)
        # Done in the same transaction: if this call is repeated because the answer to COMMIT was lost, it ends above.
        if outcome.kind == OutcomeKind.POSTPONED:
            # Due messages of the same company, channel and robot wait, too: one at a time probes whether it works now.
            due = Delivery.objects.filter(
                corp=delivery.corp_id,
                channel=delivery.channel,
                robot=delivery.robot_id,
                status=Delivery.Status.PENDING,
                next_attempt_at__lte=now,
            )
            until = now + timedelta(seconds=outcome.wait_seconds)
            update_unlocked(due, next_attempt_at=until, queued_until=None)
        if outcome.is_configuration and delivery.channel == Channel.WECOM:
            block_company(delivery.corp_id, outcome, now=now)
    return True


def decide_delivery_fields(delivery: Delivery, attempt: Attempt, outcome: Outcome, *, now: datetime) -> dict[str, Any]:
    """Return the delivery's new fields. Writes nothing; reads the attempts if WeCom was busy or has lost an upload."""
    answer = {"errcode": outcome.errcode, "error": outcome.message}
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            keys = {"msgid": outcome.msgid, "response_code": outcome.response_code}
            return {"status": Delivery.Status.ACCEPTED, "settled_at": now, **answer, **keys}
        case OutcomeKind.REFUSED if (
            # WeCom no longer knows the picture or file: a certain refusal, so other bytes cannot arrive twice.
            (outcome.errcode == MEDIA_GONE and delivery.medium_id is not None and delivery.unclear_since is None)
            # Attempts that were not sent, as while a company is blocked, say nothing about the upload.
            and delivery.attempts.filter(errcode=MEDIA_GONE).count() < UPLOADS_AT_MOST
        ):
            retry = _make_retry_fields(now, compute_backoff_seconds(delivery.attempt_count))
            return {**retry, "status": Delivery.Status.PREPARING, **answer}
        case OutcomeKind.REFUSED | OutcomeKind.RECIPIENTS:
            # Certain for this attempt, but an earlier one may have been delivered.
            is_certain = delivery.unclear_since is None
            status = Delivery.Status.FAILED if is_certain else Delivery.Status.UNKNOWN
            return {"status": status, "settled_at": now, **answer}
        case OutcomeKind.NOT_SENT:
            return {**_make_retry_fields(now, compute_backoff_seconds(delivery.attempt_count)), **answer}
        case OutcomeKind.POSTPONED:
            return {**_make_retry_fields(now, outcome.wait_seconds), **answer}
        case OutcomeKind.UNCLEAR:
            # The same bytes are repeated while WeCom's duplicate check covers them; then the outcome stays unknown.
            unclear_since = delivery.unclear_since or attempt.started_at
            wait_seconds: float | None = compute_backoff_seconds(delivery.attempt_count)
            if outcome.errcode == BUSY:
                busy_count = delivery.attempts.filter(errcode=BUSY, outcome=Attempt.Outcome.UNCLEAR).count()
                is_last = busy_count > len(BUSY_WAITS_SECONDS)
                wait_seconds = None if is_last else _add_jitter(BUSY_WAITS_SECONDS[busy_count - 1])
            if wait_seconds is not None and SENDERS[delivery.channel].is_repeat_safe:
                retry = _make_retry_fields(now, wait_seconds)
                if retry["next_attempt_at"] < unclear_since + timedelta(seconds=REPEAT_SECONDS):
                    return {**retry, "unclear_since": unclear_since, **answer}
            unknown = {"status": Delivery.Status.UNKNOWN, "settled_at": now}
            return {**unknown, "unclear_since": unclear_since, **answer}


def _make_retry_fields(now: datetime, wait_seconds: float) -> dict[str, Any]:
    return {"status": Delivery.Status.PENDING, "next_attempt_at": now + timedelta(seconds=wait_seconds)}


def compute_backoff_seconds(attempt_count: int) -> float:
    """Return the seconds until the next try: 5, doubled with each attempt up to 15 minutes, ±20 %."""
    doubled = BACKOFF_SECONDS * 2 ** min(attempt_count - 1, 20)
    return _add_jitter(min(doubled, BACKOFF_SECONDS_AT_MOST))


def _add_jitter(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  # spreads calls, guards nothing


def _mark_receipts(receipts: Any, delivery: Delivery, userids: Collection[str], status: Receipt.Status) -> int:
    """Set the status of the receipts of these people. Return the number of receipts."""
    # Folded, because WeCom answers in lower case.
    addresses = {f"{delivery.corp_id}:{fold_userid(userid)}" for userid in userids}
    return int(receipts.filter(address__in=addresses).update(status=status)) if addresses else 0


# --- Settling calls that ended: plain acceptances many at a time, the others one by one ---

_LEASE_LOST = " (its lease was lost)"
_ATTEMPTS = CountedMetric("guanwecom_push_attempts", "Calls that ended, by channel and errcode", "channel", "errcode")
_LAG = TimedMetric(
    "guanwecom_push_lag_seconds",
    "From a message's time to WeCom's acceptance",
    edges=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400),
)


@dataclass(frozen=True)
class EndedCall:
    """A call that ended, with its outcome."""

    delivery: Sendable
    outcome: Outcome
    duration_ms: int | None
    ended_at: datetime


def settle_calls(ended: Sequence[EndedCall]) -> None:
    """Settle each call. Plain acceptances, nearly all of them, are written together."""
    answering_corps = {
        each.delivery.corp_id
        for each in ended
        if each.outcome.proves_configuration and each.delivery.channel == Channel.WECOM
    }
    if answering_corps:
        retry_reconnected(lambda: unblock_companies(answering_corps, now=ended[0].ended_at))
    plain = [each for each in ended if each.outcome.is_plainly_accepted]
    settled_together = set[int]()
    if len(plain) > 1:
        with log_errors(logger, "%d accepted deliveries could not be settled together", len(plain)):
            retry_reconnected(lambda: _settle_accepted(plain))
            settled_together = {each.delivery.attempt.pk for each in plain}
    for each in (one for one in ended if one.delivery.attempt.pk not in settled_together):
        delivery, outcome = each.delivery, each.outcome
        write = partial(settle_attempt, delivery.attempt, outcome, duration_ms=each.duration_ms, now=each.ended_at)
        with log_errors(logger, "delivery=%d could not be settled", delivery.pk) as row:
            is_held = retry_reconnected(write)
        if row.error is not None:  # the sweep settles it when its lease ends
            continue
        with bound_contextvars(run_id=delivery.run_id, delivery_id=delivery.pk):
            logger.info(
                "delivery=%d corp=%d attempt=%d outcome=%s errcode=%s ms=%s%s",
                delivery.pk,
                delivery.corp_id,
                delivery.attempt_count,
                outcome.kind,
                outcome.errcode,
                each.duration_ms,
                "" if is_held else _LEASE_LOST,
            )
    for each in ended:  # after the outcomes are written: a failing counter must not lose an answer
        delivery, outcome = each.delivery, each.outcome
        _ATTEMPTS.add(delivery.channel, outcome.kind.value if outcome.errcode is None else str(outcome.errcode))
        if outcome.kind == OutcomeKind.ACCEPTED and delivery.due_at is not None:
            _LAG.add(max(0.0, (each.ended_at - delivery.due_at).total_seconds()))


def retry_reconnected(write: Callable[[], T]) -> T:
    """Run `write`. If the database connection fails, run it once more over a new one: `write` must be safe to repeat.

    Django itself reconnects only between tasks. An answer that is not written makes its message unclear, and unclear
    messages of robots and mails are never repeated.
    """
    try:
        return write()
    except (OperationalError, InterfaceError) as error:
        if connection.in_atomic_block:
            raise
        logger.warning("the database failed (%s): answers are written over a new connection", type(error).__name__)
        connection.close()
        return write()


# The rows are one JSON parameter: Django's update() with a CASE per row is too slow for every accepted message.
_ACCEPT_DELIVERIES = """
    UPDATE notifications_delivery
    SET status = 'accepted', errcode = 0, error = '', settled_at = listed.at, msgid = listed.msgid, response_code = '',
        fencing_token = NULL, lease_until = NULL, queued_until = NULL
    FROM jsonb_to_recordset(%s::jsonb) AS listed (id bigint, token uuid, at timestamptz, msgid text)
    WHERE notifications_delivery.id = listed.id AND notifications_delivery.status = 'sending'
        AND notifications_delivery.fencing_token = listed.token
    RETURNING notifications_delivery.id
"""
_ACCEPT_ATTEMPTS = """
    UPDATE notifications_attempt
    SET outcome = 'accepted', errcode = 0, duration_ms = listed.ms, finished_at = listed.at
    FROM jsonb_to_recordset(%s::jsonb) AS listed (attempt bigint, ms integer, at timestamptz)
    WHERE notifications_attempt.id = listed.attempt
"""


def _settle_accepted(ended: Sequence[EndedCall]) -> None:
    """Write the acceptances in one transaction with two statements. Deliveries come before attempts, as everywhere."""
    rows = [
        {
            "id": each.delivery.pk,
            "token": each.delivery.attempt.fencing_token,
            "at": each.ended_at,
            "msgid": each.outcome.msgid,
            "attempt": each.delivery.attempt.pk,
            "ms": each.duration_ms or 0,
        }
        for each in ended
    ]
    listed = [json.dumps(rows, default=str)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ACCEPT_DELIVERIES, listed)
        held = {pk for (pk,) in cursor.fetchall()}
        cursor.execute(_ACCEPT_ATTEMPTS, listed)
    # Many calls share one line: their rows hold the details, and log lines cost more than writing the rows.
    if len(held) > LINES_AT_MOST:
        logger.info("accepted deliveries=%d from=%d to=%d", len(held), min(held), max(held))
    for each in ended:
        delivery = each.delivery
        if delivery.pk not in held or len(held) <= LINES_AT_MOST:
            with bound_contextvars(run_id=delivery.run_id, delivery_id=delivery.pk):
                logger.info("accepted ms=%d%s", each.duration_ms, "" if delivery.pk in held else _LEASE_LOST)


def write_fallback_mails(run_ids: Collection[int], *, now: datetime) -> None:
    """Write mails to the people whom the first channel of these runs did not reach.

    The caller has locked the runs, and none of their deliveries is under way. A person with a mail of the run gets no
    second one. People who leave WeCom meanwhile get no mail: their withdrawal waits for this transaction, and then
    cancels the mail.
    """
    runs = Run.objects.filter(
        Exists(_find_unreached().filter(run=OuterRef("pk"))),
        pk__in=run_ids,
        subscription__fallback_channel=Channel.EMAIL,
        recall_requested_at__isnull=True,
    )
    found = list(runs.select_related("subscription__report").order_by("pk"))
    unreached = _find_unreached().filter(run__in=found).order_by()
    lock_freezing_shared(set(unreached.values_list("delivery__corp", flat=True)) if found else ())
    for run in found:
        if run.subscription is None:
            continue
        source = SubscriptionSource(run, run.subscription, ReportParts(run.subscription.report))
        columns = ("delivery_id", "user_id", "delivery__corp_id", "user__email")
        rows = list(_find_unreached().filter(run=run).order_by("pk").values_list(*columns))
        sent = Delivery.objects.only("title", "text", "link", "content").in_bulk({row[0] for row in rows})
        # The mail has the content of the person's own message to WeCom, so nobody sees other people's rows.
        contents = {
            Recipient(
                user_id, corp_id, "", make_mail_address(user_id, email), reason=None, channel=Channel.EMAIL, email=email
            ): (Content(sent[pk].title, sent[pk].text, link=sent[pk].link), sent[pk].content_id)
            for pk, user_id, corp_id, email in rows
        }
        with translation.override(settings.LANGUAGE_CODE):
            try:
                mails = list(plan_mails(list(contents), source.terms.corp_id, contents.__getitem__))
                write_deliveries(run, source, mails, now)
            except RenderingError as error:
                logger.warning("run=%d: no mail to those who were not reached: %s", run.pk, error)
                continue
        Run.objects.filter(pk=run.pk).update(recipient_count=F("recipient_count") + len(contents))


def _find_unreached() -> QuerySet[Receipt]:
    """Return the receipts of people whom WeCom refused, and who may get a mail of the run but have none yet."""
    mailed = Receipt.objects.filter(run=OuterRef("run"), user=OuterRef("user"), channel=Channel.EMAIL)
    # WeCom names people who have left as invalid, too, but they must not get a mail instead.
    barred = WeComAccount.objects.shut_out().filter(user=OuterRef("user"), corp=OuterRef("delivery__corp"))
    refused = Receipt.objects.filter(status__in=[Receipt.Status.INVALID, Receipt.Status.UNLICENSED])
    people = refused.filter(channel=Channel.WECOM, user__is_active=True).exclude(user__email="")
    people = people.exclude(delivery__recall_requested_at__isnull=False)
    return people.filter(~Exists(mailed), ~Exists(barred))
