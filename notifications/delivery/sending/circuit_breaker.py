"""Stops a company's queue while its configuration is broken, notifies administrators once, and resumes by itself."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from integrations.clients.errors import operation_of
from integrations.clients.wecom import errcodes
from integrations.core.hooks import CallsRefused
from integrations.core.sentences import of_errcode
from integrations.models import Corp
from notifications.delivery.channels.outcomes import CONFIGURATION_WAIT_SECONDS, Outcome
from notifications.delivery.leases import QUEUE_LEASE
from notifications.delivery.locking import update_unlocked
from notifications.models import Attempt, Channel, CorpQueue, Delivery, OperatorContacts

logger = logging.getLogger(__name__)


def without_queue() -> QuerySet[Corp]:
    """Companies that have no row yet."""
    return Corp.objects.filter(~Exists(CorpQueue.objects.filter(corp=OuterRef("pk"))))


def ensure_queues() -> None:
    """A row for each company, and the one of all."""
    known = set(CorpQueue.objects.values_list("corp_id", flat=True))
    missing = [pk for pk in (None, *Corp.objects.order_by("pk").values_list("pk", flat=True)) if pk not in known]
    CorpQueue.objects.bulk_create([CorpQueue(corp_id=pk) for pk in missing], ignore_conflicts=True)


def block(corp_id: int, outcome: Outcome, *, now: datetime) -> None:
    """The company cannot be sent to: its messages wait, and one after the other finds out whether it works again."""
    queue, _is_new = CorpQueue.objects.get_or_create(corp_id=corp_id)
    is_first = CorpQueue.objects.filter(pk=queue.pk, blocked_since__isnull=True).update(blocked_since=now)
    CorpQueue.objects.filter(pk=queue.pk).update(
        blocked_errcode=outcome.errcode,
        blocked_error=outcome.message,
        probe_at=now + timedelta(seconds=outcome.held_seconds),
    )
    if is_first:
        logger.warning("corp=%d cannot send (errcode=%s): its queue waits", corp_id, outcome.errcode)


def unblock(corp_ids: Collection[int], *, now: datetime) -> None:
    """It works again: what waited for it is due."""
    # Asked after nearly every call, and nearly always in vain.
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM notifications_corpqueue WHERE blocked_since IS NOT NULL LIMIT 1")
        if cursor.fetchone() is None:
            return
    blocked = CorpQueue.objects.blocked().filter(corp__in=corp_ids)
    for queue in blocked:
        if not blocked.filter(pk=queue.pk).update(**_CLEARED):
            continue
        _let_go(queue, now=now)
        logger.warning("corp=%d can send again", queue.corp_id)


def calls_refused(corps: Sequence[Corp], now: datetime) -> dict[int, CallsRefused]:
    """Map companies to why its messages wait, since when, and for how many recipients. Two queries, and one more where
    WeCom did not answer. Registered with integrations.core.hooks.
    """
    unanswered = Q(errcode__isnull=True) & ~Q(error="")
    theirs = Delivery.objects.filter(corp__in=[corp.pk for corp in corps], channel=Channel.WECOM).unsettled()
    began, said = Min("created_at", filter=unanswered), Max("error", filter=unanswered)
    rows = theirs.order_by().values_list("corp").annotate(people=Sum("recipient_count"), began=began, said=said)
    found, people = dict[int, CallsRefused](), dict[int, int]()
    for pk, count, since, error in rows:
        people[pk] = count
        if operation_of(error or ""):
            found[pk] = CallsRefused(None, since, None, count)
    if found:  # a message that waits without an answer does not speak for a company that got others since
        last = Attempt.objects.filter(delivery__corp=OuterRef("pk"), delivery__channel=Channel.WECOM)
        last = last.filter(finished_at__isnull=False).order_by("-started_at")
        outcomes = Corp.objects.filter(pk__in=found).annotate(outcome=Subquery(last.values("outcome")[:1]))
        for pk in outcomes.filter(outcome__in=[Attempt.Outcome.ACCEPTED, Attempt.Outcome.REFUSED]).values_list(
            "pk", flat=True
        ):
            del found[pk]
    for queue in CorpQueue.objects.blocked().filter(corp__in=[corp.pk for corp in corps]):
        pk, until = int(queue.corp_id or 0), held_until(queue, now=now)
        found[pk] = CallsRefused(queue.blocked_errcode, queue.blocked_since, until, people.get(pk, 0))
    return found


def probe_at_once(corp_id: int, now: datetime) -> None:
    """Something about the company's connection was mended: the next tick tries one message. Where none waits to find
    out, it counts as mended."""
    if not Delivery.objects.filter(corp=corp_id, channel=Channel.WECOM).unsettled().exists():
        unblock([corp_id], now=now)
    queue = CorpQueue.objects.blocked().filter(corp=corp_id).first()
    if queue is not None and CorpQueue.objects.blocked().filter(pk=queue.pk).update(probe_at=now):
        _let_go(queue, now=now)


def _let_go(queue: CorpQueue, *, now: datetime) -> None:
    """What waits as long as a broken configuration makes it wait is due. What the limiter holds back asks it again."""
    soon = now + timedelta(seconds=CONFIGURATION_WAIT_SECONDS)
    waiting = Delivery.objects.filter(
        corp=queue.corp_id, status__in=[Delivery.Status.PENDING, Delivery.Status.PREPARING]
    )
    update_unlocked(waiting.filter(next_attempt_at__gt=now, next_attempt_at__lte=soon), next_attempt_at=now)


_CLEARED = {
    "blocked_since": None,
    "blocked_errcode": None,
    "blocked_error": "",
    "probe_at": None,
    "notified_at": None,
}


def probes(corp_ids: Collection[int], *, now: datetime) -> dict[int, bool]:
    """Map the blocked ones of these companies to whether one message may be tried there now. Whoever asks takes it, for
    as long as a task may have the message in hand: if it is lost, another one is tried."""
    found = {}
    for queue in CorpQueue.objects.blocked().filter(corp__in=corp_ids):
        due = CorpQueue.objects.filter(Q(probe_at__isnull=True) | Q(probe_at__lte=now), pk=queue.pk)
        found[int(queue.corp_id or 0)] = due.update(probe_at=now + QUEUE_LEASE) == 1
    return found


def unnotified() -> QuerySet[CorpQueue]:
    """Blocked companies of which no mail was written; none where no addresses are set."""
    rows = CorpQueue.objects.blocked().filter(notified_at__isnull=True)
    return rows if settings.OPERATOR_EMAILS else rows.filter(Exists(OperatorContacts.objects.with_emails()))


def notify_administrators(*, now: datetime) -> int:
    """One mail for each company that became blocked, where addresses are set. Returns how many were written."""
    count = 0
    for queue in unnotified().select_related("corp").defer(*CORP_SECRETS):
        # Before the mail, so that it is sent at most once: a hanging mail server must not be asked at every tick.
        if CorpQueue.objects.filter(pk=queue.pk, notified_at__isnull=True).update(notified_at=now):
            _mail(queue)
            count += 1
    return count


def _mail(queue: CorpQueue) -> None:
    with translation.override(settings.LANGUAGE_CODE):
        subject = _("Pushes of %(corp)s are held up") % {"corp": queue.corp}
        try:
            send_mail(subject, explanation(queue), None, OperatorContacts.objects.addresses())
        except OSError as error:
            logger.error("corp=%s: the administrators could not be told: %s", queue.corp_id, type(error).__name__)


def held_until(queue: CorpQueue, *, now: datetime) -> datetime | None:
    """Until when WeCom gives the company no token; None where no time is known at which it goes on."""
    is_limit = queue.blocked_since is not None and queue.blocked_errcode == errcodes.RATE_LIMITED
    return queue.probe_at if is_limit and queue.probe_at is not None and queue.probe_at > now else None


def explanation(queue: CorpQueue) -> str:
    """What holds the company up, until when where that is known, who can mend it and where, in sentences."""
    what = [queue.blocked_error]
    if queue.blocked_errcode is not None:
        # Of the limits, that of gettoken alone holds a company up.
        operation = "gettoken" if queue.blocked_errcode == errcodes.RATE_LIMITED else ""
        what = of_errcode(queue.blocked_errcode, operation=operation).sentences
    until = held_until(queue, now=timezone.now())
    if until is not None:
        what.insert(0, _("Held until %(time)s.") % {"time": f"{timezone.localtime(until):%Y-%m-%d %H:%M}"})
    return "\n".join([*what, _("Nothing is lost: what waits goes out by itself as soon as it works again.")])


# Of a company that comes with its queue: each would be decrypted, and none is needed.
CORP_SECRETS = tuple(
    f"corp__{name}"
    for name in (
        *("secret", "contacts_secret", "contacts_callback_token", "contacts_callback_aes_key"),
        *("callback_token", "callback_aes_key", "proxy_url", "ca_bundle"),
    )
)
