"""Links WeCom members with users, or creates users for them: in a run, or by an administrator.

A created user's name is the userid, or the userid with a number if the name is taken. A made name of the second kind
proves nothing: no member is matched by it, and it is no identity in the BI.

If a person has several accounts in one company, the newest one sets name, e-mail and mobile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models.functions import Lower
from django.utils.translation import gettext as _

from accounts.audit import services
from accounts.directory.groups import sync_groups
from accounts.directory.matching import Candidate, Match, filter_unlinked, match_members
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.users.companies import choose_primary_accounts
from accounts.users.roles import people_changeable_by
from integrations.core.background import repeat_on_conflict
from integrations.models import Corp, Member, fold_userid

# Columns of User with their maximum length.
FOLLOWING = {"name": 64, "email": 254, "mobile": 32}


def read_wecom_values(member: Member) -> dict[str, str]:
    """Return a member's values as columns of User; values that WeCom withholds or leaves empty are left out."""
    values = {"name": member.name, "email": member.email or member.biz_mail, "mobile": member.mobile}
    return {name: value[: FOLLOWING[name]] for name, value in values.items() if value}


def find_differences(person: User, wecom_values: dict[str, str]) -> list[list[Any]]:
    """Return column, old and new value of each difference."""
    return [
        [name, getattr(person, name), value] for name, value in wecom_values.items() if getattr(person, name) != value
    ]


Action = AuditEntry.Action
# Linking many at once handles so many members: an administrator waits for the page.
MEMBERS_AT_ONCE = 2000


class LinkRefusedError(Exception):
    """A link that cannot be made. The text is a sentence for the administrator."""


def link_matches(*, corp: Corp, found: Sequence[Match], are_new: bool = False) -> None:
    """Link each member with its person: through the account that lacks only the userid, or through a new one.

    `are_new`: the people were just created, so the account becomes the primary one. Call it inside a transaction.
    Raises IntegrityError if somebody else has just linked one of them.
    """
    new, filled = [], {}
    for one in found:
        userid = {"userid": one.member.userid, "userid_folded": one.member.userid_folded}
        if one.account is not None:
            empty = WeComAccount.objects.filter(pk=one.account.pk, userid_folded="")
            if not empty.update(corp=corp, left_at=None, **userid):
                raise IntegrityError("somebody else has just filled the account")
            filled[one.account.pk] = [["userid", None, one.member.userid]]
        else:
            new.append(WeComAccount(user=one.user, corp=corp, is_primary=are_new, **userid))
    made = WeComAccount.objects.bulk_create(new, batch_size=500)
    services.record_accounts({one.pk: [["userid", None, one.userid]] for one in made}, Action.CREATED)
    services.record_accounts(filled, Action.CHANGED)
    if found:
        choose_primary_accounts([one.user.pk for one in found if one.user])


# --- One person, by hand ----------------------------------------------------------------------------------------------


def find_objections(*, member: Member, user: User) -> list[LinkConflict.Reason]:
    """Return the reasons why a run would not link these two; an administrator has to confirm them."""
    candidate = Candidate(user, list(WeComAccount.objects.filter(user=user).order_by("pk")))
    objection = candidate.find_objection(member.corp)
    found = [] if objection is None else [objection]
    nameless = WeComAccount.objects.without_corp().filter(userid_folded=member.userid_folded)
    return [*found, LinkConflict.Reason.COMPANY_MISSING] if nameless.exclude(user=user).exists() else found


def link_by_hand(*, member: Member, user: User, editor: User) -> None:
    """Link a member with a person because `editor` wants it. People who may change a person may link them, as on the
    person's page (decision 0008). Raises LinkRefusedError."""
    try:
        with transaction.atomic():
            # An account that lacks only the userid, of this company or of none.
            accounts = WeComAccount.objects.filter(user=user, userid_folded="").order_by("pk")
            account = accounts.filter(corp=member.corp).first() or accounts.without_corp().first()
            # Lock the accounts before the person, as a run does: another order could deadlock.
            list(WeComAccount.objects.select_for_update().filter(user=user).order_by("pk").values_list("pk"))
            locked = User.objects.select_for_update().filter(pk=user.pk)
            if not locked.exists() or not people_changeable_by(editor).filter(pk=user.pk).exists():
                raise LinkRefusedError(_("You may not change this person."))
            check_member(member, editor)
            link_matches(corp=member.corp, found=[Match(member, user, account)])
            LinkConflict.objects.filter(member=member).delete()
            sync_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_describe_taken(member)) from error


