"""Suggests users for unlinked members, and members for unlinked users. Read-only.

Wider than what a run links by (matching): every key that WeCom tells counts, and the name, too, by which no run ever
links. What is proposed here, an administrator looks at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import Exists, F, OuterRef, QuerySet, Window
from django.db.models.functions import Lower, RowNumber
from django.utils.translation import gettext_lazy as _

from accounts.directory.linking import unlinked
from accounts.directory.matching import Candidate
from accounts.models import Attribute, AttributeValue, LinkConflict, User, WeComAccount
from integrations.models import Member

# Shown for one row: of one name there are hundreds in a large company.
SHOWN_AT_MOST = 4


class Ground(models.TextChoices):
    """Why somebody is proposed, the best first."""

    USERNAME = "username", _("same username")
    NUMBER = "number", _("same employee number")
    EMAIL = "email", _("same e-mail")
    MOBILE = "mobile", _("same mobile")
    NAME = "name", _("same name")


_Key = tuple[Ground, str]
_ORDER = list(Ground)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`objection`: why a run would not link these two; an administrator may, after a question."""

    member: Member
    user: User
    grounds: tuple[Ground, ...]
    objection: LinkConflict.Reason | None

    @property
    def is_by_name_only(self) -> bool:
        return self.grounds == (Ground.NAME,)

    @property
    def needs_confirmation(self) -> bool:
        return self.objection is not None or self.is_by_name_only


def people_for(members: Sequence[Member], *, among: QuerySet[User]) -> dict[int, list[Suggestion]]:
    """By the member's key: who of `among` it could be, the best first. Six queries at most."""
    keys = {member.pk: keys_of_member(member) for member in members}
    found: dict[_Key, list[User]] = defaultdict(list)
    for key, user in _people(among, _by_ground(keys.values())):
        found[key].append(user)
    candidates = _candidates({user.pk: user for users in found.values() for user in users}.values())
    return {
        member.pk: _ranked(
            Suggestion(member, candidates[pk].user, grounds, candidates[pk].objection(member.corp))
            for pk, grounds in _grounds(keys[member.pk], found).items()
            if _says_something(grounds, candidates[pk], member)
        )
        for member in members
    }


def members_for(people: Sequence[User], *, among: QuerySet[Member]) -> dict[int, list[Suggestion]]:
    """By the person's key: who of `among` it could be, as far as they are nobody here yet. Nine queries at most."""
    keys = _keys_of_people(people)
    found: dict[_Key, list[Member]] = defaultdict(list)
    fetched = {member.pk: member for member in _members(unlinked(among), _by_ground(keys.values()))}
    for member in fetched.values():
        for key in keys_of_member(member):
            found[key].append(member)
    candidates = _candidates(people)
    return {
        user.pk: _ranked(
            Suggestion(fetched[pk], user, grounds, candidates[user.pk].objection(fetched[pk].corp))
            for pk, grounds in _grounds(keys[user.pk], found).items()
            if _says_something(grounds, candidates[user.pk], fetched[pk])
        )
        for user in people
    }


def keys_of_member(member: Member) -> set[_Key]:
    """What WeCom tells of a member that somebody here may have, too."""
    keys = {(Ground.USERNAME, member.userid_folded), (Ground.NUMBER, member.userid_folded)}
    keys |= {(Ground.EMAIL, email.lower()) for email in (member.email, member.biz_mail) if email}
    keys |= {(Ground.MOBILE, member.mobile)} if member.mobile else set()
    keys |= {(Ground.NUMBER, member.number.lower())} if member.number else set()
    return keys | ({(Ground.NAME, member.name)} if member.name else set())


# --- Reading ----------------------------------------------------------------------------------------------------------


