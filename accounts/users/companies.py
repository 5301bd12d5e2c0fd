"""The company of people: which account receives, setting it for many, what disabling it stops, and the hooks by which
higher apps take part when somebody leaves."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils.translation import ngettext

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount, barred_by_wecom
from integrations.core.background import repeat_on_conflict
from integrations.hooks import Hook, Provided
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    from accounts.models import User
    from integrations.models import Corp


def settle_primary_accounts(user_ids: Collection[int]) -> None:
    """Make an account that can receive the primary one of each person whose primary account cannot, if there is one.

    Call it wherever accounts were made, filled, emptied or barred, in the same transaction. One query where nothing is
    to be changed.
    """
    unable = Q(corp__isnull=True) | Q(userid_folded="") | barred_by_wecom()
    rank = Case(When(unable, then=Value(1)), default=Value(0))
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


def rests_on_corpid(corp: Corp) -> bool:
    """Whether people are linked with userids of `corp`."""
    return WeComAccount.objects.complete().filter(corp=corp).exists()


def disabling_stops(corp: Corp) -> list[str]:
    """What disabling `corp` does to its people, for the page that asks before it happens."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__is_active=True)
    sentences = []
    if corp.sign_in_enabled:
        count = accounts.values("user").distinct().count()
        sentence = ngettext(
            "%(count)d person can no longer sign in with WeCom, and is signed out if signed in that way.",
            "%(count)d people can no longer sign in with WeCom, and are signed out if signed in that way.",
            count,
        )
        sentences.append(sentence % {"count": count})
    count = accounts.filter(is_primary=True).count()
    sentence = ngettext(
        "%(count)d person receives no messages meanwhile.", "%(count)d people receive no messages meanwhile.", count
    )
    return [*sentences, sentence % {"count": count}]


STEP = 1000
NAMED_PEOPLE = 10
# So many people are given a company in one request: 10,000 take some seconds.
SET_AT_MOST = 10_000


@dataclass(slots=True)
class Left:
    """People who were left as before for one reason; the first of them by name."""

    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Change:
    """What became of a bulk change.

    `taken`: the userid belongs to somebody else there. `there`: the person has another account there already.
    """

    changed_count: int = 0
    taken: Left = field(default_factory=Left)
    there: Left = field(default_factory=Left)

    def add(self, more: Change) -> None:
        self.changed_count += more.changed_count
        for left, others in ((self.taken, more.taken), (self.there, more.there)):
            left.count += others.count
            left.names += others.names[: NAMED_PEOPLE - len(left.names)]


def set_company(*, people: QuerySet[User], corp: Corp) -> Change:
    """Set the company of each person's primary account, making an account where there is none.

    In the request that asks for it: for at most SET_AT_MOST people, which the caller sees to.
    """
    change = Change()
    for ids in _steps(people.order_by("pk").values_list("pk", flat=True)):
        primary = WeComAccount.objects.filter(user_id__in=ids, is_primary=True)
        change.add(repeat_on_conflict(partial(_set_step, ids, primary, corp)))
    return change


def _steps(keys: QuerySet[User, int]) -> Iterator[list[int]]:
    """`keys` in parts. All are read before the first change, which may take rows out of the queryset: 8 bytes each."""
    read = array("q", keys.iterator(chunk_size=STEP))
    for start in range(0, len(read), STEP):
        yield read[start : start + STEP].tolist()


@transaction.atomic
def _set_step(user_ids: list[int], primary: QuerySet[WeComAccount], corp: Corp) -> Change:
    elsewhere = primary.exclude(corp=corp) | primary.filter(corp__isnull=True)
    change = _move_step(elsewhere, corp)
    linked = set(primary.values_list("user_id", flat=True))
    new = [WeComAccount(user_id=user_id, corp=corp) for user_id in user_ids if user_id not in linked]
    WeComAccount.objects.bulk_create(new)
    change.changed_count += len(new)
    services.record_new(accounts=new, corp=corp)
    return change


def _move_step(accounts: QuerySet[WeComAccount], corp: Corp) -> Change:
    """Five queries at most besides the audit trail's, two more where somebody is left and not enough are named."""
    # Locked, so that neither account nor person changes until the step ends.
    columns = ("pk", "user_id", "userid_folded", "corp_id")
    rows = list(accounts.select_for_update(of=("self",)).order_by("pk").values_list(*columns))
    in_corp = WeComAccount.objects.filter(corp=corp)
    there = set(in_corp.filter(user_id__in=[row[1] for row in rows]).values_list("user_id", flat=True))
    taken = set(
        in_corp.filter(userid_folded__in=[row[2] for row in rows if row[2]]).values_list("userid_folded", flat=True)
    )
    left_there, left_taken = [], []
    moved: dict[int, int | None] = {}
    for pk, user_id, userid, source_id in rows:
        if user_id in there:
            left_there.append(user_id)
        elif userid in taken:
            left_taken.append(user_id)
        else:
            moved[pk] = source_id
            taken |= {userid} - {""}
    changed_count = WeComAccount.objects.filter(pk__in=list(moved)).update(corp=corp)
    services.record_moved(before=moved, corp=corp)
    return Change(changed_count, _named(left_taken), _named(left_there))


def _named(user_ids: list[int]) -> Left:
    first = User.objects.filter(pk__in=user_ids[:NAMED_PEOPLE]).order_by("pk") if user_ids else []
    return Left(len(user_ids), [str(person) for person in first])


# Asked when a person's page is shown: a section as HTML, empty where who asks may not see any of it.
person_panels: Hook[[HttpRequest, User], SafeString] = Hook()


@dataclass(frozen=True, slots=True)
class Ownership:
    """What people own in a higher app, each thing by a key.

    `find`: of what the first person owns, as far as the second may hand it over, key, name and address, and the name of
    the successor chosen in advance, empty where nobody is or the one chosen may not own it. `find_objections`: in whole
    sentences why the owner's things with these keys must not go to the successor by the editor's hand. `hand_over`:
    does it once nothing is against it, in the transaction that saves the owner; returns how much it was. `succeed`:
    lets others take over from people who were disabled, or may not enter the administration any more, in the
    transaction that does it; returns in whole sentences who took what over.
    """

    find: Callable[[User, User], list[tuple[str, str, str, str]]]
    find_objections: Callable[[User, Collection[str], User, User], list[str]]
    hand_over: Callable[[User, Collection[str], User, User], int]
    succeed: Callable[[Collection[int]], list[str]]


ownership: Provided[Ownership] = Provided()
