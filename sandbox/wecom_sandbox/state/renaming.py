"""What hangs on a userid follows its member when that changes."""

from __future__ import annotations

from wecom_sandbox.state.directory import Member, fold
from wecom_sandbox.state.world import Code, Company, Ticket, World


def carry_over(world: World, company: Company, old: Member, new: Member) -> None:
    """Scopes of apps, messages and what was chosen in them, groups, codes and consents on their way."""
    for app in company.apps.values():
        app.scope.userids = [new.userid if fold(one) == old.folded else one for one in app.scope.userids]
    company.forget_visibility()
    world.mail.rename(company.corpid, old.folded, new.folded)
    for chat in world.chats.values():
        if chat.corpid == company.corpid and old.folded in chat.members:
            chat.members = {new.folded if one == old.folded else one: None for one in chat.members}
            chat.owner = new.folded if chat.owner == old.folded else chat.owner
    passes: list[Code | Ticket] = [*world.codes.values(), *world.user_tickets.values()]
    for one in passes:
        if one.corpid == company.corpid and fold(one.userid) == old.folded:
            one.userid = new.userid
    for corpid, agentid, folded in list(world.consents):
        if (corpid, folded) == (company.corpid, old.folded):
            world.consents[corpid, agentid, new.folded] = world.consents.pop((corpid, agentid, folded))