def check_member(member: Member, editor: User) -> None:
    """Raise LinkRefusedError if `editor` cannot link this member now."""
    now = Member.objects.filter(pk=member.pk, corp__in=Corp.objects.visible_to(editor)).here().first()
    if now is None:
        raise LinkRefusedError(_("“%(member)s” is no longer in WeCom.") % {"member": member})
    if now.waits_since is not None:
        message = _("“%(member)s” had been deleted and came back: confirm the account first, it may be another person.")
        raise LinkRefusedError(message % {"member": member})
    if WeComAccount.objects.filter(corp=member.corp, userid_folded=member.userid_folded).exists():
        raise LinkRefusedError(_describe_taken(member))


def _describe_taken(member: Member) -> str:
    return _("“%(member)s” is linked with somebody already.") % {"member": member}


# --- Many unambiguous links at once -----------------------------------------------------------------------------------


def find_unambiguous_matches(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> list[Match]:
    """Match those of `members` (MEMBERS_AT_ONCE at most) whom exactly one person fits, without any objection. Only
    people whom `editor` may change are matched. `policy` need not be saved."""
    found = match_members(corp=policy.corp, policy=policy, members=members)
    fitting = {one.user.pk: one for one in found if one.user is not None and one.conflict is None}
    may_change = set(people_changeable_by(editor).filter(pk__in=list(fitting)).values_list("pk", flat=True))
    return [one for pk, one in fitting.items() if pk in may_change]


def link_members(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> int:
    """Link all members with an unambiguous match in one transaction. Returns how many."""
    rows = filter_unlinked(Member.objects.able().filter(pk__in=[one.pk for one in members])).order_by("pk")

    @transaction.atomic
    def link() -> int:
        found = find_unambiguous_matches(policy=policy, members=list(rows.all()), editor=editor)
        link_matches(corp=policy.corp, found=found)
        LinkConflict.objects.filter(member__in=[one.member.pk for one in found]).delete()
        sync_groups(corp=policy.corp, user_ids=[one.user.pk for one in found if one.user])
        return len(found)

    return repeat_on_conflict(link)


def create_people(*, corp: Corp, members: Sequence[Member]) -> list[User]:
    """Create a linked user without a password for each of `members` of `corp`, with WeCom's values. Call it inside a
    transaction. Raises IntegrityError if somebody else has just taken a name."""
    names = find_free_usernames([one.userid for one in members])
    people = [
        User(
            username=(name := names[one.userid_folded]),
            made_username="" if name == one.userid else name,
            password=make_password(None),
            **read_wecom_values(one),
        )
        for one in members
    ]
    made = User.objects.bulk_create(people, batch_size=500)
    found = [Match(member, user) for user, member in zip(made, members, strict=True)]
    link_matches(corp=corp, found=found, are_new=True)
    created = {user.pk: [["username", None, user.username]] for user in made}
    services.record_people(created, AuditEntry.Action.CREATED)
    return made


def create_user_by_hand(*, member: Member, editor: User) -> User:
    """Create a user for one member because `editor` wants it, even if others would fit. Raises LinkRefusedError."""
    try:
        with transaction.atomic():
            check_member(member, editor)
            user = create_people(corp=member.corp, members=[member])[0]
            LinkConflict.objects.filter(member=member).delete()
            sync_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_("Somebody else was created meanwhile. Try again.")) from error
    return user


# --- Names ------------------------------------------------------------------------------------------------------------


def find_free_usernames(userids: Collection[str]) -> dict[str, str]:
    """Map folded userids to free usernames. One query, and two for each number that is tried."""
    found: dict[str, str] = {}
    waiting = {fold_userid(userid): userid for userid in userids}
    for number in count(1):
        if not waiting:
            break
        tried = {folded: userid if number == 1 else f"{userid}-{number}" for folded, userid in waiting.items()}
        names = [name.lower() for name in tried.values()]
        users = User.objects.annotate(folded=Lower("username")).filter(folded__in=names)
        taken = set(users.values_list("folded", flat=True))
        if number > 1:  # a made name must not be a userid in WeCom, either
            taken |= set(Member.objects.filter(userid_folded__in=names).values_list("userid_folded", flat=True))
        found |= {folded: name for folded, name in tried.items() if name.lower() not in taken}
        waiting = {folded: userid for folded, userid in waiting.items() if folded not in found}
    return found
