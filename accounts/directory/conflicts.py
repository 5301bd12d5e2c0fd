"""Finds conflicts between WeCom's directory and our users. Read-only."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Lower

from accounts.models import User, WeComAccount
from accounts.users.scopes import people_visible_to, sees_all
from integrations.models import Corp, Member

if TYPE_CHECKING:
    from integrations.models.fields import Person

# Shown of each kind; the rest follows when these are put right.
SHOWN_AT_MOST = 50
# Rows that share one value.
SHARERS_AT_MOST = 6


@dataclass(frozen=True, slots=True)
class Shared:
    """One value and those who share it; `is_cut`: there are more of them."""

    value: str
    rows: list[Any]
    is_cut: bool = False


@dataclass(slots=True)
class Conflicts:
    """`spellings`: usernames that differ in capitals only. `several`: people with accounts of several companies.

    `emails`, `mobiles`: members of one company who share one. `nameless`: accounts without a company whose userid
    somebody else has, too, or a member who is nobody here. `is_cut`: kinds of which there are more than are shown.
    """

    spellings: list[Shared] = field(default_factory=list)
    several: list[tuple[User, list[WeComAccount]]] = field(default_factory=list)
    emails: list[Shared] = field(default_factory=list)
    mobiles: list[Shared] = field(default_factory=list)
    nameless: list[WeComAccount] = field(default_factory=list)
    is_cut: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.spellings or self.several or self.emails or self.mobiles or self.nameless)


def conflicts(*, seen_by: Person, corps: QuerySet[Corp]) -> Conflicts:
    """Of the companies `corps`, as far as `seen_by` sees the people. Nine queries at most."""
    people = people_visible_to(seen_by)
    members = Member.objects.here().filter(corp__in=corps.values("pk"))
    found = Conflicts(
        spellings=_shared(people, Lower("username")),
        several=_several(people, corps, Corp.objects.visible_to(seen_by)),
        emails=_shared(members.exclude(email=""), Lower("email"), "corp_id"),
        mobiles=_shared(members.exclude(mobile=""), "mobile", "corp_id"),
        nameless=_nameless(members, corps) if sees_all(seen_by) else [],
    )
    kinds: tuple[list[Any], ...] = (found.spellings, found.several, found.emails, found.mobiles, found.nameless)
    found.is_cut = any(len(kind) >= SHOWN_AT_MOST for kind in kinds)
    return found


def _shared(rows: QuerySet[Any], column: Any, *within: str) -> list[Shared]:
    """Values of `column` that several of `rows` have, within the same `within`."""
    keyed = rows.order_by().annotate(key=column) if not isinstance(column, str) else rows.order_by()
    name = column if isinstance(column, str) else "key"
    groups = keyed.filter(**{f"{name}__isnull": False}).values(name, *within).annotate(count=Count("pk"))
    values = [one[name] for one in groups.filter(count__gt=1).order_by(name, *within)[:SHOWN_AT_MOST]]
    if not values:
        return []
    sharers: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    related = ["corp"] if within else []
    for row in keyed.filter(**{f"{name}__in": values}).select_related(*related).order_by("pk")[: 20 * SHOWN_AT_MOST]:
        sharers[(getattr(row, name), *(getattr(row, one) for one in within))].append(row)
    return [
        Shared(str(key[0]), some[:SHARERS_AT_MOST], len(some) > SHARERS_AT_MOST)
        for key, some in sorted(sharers.items())
        if len(some) > 1
    ]


def _several(
    people: QuerySet[User], corps: QuerySet[Corp], visible: QuerySet[Corp]
) -> list[tuple[User, list[WeComAccount]]]:
    """Companies that one does not see are neither counted nor named."""
    accounts = WeComAccount.objects.complete().filter(user__in=people.values("pk"), corp__in=visible.values("pk"))
    here = accounts.filter(corp__in=corps.values("pk"), user=OuterRef("user"))
    counted = accounts.filter(Exists(here)).order_by().values("user").annotate(count=Count("corp", distinct=True))
    keys = [one["user"] for one in counted.filter(count__gt=1).order_by("user")[:SHOWN_AT_MOST]]
    found: dict[int, list[WeComAccount]] = defaultdict(list)
    for account in accounts.filter(user__in=keys).select_related("user", "corp").order_by("user", "pk"):
        found[account.user_id].append(account)
    return [(some[0].user, some) for some in found.values()]


def _nameless(members: QuerySet[Member], corps: QuerySet[Corp]) -> list[WeComAccount]:
    """Whose they are, only a company would tell: somebody else has the userid, too, or a member who is nobody here."""
    linked = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
    meant = members.filter(~Exists(linked), userid_folded=OuterRef("userid_folded"))
    others = WeComAccount.objects.filter(Q(corp__isnull=True) | Q(corp__in=corps.values("pk")))
    twice = others.filter(userid_folded=OuterRef("userid_folded")).exclude(user=OuterRef("user"))
    accounts = WeComAccount.objects.without_corp().exclude(userid_folded="").filter(Exists(meant) | Exists(twice))
    return list(accounts.select_related("user").order_by("userid_folded", "pk")[:SHOWN_AT_MOST])
