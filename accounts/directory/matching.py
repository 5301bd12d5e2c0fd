"""Matches a WeCom member to a user. Pure: rows in, decisions out.

Never by name. Nobody is linked who may enter the administration, signs in by password only, belongs to another company
or is disabled: a member's account, e-mail and mobile are set in WeCom, and linking lends everything that a person has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.contrib.auth.hashers import is_password_usable
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower

from accounts.models import AttributeValue, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.models.attributes import fold_value
from integrations.models import Corp, Member

Reason = LinkConflict.Reason


@dataclass(slots=True)
class Candidate:
    """Somebody here, with the accounts in WeCom."""

    user: User
    accounts: list[WeComAccount] = field(default_factory=list)

    def objection(self, corp: Corp) -> LinkConflict.Reason | None:
        """Why the person must not be linked with a member of `corp`; None: nothing is against it."""
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
        """Whether the same userid says nothing, because it is another company's and the names do not agree."""
        corps = {one.corp_id for one in self.accounts}
        is_of_another = bool(corps - {None, member.corp_id}) and member.corp_id not in corps
        return is_of_another and not (member.name and member.name == self.user.name)


@dataclass(frozen=True, slots=True)
class Match:
    """What to do for a member without account: link `user` (through `account`, if there is an empty one), create
    somebody (neither), or nothing, for `conflict`."""

    member: Member
    user: User | None = None
    account: WeComAccount | None = None
    conflict: LinkConflict.Reason | None = None


def matches(*, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member]) -> list[Match]:
    """One for each of `members`, all able and without an account. Eight queries at most, however many they are."""
    if not members:
        return []
    known = _Known(corp, policy, members)
    found = [known.match(member) for member in members]
    return _without_rivals(found)


class _Known:
    """Who could be meant by some members."""

    def __init__(self, corp: Corp, policy: DirectoryPolicy, members: Sequence[Member]) -> None:
        self._corp, self._policy = corp, policy
        self._people: dict[int, Candidate] = {}
        everybody = User.objects.all()
        self._by_username = self._by(everybody, Lower("username"), {one.userid_folded for one in members})
        emails = {email for one in members for email in _emails(one)} if policy.match_email else set()
        self._by_email = self._by(everybody.exclude(email=""), Lower("email"), emails)
        mobiles = {one.mobile for one in members if one.mobile} if policy.match_mobile else set()
        self._by_mobile = self._by(everybody.exclude(mobile=""), F("mobile"), mobiles)
        self._by_number = self._numbered({number for one in members for number in _numbers(one, policy)})
        self._shared = _shared(corp, members, policy)
        self._load_accounts()
        userids = [one.userid_folded for one in members]
        without = WeComAccount.objects.without_corp().filter(userid_folded__in=userids)
        self._without_corp = set(without.values_list("userid_folded", flat=True))

    def match(self, member: Member) -> Match:
        if member.userid_folded in self._without_corp:
            return Match(member, conflict=Reason.COMPANY_MISSING)
        keys = self._keys(member)
        if self._shared & {value for _people, value in keys}:
            return Match(member, conflict=Reason.SHARED)
        people = {pk for index, value in keys for pk in index[value]} - self._strangers(member, keys)
        if len(people) > 1:
            return Match(member, conflict=Reason.SEVERAL)
        if not people:
            return self._without_candidate(member)
        candidate = self._people[people.pop()]
        objection = candidate.objection(self._corp)
        if objection is not None:
            return Match(member, candidate.user, conflict=objection)
        return Match(member, candidate.user, next(iter(candidate.accounts), None))

    def _keys(self, member: Member) -> list[tuple[dict[str, set[int]], str]]:
        keys = [(self._by_username, member.userid_folded)] if self._policy.match_username else []
        if self._policy.match_email:
            keys += [(self._by_email, email) for email in _emails(member)]
        if self._policy.match_mobile and member.mobile:
            keys.append((self._by_mobile, member.mobile))
        return keys + [(self._by_number, number) for number in _numbers(member, self._policy)]

    def _without_candidate(self, member: Member) -> Match:
        if self._policy.mode != DirectoryPolicy.Mode.CREATE:
            return Match(member, conflict=Reason.NOBODY)
        if any(not self._has_name_by_chance(pk, member) for pk in self._by_username[member.userid_folded]):
            return Match(member, conflict=Reason.USERNAME_TAKEN)
        return Match(member)

    def _strangers(self, member: Member, keys: list[tuple[dict[str, set[int]], str]]) -> set[int]:
        """Whom nothing but the username speaks for, and who has it by chance."""
        otherwise = {pk for index, value in keys if index is not self._by_username for pk in index[value]}
        named = self._by_username[member.userid_folded] - otherwise
        if self._policy.mode == DirectoryPolicy.Mode.CREATE:
            return {pk for pk in named if self._has_name_by_chance(pk, member)}
        # Nobody is created beside them: an administrator reads that they belong to another company.
        return {pk for pk in named if self._people[pk].user.has_made_username}

    def _has_name_by_chance(self, pk: int, member: Member) -> bool:
        candidate = self._people[pk]
        return candidate.user.has_made_username or candidate.is_somebody_else(member)

    def _by(self, people: QuerySet[User], column: Lower | F, values: set[str]) -> dict[str, set[int]]:
        """Those of `people` with each of these values in a column; the three columns each have an index."""
        found: dict[str, set[int]] = defaultdict(set)
        if values:
            for user in people.annotate(key=column).filter(key__in=values):
                self._people.setdefault(user.pk, Candidate(user))
                found[user.key].add(user.pk)
        return found

    def _numbered(self, numbers: set[str]) -> dict[str, set[int]]:
        """Those with each of these employee numbers."""
        found: dict[str, set[int]] = defaultdict(set)
        if numbers:
            values = AttributeValue.objects.filter(attribute=self._policy.number_attribute_id, folded__in=numbers)
            for value in values.select_related("user"):
                self._people.setdefault(value.user_id, Candidate(value.user))
                found[value.folded].add(value.user_id)
        return found

    def _load_accounts(self) -> None:
        if self._people:
            for account in WeComAccount.objects.filter(user__in=list(self._people)).order_by("pk"):
                self._people[account.user_id].accounts.append(account)


