"""Hook for people whom WeCom does not let in any more. Higher apps register in AppConfig.ready().

accounts.authentication.middleware ends the sessions of these people at their next request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from integrations.hooks import Hook
from integrations.models import Corp, Member

# Told the company, folded userids and now, in the transaction that applies the company's policy, and again with each
# run for everybody who is still not let in: quick where there is nothing to do.
people_left: Hook[[Corp, Sequence[str], datetime], None] = Hook()


def notify_leavers(*, corp: Corp, members: Sequence[Member], now: datetime) -> None:
    """Inside the transaction that applies the policy. `members`: some, of whom those are told who are not let in."""
    userids = [one.userid_folded for one in members if not is_let_in(one)]
    if userids:
        people_left(corp, userids, now)


def is_let_in(member: Member) -> bool:
    """Whether the member is there, not disabled in WeCom, and does not wait for an administrator."""
    is_here = member.presence == Member.Presence.HERE and member.waits_since is None
    return is_here and member.status != Member.Status.DISABLED
