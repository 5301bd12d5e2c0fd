"""Ends everything that waited in a restored copy, so that nothing of it goes out once the copy is the installation.

What waited when the backup was made was sent by the original since, or is out of date.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from integrations.core.sentences import Sentence
from notifications.models import (
    AlertCard,
    AlertCheck,
    AlertRule,
    CorpQueue,
    Delivery,
    InboundChannel,
    InboundFetch,
    Incident,
    IncomingMessage,
    OutgoingMail,
    Run,
    Subscription,
)
from notifications.subscriptions.schedules import slots

_WHY = Sentence("It waited in a restored copy of the database, and is not sent late.")


@transaction.atomic
def end_waiting(*, now: datetime) -> int:
    """Schedules go on with their next time after `now`; owners are told of nothing. Returns how many runs ended."""
    AlertCheck.objects.filter(outcome=AlertCheck.Outcome.WAITING).delete()
    for rows in (Subscription.objects.due(now), AlertRule.objects.due(now)):
        slots.reschedule_rows(rows, now=now)
    count = _end_runs(now)
    Run.objects.unnotified().update(owner_notified_at=now)
    AlertRule.objects.filter(is_broken=True, owner_notified_at__isnull=True).update(owner_notified_at=now)
    Incident.objects.notice_due(now).update(notice_due_at=None, notice_kind="")
    for sources in (InboundChannel.objects.all(), AlertRule.objects.all()):
        sources.filter(gather_until__isnull=False).update(gather_until=None)
    AlertCard.objects.filter(is_stale=True).update(is_stale=False)
    CorpQueue.objects.blocked().filter(notified_at__isnull=True).update(notified_at=now)
    _end_answers()
    return count


def _end_runs(now: datetime) -> int:
    waiting = Run.objects.filter(status=Run.Status.WAITING)
    count = waiting.update(status=Run.Status.FAILED, finished_at=now, error=_WHY.stored(), owner_notified_at=now)
    # One that may have arrived is unknown.
    unsettled = Delivery.objects.unsettled()
    may_have_arrived = Q(unclear_since__isnull=False) | Q(status=Delivery.Status.SENDING)
    unsettled.filter(may_have_arrived).update(status=Delivery.Status.UNKNOWN, settled_at=now, lease_until=None)
    unsettled.update(status=Delivery.Status.CANCELED, settled_at=now)
    sending = Run.objects.filter(status=Run.Status.SENDING)
    return count + sending.update(
        status=Run.Status.FINISHED, finished_at=now, error=_WHY.stored(), owner_notified_at=now
    )


def _end_answers() -> None:
    """What other systems would be told, or have handed in last."""
    waiting = IncomingMessage.objects.filter(callback_state=IncomingMessage.Callback.WAITING)
    waiting.update(callback_state=IncomingMessage.Callback.GIVEN_UP, callback_error=_WHY.stored())
    mails = OutgoingMail.objects.filter(status__in=[OutgoingMail.Status.WAITING, OutgoingMail.Status.STARTED])
    mails.update(status=OutgoingMail.Status.FAILED, error=_WHY.msgid)
    InboundFetch.objects.all().delete()
