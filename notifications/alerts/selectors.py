"""Incidents that an employee may see, and their timelines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from django.db.models import Q

from notifications.alerts import messages, recipients
from notifications.models import Incident, IncidentEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accounts.models import User

# How long one that is over stays in the list.
SHOWN_FOR = timedelta(days=7)
LISTED_AT_MOST = 100


@dataclass(frozen=True)
class Shown:
    """An incident as a page shows it. `state`: in words; `tone`: of the badge."""

    incident: Incident
    state: str
    tone: str
    is_silenced: bool
    may_acknowledge: bool
    may_take_over: bool


def incident_for(person: User, pk: int) -> Incident | None:
    """The incident, where the person is told of it or administers its company."""
    incident = Incident.objects.with_people().filter(pk=pk).first()
    return incident if incident is not None and recipients.may_act(incident, person) else None


def shown(incident: Incident, *, person: User, now: datetime) -> Shown:
    """With what the person may do now. Who may see it at all is the caller's to ask."""
    is_free = incident.is_open and incident.acknowledged_at is None
    return Shown(
        incident,
        messages.state_line(incident, now),
        tone_of(incident, now),
        is_silenced=incident.is_silenced(now),
        may_acknowledge=is_free,
        may_take_over=incident.is_open and not is_free and incident.acknowledged_by_id != person.pk,
    )


def tone_of(incident: Incident, now: datetime) -> str:
    """Of the badge of its state: good, bad, warn or none."""
    if not incident.is_open:
        return "good"
    if incident.acknowledged_at is not None or incident.is_silenced(now):
        return ""
    return "bad" if incident.severity == "critical" else "warn"


@dataclass(frozen=True)
class Listing:
    """`is_cut`: there are more than are listed."""

    incidents: Sequence[Shown]
    is_cut: bool


def incidents_of(person: User, *, now: datetime) -> Listing:
    """What is open, and what was lately, newest first; only what the person is told of."""
    recent = Q(status=Incident.Status.OPEN) | Q(resolved_at__gt=now - SHOWN_FOR, notified_at__isnull=False)
    rows = Incident.objects.filter(recent).with_people().order_by("status", "-pk")
    theirs = filter(recipients.ConcernsOf(person), rows.iterator(chunk_size=500))
    found = list(islice(theirs, LISTED_AT_MOST + 1))
    listed = [shown(incident, person=person, now=now) for incident in found[:LISTED_AT_MOST]]
    return Listing(listed, is_cut=len(found) > LISTED_AT_MOST)


def timeline(incident: Incident) -> Sequence[IncidentEvent]:
    """All of its events, the oldest first."""
    return list(incident.events.select_related("user").order_by("at", "pk"))
