"""Handles directory events that change a person's userid or standing: moves the account and its sign-in proof.

Also where the policy is off: the former userid may be somebody else's tomorrow, who would sign in as this person. Not
for those who may enter the administration: an event can be written by whoever holds the callback's keys, and must not
lend their rights. They look like somebody deleted and somebody who joined, and are linked anew by hand.
"""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import F, Q

from accounts.audit import bulk, services
from accounts.directory.sync import STEP, apply_to
from accounts.models import AuditEntry, DirectoryPolicy, User, WeComAccount, fold_userid
from accounts.users.companies import settle_primary_accounts
from accounts.users.panels import people_disabled
from integrations.callbacks import Batch, Consumer, Outcome, touched_by
from integrations.core.background import repeat_on_conflict
from integrations.directory.events import NAME as COPY
from integrations.directory.incremental import is_about_directory
from integrations.models import Corp, Member


def may_follow(corp: Corp, old: str, new: str) -> bool:
    """False where the account that would move, or the one that would lose its userid, is a protected person's."""
    named = WeComAccount.objects.filter(corp=corp, userid_folded__in=(fold_userid(old), fold_userid(new)))
    return not named.filter(Q(user__is_staff=True) | Q(user__is_superuser=True)).exists()


def follow_rename(corp: Corp, old: str, new: str) -> None:
    """Inside the transaction that renames the member. Nothing where nobody has the former userid.

    Whoever had the new userid before is unlinked: in WeCom it is this person's now. Somebody whom the directory has
    made for it, because another event came before this one, and who never was here, is disabled.
    """
    folded = fold_userid(new)
    accounts = WeComAccount.objects.select_for_update().filter(corp=corp)
    account = accounts.for_userid(old).first()
    if account is None:
        return
    changes: dict[int, list[services.Change]] = {account.pk: [["userid", account.userid, new]]}
    holder = accounts.for_userid(new).exclude(pk=account.pk).first()
    if holder is not None:
        changes[holder.pk] = [["userid", holder.userid, None]]
        WeComAccount.objects.filter(pk=holder.pk).update(userid="", userid_folded="")
        settle_primary_accounts([holder.user_id])
        _disable_stray(holder.user_id, new)
    WeComAccount.objects.filter(pk=account.pk).update(userid=new, userid_folded=folded)
    proven = WeComAccount.objects.filter(pk=account.pk, proven_corp_id=corp.pk, proven_userid=fold_userid(old))
    proven.update(proven_userid=folded)
    bulk.record_accounts(changes, AuditEntry.Action.CHANGED)


def _disable_stray(user_id: int, userid: str) -> None:
    made_for_it = Q(username__iexact=userid) | Q(made_username=F("username"))
    people = User.objects.select_for_update(no_key=True).filter(made_for_it, pk=user_id, last_login__isnull=True)
    user = people.filter(is_active=True, is_staff=False, is_superuser=False).first()
    if user is None or user.has_usable_password() or WeComAccount.objects.complete().filter(user=user).exists():
        return
    User.objects.filter(pk=user.pk).update(is_active=False)
    bulk.record_people({user.pk: [["is_active", True, False]]}, AuditEntry.Action.CHANGED)
    people_disabled([user.pk])


# --- The consumer of WeCom's events that applies a company's policy at once to the people concerned (phase two) ---

NAME = "accounts.people"


def consume(batch: Batch) -> Outcome:
    """Link, create, update, unlink and disable, as far as the policy says so."""
    touched = touched_by(consumer=COPY, events=batch.events)
    for start in range(0, len(touched), STEP):
        repeat_on_conflict(partial(_apply, batch, touched[start : start + STEP]))
    return Outcome(touched)


@transaction.atomic
def _apply(batch: Batch, keys: list[int]) -> None:
    batch.hold()
    policy = DirectoryPolicy.objects.in_force().filter(corp=batch.corp).first()
    members = list(Member.objects.filter(corp=batch.corp, pk__in=keys).order_by("pk"))
    if policy is not None:
        apply_to(corp=batch.corp, policy=policy, members=members, now=batch.clock())


PEOPLE_CONSUMER = Consumer(name=NAME, wants=is_about_directory, consume=consume, after=COPY)
