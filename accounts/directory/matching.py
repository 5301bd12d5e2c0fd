"""Matches WeCom members with users, suggests links to administrators, and lists conflicting values.

A run never matches by name. It does not link people who may enter the administration, sign in by password only, belong
to another company, or are disabled: account, e-mail and mobile of a member are set in WeCom, and a person who signs in
as the member would get all rights of the linked person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from django.contrib.auth.hashers import is_password_usable
from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import Lower, RowNumber
from django.utils.translation import gettext_lazy as _

from accounts.models import Attribute, AttributeValue, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.models.attributes import fold_value
from accounts.users.roles import find_visible_people, sees_all
from integrations.models import Corp, Member
from integrations.models.fields import Person

Reason = LinkConflict.Reason


@dataclass(slots=True)
class Candidate:
    """A user and their WeCom accounts."""

    user: User
    accounts: list[WeComAccount] = field(default_factory=list)

    def find_objection(self, corp: Corp) -> LinkConflict.Reason | None:
        """Return why the person must not be linked with a member of `corp`, or None."""
        if self.user.is_staff or self.user.is_superuser:
            return Reason.PROTECTED
        if not self.user.is_active:
            return Reason.DISABLED
        if not self.accounts and is_password_usable(self.user.password):
            return Reason.PASSWORD_ONLY
        if any(one.corp_id not in {None, corp.pk} for one in self.accounts):
            return Reason.OTHER_COMPANY
        if any(one.userid_folded for one in self.accounts):
            return Reason.OTHER_ACCOUNT
        return None

    def is_somebody_else(self, member: Member) -> bool:
        """Return whether the user probably is another person than `member`, although the userids are equal: the account
        belongs to another company, and the names differ."""
        corps = {one.corp_id for one in self.accounts}
        is_of_another = bool(corps - {None, member.corp_id}) and member.corp_id not in corps
        return is_of_another and not (member.name and member.name == self.user.name)


@dataclass(frozen=True, slots=True)
class Match:
    """The decision for a member without an account: do nothing (`conflict` is set), link `user` (by filling `account`,
    if set), or create a user (none of these is set)."""

    member: Member
    user: User | None = None
    account: WeComAccount | None = None
    conflict: LinkConflict.Reason | None = None


def match_members(*, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member]) -> list[Match]:
    """Return a match for each of `members`, who must have access and no account. Members who match the same person get
    Reason.SEVERAL. Eleven queries at most for any number of members."""
    if not members:
        return []
    context = MatchContext(corp, policy, members)
    matches = [context.match_member(member) for member in members]
    counts = Counter(match.user.pk for match in matches if match.user is not None and match.conflict is None)
    return [
        replace(match, account=None, conflict=match.conflict or Reason.SEVERAL)
        if match.user is not None and counts[match.user.pk] > 1
        else match
        for match in matches
    ]


class MatchContext:
    """People who share a value (username, e-mail …) with one of `members`. The number of queries is fixed."""

    def __init__(self, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member]) -> None:
        self._corp, self._policy = corp, policy
        userids = {one.userid_folded for one in members}
        wanted = _group_by_reason(self._find_keys(one) for one in members)
        wanted_of_members = {**wanted, MatchReason.USERNAME: set()}
        wanted[MatchReason.USERNAME] = userids  # always needed, to find out whether the username is free
        self._found: dict[_Key, set[int]] = defaultdict(set)
        people: dict[int, User] = {}
        numbers = Attribute.objects.filter(pk=policy.number_attribute_id or 0)
        for key, user in _find_people(User.objects.all(), wanted, numbers):
            self._found[key].add(user.pk)
            people[user.pk] = user
        self._people = _find_candidates(people.values())
        # E-mail addresses, mobile numbers and employee numbers that several members of the company share.
        owners: dict[_Key, set[int]] = defaultdict(set)
        for one in _find_members(Member.objects.filter(corp=corp).in_scope(), wanted_of_members):
            for key in self._find_keys(one):
                owners[key].add(one.pk)
        self._shared = {key for key, pks in owners.items() if len(pks) > 1}
        without_corp = WeComAccount.objects.without_corp().filter(userid_folded__in=userids)
        self._userids_without_corp = set(without_corp.values_list("userid_folded", flat=True))

    def match_member(self, member: Member) -> Match:
        if member.userid_folded in self._userids_without_corp:
            return Match(member, conflict=Reason.COMPANY_MISSING)
        keys = self._find_keys(member)
        if self._shared & keys:
            return Match(member, conflict=Reason.SHARED)
        # People whom only the username matches; some of them only by chance.
        username = (MatchReason.USERNAME, member.userid_folded)
        by_name_only = self._found[username] - {pk for key in keys - {username} for pk in self._found[key]}
        if self._policy.mode == DirectoryPolicy.Mode.CREATE:
            by_chance = {pk for pk in by_name_only if self._has_name_by_chance(pk, member)}
        else:
            # This policy creates nobody, so a person of another company stays a candidate: then the conflict's reason
            # is the other company.
            by_chance = {pk for pk in by_name_only if self._people[pk].user.has_made_username}
        people = {pk for key in keys for pk in self._found[key]} - by_chance
        if len(people) > 1:
            return Match(member, conflict=Reason.SEVERAL)
        if not people and self._policy.mode != DirectoryPolicy.Mode.CREATE:
            return Match(member, conflict=Reason.NOBODY)
        if not people:
            is_taken = any(not self._has_name_by_chance(pk, member) for pk in self._found[username])
            return Match(member, conflict=Reason.USERNAME_TAKEN if is_taken else None)
        candidate = self._people[people.pop()]
        objection = candidate.find_objection(self._corp)
        if objection is not None:
            return Match(member, candidate.user, conflict=objection)
        return Match(member, candidate.user, next(iter(candidate.accounts), None))

    def _find_keys(self, member: Member) -> set[_Key]:
        """Return the member's values by which the policy finds people. The employee number is the userid unless the
        policy names a field."""
        policy, keys = self._policy, set[_Key]()
        if policy.match_username:
            keys.add((MatchReason.USERNAME, member.userid_folded))
        if policy.match_email:
            keys |= {(MatchReason.EMAIL, email.lower()) for email in (member.email, member.biz_mail) if email}
        if policy.match_mobile and member.mobile:
            keys.add((MatchReason.MOBILE, member.mobile))
        number = member.number if policy.number_field else member.userid
        if policy.number_attribute_id is not None and number:
            keys.add((MatchReason.NUMBER, fold_value(number)))
        return keys

    def _has_name_by_chance(self, pk: int, member: Member) -> bool:
        """Return whether the person's username equals the member's userid only by chance."""
        candidate = self._people[pk]
        return candidate.user.has_made_username or candidate.is_somebody_else(member)


# Number of suggestions shown for one row: in a large company hundreds of people can have the same name.
SUGGESTIONS_SHOWN = 4


def filter_unlinked(members: QuerySet[Member]) -> QuerySet[Member]:
    """Keep members who are in scope and linked with nobody."""
    account = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
    return members.filter(~Exists(account), presence=Member.Presence.IN_SCOPE)


class MatchReason(models.TextChoices):
    """Reasons for a suggestion, the best first."""

    USERNAME = "username", _("same username")
    NUMBER = "number", _("same employee number")
    EMAIL = "email", _("same e-mail")
    MOBILE = "mobile", _("same mobile")
    NAME = "name", _("same name")


_Key = tuple[MatchReason, str]
_ORDER = list(MatchReason)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A possible link. `objection`: why a run would not make it. An administrator may make it after a confirmation."""

    member: Member
    user: User
    reasons: tuple[MatchReason, ...]
    objection: LinkConflict.Reason | None

    @property
    def is_by_name_only(self) -> bool:
        return self.reasons == (MatchReason.NAME,)

    @property
    def needs_confirmation(self) -> bool:
        return self.objection is not None or self.is_by_name_only


