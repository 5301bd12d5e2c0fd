"""A person got another userid in WeCom: the account here follows, and so does the proof of having signed in with it.

Also where the policy is off: the former userid may be somebody else's tomorrow, who would sign in as this person. Not
for those who may enter the administration: an event can be written by whoever holds the callback's keys, and must not
lend their rights. They look like somebody deleted and somebody who joined, and are linked anew by hand.
"""

from __future__ import annotations

from django.db.models import F, Q

from accounts import audit, bulk_audit
from accounts.models import AuditEntry, User, WeComAccount, fold_userid
from integrations.models import Corp


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
    changes: dict[int, list[audit.Change]] = {account.pk: [["userid", account.userid, new]]}
    taken = accounts.for_userid(new).exclude(pk=account.pk).first()
    if taken is not None:
        changes[taken.pk] = [["userid", taken.userid, None]]
        WeComAccount.objects.filter(pk=taken.pk).update(userid="", userid_folded="")
        _disable_stray(taken.user_id, new)
    WeComAccount.objects.filter(pk=account.pk).update(userid=new, userid_folded=folded)
    proven = WeComAccount.objects.filter(pk=account.pk, proven_corp_id=corp.pk, proven_userid=fold_userid(old))
    proven.update(proven_userid=folded)
    bulk_audit.record_accounts(changes, AuditEntry.Action.CHANGED)


def _disable_stray(user_id: int, userid: str) -> None:
    made_for_it = Q(username__iexact=userid) | Q(made_username=F("username"))
    people = User.objects.select_for_update().filter(made_for_it, pk=user_id, last_login__isnull=True)
    user = people.filter(is_active=True, is_staff=False, is_superuser=False).first()
    if user is None or user.has_usable_password() or WeComAccount.objects.complete().filter(user=user).exists():
        return
    User.objects.filter(pk=user.pk).update(is_active=False)
    bulk_audit.record_people({user.pk: [["is_active", True, False]]}, AuditEntry.Action.CHANGED)
