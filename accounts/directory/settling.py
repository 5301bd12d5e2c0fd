"""For whom of a company's members a run has something to do. In an unchanged directory that is hardly anybody, and one
query says so for a thousand."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.directory.following import is_followed, with_told
from accounts.models import DirectoryPolicy, LinkConflict, WeComAccount
from integrations.models.directory import MemberQuerySet


def unsettled(*, policy: DirectoryPolicy, members: MemberQuerySet, accounts: QuerySet[WeComAccount]) -> MemberQuerySet:
    """Those of `members`, all of the policy's company, whom `stepping.Step` has to look at: who is not let in, who is
    linked with nobody or not written as WeCom writes them, and who has a conflict. Groups apart. `accounts`: theirs, of
    that company."""
    account = accounts.filter(userid_folded=OuterRef("userid_folded"))
    as_told = Q(userid=OuterRef("userid"))
    if policy.mode == DirectoryPolicy.Mode.CREATE:
        as_told &= is_followed()
    # Whoever may enter the administration is left as they are.
    as_told |= Q(user__is_staff=True) | Q(user__is_superuser=True)
    conflict = LinkConflict.objects.filter(member=OuterRef("pk"))
    settled = with_told(members.able()).filter(Exists(account.filter(as_told)), ~Exists(conflict))
    return members.exclude(pk__in=settled.values("pk"))
