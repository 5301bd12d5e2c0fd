"""Recalls messages, and withdraws waiting messages of people who left or were renamed.

Before its first attempt a message can change: it is rewritten without the people who left, or with the new userid, and
canceled if nobody is left. From its first attempt on a message does not change; WeCom's answer then names the people
who left as invalid.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount, fold_userid
from integrations.clients.errors import ConfigurationError, IntegrationError, RateLimitedError, TransientError
from integrations.clients.wecom.builders import encode_body
from integrations.core import client_factory
from integrations.core.background import Clock
from integrations.core.sentences import Sentence
from integrations.models import Corp
from integrations.models.jobs import Moment
from notifications.delivery.channels import make_address_scope, make_company_scope, make_error_outcome
from notifications.delivery.limiter import Permit, Request
from notifications.delivery.rows import lock_freezing, reserve_rows, update_unlocked
from notifications.delivery.sending.send import ask_permits, hold_scopes, release_permits
from notifications.models import Channel, Delivery, Receipt, Report, Robot, Run

logger = logging.getLogger(__name__)


@transaction.atomic
def withdraw_recipients(corp: Corp, userids: Sequence[str], now: datetime) -> None:
    """Remove people from messages and mails without an attempt. `userids`: in lower case (fold_userid). Makes one query
    if no message waits.

    Their receipts say why; others get the message as before. It is safe to repeat. It waits until messages whose bytes
    are just being made ("frozen") are written.
    """
    lock_freezing(corp.pk)
    if not _find_untried().exists():
        return
    withdrawn, addresses = frozenset(userids), [f"{corp.pk}:{userid}" for userid in userids]
    for delivery in _lock_deliveries_of(_find_untried().filter(corp=corp), Q(address__in=addresses)):
        receipts = Receipt.objects.filter(delivery=delivery, status="", address__in=addresses)
        count = receipts.update(status=Receipt.Status.SKIPPED, reason=Receipt.Reason.BARRED)
        is_anybody_left = _write_recipients(
            delivery, lambda userid: None if fold_userid(userid) in withdrawn else userid
        )
        _subtract_recipients(delivery, count, is_anybody_left=is_anybody_left, now=now)
    # Mails, each to one person, to people who are disabled by now or whom WeCom bars. A mail may belong to another
    # company, because the person's own company was disabled when the mail was written. Such a mail is withdrawn, too,
    # unless the person still belongs to that other company.
    accounts = WeComAccount.objects.filter(user=OuterRef("user"))
    accounts_here = accounts.filter(corp=corp)
    is_barred = Q(user__is_active=False) | Q(Exists(accounts_here.shut_out()))
    accounts_there = accounts.filter(corp=OuterRef("delivery__corp"), left_at__isnull=True).exclude(corp=corp)
    is_concerned = Q(delivery__corp=corp) | Q(Exists(accounts_here)) & ~Q(Exists(accounts_there))
    for mail in _lock_deliveries_of(_find_untried().filter(channel=Channel.EMAIL), is_barred & is_concerned):
        receipts = Receipt.objects.filter(delivery=mail, status="")
        count = receipts.update(status=Receipt.Status.SKIPPED, reason=Receipt.Reason.BARRED)
        _subtract_recipients(mail, count, is_anybody_left=False, now=now)


def _subtract_recipients(delivery: Delivery, count: int, *, is_anybody_left: bool, now: datetime) -> None:
    """Save the delivery, whose body may have been changed, with `count` people less. Cancel it if nobody is left."""
    if not is_anybody_left:
        delivery.status, delivery.settled_at = Delivery.Status.CANCELED, now
    delivery.recipient_count = max(0, delivery.recipient_count - count)
    delivery.save(update_fields=["body", "plain_body", "status", "settled_at", "recipient_count"])
    Run.objects.filter(pk=delivery.run_id).update(
        recipient_count=F("recipient_count") - count, skipped_count=F("skipped_count") + count
    )
    logger.info("delivery=%d recipients withdrawn=%d%s", delivery.pk, count, "" if is_anybody_left else " (canceled)")


@transaction.atomic
def cancel_messages_to_robot(robot: Robot, reports: Sequence[Report], *, now: datetime) -> None:
    """Cancel the messages to the robot, of pushes with these reports, that have no attempt yet."""
    lock_freezing(robot.corp_id)
    waiting = _find_untried().filter(robot=robot, run__subscription__report__in=reports)
    for delivery in waiting.select_for_update(of=("self",)).order_by("pk"):
        _subtract_recipients(delivery, 0, is_anybody_left=False, now=now)


@transaction.atomic
def readdress_deliveries(corp: Corp, old: str, new: str) -> None:
    """Replace a person's userid in messages that have no attempt yet."""
    lock_freezing(corp.pk)
    waiting = _find_untried().filter(corp=corp)
    if not waiting.exists():
        return
    old_address, new_address = (f"{corp.pk}:{fold_userid(userid)}" for userid in (old, new))
    for delivery in _lock_deliveries_of(waiting, Q(address=old_address)):
        if Receipt.objects.filter(run=delivery.run_id, channel=delivery.channel, address=new_address).exists():
            continue  # another person had the new userid before: the old userid stays, and WeCom refuses it
        Receipt.objects.filter(delivery=delivery, address=old_address).update(address=new_address)
        _write_recipients(delivery, lambda userid: new if fold_userid(userid) == fold_userid(old) else userid)
        delivery.save(update_fields=["body", "plain_body"])


