"""Links of WeCom members with users, and creation of users for them, in a directory run or by an administrator.

The username of a created user is the userid; if it is taken, the userid with a number (User.made_username). Such a made
username says nothing about the person's identity: no member is matched by it, and nobody enters the BI by it.

If a person has several accounts in one company, name, e-mail and mobile come from the newest one.
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
from accounts.users.roles import find_changeable_people
from integrations.core.background import repeat_on_conflict
from integrations.models import Corp, Member, fold_userid

# Columns of User that a directory policy copies from WeCom, with their maximum lengths.
COPIED_COLUMNS = {"name": 64, "email": 254, "mobile": 32}


def read_wecom_values(member: Member) -> dict[str, str]:
    """Return a member's values as columns of User; values that WeCom withholds or leaves empty are left out."""
    values = {"name": member.name, "email": member.email or member.biz_mail, "mobile": member.mobile}
    return {name: value[: COPIED_COLUMNS[name]] for name, value in values.items() if value}


def find_differences(person: User, wecom_values: dict[str, str]) -> list[list[Any]]:
    """Return [column, old value, new value] for each difference."""
    return [
        [name, getattr(person, name), value] for name, value in wecom_values.items() if getattr(person, name) != value
    ]


# Number of members linked in one request, while an administrator waits for the page.
MEMBERS_AT_ONCE = 2000


class LinkRefusedError(Exception):
    """A link that cannot be made. The text is a sentence for the administrator."""


def link_matches(*, corp: Corp, matches: Sequence[Match], are_new: bool = False) -> None:
    """Link each member with the matching person: fill the account without a userid (Match.account), or add a new one.

    `are_new`: the people were just created, so the account becomes the primary one. Call it inside a transaction.
    Raises IntegrityError if somebody else has just linked one of them.
    """
    new, filled = [], {}
    for match in matches:
        userid = {"userid": match.member.userid, "userid_folded": match.member.userid_folded}
        if match.account is not None:
            empty = WeComAccount.objects.filter(pk=match.account.pk, userid_folded="")
            if not empty.update(corp=corp, left_at=None, **userid):
                raise IntegrityError("somebody else has just filled the account")
            filled[match.account.pk] = [["userid", None, match.member.userid]]
        else:
            new.append(WeComAccount(user=match.user, corp=corp, is_primary=are_new, **userid))
    created = WeComAccount.objects.bulk_create(new, batch_size=500)
    services.record_accounts({one.pk: [["userid", None, one.userid]] for one in created}, AuditEntry.Action.CREATED)
    services.record_accounts(filled, AuditEntry.Action.CHANGED)
    if matches:
        choose_primary_accounts([match.user.pk for match in matches if match.user])


# --- One person, by hand ----------------------------------------------------------------------------------------------


def find_objections(*, member: Member, user: User) -> list[LinkConflict.Reason]:
    """Return the reasons why a run would not link the member with the user. An administrator must confirm the link
    then."""
    candidate = Candidate(user, list(WeComAccount.objects.filter(user=user).order_by("pk")))
    objection = candidate.find_objection(member.corp)
    objections = [] if objection is None else [objection]
    without_corp = WeComAccount.objects.without_corp().filter(userid_folded=member.userid_folded)
    if without_corp.exclude(user=user).exists():
        objections.append(LinkConflict.Reason.COMPANY_MISSING)
    return objections


def link_by_hand(*, member: Member, user: User, editor: User) -> None:
    """Link a member with a person for `editor`, who must be allowed to change the person (decision 0008). Raises
    LinkRefusedError."""
    try:
        with transaction.atomic():
            # Use an account without a userid, of this company or of none, if the person has one.
            accounts = WeComAccount.objects.filter(user=user, userid_folded="").order_by("pk")
            account = accounts.filter(corp=member.corp).first() or accounts.without_corp().first()
            # Lock the accounts before the person, as a run does, to avoid a deadlock.
            list(WeComAccount.objects.select_for_update().filter(user=user).order_by("pk").values_list("pk"))
            locked = User.objects.select_for_update().filter(pk=user.pk)
            if not locked.exists() or not find_changeable_people(editor).filter(pk=user.pk).exists():
                raise LinkRefusedError(_("You may not change this person."))
            check_linkable(member, editor)
            link_matches(corp=member.corp, matches=[Match(member, user, account)])
            LinkConflict.objects.filter(member=member).delete()
            sync_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_describe_existing_link(member)) from error


