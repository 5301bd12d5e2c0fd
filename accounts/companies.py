"""Keeping people's two attributes right: the primary account, and the company of many people at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import ngettext

from accounts.models import User, WeComAccount
from integrations.models import Corp


@dataclass(slots=True)
class CompanyChange:
    """What became of a bulk change. `taken`: the people whose userid belongs to somebody else in that company."""

    changed_count: int = 0
    taken: list[User] = field(default_factory=list)


def ensure_primary_account(*, user: User) -> None:
    """Of a person's accounts one receives the messages: the first one where none was chosen."""
    accounts = WeComAccount.objects.filter(user=user)
    if accounts.filter(is_primary=True).exists():
        return
    first = accounts.order_by("pk").first()
    if first is not None:
        accounts.filter(pk=first.pk).update(is_primary=True)


@transaction.atomic
def set_company(*, people: QuerySet[User], corp: Corp) -> CompanyChange:
    """Set the WeCom company of each person's primary account, making an account where there is none.

    Leaves people alone whose userid is somebody else's in that company, and says who they are.
    """
    change = CompanyChange()
    taken_userids = _userids_in(corp)
    primary_accounts = {
        account.user_id: account
        for account in WeComAccount.objects.filter(user__in=people.values("pk"), is_primary=True).select_related("user")
    }
    new_accounts: list[WeComAccount] = []
    moved_accounts: list[WeComAccount] = []
    for user in people:
        account = primary_accounts.get(user.pk)
        if account is None:
            new_accounts.append(WeComAccount(user=user, corp=corp))
        elif account.corp_id == corp.pk:
            continue
        elif account.userid_folded and account.userid_folded in taken_userids:
            change.taken.append(user)
        else:
            taken_userids.add(account.userid_folded)
            account.corp = corp
            moved_accounts.append(account)
    WeComAccount.objects.bulk_create(new_accounts, batch_size=500)
    WeComAccount.objects.bulk_update(moved_accounts, ["corp"], batch_size=500)
    change.changed_count = len(new_accounts) + len(moved_accounts)
    return change


def _userids_in(corp: Corp) -> set[str]:
    folded = WeComAccount.objects.filter(corp=corp).exclude(userid_folded="").values_list("userid_folded", flat=True)
    return set(folded)


def disabling_stops(corp: Corp) -> list[str]:
    """What disabling `corp` does to sign-in, for the page that asks before it happens."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__is_active=True)
    count = accounts.values("user").distinct().count()
    sentence = ngettext(
        "%(count)d person can no longer sign in with WeCom, and is signed out if signed in that way.",
        "%(count)d people can no longer sign in with WeCom, and are signed out if signed in that way.",
        count,
    )
    return [sentence % {"count": count}]