def suggest_people(members: Sequence[Member], *, among: QuerySet[User]) -> dict[int, list[Suggestion]]:
    """Map members' keys to suggested people from `among`, the best first. Six queries at most."""
    keys = {member.pk: find_member_keys(member) for member in members}
    people_by_key: dict[_Key, list[User]] = defaultdict(list)
    for key, user in _find_people(among, _group_by_reason(keys.values()), Attribute.objects.employee_numbers()):
        people_by_key[key].append(user)
    candidates = _find_candidates({user.pk: user for users in people_by_key.values() for user in users}.values())
    return {
        member.pk: _rank_suggestions(
            Suggestion(member, candidates[pk].user, reasons, candidates[pk].find_objection(member.corp))
            for pk, reasons in _find_reasons(keys[member.pk], people_by_key).items()
            if _is_meaningful(reasons, candidates[pk], member)
        )
        for member in members
    }


def suggest_members(people: Sequence[User], *, among: QuerySet[Member]) -> dict[int, list[Suggestion]]:
    """Map people's keys to suggested unlinked members from `among`, the best first. Nine queries at most."""
    keys: dict[int, set[_Key]] = {}
    for user in people:
        of_user = [(MatchReason.USERNAME, user.username.lower()), (MatchReason.EMAIL, user.email.lower())]
        of_user += [(MatchReason.MOBILE, user.mobile), (MatchReason.NAME, user.name)]
        keys[user.pk] = {(reason, value) for reason, value in of_user if value}
    numbers = AttributeValue.objects.filter(user__in=list(keys), attribute__in=Attribute.objects.employee_numbers())
    for user_id, number in numbers.values_list("user_id", "folded"):
        keys[user_id].add((MatchReason.NUMBER, number))
    members_by_key: dict[_Key, list[Member]] = defaultdict(list)
    unlinked = filter_unlinked(among).select_related("corp")
    fetched = {member.pk: member for member in _find_members(unlinked, _group_by_reason(keys.values()))}
    for member in fetched.values():
        for key in find_member_keys(member):
            members_by_key[key].append(member)
    candidates = _find_candidates(people)
    return {
        user.pk: _rank_suggestions(
            Suggestion(fetched[pk], user, reasons, candidates[user.pk].find_objection(fetched[pk].corp))
            for pk, reasons in _find_reasons(keys[user.pk], members_by_key).items()
            if _is_meaningful(reasons, candidates[user.pk], fetched[pk])
        )
        for user in people
    }


