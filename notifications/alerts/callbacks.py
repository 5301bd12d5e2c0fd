"""Handles clicks on alert cards' buttons, from WeCom's callback events.

What is believed of an event: who clicked what on which card. The card is named by a mark that only those who got it
know; that the person may act is looked up here. Its code is used, and WeCom itself refuses one that it did not give.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from accounts.models import User, WeComAccount, fold_userid
from integrations.callbacks.registry import Batch, Consumer, Outcome
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.crypto import CallbackError
from notifications.alerts import actions, card_updates, cards, incidents
from notifications.alerts.actions import Action
from notifications.delivery.runs import inbox
from notifications.models import Channel, Delivery, Incident, IncidentEvent, IncidentNotice, Receipt
from notifications.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integrations.models import CallbackEvent, Corp

logger = logging.getLogger(__name__)

NAME = "notifications.alert-clicks"
_ACTIONS = {cards.ACKNOWLEDGE: Action.ACKNOWLEDGE, cards.SILENCE: Action.SILENCE}
_NOTES = {Action.ACKNOWLEDGE: Sentence("Button: Take"), Action.SILENCE: Sentence("Button: Silence for 1 hour")}


def wants(event: str, _change: str) -> bool:
    return event == "template_card_event"


def consume(batch: Batch) -> Outcome:
    """Act on each click, once; the cards are changed afterwards by notifications.alerts.card_updates."""
    for event in batch.events:
        with transaction.atomic():
            batch.hold()
            _handle(batch.corp, event, batch.clock())
    return Outcome()


CLICKS_CONSUMER = Consumer(name=NAME, wants=wants, consume=consume)


def _handle(corp: Corp, event: CallbackEvent, now: datetime) -> None:
    try:
        callback = wire.parse(event.body.encode())
    except CallbackError:
        logger.warning("click corp=%d event=%d cannot be read", corp.pk, event.pk)
        return
    fields = callback.fields
    action = _ACTIONS.get(_text(fields, "EventKey"))
    delivery = _delivery(corp, _text(fields, "TaskId"))
    if action is None or delivery is None:  # of another card than ours
        return
    receipt = _receipt(corp, delivery, callback.userid)
    if receipt is None:
        logger.warning("click corp=%d delivery=%d by somebody who did not get it", corp.pk, delivery.pk)
        return
    if not card_updates.keep_code(delivery, _text(fields, "ResponseCode"), now=event.received_at):
        logger.warning("click corp=%d delivery=%d has no code, or one that was used before", corp.pk, delivery.pk)
        return
    ids = list(IncidentNotice.objects.filter(run=delivery.run_id).values_list("incident", flat=True))
    person = _person(corp, callback.userid)
    if person is None:
        gone = list(Incident.objects.filter(pk__in=ids).order_by("pk"))
        _note_once(gone, IncidentEvent.Kind.REFUSED, receipt.user, action, now)
        card_updates.mark_stale(gone, now=now)
        return
    _act(action, ids, person, now)


def _act(action: Action, incident_ids: Sequence[int], person: User, now: datetime) -> None:
    done = actions.act(action, incident_ids, person=person, now=now)
    _note_once(done.refused, IncidentEvent.Kind.REFUSED, person, action, now)
    _note_once([one for one in done.unchanged if not one.is_open], IncidentEvent.Kind.LATE, person, action, now)
    # Too late, or refused: the card may show something that is not so any more.
    card_updates.mark_stale([*done.unchanged, *done.refused], now=now)


def _note_once(
    found: Sequence[Incident], kind: IncidentEvent.Kind, person: User | None, action: Action, now: datetime
) -> None:
    """A line for each person and button, however often it is pressed."""
    said = _NOTES[action]
    lines = IncidentEvent.objects.filter(incident__in=found, kind=kind, user=person, note=said.stored())
    known = set(lines.values_list("incident", flat=True))
    for incident in found:
        if incident.pk not in known:
            incidents.note(incident, kind, at=now, user=person, said=said)


def _delivery(corp: Corp, mark: str) -> Delivery | None:
    found = Delivery.objects.filter(mark=inbox.tidy_mark(mark)[:32], corp=corp, channel=Channel.WECOM)
    return found.filter(run__incident_notices__isnull=False).distinct().first()


def _receipt(corp: Corp, delivery: Delivery, userid: str) -> Receipt | None:
    """That the message went to this account."""
    address = f"{corp.pk}:{fold_userid(userid)}"[:128]
    return Receipt.objects.filter(delivery=delivery, address=address).select_related("user").first()


def _person(corp: Corp, userid: str) -> User | None:
    """The active person with this account, with no more rights than after a sign-in through this company."""
    accounts = WeComAccount.objects.filter(corp=corp, userid_folded=fold_userid(userid), left_at__isnull=True)
    account = accounts.filter(user__is_active=True).select_related("user").first()
    if account is None:
        return None
    if not corp.admin_rights_enabled and account.user.reaches_beyond(corp_id=corp.pk):
        account.user.withhold_rights()
    return account.user


def _text(fields: object, name: str) -> str:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value.strip() if isinstance(value, str) else ""
