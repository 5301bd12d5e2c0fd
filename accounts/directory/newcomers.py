"""Creates users for new members: by a run, or on an administrator's request.

The username is the userid, or has a number where somebody else has that name. Such a made one says nothing but that it
was free: nobody is found by it, and it is no identity in the BI.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models.functions import Lower
from django.utils.translation import gettext as _

from accounts.audit import bulk
from accounts.directory.groups import fit_groups
from accounts.directory.linking import LinkRefusedError, account_of, check_member, make_accounts
from accounts.directory.profiles import wecom_values_of
from accounts.models import AuditEntry, LinkConflict, User
from integrations.models import Corp, Member, fold_userid


def create_people(*, corp: Corp, members: Sequence[Member]) -> list[User]:
    """Somebody for each of `members`, of `corp`, with what WeCom tells and without a password, and linked.

    Inside a transaction of the caller. Raises IntegrityError where somebody else has just taken a name.
    """
    names = usernames_for([one.userid for one in members])
    people = [_person(one, names[one.userid_folded]) for one in members]
    made = User.objects.bulk_create(people, batch_size=500)
    pairs = zip(made, members, strict=True)
    make_accounts([account_of(corp, user, member, is_primary=True) for user, member in pairs])
    created = {user.pk: [["username", None, user.username]] for user in made}
    bulk.record_people(created, AuditEntry.Action.CREATED)
    return made


def _person(member: Member, username: str) -> User:
    made_username = "" if username == member.userid else username
    return User(username=username, made_username=made_username, password=make_password(None), **wecom_values_of(member))


def create_by_hand(*, member: Member, editor: User) -> User:
    """Somebody new for one member because `editor` says so, whoever else fits. Raises LinkRefusedError."""
    try:
        with transaction.atomic():
            check_member(member, editor)
            user = create_people(corp=member.corp, members=[member])[0]
            LinkConflict.objects.filter(member=member).delete()
            fit_groups(corp=member.corp, user_ids=[user.pk])
    except IntegrityError as error:
        raise LinkRefusedError(_("Somebody else was created meanwhile. Try again.")) from error
    return user


# --- Names ------------------------------------------------------------------------------------------------------------


def usernames_for(userids: Collection[str]) -> dict[str, str]:
    """By the folded userid: the username of whoever is created for it now. One query, and two for each number that is
    tried."""
    found: dict[str, str] = {}
    waiting = {fold_userid(userid): userid for userid in userids}
    for number in count(1):
        if not waiting:
            break
        tried = {folded: userid if number == 1 else f"{userid}-{number}" for folded, userid in waiting.items()}
        taken = _taken(tried.values(), is_made=number > 1)
        found |= {folded: name for folded, name in tried.items() if name.lower() not in taken}
        waiting = {folded: userid for folded, userid in waiting.items() if folded not in found}
    return found


def _taken(names: Collection[str], *, is_made: bool) -> set[str]:
    """Those of `names`, folded, that somebody has; made ones also where they are a userid in WeCom."""
    folded = [name.lower() for name in names]
    users = User.objects.annotate(folded=Lower("username")).filter(folded__in=folded)
    taken = set(users.values_list("folded", flat=True))
    if is_made:
        taken |= set(Member.objects.filter(userid_folded__in=folded).values_list("userid_folded", flat=True))
    return taken
