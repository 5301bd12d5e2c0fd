"""Actions on incidents: acknowledge, take over, silence, close; on a page, or by a click on a card. Each is idempotent.

What is believed of a click, an event from WeCom: who clicked what on which card. The card is named by a mark that only
those who got it know; that the person may act is looked up here. Its code is used, and WeCom itself refuses one that it
did not give.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount, fold_userid
from integrations.callbacks import Batch, Consumer, Outcome
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.callbacks import CallbackError
from integrations.core.sentences import Sentence
from notifications.alerts import card_updates, incidents, messages, recipients
from notifications.models import Channel, Delivery, Incident, IncidentEvent, IncidentNotice, Receipt
from notifications.models.deliveries import tidy_mark

if TYPE_CHECKING:
    from integrations.models import CallbackEvent, Corp

logger = logging.getLogger(__name__)

SILENCE = timedelta(hours=1)
Kind = IncidentEvent.Kind
CLICKS = "notifications.alert-clicks"


class Action(StrEnum):
    ACKNOWLEDGE = "take"
    TAKE_OVER = "take-over"
    SILENCE = "silence"
    END_SILENCE = "end-silence"
    CLOSE = "close"


@dataclass
class Done:
    """Which incidents were changed, and of which it was refused since they do not concern the person."""

    changed: list[Incident] = field(default_factory=list)
    unchanged: list[Incident] = field(default_factory=list)
    refused: list[Incident] = field(default_factory=list)


def act(action: Action, incident_ids: Collection[int], *, person: User, now: datetime) -> Done:
    """Do it to each of these incidents that is open and concerns the person; done twice it changes nothing.

    Of two people who take one at once the first has it. The cards that show them are marked to be changed, in the same
    transaction.
    """
    with transaction.atomic():
        found = _locked(Incident.objects.filter(pk__in=incident_ids))
        done = Done()
        for incident in found:
            if not recipients.may_act(incident, person):
                done.refused.append(incident)
            elif _ACTIONS[action](incident, person, now):
                done.changed.append(incident)
            else:
                done.unchanged.append(incident)
        card_updates.mark_stale(done.changed, now=now)
        _record(action, done.changed, person)
    return done


def _locked(rows: QuerySet[Incident]) -> Sequence[Incident]:
    """In the order of their ids, as everybody who locks several."""
    locked = list(rows.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    return list(Incident.objects.filter(pk__in=locked).with_people().order_by("pk"))


def _acknowledge(incident: Incident, person: User, now: datetime) -> bool:
    if not incident.is_open or incident.acknowledged_at is not None:
        return False
    return _assign(incident, person, now)


def _take_over(incident: Incident, person: User, now: datetime) -> bool:
    if not incident.is_open or (incident.acknowledged_at is not None and incident.acknowledged_by_id == person.pk):
        return False
    return _assign(incident, person, now)


def _assign(incident: Incident, person: User, now: datetime) -> bool:
    incident.acknowledged_by, incident.acknowledged_at = person, now
    if incident.notice_kind == Incident.Notice.REPEAT:
        incidents.schedule_reminder(incident, incident.source, since=now)
    incident.save(update_fields=["acknowledged_by", "acknowledged_at", "notice_kind", "notice_due_at"])
    incidents.note(incident, Kind.ACKNOWLEDGED, at=now, user=person)
    return True


def _silence(incident: Incident, person: User, now: datetime) -> bool:
    """An hour from now; who asks again while it is silent changes nothing."""
    if not incident.is_open or incident.is_silenced(now):
        return False
    incident.silenced_by, incident.silenced_until = person, now + SILENCE
    return _silence_changed(incident, Kind.SILENCED, person, now)


def _end_silence(incident: Incident, person: User, now: datetime) -> bool:
    """Before its time: people are reminded as if it had never been silent."""
    if not incident.is_open or not incident.is_silenced(now):
        return False
    incident.silenced_by, incident.silenced_until = None, None
    return _silence_changed(incident, Kind.UNSILENCED, person, now)


def _silence_changed(incident: Incident, kind: IncidentEvent.Kind, person: User, now: datetime) -> bool:
    if incident.notice_kind != Incident.Notice.FIRE:
        incidents.schedule_reminder(incident, incident.source, since=now)
    incident.save(update_fields=["silenced_by", "silenced_until", "notice_kind", "notice_due_at"])
    incidents.note(incident, kind, at=now, user=person)
    return True


def _close(incident: Incident, person: User, now: datetime) -> bool:
    """By hand, for what its source will never end. The stretch that its source still reports opens nothing again."""
    if not incident.is_open:
        return False
    incidents.resolve(incident, ends_at=now, source=incident.source, now=now, by=person)
    return True


_ACTIONS = {
    Action.ACKNOWLEDGE: _acknowledge,
    Action.TAKE_OVER: _take_over,
    Action.SILENCE: _silence,
    Action.END_SILENCE: _end_silence,
    Action.CLOSE: _close,
}


def _record(action: Action, changed: Sequence[Incident], person: User) -> None:
    for incident in changed:
        corps = [] if incident.corp_id is None else [incident.corp_id]
        services.record(action=AuditEntry.Action.DONE, subject=incident, note=f"{action.value} · {person}", corps=corps)


# --- Clicks on the buttons of cards, from WeCom's callback events ---

_BUTTONS = {messages.ACKNOWLEDGE: Action.ACKNOWLEDGE, messages.SILENCE: Action.SILENCE}
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


CLICKS_CONSUMER = Consumer(name=CLICKS, wants=wants, consume=consume)


def _handle(corp: Corp, event: CallbackEvent, now: datetime) -> None:
    try:
        callback = wire.parse(event.body.encode())
    except CallbackError:
        logger.warning("click corp=%d event=%d cannot be read", corp.pk, event.pk)
        return
    fields = callback.fields
    action = _BUTTONS.get(_text(fields, "EventKey"))
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
        _note_once(gone, Kind.REFUSED, receipt.user, action, now)
        card_updates.mark_stale(gone, now=now)
        return
    _act_by_click(action, ids, person, now)


def _act_by_click(action: Action, incident_ids: Sequence[int], person: User, now: datetime) -> None:
    done = act(action, incident_ids, person=person, now=now)
    _note_once(done.refused, Kind.REFUSED, person, action, now)
    _note_once([one for one in done.unchanged if not one.is_open], Kind.LATE, person, action, now)
    # Too late, or refused: the card may show something that is not so any more.
    card_updates.mark_stale([*done.unchanged, *done.refused], now=now)


def _note_once(found: Sequence[Incident], kind: Kind, person: User | None, action: Action, now: datetime) -> None:
    """A line for each person and button, however often it is pressed."""
    said = _NOTES[action]
    lines = IncidentEvent.objects.filter(incident__in=found, kind=kind, user=person, note=said.stored())
    known = set(lines.values_list("incident", flat=True))
    for incident in found:
        if incident.pk not in known:
            incidents.note(incident, kind, at=now, user=person, said=said)


def _delivery(corp: Corp, mark: str) -> Delivery | None:
    found = Delivery.objects.filter(mark=tidy_mark(mark), corp=corp, channel=Channel.WECOM)
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