def find_member_keys(member: Member) -> set[_Key]:
    """Return the member's values in WeCom by which people may be found here."""
    keys: list[tuple[MatchReason, str | None]] = [
        (MatchReason.USERNAME, member.userid_folded),
        (MatchReason.NUMBER, fold_value(member.userid)),
        (MatchReason.NUMBER, fold_value(member.number or "")),
        (MatchReason.EMAIL, (member.email or "").lower()),
        (MatchReason.EMAIL, (member.biz_mail or "").lower()),
        (MatchReason.MOBILE, member.mobile),
        (MatchReason.NAME, member.name),
    ]
    return {(reason, value) for reason, value in keys if value}


# --- Reading ----------------------------------------------------------------------------------------------------------


def _find_people(
    among: QuerySet[User], wanted: dict[MatchReason, set[str]], numbers: QuerySet[Attribute]
) -> Iterable[tuple[_Key, User]]:
    """Yield each wanted value with a user of `among` who has it, at most SUGGESTIONS_SHOWN + 1 users for each value.
    Only users without a WeCom account are found by name. `numbers`: the attributes that hold employee numbers."""
    linked = WeComAccount.objects.complete().filter(user=OuterRef("pk"))
    numbered = among.filter(attribute_values__attribute__in=numbers)
    for reason, people, column in (
        (MatchReason.USERNAME, among, Lower("username")),
        (MatchReason.NUMBER, numbered, F("attribute_values__folded")),
        (MatchReason.EMAIL, among.exclude(email=""), Lower("email")),
        (MatchReason.MOBILE, among.exclude(mobile=""), F("mobile")),
        (MatchReason.NAME, among.filter(~Exists(linked)).exclude(name=""), F("name")),
    ):
        if wanted[reason]:
            yield from (((reason, user.key), user) for user in _select_first_rows(people, column, wanted[reason]))


