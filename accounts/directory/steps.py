"""Selects the members that a run must process, one query per 1,000 members, and applies the policy to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.audit import bulk
from accounts.directory.leavers import is_let_in
from accounts.directory.linking import link_matches
from accounts.directory.matching import Match, matches
from accounts.directory.newcomers import create_people
from accounts.directory.profiles import (
    FOLLOWING,
    differences,
    is_followed,
    newest_userids,
    wecom_values_of,
    with_wecom_values,
)
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.users.panels import people_disabled
from integrations.models import Corp, Member
from integrations.models.directory import MemberQuerySet


def unsettled(*, policy: DirectoryPolicy, members: MemberQuerySet, accounts: QuerySet[WeComAccount]) -> MemberQuerySet:
    """Those of `members`, all of the policy's company, whom `stepping.Step` has to look at: who is not let in, who is
    linked with nobody or not written as WeCom writes them, and who has a conflict. Groups apart. `accounts`: theirs, of
    that company."""
    account = accounts.filter(userid_folded=OuterRef("userid_folded"))
    is_as_in_wecom = Q(userid=OuterRef("userid"))
    if policy.mode == DirectoryPolicy.Mode.CREATE:
        is_as_in_wecom &= is_followed()
    # Whoever may enter the administration is left as they are.
    is_as_in_wecom |= Q(user__is_staff=True) | Q(user__is_superuser=True)
    conflict = LinkConflict.objects.filter(member=OuterRef("pk"))
    settled = with_wecom_values(members.able()).filter(Exists(account.filter(is_as_in_wecom)), ~Exists(conflict))
    return members.exclude(pk__in=settled.values("pk"))


# --- One step: what some members mean for people here, and writing it. Only differences are written ---

Action = AuditEntry.Action
Reason = LinkConflict.Reason


class Step:
    """The work on `members`, inside a transaction of the caller."""

    def __init__(self, *, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member], now: datetime) -> None:
        self._corp, self._policy, self._members, self._now = corp, policy, members, now
        self._counts: Counter[str] = Counter()
        userids = [one.userid_folded for one in members]
        accounts = WeComAccount.objects.filter(corp=corp, userid_folded__in=userids).select_related("user")
        self._accounts = {one.userid_folded: one for one in accounts}

    def write(self) -> Counter[str]:
        """How much of each kind was written."""
        self._let_go([one for one in self._members if one.presence == Member.Presence.DELETED])
        able = [one for one in self._members if is_let_in(one)]
        linked = [one for one in able if one.userid_folded in self._accounts]
        self._respell(linked)
        unlinked = [one for one in able if one.userid_folded not in self._accounts]
        found = matches(corp=self._corp, policy=self._policy, members=unlinked)
        new = [(one, one.user) for one in found if one.user is not None and one.conflict is None]
        link_matches(corp=self._corp, found=[one for one, _user in new])
        self._counts["linked"] += len(new)
        if self._policy.mode == DirectoryPolicy.Mode.CREATE:
            people = [(one, self._accounts[one.userid_folded].user) for one in linked]
            self._update([*people, *((one.member, user) for one, user in new)])
        unknown = [one.member for one in found if one.user is None and one.conflict is None]
        self._counts["created"] += len(create_people(corp=self._corp, members=unknown)) if unknown else 0
        self._write_conflicts(found)
        return +self._counts

    def user_ids(self) -> set[int]:
        """Of everybody who was linked before this step, or is now."""
        before = {one.user_id for one in self._accounts.values()}
        userids = [one.userid_folded for one in self._members]
        now = WeComAccount.objects.filter(corp=self._corp, userid_folded__in=userids)
        return before | set(now.values_list("user_id", flat=True))

    # --- Leavers ------------------------------------------------------------------------------------------------------

    def _let_go(self, gone: list[Member]) -> None:
        accounts = [self._accounts[one.userid_folded] for one in gone if one.userid_folded in self._accounts]
        accounts = [one for one in accounts if not _is_protected(one.user)]
        if not accounts:
            return
        keys = [one.pk for one in accounts]
        mine = WeComAccount.objects.filter(pk__in=keys, corp=self._corp)
        self._counts["unlinked"] += mine.update(userid="", userid_folded="", left_at=self._now)
        bulk.record_accounts({one.pk: [["userid", one.userid, None]] for one in accounts}, Action.CHANGED)
        if self._policy.leavers == DirectoryPolicy.Leavers.DISABLE:
            self._disable({one.user_id for one in accounts})

    def _disable(self, user_ids: set[int]) -> None:
        elsewhere = WeComAccount.objects.complete().filter(user__in=user_ids)
        leaving = _unprotected(user_ids).filter(is_active=True).exclude(pk__in=elsewhere.values("user_id"))
        keys = list(leaving.select_for_update(no_key=True).values_list("pk", flat=True))
        if keys:
            self._counts["disabled"] += User.objects.filter(pk__in=keys).update(is_active=False)
            bulk.record_people(dict.fromkeys(keys, [["is_active", True, False]]), Action.CHANGED)
            people_disabled(keys)

    # --- Who is linked ------------------------------------------------------------------------------------------------

    def _respell(self, linked: list[Member]) -> None:
        """The userid as WeCom writes it."""
        changes = {}
        for member in linked:
            account = self._accounts[member.userid_folded]
            if account.userid != member.userid and not _is_protected(account.user):
                WeComAccount.objects.filter(pk=account.pk, userid_folded=member.userid_folded).update(
                    userid=member.userid
                )
                changes[account.pk] = [["userid", account.userid, member.userid]]
        self._counts["respelled"] += len(changes)
        bulk.record_accounts(changes, Action.CHANGED)

    def _update(self, linked: list[tuple[Member, User]]) -> None:
        """Name, e-mail and mobile as WeCom tells them; what it withholds or leaves empty stays."""
        differing = [
            (member, user)
            for member, user in linked
            if not _is_protected(user) and differences(user, wecom_values_of(member))
        ]
        newest = newest_userids(self._corp, [user.pk for _member, user in differing]) if differing else {}
        values = {user.pk: wecom_values_of(one) for one, user in differing if newest.get(user.pk) == one.userid_folded}
        if not values:
            return
        people = list(_unprotected(list(values)).select_for_update(no_key=True).order_by("pk"))
        changes = {person.pk: differences(person, values[person.pk]) for person in people}
        for person in people:
            for name, _old, new in changes[person.pk]:
                setattr(person, name, new)
        User.objects.bulk_update(people, list(FOLLOWING), batch_size=500)
        self._counts["updated"] += len(people)
        bulk.record_people(changes, Action.CHANGED)

    # --- Who is not ---------------------------------------------------------------------------------------------------

    def _write_conflicts(self, found: list[Match]) -> None:
        wanted = {one.member.pk: one.conflict for one in found if one.conflict is not None}
        came_back = (one for one in self._members if one.waits_since is not None)
        wanted |= dict.fromkeys((one.pk for one in came_back), Reason.CAME_BACK)
        kept = LinkConflict.objects.filter(member__in=[one.pk for one in self._members])
        stored = dict(kept.values_list("member_id", "reason"))
        changed = [pk for pk in stored if wanted.get(pk) != stored[pk]]
        if changed:
            LinkConflict.objects.filter(member__in=changed).delete()
        LinkConflict.objects.bulk_create(
            [
                LinkConflict(member_id=pk, reason=reason, since=self._now)
                for pk, reason in wanted.items()
                if stored.get(pk) != reason
            ],
            batch_size=500,
        )


def _is_protected(user: User) -> bool:
    return user.is_staff or user.is_superuser


def _unprotected(user_ids: set[int] | list[int]) -> QuerySet[User]:
    return User.objects.filter(pk__in=user_ids, is_staff=False, is_superuser=False)