def _lock_deliveries_of(waiting: QuerySet[Delivery], condition: Q) -> list[Delivery]:
    """Lock and return the waiting deliveries with a receipt that matches `condition`. A worker's claim skips locked
    rows, and rows that changed since the worker read them."""
    receipts = Receipt.objects.filter(condition, delivery__in=waiting, status="")
    keys = set(receipts.order_by().values_list("delivery", flat=True))
    return list(waiting.filter(pk__in=keys).select_for_update(of=("self",)).order_by("pk")) if keys else []


def _find_untried() -> QuerySet[Delivery]:
    waiting = (Delivery.Status.PREPARING, Delivery.Status.PENDING)
    return Delivery.objects.filter(status__in=waiting, attempt_count=0)


def _write_recipients(delivery: Delivery, change: Callable[[str], str | None]) -> bool:
    """Change each recipient in the body, unless nobody would be left. Return whether anybody is left. `change`: returns
    the userid to write for a userid, or None to remove it."""
    payload = json.loads(bytes(delivery.body))
    users = [user for user in map(change, payload["touser"].split("|")) if user]
    if users:
        delivery.body = encode_body(payload | {"touser": "|".join(users)})
        if delivery.plain_body:
            plain = json.loads(bytes(delivery.plain_body))
            delivery.plain_body = encode_body(plain | {"touser": "|".join(users)})
    return bool(users)


# --- Recall: waiting messages are canceled at once, accepted ones are recalled from people's WeCom ---

# WeCom's limit; later recalls get 42052.
RECALL_WITHIN = timedelta(hours=24)
HANDED_OUT_AT_ONCE = 500
# A recall that failed temporarily, or that the limiter did not permit, is tried again after this time.
RETRY = timedelta(minutes=1)
# WeCom counts the calls of each API separately.
RECALL_API = "message_recall"
_RECALLED_SENTENCE = Sentence("Taken back before its messages were made.")


def can_be_recalled(run: Run, *, now: datetime) -> bool:
    """Return whether any part of the run can still be stopped: not rendered, waiting, or accepted within RECALL_WITHIN.
    An incoming message is recalled as a whole, with its files."""
    runs = run.find_runs_of_message().filter(recall_requested_at__isnull=True)
    if runs.filter(status=Run.Status.WAITING).exists():
        return True
    return any(rows.filter(run__in=runs).exists() for rows in (Delivery.objects.unsettled(), find_recallable(now)))


def request_recall(sent: Run | Delivery, *, person: User, now: datetime) -> bool:
    """Request the recall of a run's messages, or of one message: cancel the waiting ones now; those already sent are
    recalled later. An incoming message is recalled with all its runs. Return False if this was requested before."""
    run = sent if isinstance(sent, Run) else sent.run
    with transaction.atomic():
        if isinstance(sent, Run):
            unrequested = run.find_runs_of_message().filter(recall_requested_at__isnull=True)
            count = unrequested.update(recall_requested_at=now, recall_requested_by=person)
        elif sent.is_recall_requested:
            count = 0
        else:
            unrequested_message = Delivery.objects.filter(pk=sent.pk, recall_requested_at__isnull=True)
            count = unrequested_message.update(recall_requested_at=now)
        if not count:
            return False
        note, corps = _("Taken back: %(what)s") % {"what": sent}, [] if sent.corp_id is None else [sent.corp_id]
        services.record(action=AuditEntry.Action.DONE, subject=run, note=note, corps=corps)
    if isinstance(sent, Run):
        waiting = run.find_runs_of_message().filter(status=Run.Status.WAITING)
        waiting.update(status=Run.Status.FAILED, finished_at=now, error=_RECALLED_SENTENCE.serialize())
    cancel_recalled(now=now)
    return True


def cancel_recalled(*, now: datetime) -> int:
    """Cancel waiting messages that are recalled. Messages that may have arrived become unknown. Return how many."""
    # Keys first: with an OR or a join PostgreSQL would read all waiting rows.
    runs = list(Run.objects.filter(recall_requested_at__isnull=False).values_list("pk", flat=True))
    unsettled = Delivery.objects.filter(recall_requested_at__isnull=False, settled_at__isnull=True)
    single = list(unsettled.values_list("pk", flat=True))
    count = _cancel_waiting_rows(Delivery.objects.filter(run__in=runs), now) if runs else 0
    return count + (_cancel_waiting_rows(Delivery.objects.filter(pk__in=single), now) if single else 0)


