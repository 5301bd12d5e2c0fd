"""The companies of people: primary accounts, bulk changes, what disabling a company does, and hooks of higher apps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils.translation import ngettext

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount, barred_by_wecom
from integrations.core.background import repeat_on_conflict
from integrations.hooks import Hook, SingleProvider
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


def choose_primary_accounts(user_ids: Collection[int]) -> None:
    """Make another account the primary one, for each person whose primary account cannot receive messages while another
    can. Call it in the transaction that creates, fills, empties or bars accounts. One query if nothing changes."""
    cannot_receive = Q(corp__isnull=True) | Q(userid_folded="") | barred_by_wecom()
    rank = Case(When(cannot_receive, then=Value(1)), default=Value(0))
    accounts = WeComAccount.objects.filter(user__in=user_ids).order_by("user_id", rank, "-is_primary", "pk")
    first: dict[int, tuple[int, bool]] = {}
    for user_id, pk, is_primary in accounts.values_list("user_id", "pk", "is_primary"):
        first.setdefault(user_id, (pk, is_primary))
    chosen = {user_id: pk for user_id, (pk, is_primary) in first.items() if not is_primary}
    if not chosen:
        return
    former = WeComAccount.objects.filter(user__in=chosen, is_primary=True)
    changes: dict[int, list[services.Change]] = {}
    for user_id, pk in former.values_list("user_id", "pk"):
        changes |= {pk: [["is_primary", True, False]], chosen[user_id]: [["is_primary", False, True]]}
    former.update(is_primary=False)
    WeComAccount.objects.filter(pk__in=chosen.values()).update(is_primary=True)
    services.record_accounts(changes, AuditEntry.Action.CHANGED)


def describe_disabling(corp: Corp) -> list[str]:
    """Describe what disabling `corp` does to its people, for the page that asks for confirmation."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__is_active=True)
    sentences = []
    if corp.sign_in_enabled:
        count = accounts.values("user").distinct().count()
        sentence = ngettext(
            "%(count)s person can no longer sign in with WeCom, and is signed out if signed in that way.",
            "%(count)s people can no longer sign in with WeCom, and are signed out if signed in that way.",
            count,
        )
        sentences.append(sentence % {"count": f"{count:,}"})
    count = accounts.filter(is_primary=True).count()
    sentence = ngettext(
        "%(count)s person receives no messages meanwhile.", "%(count)s people receive no messages meanwhile.", count
    )
    return [*sentences, sentence % {"count": f"{count:,}"}]


@dataclass(frozen=True, slots=True)
class CompanyChange:
    """The result of a bulk change. The lists hold keys of people left unchanged: somebody else has their userid in that
    company, or they have another account there."""

    changed_count: int
    userid_taken: list[int]
    has_other_account: list[int]


def set_company(*, people: QuerySet[User], corp: Corp) -> CompanyChange:
    """Set the company of each person's primary account, creating an account if there is none. One transaction; 10,000
    people take some seconds."""
    return repeat_on_conflict(partial(_set_company, list(people.order_by("pk").values_list("pk", flat=True)), corp))


@transaction.atomic
def _set_company(user_ids: list[int], corp: Corp) -> CompanyChange:
    primary = WeComAccount.objects.filter(user_id__in=user_ids, is_primary=True)
    elsewhere = primary.exclude(corp=corp) | primary.filter(corp__isnull=True)
    # Lock the accounts, so that neither company nor person changes meanwhile.
    accounts = list(elsewhere.select_for_update(of=("self",)).order_by("pk"))
    in_corp = WeComAccount.objects.filter(corp=corp)
    with_other_account = set(
        in_corp.filter(user__in=[one.user_id for one in accounts]).values_list("user_id", flat=True)
    )
    userids = {one.userid_folded for one in accounts} - {""}
    used = set(in_corp.filter(userid_folded__in=userids).values_list("userid_folded", flat=True))
    userid_taken, has_other_account = [], []
    # Maps accounts to their former companies.
    moved: dict[int, int | None] = {}
    for account in accounts:
        if account.user_id in with_other_account:
            has_other_account.append(account.user_id)
        elif account.userid_folded in used:
            userid_taken.append(account.user_id)
        else:
            moved[account.pk] = account.corp_id
            used |= {account.userid_folded} - {""}
    WeComAccount.objects.filter(pk__in=list(moved)).update(corp=corp)
    names = dict(Corp.objects.filter(pk__in=set(moved.values())).values_list("pk", "name"))
    changes = {pk: [["corp", names.get(former or 0), corp.name]] for pk, former in moved.items()}
    services.record_accounts(changes, AuditEntry.Action.CHANGED, former_corps=moved)
    linked = set(primary.values_list("user_id", flat=True))
    new = [WeComAccount(user_id=user_id, corp=corp) for user_id in user_ids if user_id not in linked]
    WeComAccount.objects.bulk_create(new)
    services.record_accounts({one.pk: [["corp", None, corp.name]] for one in new}, AuditEntry.Action.CREATED)
    return CompanyChange(len(moved) + len(new), userid_taken, has_other_account)


# Called for a person's page in the administration. Returns a section of HTML, or an empty text if the viewer may not
# see it.
person_panels: Hook[[HttpRequest, User], SafeString] = Hook()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Functions of a higher app for the objects that people own there, each identified by a key.

    - `find_owned(owner, editor)` returns key, name and address of each object that the editor may hand over, and the
      name of the successor chosen in advance (empty if there is none, or if that person may not own the object).
    - `find_objections(owner, keys, successor, editor)` returns sentences on why the editor must not hand them over.
    - `hand_over(owner, keys, successor, editor)` hands them over unless there are objections, in the transaction that
      saves the owner; returns how many.
    - `let_successors_take_over(user_ids)` gives the objects of people who were disabled, or may no longer enter the
      administration, to their successors, in the same transaction; returns sentences that name the successors.
    """

    find_owned: Callable[[User, User], list[tuple[str, str, str, str]]]
    find_objections: Callable[[User, Collection[str], User, User], list[str]]
    hand_over: Callable[[User, Collection[str], User, User], int]
    let_successors_take_over: Callable[[Collection[int]], list[str]]


ownership: SingleProvider[Ownership] = SingleProvider()
