"""Sets the company of many people in batches, to keep memory and transactions small.

Whoever cannot be put there is left as before and said. Each step is a transaction of its own, so a break leaves some
people changed and the others not, never somebody in between; doing it again does the rest.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import bulk
from accounts.models import User, WeComAccount
from integrations.core.background import repeat_on_conflict

if TYPE_CHECKING:
    from integrations.models import Corp

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
    bulk.record_new(accounts=new, corp=corp)
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
    bulk.record_moved(before=moved, corp=corp)
    return Change(changed_count, _named(left_taken), _named(left_there))


def _named(user_ids: list[int]) -> Left:
    first = User.objects.filter(pk__in=user_ids[:NAMED_PEOPLE]).order_by("pk") if user_ids else []
    return Left(len(user_ids), [str(person) for person in first])
