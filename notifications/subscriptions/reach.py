"""People whom a sender may reach: those whom its owner may reach, within the sender's own limit."""

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
    """Return the people to whom messages of `owner` may go.

    A message goes through the company of the account that receives a person's messages, and the owner must see that
    company. People without such an account are known only to those who see all companies. `corp_ids`: only people of
    these companies; `audience`: only people whom it names.
    """
    people = User.objects.all()
    if not sees_all(owner):
        people = people.filter(pk__in=receiving(Corp.objects.visible_to(owner)))
    if corp_ids is not None:
        people = people.filter(pk__in=receiving(corp_ids))
    return people if audience is None else people.filter(match_chosen(audience))


def people_of(sender: ApiToken | InboundChannel) -> QuerySet[User]:
    """Return the people whom messages of an API token or an inbound channel may reach."""
    if isinstance(sender, InboundChannel):
        is_limited = sender.reach == InboundChannel.Reach.CHOSEN
        corp_ids = None if sender.corp_id is None else [sender.corp_id]
        return reachable(sender.owner, corp_ids=corp_ids, audience=chosen_by_channel(sender) if is_limited else None)
    match ApiToken.SendReach(sender.sends_to):
        case ApiToken.SendReach.EVERYONE:
            return reachable(sender.owner)
        case ApiToken.SendReach.CORPS:
            return reachable(sender.owner, corp_ids=list(sender.send_corps.values_list("pk", flat=True)))
        case ApiToken.SendReach.CHOSEN:
            chosen = Audience(
                user_ids=sender.send_users.order_by().values("pk"),
                group_ids=list(sender.send_groups.values_list("pk", flat=True)),
                department_ids=tuple(sender.send_departments.values_list("pk", flat=True)),
            )
            return reachable(sender.owner, audience=chosen)


def chosen_by_channel(channel: InboundChannel) -> Audience:
    """Return the people chosen on the channel's page, reachable or not."""
    return Audience(
        user_ids=channel.users.order_by().values("pk"),
        group_ids=list(channel.groups.values_list("pk", flat=True)),
        department_ids=tuple(channel.departments.values_list("pk", flat=True)),
        with_subdepartments=channel.with_subdepartments,
    )


def named_by_channel(channel: InboundChannel) -> Audience:
    """Return whom a channel's alerts concern: the people chosen on its page whom its owner may reach now. Nobody if the
    owner may not send messages."""
    if not InboundChannel.objects.usable().filter(pk=channel.pk).exists():
        return Audience()
    people = people_of(channel).filter(match_chosen(chosen_by_channel(channel)))
    return Audience(user_ids=people.order_by().values("pk"), corp_id=channel.corp_id)


def corps_of(sender: ApiToken | InboundChannel) -> QuerySet[Corp]:
    """Return the companies whose userids and departments a sender may use: those its owner sees, within the sender's
    limit."""
    corps = Corp.objects.visible_to(sender.owner)
    if isinstance(sender, InboundChannel):
        return corps if sender.corp_id is None else corps.filter(pk=sender.corp_id)
    is_limited = sender.sends_to == ApiToken.SendReach.CORPS
    return corps.filter(pk__in=sender.send_corps.values("pk")) if is_limited else corps


def receiving(corps: QuerySet[Corp] | Collection[int]) -> QuerySet[Any, Any]:
    """Return the keys of the people whose messages go through one of these companies."""
    accounts = WeComAccount.objects.filter(corp__in=corps, is_primary=True)
    return accounts.order_by().values("user_id")
