"""The queue of deliveries: reserves as many of each company as the limits allow, and claims those that a task sends.

Waiting deliveries stay in their table, in order. If all were tasks in the broker, they would delay messages of other
companies.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from integrations.clients.errors import read_operation
from integrations.clients.wecom import errcodes
from integrations.core.hooks import CallsRefused
from integrations.core.sentences import explain_errcode
from integrations.models import Corp
from notifications.delivery.channels import (
    CONFIGURATION_WAIT_SECONDS,
    SENDABLE_COLUMNS,
    Outcome,
    Sendable,
    make_app_scopes,
)
from notifications.delivery.limiter import Scope, StoreLostError, ask_gate
from notifications.delivery.rows import (
    QUEUE_LEASE,
    compute_delivery_lease,
    lock_skipping,
    reserve_rows,
    update_unlocked,
)
from notifications.models import Attempt, Channel, CorpQueue, Delivery, OperatorContacts, Priority, Run

logger = logging.getLogger(__name__)

# Deliveries of one company per call; the others follow with the next call.
AT_ONCE = 2000
# As many deliveries are reserved as can be sent until the next tick and in this many seconds more. A sending task
# waits as long for a permit (send.PATIENCE_SECONDS), so that calls go on between two ticks.
AHEAD_SECONDS = 2.0


@dataclass(frozen=True)
class ReservedDeliveries:
    """Ids of deliveries to give to tasks now, by queue."""

    urgent: list[int] = field(default_factory=list)
    ordinary: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.urgent or self.ordinary)


def hand_out_deliveries(*, now: datetime, limit: int = AT_ONCE) -> ReservedDeliveries:
    """Return the deliveries to queue tasks for, each reserved for QUEUE_LEASE.

    It returns at most `limit` of each company. Call it again until it returns nothing.
    """
    # Most of the time nothing waits, and this short query saves the long ones.
    if not Delivery.objects.unqueued(now).filter(status=Delivery.Status.PENDING, next_attempt_at__lte=now).exists():
        return ReservedDeliveries()
    sendable = Delivery.objects.sendable(now).unqueued(now)
    by_priority = []
    for is_urgent in (True, False):
        rows = sendable.filter(priority=Priority.URGENT if is_urgent else Priority.ORDINARY)
        lists = _reserve_by_company(rows.filter(channel=Channel.WECOM), now, limit, is_urgent=is_urgent)
        # Robots and mail seldom reach their limits: a task gives back the messages that must wait.
        lists.append(_queue_deliveries(rows.exclude(channel=Channel.WECOM), limit, now))
        # Companies take turns.
        by_priority.append([pk for turn in zip_longest(*lists) for pk in turn if pk is not None])
    urgent, ordinary = by_priority
    return ReservedDeliveries(urgent, ordinary)


def _reserve_by_company(sendable: QuerySet[Delivery], now: datetime, limit: int, *, is_urgent: bool) -> list[list[int]]:
    """Reserve deliveries of each company, as many as its limits allow soon. Return a list of ids for each company."""
    # A subquery, because PostgreSQL turns EXISTS into a join that reads all waiting rows.
    first_of_corp = sendable.filter(corp=OuterRef("pk")).order_by().values("pk")[:1]
    with_sendable = Corp.objects.enabled().alias(first=Subquery(first_of_corp)).filter(first__isnull=False)
    corps = list(with_sendable.only("corpid", "proxy_url").order_by("pk"))
    if not corps:
        return []
    waiting = {corp.pk: sendable.filter(corp=corp).order_by()[:limit].count() for corp in corps}
    # Deliveries that tasks already have will use some of the room too.
    queued = Delivery.objects.filter(channel=Channel.WECOM, status=Delivery.Status.PENDING, queued_until__gt=now)
    outstanding = {corp.pk: queued.filter(corp=corp).order_by()[:AT_ONCE].count() for corp in corps}
    # The companies of each scope share its room in equal parts.
    by_scope: dict[Scope, list[int]] = defaultdict(list)
    for corp in corps:
        for scope in make_app_scopes(corp):
            by_scope[scope].append(corp.pk)
    ahead = settings.DISPATCH_INTERVAL_SECONDS + AHEAD_SECONDS
    try:
        room = ask_gate(lambda gate: gate.find_rooms(list(by_scope), within_seconds=ahead, is_urgent=is_urgent))
    except StoreLostError:  # another worker is restoring the limiter's counts; try at the next tick
        return []
    shares = dict(waiting)
    for scope, corp_ids in by_scope.items():
        left = max(0, room[scope] - sum(outstanding[pk] for pk in corp_ids))
        # A company gets a place for each of its waiting deliveries at most; the other companies share the rest.
        smallest_first = sorted(corp_ids, key=shares.__getitem__)
        while smallest_first:
            part = left // len(smallest_first)
            pk = smallest_first.pop(0)
            shares[pk] = min(shares[pk], part)
            left -= shares[pk]
    # A blocked company sends nothing but, from time to time, one message as a probe.
    for pk, may_probe in take_probes([pk for pk, share in shares.items() if share], now=now).items():
        shares[pk] = int(may_probe)
    return [
        _queue_deliveries(sendable.filter(corp=corp), shares[corp.pk], now) for corp in corps if shares[corp.pk] > 0
    ]


def _queue_deliveries(sendable: QuerySet[Delivery], count: int, now: datetime) -> list[int]:
    return reserve_rows(sendable.order_by("priority", "next_attempt_at", "pk"), count, queued_until=now + QUEUE_LEASE)


# --- Claims: a lease and a started attempt for exactly the rows that were locked ---

# The columns of a company that a call needs. The others are not read: decrypting secrets takes time.
CALL_COLUMNS = ("name", "corpid", "agentid", "secret", "api_base_url", "proxy_url", "ca_bundle")


def claim_deliveries(
    deliveries: Collection[Sendable], *, now: datetime, token: uuid.UUID | None = None
) -> list[Sendable]:
    """Claim the deliveries that may be tried now. Return them as they were locked, each with its company and its
    attempt, which is committed when this returns.

    A delivery is left out if it is settled, not yet due, held or locked by another worker, or changed since it was read
    (people withdrawn, a picture renewed, another try), because the permit was given for what was read. All attempts
    share one fencing `token`; each is checked against its own delivery.
    """
    known, token = {row.pk: row for row in deliveries}, token or uuid.uuid4()
    with transaction.atomic():
        # PostgreSQL reads a row again once it is locked, so nobody can change these values any more.
        locked = read_sendables(lock_skipping(Delivery.objects.sendable(now).filter(pk__in=known).order_by("pk")))
        rows = [row for row in locked if row == known[row.pk]]
        if not rows:
            return []
        # Companies are read before the claim: if one cannot be read, the rows stay untouched.
        corps = Corp.objects.only(*CALL_COLUMNS).in_bulk({row.corp_id for row in rows})
        for row in rows:
            row.corp = corps[row.corp_id]
        Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
            status=Delivery.Status.SENDING,
            fencing_token=token,
            lease_until=now + compute_delivery_lease(),
            attempt_count=F("attempt_count") + 1,
        )
        for row in rows:
            row.attempt_count += 1
            row.attempt = Attempt(delivery_id=row.pk, number=row.attempt_count, fencing_token=token, started_at=now)
        Attempt.objects.bulk_create(row.attempt for row in rows)
    return rows


def find_attempts_if_claim_was_committed(delivery_ids: Collection[int], token: uuid.UUID) -> list[Attempt]:
    """Return the attempts of a failed claim if it was committed: only the answer to its COMMIT was lost then."""
    with transaction.atomic():
        # The lock waits for a claim that is still being committed.
        rows = Delivery.objects.filter(pk__in=delivery_ids).order_by("pk").select_for_update()
        claimed = [pk for pk, held_token in rows.values_list("pk", "fencing_token") if held_token == token]
    return list(Attempt.objects.filter(delivery__in=claimed, fencing_token=token))


def read_sendables(rows: QuerySet[Delivery]) -> list[Sendable]:
    """Read the deliveries, to ask the limiter for them or to claim them. Only claimed deliveries are sent."""
    # A run without a `due_at` is due at its slot.
    due_at = Run.objects.filter(pk=OuterRef("run")).values(at=Coalesce("due_at", "slot_at"))
    # A subquery instead of a join, because a join would lock the run, too.
    return [Sendable(*row) for row in rows.values_list(*SENDABLE_COLUMNS, Subquery(due_at))]


# --- Blocked companies: their messages wait, administrators get one mail, and probes unblock them ---


def ensure_queues() -> None:
    """Create the missing queues: one for each company, and one that stands for all companies."""
    known = set(CorpQueue.objects.values_list("corp_id", flat=True))
    missing = [pk for pk in (None, *Corp.objects.order_by("pk").values_list("pk", flat=True)) if pk not in known]
    CorpQueue.objects.bulk_create([CorpQueue(corp_id=pk) for pk in missing], ignore_conflicts=True)


def block_company(corp_id: int, outcome: Outcome, *, now: datetime) -> None:
    """Block the company. Its messages wait, and probes find out whether it works again."""
    queue, _is_new = CorpQueue.objects.get_or_create(corp_id=corp_id)
    is_first = CorpQueue.objects.filter(pk=queue.pk, blocked_since__isnull=True).update(blocked_since=now)
    CorpQueue.objects.filter(pk=queue.pk).update(
        blocked_errcode=outcome.errcode,
        blocked_error=outcome.message,
        probe_at=now + timedelta(seconds=outcome.held_seconds),
    )
    if is_first:
        logger.warning("corp=%d cannot send (errcode=%s): its queue waits", corp_id, outcome.errcode)


def unblock_companies(corp_ids: Collection[int], *, now: datetime) -> None:
    """Unblock these companies, and make their waiting messages due."""
    # This runs after nearly every call, and a company is rarely blocked.
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM notifications_corpqueue WHERE blocked_since IS NOT NULL LIMIT 1")
        if cursor.fetchone() is None:
            return
    blocked = CorpQueue.objects.blocked().filter(corp__in=corp_ids)
    for queue in blocked:
        cleared = dict.fromkeys(("blocked_since", "blocked_errcode", "probe_at", "notified_at"))
        if not blocked.filter(pk=queue.pk).update(blocked_error="", **cleared):
            continue
        _release_waiting(queue, now=now)
        logger.warning("corp=%d can send again", queue.corp_id)


def find_refused_calls(corps: Sequence[Corp], now: datetime) -> dict[int, CallsRefused]:
    """Map companies whose messages wait to the reason, the time since when, and the number of recipients. Makes two
    queries, and one more if WeCom did not answer. Registered with integrations.core.hooks."""
    unanswered = Q(errcode__isnull=True) & ~Q(error="")
    waiting = Delivery.objects.filter(corp__in=[corp.pk for corp in corps], channel=Channel.WECOM).unsettled()
    began_at, last_error = Min("created_at", filter=unanswered), Max("error", filter=unanswered)
    rows = (
        waiting.order_by()
        .values_list("corp")
        .annotate(people=Sum("recipient_count"), began_at=began_at, last_error=last_error)
    )
    found, people = dict[int, CallsRefused](), dict[int, int]()
    for pk, count, since, error in rows:
        people[pk] = count
        if read_operation(error or ""):  # the error of one of our clients
            found[pk] = CallsRefused(None, since, None, count)
    if found:  # leave out companies whose last call got an answer
        last = Attempt.objects.filter(delivery__corp=OuterRef("pk"), delivery__channel=Channel.WECOM)
        last = last.filter(finished_at__isnull=False).order_by("-started_at")
        outcomes = Corp.objects.filter(pk__in=found).annotate(outcome=Subquery(last.values("outcome")[:1]))
        answered = outcomes.filter(outcome__in=[Attempt.Outcome.ACCEPTED, Attempt.Outcome.REFUSED])
        for pk in answered.values_list("pk", flat=True):
            del found[pk]
    for queue in CorpQueue.objects.blocked().filter(corp__in=[corp.pk for corp in corps]):
        pk, until = int(queue.corp_id or 0), find_held_until(queue, now=now)
        found[pk] = CallsRefused(queue.blocked_errcode, queue.blocked_since, until, people.get(pk, 0))
    return found


def find_newest_success(corp_ids: Sequence[int], since: datetime) -> dict[int, tuple[datetime, int]]:
    """Map companies to the time of their newest accepted message since `since`, and the number of people reached since
    then. Makes one query. Registered with integrations.core.hooks."""
    sent = Delivery.objects.filter(corp__in=corp_ids, created_at__gte=since, status=Delivery.Status.ACCEPTED)
    reached = Sum(F("recipient_count") - F("invalid_count") - F("unlicensed_count"))
    rows = sent.order_by().values_list("corp").annotate(last=Max("settled_at"), people=reached)
    return {corp_id: (last, people) for corp_id, last, people in rows if last is not None}


def probe_company_at_once(corp_id: int, now: datetime) -> None:
    """Let the next tick try one message of the company, after a repair. If none waits, unblock the company."""
    if not Delivery.objects.filter(corp=corp_id, channel=Channel.WECOM).unsettled().exists():
        unblock_companies([corp_id], now=now)
    queue = CorpQueue.objects.blocked().filter(corp=corp_id).first()
    if queue is not None and CorpQueue.objects.blocked().filter(pk=queue.pk).update(probe_at=now):
        _release_waiting(queue, now=now)


def _release_waiting(queue: CorpQueue, *, now: datetime) -> None:
    """Make the deliveries due that wait because the configuration was broken. The limiter is asked again for each."""
    soon = now + timedelta(seconds=CONFIGURATION_WAIT_SECONDS)
    waiting = Delivery.objects.filter(
        corp=queue.corp_id, status__in=[Delivery.Status.PENDING, Delivery.Status.PREPARING]
    )
    update_unlocked(waiting.filter(next_attempt_at__gt=now, next_attempt_at__lte=soon), next_attempt_at=now)


def take_probes(corp_ids: Collection[int], *, now: datetime) -> dict[int, bool]:
    """Map each blocked company of `corp_ids` to whether the caller may try one message there. A granted probe is
    reserved for QUEUE_LEASE: if that message is lost, another one is tried later."""
    found = {}
    for queue in CorpQueue.objects.blocked().filter(corp__in=corp_ids):
        due = CorpQueue.objects.filter(Q(probe_at__isnull=True) | Q(probe_at__lte=now), pk=queue.pk)
        found[int(queue.corp_id or 0)] = due.update(probe_at=now + QUEUE_LEASE) == 1
    return found


def find_unnotified_queues() -> QuerySet[CorpQueue]:
    """Return the queues of blocked companies about which administrators got no mail yet; none if no addresses are
    set."""
    rows = CorpQueue.objects.blocked().filter(notified_at__isnull=True)
    return rows if settings.OPERATOR_EMAILS else rows.filter(Exists(OperatorContacts.objects.exclude(emails="")))


def notify_administrators(now: datetime) -> int:
    """Send one mail for each newly blocked company, if addresses are set. Return how many."""
    count = 0
    for queue in find_unnotified_queues().select_related("corp").defer(*CORP_SECRETS):
        # The row is marked first, so that the mail is sent once at most, and a hanging mail server is asked only once.
        if not CorpQueue.objects.filter(pk=queue.pk, notified_at__isnull=True).update(notified_at=now):
            continue
        count += 1
        with translation.override(settings.LANGUAGE_CODE):
            subject = _("Pushes of %(corp)s are held up") % {"corp": queue.corp}
            try:
                send_mail(subject, explain_block(queue), None, OperatorContacts.objects.addresses())
            except OSError as error:
                logger.error("corp=%s: the administrators could not be told: %s", queue.corp_id, type(error).__name__)
    return count


def find_held_until(queue: CorpQueue, *, now: datetime) -> datetime | None:
    """Return until when WeCom gives the company no token; None if no such time is known."""
    is_limit = queue.blocked_since is not None and queue.blocked_errcode == errcodes.RATE_LIMITED
    return queue.probe_at if is_limit and queue.probe_at is not None and queue.probe_at > now else None


def explain_block(queue: CorpQueue) -> str:
    """Explain, in sentences, why the company is blocked, until when if known, and who can repair it where."""
    sentences = [queue.blocked_error]
    if queue.blocked_errcode is not None:
        # Only gettoken's limit blocks a company.
        operation = "gettoken" if queue.blocked_errcode == errcodes.RATE_LIMITED else ""
        sentences = explain_errcode(queue.blocked_errcode, operation=operation).sentences
    until = find_held_until(queue, now=timezone.now())
    if until is not None:
        sentences.insert(0, _("Held until %(time)s.") % {"time": f"{timezone.localtime(until):%Y-%m-%d %H:%M}"})
    return "\n".join([*sentences, _("Nothing is lost: what waits goes out by itself as soon as it works again.")])


# Columns of a company to defer when it is read with its queue: they are not needed, and decrypting each takes time.
CORP_SECRETS = (
    "corp__secret",
    "corp__contacts_secret",
    "corp__contacts_callback_token",
    "corp__contacts_callback_aes_key",
    "corp__callback_token",
    "corp__callback_aes_key",
    "corp__proxy_url",
    "corp__ca_bundle",
)
