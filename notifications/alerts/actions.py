"""Shows incidents to employees and lets them acknowledge, take over, silence or close, on a page or a card.

Each action is idempotent.

A click arrives as an event from WeCom. It names the card by a mark that only the recipients know, and the person's
right to act is checked here. The event's response_code is stored, to change the card; WeCom refuses an invented one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount, fold_userid
from integrations.callbacks import Consumer, EventBatch
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.callbacks import CallbackError
from integrations.core.sentences import Sentence
from notifications.alerts import card_updates, incidents, notices
from notifications.models import Channel, Delivery, Incident, IncidentEvent, Receipt, Severity
from notifications.models.deliveries import tidy_mark

if TYPE_CHECKING:
    from integrations.models import Corp


logger = logging.getLogger(__name__)

SILENCE_DURATION = timedelta(hours=1)
Kind = IncidentEvent.Kind
CLICKS = "notifications.alert-clicks"


class Action(StrEnum):
    ACKNOWLEDGE = "take"
    TAKE_OVER = "take-over"
    SILENCE = "silence"
    END_SILENCE = "end-silence"
    CLOSE = "close"


@dataclass
class ActionResult:
    """Result of an action: changed, unchanged and refused incidents. Refused ones do not concern the person."""

    changed: list[Incident] = field(default_factory=list)
    unchanged: list[Incident] = field(default_factory=list)
    refused: list[Incident] = field(default_factory=list)


def act_on_incidents(action: Action, incident_ids: Collection[int], *, person: User, now: datetime) -> ActionResult:
    """Do the action to each of these incidents that is open and concerns the person. Repeating it changes nothing. If
    two people take one at once, the first gets it. The cards that show the changed incidents are marked stale in the
    same transaction."""
    result = ActionResult()
    with transaction.atomic():
        # Locked in the order of their ids, as everywhere, to avoid deadlocks.
        rows = Incident.objects.filter(pk__in=incident_ids).select_for_update(of=("self",))
        locked = list(rows.order_by("pk").values_list("pk", flat=True))
        for incident in Incident.objects.filter(pk__in=locked).with_people().order_by("pk"):
            if not notices.may_act(incident, person):
                result.refused.append(incident)
            elif _apply_action(action, incident, person, now):
                result.changed.append(incident)
            else:
                result.unchanged.append(incident)
        incidents.mark_stale(result.changed, now=now)
        for incident in result.changed:
            corps = [] if incident.corp_id is None else [incident.corp_id]
            note = f"{action.value} · {person}"
            services.record(action=AuditEntry.Action.DONE, subject=incident, note=note, corps=corps)
    return result


def _apply_action(action: Action, incident: Incident, person: User, now: datetime) -> bool:
    """Apply the action to one incident. Return whether it changed anything. Closing is for incidents that their source
    will never end: while the source goes on reporting the same firing, the incident stays closed. After a silence is
    ended, reminders go on as if there had been none."""
    if not incident.is_open:
        return False
    match action:
        case Action.ACKNOWLEDGE | Action.TAKE_OVER:
            may_replace = action == Action.TAKE_OVER and incident.acknowledged_by_id != person.pk
            if incident.acknowledged_at is not None and not may_replace:
                return False
            incident.acknowledged_by, incident.acknowledged_at = person, now
            kind, fields = Kind.ACKNOWLEDGED, ["acknowledged_by", "acknowledged_at"]
            is_rescheduled = incident.notice_kind == Incident.Notice.REPEAT
        case Action.SILENCE | Action.END_SILENCE:
            is_begun = action == Action.SILENCE
            if incident.is_silenced(now) is is_begun:
                return False
            silence = (person, now + SILENCE_DURATION) if is_begun else (None, None)
            incident.silenced_by, incident.silenced_until = silence
            kind, fields = Kind.SILENCED if is_begun else Kind.UNSILENCED, ["silenced_by", "silenced_until"]
            is_rescheduled = incident.notice_kind != Incident.Notice.FIRE
        case Action.CLOSE:
            incidents.resolve_incident(incident, ends_at=now, source=incident.source, now=now, by=person)
            return True
    if is_rescheduled:
        incidents.schedule_reminder(incident, incident.source, since=now)
    incident.save(update_fields=[*fields, "notice_kind", "notice_due_at"])
    incidents.add_event(incident, kind, at=now, user=person)
    return True


# --- Clicks on the buttons of cards, from WeCom's callback events ---

_BUTTONS = {notices.ACKNOWLEDGE_KEY: Action.ACKNOWLEDGE, notices.SILENCE_KEY: Action.SILENCE}
_NOTES = {Action.ACKNOWLEDGE: Sentence("Button: Take"), Action.SILENCE: Sentence("Button: Silence for 1 hour")}


def consume_clicks(batch: EventBatch) -> None:
    """Do the action of each pressed button if a recipient pressed it on one of our cards and the response_code is new.
    Code and action are saved in one transaction, so a repeated event does nothing. notifications.alerts.card_updates
    changes the cards afterwards."""
    for event in batch.events:
        with transaction.atomic():
            batch.lock_job()
            corp, now = batch.corp, batch.clock()
            try:
                callback = wire.parse_callback(event.body.encode())
            except CallbackError:
                logger.warning("click corp=%d event=%d cannot be read", corp.pk, event.pk)
                continue
            fields = callback.fields
            action = _BUTTONS.get(_read_field(fields, "EventKey"))
            mark = tidy_mark(_read_field(fields, "TaskId"))
            ours = Delivery.objects.filter(mark=mark, corp=corp, channel=Channel.WECOM)
            delivery = ours.filter(run__incident_events__isnull=False).distinct().first()
            if action is None or delivery is None:  # not one of our buttons or cards
                continue
            address = f"{corp.pk}:{fold_userid(callback.userid)}"[:128]
            receipt = Receipt.objects.filter(delivery=delivery, address=address).select_related("user").first()
            if receipt is None:
                logger.warning("click corp=%d delivery=%d by somebody who did not get it", corp.pk, delivery.pk)
                continue
            ids = list(IncidentEvent.objects.filter(run=delivery.run_id).values_list("incident", flat=True))
            # Locked before the card, as everywhere, to avoid deadlocks.
            list(Incident.objects.filter(pk__in=ids).select_for_update(of=("self",)).order_by("pk").values_list("pk"))
            if not card_updates.store_code(delivery, _read_field(fields, "ResponseCode"), now=event.received_at):
                logger.warning(
                    "click corp=%d delivery=%d has no code, or one that was used before", corp.pk, delivery.pk
                )
                continue
            person = _find_person(corp, callback.userid)
            if person is None:
                refused = list(Incident.objects.filter(pk__in=ids).order_by("pk"))
                _add_event_once(refused, Kind.REFUSED, receipt.user, action, now)
                incidents.mark_stale(refused, now=now)
                continue
            result = act_on_incidents(action, ids, person=person, now=now)
            _add_event_once(result.refused, Kind.REFUSED, person, action, now)
            _add_event_once([one for one in result.unchanged if not one.is_open], Kind.LATE, person, action, now)
            # A late or refused click means that the card may be out of date.
            incidents.mark_stale([*result.unchanged, *result.refused], now=now)


CLICKS_CONSUMER = Consumer(name=CLICKS, wants=frozenset({"template_card_event"}), consume=consume_clicks)


def _add_event_once(found: Sequence[Incident], kind: Kind, person: User | None, action: Action, now: datetime) -> None:
    """Write one timeline entry per incident, person and button, however often it is pressed."""
    text = _NOTES[action]
    lines = IncidentEvent.objects.filter(incident__in=found, kind=kind, user=person, note=text.serialize())
    known = set(lines.values_list("incident", flat=True))
    for incident in found:
        if incident.pk not in known:
            incidents.add_event(incident, kind, at=now, user=person, text=text)


def _find_person(corp: Corp, userid: str) -> User | None:
    """Return the active person with this account, with no more rights than a sign-in through this company gives."""
    accounts = WeComAccount.objects.filter(corp=corp, userid_folded=fold_userid(userid), left_at__isnull=True)
    account = accounts.filter(user__is_active=True).select_related("user").first()
    if account is None:
        return None
    if not corp.admin_rights_enabled and account.user.has_rights_outside(corp_id=corp.pk):
        account.user.withhold_rights()
    return account.user


def _read_field(fields: object, name: str) -> str:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value.strip() if isinstance(value, str) else ""


def find_incident(person: User, pk: int) -> Incident | None:
    """Return the incident if the person is notified of it or administers its company."""
    incident = Incident.objects.with_people().filter(pk=pk).first()
    return incident if incident is not None and notices.may_act(incident, person) else None


def view_incident(incident: Incident, *, person: User, now: datetime) -> dict[str, Any]:
    """Return the incident for a template: its state in words, the tone of its badge (good, bad, warn or none), and what
    the person may do now. The caller checks who may see it."""
    is_free = incident.is_open and incident.acknowledged_at is None
    tone = "bad" if incident.severity == Severity.CRITICAL else "warn"
    if not incident.is_open:
        tone = "good"
    elif not is_free or incident.is_silenced(now):
        tone = ""
    return {
        "incident": incident,
        "state": notices.describe_state(incident, now),
        "tone": tone,
        "is_silenced": incident.is_silenced(now),
        "may_acknowledge": is_free,
        "may_take_over": incident.is_open and not is_free and incident.acknowledged_by_id != person.pk,
    }