def _find_members(among: QuerySet[Member], wanted: dict[MatchReason, set[str]]) -> Iterable[Member]:
    yield from among.filter(userid_folded__in=wanted[MatchReason.USERNAME] | wanted[MatchReason.NUMBER])
    for reason, column in (
        (MatchReason.EMAIL, Lower("email")),
        (MatchReason.EMAIL, Lower("biz_mail")),
        (MatchReason.NUMBER, Lower("number")),
        (MatchReason.MOBILE, F("mobile")),
        (MatchReason.NAME, F("name")),
    ):
        if wanted[reason]:
            yield from _select_first_rows(among, column, wanted[reason])


def _select_first_rows(rows: QuerySet[Any], column: Any, values: Collection[str]) -> QuerySet[Any]:
    """Return the first SUGGESTIONS_SHOWN + 1 rows for each value of `column`."""
    numbered = rows.order_by().annotate(key=column).filter(key__in=list(values))
    rank = Window(RowNumber(), partition_by=[F("key")], order_by="pk")
    first: QuerySet[Any] = numbered.annotate(rank=rank).filter(rank__lte=SUGGESTIONS_SHOWN + 1)
    return first


def _find_candidates(people: Iterable[User]) -> dict[int, Candidate]:
    candidates = {user.pk: Candidate(user) for user in people}
    for account in WeComAccount.objects.filter(user__in=list(candidates)).order_by("pk") if candidates else ():
        candidates[account.user_id].accounts.append(account)
    return candidates


# --- Comparing --------------------------------------------------------------------------------------------------------


def _group_by_reason(keys: Iterable[set[_Key]]) -> dict[MatchReason, set[str]]:
    wanted: dict[MatchReason, set[str]] = {reason: set() for reason in MatchReason}
    for reason, value in (key for some in keys for key in some):
        wanted[reason].add(value)
    return wanted


def _find_reasons(keys: set[_Key], rows_by_key: dict[_Key, Any]) -> dict[int, tuple[MatchReason, ...]]:
    """Map the keys of rows that have one of the values `keys` to the reasons for which they match."""
    reasons: dict[int, set[MatchReason]] = defaultdict(set)
    for key in keys & rows_by_key.keys():
        for row in rows_by_key[key]:
            reasons[row.pk].add(key[0])
    return {pk: tuple(sorted(some, key=_ORDER.index)) for pk, some in reasons.items()}


def _is_meaningful(reasons: tuple[MatchReason, ...], candidate: Candidate, member: Member) -> bool:
    """Return False if only the username matches, and only by chance: see MatchContext._has_name_by_chance."""
    if reasons != (MatchReason.USERNAME,):
        return True
    return not (candidate.user.has_made_username or candidate.is_somebody_else(member))