def _people(among: QuerySet[User], wanted: dict[Ground, set[str]]) -> Iterable[tuple[_Key, User]]:
    """Of each key at most SHOWN_AT_MOST people, and one more. By name only those who are nobody in WeCom yet."""
    linked = WeComAccount.objects.complete().filter(user=OuterRef("pk"))
    numbered = among.filter(attribute_values__attribute__in=Attribute.objects.employee_numbers())
    for ground, people, column in (
        (Ground.USERNAME, among, Lower("username")),
        (Ground.NUMBER, numbered, F("attribute_values__folded")),
        (Ground.EMAIL, among.exclude(email=""), Lower("email")),
        (Ground.MOBILE, among.exclude(mobile=""), F("mobile")),
        (Ground.NAME, among.filter(~Exists(linked)).exclude(name=""), F("name")),
    ):
        if wanted[ground]:
            yield from (((ground, user.key), user) for user in _few(people, column, wanted[ground]))


def _members(among: QuerySet[Member], wanted: dict[Ground, set[str]]) -> Iterable[Member]:
    among = among.select_related("corp")
    yield from among.filter(userid_folded__in=wanted[Ground.USERNAME] | wanted[Ground.NUMBER])
    for ground, column in (
        (Ground.EMAIL, Lower("email")),
        (Ground.EMAIL, Lower("biz_mail")),
        (Ground.NUMBER, Lower("number")),
        (Ground.MOBILE, F("mobile")),
        (Ground.NAME, F("name")),
    ):
        if wanted[ground]:
            yield from _few(among, column, wanted[ground])


def _few(rows: QuerySet[Any], column: Any, values: Collection[str]) -> QuerySet[Any]:
    """Of each value the first rows only."""
    numbered = rows.annotate(key=column).filter(key__in=list(values))
    rank = Window(RowNumber(), partition_by=[F("key")], order_by="pk")
    found: QuerySet[Any] = numbered.annotate(rank=rank).filter(rank__lte=SHOWN_AT_MOST + 1)
    return found


def _keys_of_people(people: Sequence[User]) -> dict[int, set[_Key]]:
    keys: dict[int, set[_Key]] = {}
    for user in people:
        keys[user.pk] = {(Ground.USERNAME, user.username.lower())}
        keys[user.pk] |= {(Ground.EMAIL, user.email.lower())} if user.email else set()
        keys[user.pk] |= {(Ground.MOBILE, user.mobile)} if user.mobile else set()
        keys[user.pk] |= {(Ground.NAME, user.name)} if user.name else set()
    numbers = AttributeValue.objects.filter(user__in=list(keys), attribute__in=Attribute.objects.employee_numbers())
    for user_id, number in numbers.values_list("user_id", "folded"):
        keys[user_id].add((Ground.NUMBER, number))
    return keys


def _candidates(people: Iterable[User]) -> dict[int, Candidate]:
    found = {user.pk: Candidate(user) for user in people}
    for account in WeComAccount.objects.filter(user__in=list(found)).order_by("pk") if found else ():
        found[account.user_id].accounts.append(account)
    return found


# --- Comparing --------------------------------------------------------------------------------------------------------


def _by_ground(keys: Iterable[set[_Key]]) -> dict[Ground, set[str]]:
    wanted: dict[Ground, set[str]] = {ground: set() for ground in Ground}
    for ground, value in (key for some in keys for key in some):
        wanted[ground].add(value)
    return wanted


def _grounds(keys: set[_Key], found: dict[_Key, Any]) -> dict[int, tuple[Ground, ...]]:
    """By the key of each row that has one of `keys`: on which grounds."""
    grounds: dict[int, set[Ground]] = defaultdict(set)
    for key in keys & found.keys():
        for row in found[key]:
            grounds[row.pk].add(key[0])
    return {pk: tuple(sorted(some, key=_ORDER.index)) for pk, some in grounds.items()}


def _says_something(grounds: tuple[Ground, ...], candidate: Candidate, member: Member) -> bool:
    """Not the same userid in another company alone, nor a username that the directory has made."""
    if grounds != (Ground.USERNAME,):
        return True
    return not (candidate.user.has_made_username or candidate.is_somebody_else(member))


def _ranked(suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    return sorted(
        suggestions, key=lambda one: (_ORDER.index(one.grounds[0]), -len(one.grounds), one.user.pk, one.member.pk)
    )
