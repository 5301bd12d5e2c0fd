"""Actions on incidents: acknowledge, take over, silence, close. Each is idempotent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import services
from accounts.models import AuditEntry
from notifications.alerts import card_updates, incidents, recipients
from notifications.models import Incident, IncidentEvent

if TYPE_CHECKING:
    from accounts.models import User

SILENCE = timedelta(hours=1)
Kind = IncidentEvent.Kind


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
    related = ("route__receiver", "rule__receiver", "rule__split_attribute", "acknowledged_by", "silenced_by")
    return list(Incident.objects.filter(pk__in=locked).select_related(*related).order_by("pk"))


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
    if incident.notice_kind != Incident.Notice.FIRE:
        incidents.schedule_reminder(incident, incident.source, since=now)
    incident.save(update_fields=["silenced_by", "silenced_until", "notice_kind", "notice_due_at"])
    incidents.note(incident, Kind.SILENCED, at=now, user=person)
    return True


def _end_silence(incident: Incident, person: User, now: datetime) -> bool:
    """Before its time: people are reminded as if it had never been silent."""
    if not incident.is_open or not incident.is_silenced(now):
        return False
    incident.silenced_by, incident.silenced_until = None, None
    if incident.notice_kind != Incident.Notice.FIRE:
        incidents.schedule_reminder(incident, incident.source, since=now)
    incident.save(update_fields=["silenced_by", "silenced_until", "notice_kind", "notice_due_at"])
    incidents.note(incident, Kind.UNSILENCED, at=now, user=person)
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