def _rank_suggestions(suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    return sorted(
        suggestions, key=lambda one: (_ORDER.index(one.reasons[0]), -len(one.reasons), one.user.pk, one.member.pk)
    )


# Number of conflicts shown of each kind.
CONFLICTS_SHOWN = 50
# Number of rows shown that share a value.
SHARERS_AT_MOST = 6


@dataclass(frozen=True, slots=True)
class SharedValue:
    """A value and the rows that share it. `is_cut`: there are more rows."""

    value: str
    rows: list[Any]
    is_cut: bool = False


def find_conflicts(*, seen_by: Person, corps: QuerySet[Corp]) -> dict[str, Any]:
    """Find conflicts in the companies `corps` among people whom `seen_by` sees. Nine queries at most.

    `spellings`: usernames that differ only in capitals. `several`: people with accounts in several companies. `emails`,
    `mobiles`: members of one company with the same value. `without_corp`: accounts without a company, if somebody else
    or an unlinked member has the same userid. `is_cut`: there are more conflicts of some kind than shown."""
    people = find_visible_people(seen_by)
    members = Member.objects.in_scope().filter(corp__in=corps.values("pk"))
    conflicts: dict[str, list[Any]] = {
        "spellings": _find_shared(people, Lower("username")),
        "several": [],
        "emails": _find_shared(members.exclude(email=""), Lower("email"), "corp_id"),
        "mobiles": _find_shared(members.exclude(mobile=""), "mobile", "corp_id"),
        "without_corp": [],
    }
    # People with accounts in several companies. Invisible companies are neither counted nor named.
    visible = Corp.objects.visible_to(seen_by)
    accounts = WeComAccount.objects.complete().filter(user__in=people.values("pk"), corp__in=visible.values("pk"))
    here = accounts.filter(corp__in=corps.values("pk"), user=OuterRef("user"))
    counted = accounts.filter(Exists(here)).order_by().values("user").annotate(count=Count("corp", distinct=True))
    keys = [one["user"] for one in counted.filter(count__gt=1).order_by("user")[:CONFLICTS_SHOWN]]
    for _key, some in groupby(
        accounts.filter(user__in=keys).select_related("user", "corp").order_by("user", "pk"), lambda one: one.user_id
    ):
        of_person = list(some)
        conflicts["several"].append((of_person[0].user, of_person))
    if sees_all(seen_by):
        linked = WeComAccount.objects.filter(corp=OuterRef("corp"), userid_folded=OuterRef("userid_folded"))
        unlinked = members.filter(~Exists(linked), userid_folded=OuterRef("userid_folded"))
        accounts = WeComAccount.objects.filter(Q(corp__isnull=True) | Q(corp__in=corps.values("pk")))
        others = accounts.filter(userid_folded=OuterRef("userid_folded")).exclude(user=OuterRef("user"))
        without_corp = WeComAccount.objects.without_corp().exclude(userid_folded="")
        ambiguous = without_corp.filter(Exists(unlinked) | Exists(others))
        ordered = ambiguous.select_related("user").order_by("userid_folded", "pk")
        conflicts["without_corp"] = list(ordered[:CONFLICTS_SHOWN])
    is_cut = any(len(kind) >= CONFLICTS_SHOWN for kind in conflicts.values())
    return {**conflicts, "is_cut": is_cut, "is_empty": not any(conflicts.values())}


def _find_shared(rows: QuerySet[Any], column: Any, *within: str) -> list[SharedValue]:
    """Find values of `column` that several of `rows` share, among rows with equal columns `within`."""
    keyed = rows.order_by().annotate(key=column) if not isinstance(column, str) else rows.order_by()
    name = column if isinstance(column, str) else "key"
    groups = keyed.filter(**{f"{name}__isnull": False}).values(name, *within).annotate(count=Count("pk"))
    values = [one[name] for one in groups.filter(count__gt=1).order_by(name, *within)[:CONFLICTS_SHOWN]]
    if not values:
        return []
    sharers: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    related = ["corp"] if within else []
    for row in keyed.filter(**{f"{name}__in": values}).select_related(*related).order_by("pk")[: 20 * CONFLICTS_SHOWN]:
        sharers[(getattr(row, name), *(getattr(row, one) for one in within))].append(row)
    return [
        SharedValue(str(key[0]), some[:SHARERS_AT_MOST], len(some) > SHARERS_AT_MOST)
        for key, some in sorted(sharers.items())
        if len(some) > 1
    ]
