"""Whom an incident concerns: who is told of it, and who may act on it."""

from __future__ import annotations

from accounts.models import User
from integrations.models import Corp
from notifications.attribute_rules import Rule, matching
from notifications.models import Channel, Incident, Operator, RulesMatch
from notifications.recipients import Audience, chosen, named_audience, resolve
from notifications.visibility import sees_all_corps


def audience_of(incident: Incident) -> Audience:
    """Whom an incident concerns now; nobody where its route or rule is gone. Of a rule that is split by an attribute
    those of the receiver's people whose attribute has the incident's value."""
    source = incident.source
    if source is None:
        return Audience()
    audience = named_audience(source.receiver)
    attribute = None if incident.rule is None else incident.rule.split_attribute
    if attribute is None or audience.channel == Channel.ROBOT:
        return audience
    theirs = Rule(attribute, Operator.ONE_OF, (incident.part,))
    people = User.objects.filter(chosen(audience)).filter(matching([theirs], RulesMatch.ALL))
    return Audience(
        user_ids=people.order_by().values("pk"),
        corp_id=audience.corp_id,
        channel=audience.channel,
        fallback_channel=audience.fallback_channel,
    )


def audience_key(incident: Incident) -> tuple[object, ...]:
    """The same for incidents that concern the same people."""
    source = incident.source
    if source is None:
        return ()
    is_split = incident.rule is not None and incident.rule.split_attribute_id is not None
    return (source.receiver_id, incident.rule_id if is_split else None, incident.part if is_split else "")


def concerns(incident: Incident, person: User) -> bool:
    """Whether the person is one of those who are told, and could still be: not a leaver, not barred, not disabled."""
    audience = audience_of(incident)
    if audience.channel == Channel.ROBOT:
        return False
    return any(one.reason is None for one in resolve(audience, only=person.pk))


def may_act(incident: Incident, person: User) -> bool:
    """Recipients, and administrators of the company who may change incidents."""
    return person.is_active and (concerns(incident, person) or _administers(incident, person))


def _administers(incident: Incident, person: User) -> bool:
    if not person.is_staff or not person.has_perm("notifications.change_incident"):
        return False
    if incident.corp_id is None:
        return sees_all_corps(person)
    return Corp.objects.visible_to(person).filter(pk=incident.corp_id).exists()
