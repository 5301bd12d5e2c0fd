"""Who is notified of an incident, and who may act on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from accounts.models import AttributeValue, User, fold_value
from accounts.users.scopes import sees_all_corps
from integrations.models import Card, Corp
from notifications.models import Channel, Incident, Operator, Receipt, Robot, RulesMatch
from notifications.sources import Audience, Rule
from notifications.subscriptions import reach
from notifications.subscriptions.attribute_rules import matching
from notifications.subscriptions.recipients import chosen, named_audience, resolve


def audience_of(incident: Incident) -> Audience:
    """Whom an incident concerns now; nobody where its channel or rule is gone. Of a rule that is split by an attribute
    those of its people whose attribute has the incident's value; of a channel those of the people chosen there whom its
    owner reaches."""
    if incident.rule is None:
        return Audience() if incident.channel is None else reach.named_by_channel(incident.channel)
    audience = named_audience(incident.rule.receiver)
    attribute = incident.rule.split_attribute
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


def waits_for_company(incident: Incident) -> bool:
    """Whether nobody can be told of it now, and somebody could if a disabled company were enabled."""
    audience = audience_of(incident)
    disabled = set(Corp.objects.filter(is_enabled=False).values_list("pk", flat=True))
    if audience.channel == Channel.ROBOT:
        return Robot.objects.filter(pk=audience.robot_id or 0, corp__in=disabled).exists()
    reasons = {person.reason for person in resolve(audience)} if disabled else {None}
    return None not in reasons and (Receipt.Reason.CORP_DISABLED in reasons or audience.corp_id in disabled)


def audience_key(incident: Incident) -> tuple[object, ...]:
    """The same for incidents that concern the same people."""
    if incident.rule is None:
        return ("channel", incident.channel_id)
    rule = incident.rule
    return ("rule", rule.pk, incident.part) if rule.split_attribute_id is not None else ("receiver", rule.receiver_id)


class ConcernsOf:
    """Whether incidents concern `person`: one of those who are notified, and could still be; not a leaver, not barred,
    not disabled. Asks once for each rule or channel and once for the person's values, of however many incidents."""

    def __init__(self, person: User) -> None:
        self._person = person
        self._notified: dict[tuple[int | None, int | None], bool] = {}

    def __call__(self, incident: Incident) -> bool:
        return self._has_part(incident) and self._is_notified(incident)

    def _has_part(self, incident: Incident) -> bool:
        attribute = None if incident.rule is None else incident.rule.split_attribute_id
        return attribute is None or fold_value(incident.part) in self._values[attribute]

    def _is_notified(self, incident: Incident) -> bool:
        key = (incident.rule_id, incident.channel_id)
        if key not in self._notified:
            rule, channel = incident.rule, incident.channel
            audience = Audience() if channel is None else reach.named_by_channel(channel)
            if rule is not None:
                audience = named_audience(rule.receiver)
            people = () if audience.channel == Channel.ROBOT else resolve(audience, only=self._person.pk)
            self._notified[key] = any(one.reason is None for one in people)
        return self._notified[key]

    @cached_property
    def _values(self) -> Mapping[int, set[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for attribute_id, folded in AttributeValue.objects.filter(user=self._person).values_list("attribute", "folded"):
            found[attribute_id].add(folded)
        return found


def may_act(incident: Incident, person: User) -> bool:
    """Recipients, and administrators of the company who may change incidents."""
    return person.is_active and (ConcernsOf(person)(incident) or _administers(incident, person))


def may_see_data(incident: Incident, person: User) -> bool:
    """Of those who may see the incident: whoever is notified of it, and administrators who see the card that it is
    about. A rule's people and its card may belong to different companies."""
    is_seen = incident.card_id is not None and Card.objects.visible_to(person).filter(pk=incident.card_id).exists()
    return is_seen or ConcernsOf(person)(incident)


def _administers(incident: Incident, person: User) -> bool:
    if not person.is_staff or not person.has_perm("notifications.change_incident"):
        return False
    if incident.corp_id is None:
        return sees_all_corps(person)
    return Corp.objects.visible_to(person).filter(pk=incident.corp_id).exists()