def _cancel_waiting_rows(recalled: QuerySet[Delivery], now: datetime) -> int:
    pending = recalled.filter(status=Delivery.Status.PENDING)
    unclear = pending.filter(unclear_since__isnull=False)
    certain = pending.filter(unclear_since__isnull=True)
    canceled = {"status": Delivery.Status.CANCELED, "settled_at": now}
    return (
        update_unlocked(recalled.filter(status=Delivery.Status.PREPARING), **canceled)
        + update_unlocked(unclear, status=Delivery.Status.UNKNOWN, settled_at=now)
        + update_unlocked(certain, **canceled)
    )


def find_due_recalls(now: Moment) -> QuerySet[Delivery]:
    """Return accepted messages to recall now, requested for the message or for its run. It has two subqueries, because
    an OR would read the whole log."""
    since = now - 2 * RECALL_WITHIN  # messages of older requests are too old to be recalled
    single = Delivery.objects.filter(recall_requested_at__gt=since).order_by().values("pk")
    runs = Run.objects.filter(recall_requested_at__gt=since).values("pk")
    with_runs = Delivery.objects.filter(run__in=runs).order_by().values("pk")
    return find_recallable(now).filter(pk__in=single.union(with_runs, all=True), next_attempt_at__lte=now)


def hand_out_recalls(*, now: datetime) -> list[int]:
    """Return ids of at most HANDED_OUT_AT_ONCE accepted messages to recall, each reserved for RETRY."""
    # The row is settled, so its next attempt is the recall.
    return reserve_rows(find_due_recalls(now).order_by("pk"), HANDED_OUT_AT_ONCE, next_attempt_at=now + RETRY)


def recall_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Recall each message from WeCom. Return how many were recalled. Temporary failures are tried again later.

    After an error that concerns the whole company, such as a refused IP or too many calls, its other messages are
    skipped.
    """
    count, waiting_corps = 0, set[int]()
    unrecalled = Delivery.objects.filter(recalled_at__isnull=True, recall_error="")
    for pk in delivery_ids:
        if is_stopping():
            break
        # Read only now: another task may have recalled the message meanwhile, or somebody repaired the company.
        delivery = unrecalled.filter(pk=pk).select_related("corp").defer("body", "text").first()
        if delivery is None or delivery.corp_id in waiting_corps:
            continue
        scopes = (make_address_scope(delivery.corp, RECALL_API), make_company_scope(delivery.corpid, RECALL_API))
        request = Request(id=f"recall:{pk}.{secrets.token_hex(4)}", scopes=scopes, is_urgent=True)
        [permit] = ask_permits([request])
        if not isinstance(permit, Permit):
            waiting_corps.add(delivery.corp_id)
            continue
        try:
            client_factory.wecom_client(delivery.corp).message_recall(delivery.msgid)
        except (ConfigurationError, RateLimitedError) as error:
            # All recalls of the company wait for as long as WeCom's answer says.
            waiting_corps.add(delivery.corp_id)
            outcome, now = make_error_outcome(error), clock()
            logger.info("corp=%d: recalls wait errcode=%s", delivery.corp_id, outcome.errcode)
            if outcome.is_rate_limited:
                hold_scopes([make_company_scope(delivery.corpid, RECALL_API)], outcome)
            until = now + timedelta(seconds=outcome.wait_seconds)
            runs = Run.objects.filter(recall_requested_at__isnull=False).values("pk")
            requested = Q(run__in=runs) | Q(recall_requested_at__isnull=False)
            recallable = find_recallable(now).filter(requested, corp=delivery.corp_id, next_attempt_at__lt=until)
            update_unlocked(recallable, next_attempt_at=until)
        except TransientError as error:
            logger.info("delivery=%d not recalled for the moment errcode=%s", pk, error.code)
        except IntegrationError as error:
            unrecalled.filter(pk=pk).update(recall_error=str(error))
            logger.warning("delivery=%d cannot be recalled errcode=%s", pk, error.code)
        else:
            logger.info("delivery=%d recalled", pk)
            count += unrecalled.filter(pk=pk).update(recalled_at=clock())
        finally:
            release_permits([permit])
    return count


def find_recallable(now: Moment) -> QuerySet[Delivery]:
    """Return messages with a msgid, accepted within RECALL_WITHIN. Robots, mails and some repeated calls get none."""
    return Delivery.objects.filter(
        channel=Channel.WECOM,
        status=Delivery.Status.ACCEPTED,
        recalled_at__isnull=True,
        recall_error="",
        settled_at__gt=now - RECALL_WITHIN,
    ).exclude(msgid="")