def check_linkable(member: Member, editor: User) -> None:
    """Raise LinkRefusedError if `editor` cannot link this member now."""
    stored = Member.objects.filter(pk=member.pk, corp__in=Corp.objects.visible_to(editor)).in_scope().first()
    if stored is None:
        raise LinkRefusedError(_("“%(member)s” is deleted or out of scope in WeCom.") % {"member": member})
    if stored.waits_since is not None:
        message = _("“%(member)s” had been deleted and came back: confirm the account first, it may be another person.")
        raise LinkRefusedError(message % {"member": member})
    if WeComAccount.objects.filter(corp=member.corp, userid_folded=member.userid_folded).exists():
        raise LinkRefusedError(_describe_existing_link(member))


def _describe_existing_link(member: Member) -> str:
    return _("“%(member)s” is linked with somebody already.") % {"member": member}


# --- Many unambiguous links at once -----------------------------------------------------------------------------------


def find_unambiguous_matches(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> list[Match]:
    """Match members (MEMBERS_AT_ONCE at most) with people: only where exactly one person fits, without an objection,
    and `editor` may change that person. `policy` need not be saved."""
    matches = match_members(corp=policy.corp, policy=policy, members=members)
    by_user = {match.user.pk: match for match in matches if match.user is not None and match.conflict is None}
    changeable = set(find_changeable_people(editor).filter(pk__in=list(by_user)).values_list("pk", flat=True))
    return [match for pk, match in by_user.items() if pk in changeable]


def link_members(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> int:
    """Link all members with an unambiguous match in one transaction. Returns how many."""
    # link() reads these rows again at each try (`all()`).
    rows = filter_unlinked(Member.objects.eligible().filter(pk__in=[one.pk for one in members])).order_by("pk")

    @transaction.atomic
    def link() -> int:
        matches = find_unambiguous_matches(policy=policy, members=list(rows.all()), editor=editor)
        link_matches(corp=policy.corp, matches=matches)
        LinkConflict.objects.filter(member__in=[match.member.pk for match in matches]).delete()
        sync_groups(corp=policy.corp, user_ids=[match.user.pk for match in matches if match.user])
        return len(matches)

    return repeat_on_conflict(link)


def create_people(*, corp: Corp, members: Sequence[Member]) -> list[User]:
    """Create a linked user without a password for each of `members` of `corp`, with name, e-mail and mobile from WeCom.
    Call it inside a transaction. Raises IntegrityError if somebody else has just taken a username."""
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
    created = User.objects.bulk_create(people, batch_size=500)
    matches = [Match(member, user) for user, member in zip(created, members, strict=True)]
    link_matches(corp=corp, matches=matches, are_new=True)
    changes = {user.pk: [["username", None, user.username]] for user in created}
    services.record_people(changes, AuditEntry.Action.CREATED)
    return created


def create_user_by_hand(*, member: Member, editor: User) -> User:
    """Create a user for one member, even if an existing person fits. Raises LinkRefusedError."""
    try:
        with transaction.atomic():
            check_linkable(member, editor)
            user = create_people(corp=member.corp, members=[member])[0]
            LinkConflict.objects.filter(member=member).delete()
            sync_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_("Somebody else has just created a person. Try again.")) from error
    return user


# --- Names ------------------------------------------------------------------------------------------------------------


def find_free_usernames(userids: Collection[str]) -> dict[str, str]:
    """Map folded userids to free usernames: the userid, or the userid with a number from 2. Runs one query, and
    two for each number that is tried."""
    free: dict[str, str] = {}
    remaining = {fold_userid(userid): userid for userid in userids}
    for number in count(1):
        if not remaining:
            break
        tried = {folded: userid if number == 1 else f"{userid}-{number}" for folded, userid in remaining.items()}
        names = [name.lower() for name in tried.values()]
        users = User.objects.annotate(folded=Lower("username")).filter(folded__in=names)
        taken = set(users.values_list("folded", flat=True))
        if number > 1:  # a made username must not be another member's userid either
            taken |= set(Member.objects.filter(userid_folded__in=names).values_list("userid_folded", flat=True))
        free |= {folded: name for folded, name in tried.items() if name.lower() not in taken}
        remaining = {folded: userid for folded, userid in remaining.items() if folded not in free}
    return free
