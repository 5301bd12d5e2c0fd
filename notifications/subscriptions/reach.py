"""Whom a sender may reach: of the people whom its owner may reach, those to whom it is limited."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet

from accounts.models import User, WeComAccount
from accounts.users.roles import sees_all
from integrations.models import Corp
from notifications.models import ApiToken, InboundChannel
from notifications.sources import Audience
from notifications.subscriptions.recipients import match_chosen


def reachable(
    owner: User, *, corp_ids: Collection[int] | None = None, audience: Audience | None = None
) -> QuerySet[User]:
    """The people to whom messages of `owner` may go.

    A message goes through the company of the account that receives a person's messages: that company is one which the
    owner sees. Who has no such account is known to those alone who see all companies. `corp_ids`: only people of these
    companies; `audience`: only those whom it names.
    """
    people = User.objects.all()
    if not sees_all(owner):
        people = people.filter(pk__in=receiving(Corp.objects.visible_to(owner)))
    if corp_ids is not None:
        people = people.filter(pk__in=receiving(corp_ids))
    return people if audience is None else people.filter(match_chosen(audience))


def people_of(sender: ApiToken | InboundChannel) -> QuerySet[User]:
    """Whom the messages of an API token or an inbound channel may reach."""
    return _people_of_token(sender) if isinstance(sender, ApiToken) else _people_of_channel(sender)


def _people_of_channel(channel: InboundChannel) -> QuerySet[User]:
    is_limited = channel.reach == InboundChannel.Reach.CHOSEN
    return reachable(
        channel.owner,
        corp_ids=None if channel.corp_id is None else [channel.corp_id],
        audience=chosen_by_channel(channel) if is_limited else None,
    )


def chosen_by_channel(channel: InboundChannel) -> Audience:
    """The people chosen on the channel's page, reachable or not."""
    return Audience(
        user_ids=channel.users.order_by().values("pk"),
        group_ids=list(channel.groups.values_list("pk", flat=True)),
        department_ids=tuple(channel.departments.values_list("pk", flat=True)),
        with_subdepartments=channel.with_subdepartments,
    )


def named_by_channel(channel: InboundChannel) -> Audience:
    """Return whom the alerts of a channel concern: of the people chosen on its page those whom its owner reaches now.
    Nobody while its owner may not send messages."""
    if not InboundChannel.objects.usable().filter(pk=channel.pk).exists():
        return Audience()
    people = _people_of_channel(channel).filter(match_chosen(chosen_by_channel(channel)))
    return Audience(user_ids=people.order_by().values("pk"), corp_id=channel.corp_id)


def _people_of_token(token: ApiToken) -> QuerySet[User]:
    match ApiToken.SendReach(token.sends_to):
        case ApiToken.SendReach.EVERYONE:
            return reachable(token.owner)
        case ApiToken.SendReach.CORPS:
            return reachable(token.owner, corp_ids=list(token.send_corps.values_list("pk", flat=True)))
        case ApiToken.SendReach.CHOSEN:
            return reachable(token.owner, audience=_chosen_by_token(token))


def corps_of(sender: ApiToken | InboundChannel) -> QuerySet[Corp]:
    """The companies whose userids and departments a sender may use: those that its owner sees, as far as the sender is
    limited to some of them."""
    corps = Corp.objects.visible_to(sender.owner)
    if isinstance(sender, InboundChannel):
        return corps if sender.corp_id is None else corps.filter(pk=sender.corp_id)
    is_limited = sender.sends_to == ApiToken.SendReach.CORPS
    return corps.filter(pk__in=sender.send_corps.values("pk")) if is_limited else corps


def receiving(corps: QuerySet[Corp] | Collection[int]) -> QuerySet[Any, Any]:
    """Keys of the people whose messages go through one of these companies."""
    accounts = WeComAccount.objects.filter(corp__in=corps, is_primary=True)
    return accounts.order_by().values("user_id")


def _chosen_by_token(token: ApiToken) -> Audience:
    return Audience(
        user_ids=token.send_users.order_by().values("pk"),
        group_ids=list(token.send_groups.values_list("pk", flat=True)),
        department_ids=tuple(token.send_departments.values_list("pk", flat=True)),
    )