def _emails(member: Member) -> set[str]:
    return {email.lower() for email in (member.email, member.biz_mail) if email}


def _numbers(member: Member, policy: DirectoryPolicy) -> list[str]:
    """The member's employee number, folded: the userid where the policy names no field of WeCom."""
    if policy.number_attribute_id is None:
        return []
    number = member.userid if not policy.number_field else member.number
    return [fold_value(number)] if number else []


def _shared(corp: Corp, members: Iterable[Member], policy: DirectoryPolicy) -> set[str]:
    """E-mail addresses, mobile and employee numbers that more than one member of the company has."""
    owners: dict[str, set[int]] = defaultdict(set)
    here = Member.objects.filter(corp=corp).here()
    if policy.match_email:
        emails = {email for one in members for email in _emails(one)}
        folded = here.annotate(folded_email=Lower("email"), folded_mail=Lower("biz_mail"))
        for one in _few(folded.filter(Q(folded_email__in=emails) | Q(folded_mail__in=emails))):
            for email in _emails(one):
                owners[email].add(one.pk)
    if policy.match_mobile:
        mobiles = [one.mobile for one in members if one.mobile]
        for one in _few(here.filter(mobile__in=mobiles)):
            owners[one.mobile or ""].add(one.pk)
    if policy.number_field:
        numbers = {number for one in members for number in _numbers(one, policy)}
        for one in _few(here.annotate(folded=Lower("number")).filter(folded__in=numbers)):
            for number in _numbers(one, policy):
                owners[number].add(one.pk)
    return {value for value, pks in owners.items() if len(pks) > 1}


def _few(members: QuerySet[Member]) -> QuerySet[Member]:
    return members.only("pk", "email", "biz_mail", "mobile", "number", "userid")


def _without_rivals(found: list[Match]) -> list[Match]:
    """Two members who would be the same person are linked with nobody."""
    rivals: dict[int, int] = defaultdict(int)
    for one in found:
        if one.user is not None and one.conflict is None:
            rivals[one.user.pk] += 1
    return [
        Match(one.member, one.user, conflict=Reason.SEVERAL)
        if one.user is not None and one.conflict is None and rivals[one.user.pk] > 1
        else one
        for one in found
    ]
