"""Links WeCom members with users: by a run, or by an administrator for one person or many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import bulk
from accounts.directory.groups import fit_groups
from accounts.directory.matching import Candidate, Match, matches
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.users.companies import settle_primary_accounts
from accounts.users.scopes import people_changeable_by
from integrations.core.background import repeat_on_conflict
from integrations.models import Corp, Member

Action = AuditEntry.Action
Reason = LinkConflict.Reason
# Members that a link of many looks at in one go: a page that somebody waits for.
MEMBERS_AT_ONCE = 2000


class LinkRefusedError(Exception):
    """A link that cannot be made; its text is a sentence for the administrator."""


def link_matches(*, corp: Corp, found: Sequence[Match]) -> None:
    """Link each member with its person: through the account that only lacks the userid, or through a new one.

    Inside a transaction of the caller. Raises IntegrityError where somebody else has just linked one of them.
    """
    new, filled = [], {}
    for one in found:
        if one.account is not None:
            empty = WeComAccount.objects.filter(pk=one.account.pk, userid_folded="")
            userid = {"userid": one.member.userid, "userid_folded": one.member.userid_folded}
            if not empty.update(corp=corp, left_at=None, **userid):
                raise IntegrityError("somebody else has just filled the account")
            filled[one.account.pk] = [["userid", None, one.member.userid]]
        elif one.user is not None:
            new.append(account_of(corp, one.user, one.member, is_primary=False))
    make_accounts(new)
    bulk.record_accounts(filled, Action.CHANGED)
    if found:
        settle_primary_accounts([one.user.pk for one in found if one.user])


def account_of(corp: Corp, user: User, member: Member, *, is_primary: bool) -> WeComAccount:
    """Not saved yet."""
    return WeComAccount(
        user=user, corp=corp, userid=member.userid, userid_folded=member.userid_folded, is_primary=is_primary
    )


def make_accounts(accounts: list[WeComAccount]) -> None:
    """Save new accounts and record each. Raises IntegrityError where somebody else has one of the userids."""
    made = WeComAccount.objects.bulk_create(accounts, batch_size=500)
    bulk.record_accounts({one.pk: [["userid", None, one.userid]] for one in made}, Action.CREATED)


def unlinked(members: QuerySet[Member]) -> QuerySet[Member]:
    """Those of `members` whom WeCom shows and who are nobody here."""
    account = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
    return members.filter(~Exists(account), presence=Member.Presence.HERE)


# --- One person, by hand ----------------------------------------------------------------------------------------------


def objections_to(*, member: Member, user: User) -> list[LinkConflict.Reason]:
    """What an administrator has to confirm: a run would not link these two."""
    candidate = Candidate(user, list(WeComAccount.objects.filter(user=user).order_by("pk")))
    objection = candidate.objection(member.corp)
    found = [] if objection is None else [objection]
    nameless = WeComAccount.objects.without_corp().filter(userid_folded=member.userid_folded)
    return [*found, Reason.COMPANY_MISSING] if nameless.exclude(user=user).exists() else found


def link_by_hand(*, member: Member, user: User, editor: User) -> None:
    """Link one member with one person because `editor` says so.

    Whoever may change a person may link them, as on the person's page (decision 0008). Raises LinkRefusedError.
    """
    try:
        with transaction.atomic():
            account = _open_account(member, user)
            # The accounts before the person, as a run takes them: in another order the two could deadlock.
            list(WeComAccount.objects.select_for_update().filter(user=user).order_by("pk").values_list("pk"))
            locked = User.objects.select_for_update().filter(pk=user.pk)
            if not locked.exists() or not people_changeable_by(editor).filter(pk=user.pk).exists():
                raise LinkRefusedError(_("You may not change this person."))
            check_member(member, editor)
            link_matches(corp=member.corp, found=[Match(member, user, account)])
            LinkConflict.objects.filter(member=member).delete()
            fit_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_taken(member)) from error


def check_member(member: Member, editor: User) -> None:
    """Raises LinkRefusedError where `editor` cannot have anybody linked with the member as things are now."""
    now = Member.objects.filter(pk=member.pk, corp__in=Corp.objects.visible_to(editor)).here().first()
    if now is None:
        raise LinkRefusedError(_("“%(member)s” is not there any more in WeCom.") % {"member": member})
    if now.waits_since is not None:
        message = _("“%(member)s” had been deleted and came back: confirm the account first, it may be another person.")
        raise LinkRefusedError(message % {"member": member})
    if WeComAccount.objects.filter(corp=member.corp, userid_folded=member.userid_folded).exists():
        raise LinkRefusedError(_taken(member))


def _taken(member: Member) -> str:
    return _("“%(member)s” is linked with somebody already.") % {"member": member}


def _open_account(member: Member, user: User) -> WeComAccount | None:
    """The person's account that only lacks the userid, of this company or of none."""
    accounts = WeComAccount.objects.filter(user=user, userid_folded="").order_by("pk")
    return accounts.filter(corp=member.corp).first() or accounts.without_corp().first()


# --- Many, where nobody can be mistaken -------------------------------------------------------------------------------


def unambiguous(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> list[Match]:
    """Those of `members` (MEMBERS_AT_ONCE at most) whom exactly one person fits by what `policy` names, and nothing is
    against it; as far as `editor` may change that person. `policy` need not be saved."""
    found = matches(corp=policy.corp, policy=policy, members=members)
    fitting = {one.user.pk: one for one in found if one.user is not None and one.conflict is None}
    may_change = set(people_changeable_by(editor).filter(pk__in=list(fitting)).values_list("pk", flat=True))
    return [one for pk, one in fitting.items() if pk in may_change]


def link_many(*, policy: DirectoryPolicy, members: Sequence[Member], editor: User) -> int:
    """Link all `unambiguous` ones in one transaction. Returns how many."""
    return repeat_on_conflict(partial(_link_step, policy, [one.pk for one in members], editor))


@transaction.atomic
def _link_step(policy: DirectoryPolicy, keys: list[int], editor: User) -> int:
    members = list(unlinked(Member.objects.able().filter(pk__in=keys)).order_by("pk"))
    found = unambiguous(policy=policy, members=members, editor=editor)
    link_matches(corp=policy.corp, found=found)
    LinkConflict.objects.filter(member__in=[one.member.pk for one in found]).delete()
    fit_groups(corp=policy.corp, user_ids=[one.user.pk for one in found if one.user])
    return len(found)
