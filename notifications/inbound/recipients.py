"""Finds the people that a message's addresses name, among those whom its sender may reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from accounts.models import Attribute, AttributeValue, User, WeComAccount, fold_userid, fold_value
from accounts.users.bi_identity_sources import EMAIL, USERNAME
from integrations.directory import departments
from integrations.models import BiConnection, Department
from integrations.models.bi import THE_ONE

ADDRESSES_AT_MOST = 1000
# Digits of a department's number, as WeCom gives it.
NUMBER_DIGITS = 10
# Departments of one name that are looked at: a name that so many have means nobody.
SAME_NAMED_AT_MOST = 20


class Kind(StrEnum):
    """What an address names people by."""

    USER = "user"
    USERID = "userid"
    LOGIN_ID = "login_id"
    ACCOUNT = "account"
    EMAIL = "email"
    ATTRIBUTE = "attribute"
    DEPARTMENT = "department"
    GROUP = "group"


class Why(StrEnum):
    """Why an address names nobody. Who is out of the sender's reach is as unknown as who does not exist."""

    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Address:
    """One recipient as the sender names it.

    `corp`: of a userid or a department, the CorpId or the name of its company; empty: whichever has it. `attribute`:
    the key of the attribute whose value it is. A department is named by its number in WeCom, or by its name.
    """

    kind: Kind
    value: str
    corp: str = ""
    attribute: str = ""

    def document(self) -> dict[str, str]:
        """As a row and the API name it, without what is empty."""
        members = {"kind": self.kind.value, "value": self.value, "corp": self.corp, "attribute": self.attribute}
        return {name: text for name, text in members.items() if text}


@dataclass(frozen=True, slots=True)
class Found:
    """Whom the addresses name, and those that name nobody, in their order."""

    user_ids: frozenset[int] = frozenset()
    unknown: list[tuple[Address, Why]] = field(default_factory=list)


def find(addresses: Iterable[Address], *, among: QuerySet[User]) -> Found:
    """The people of `among` whom the addresses name. Some queries for each kind of address, however many there are.

    A user name, a userid, a loginId and a mail address mean one person: where several have it, nobody is meant. An
    account is a userid or a loginId, whichever names somebody.
    """
    by_kind: dict[Kind, list[Address]] = defaultdict(list)
    wanted = list(dict.fromkeys(addresses))
    for address in wanted:
        # What cannot be anybody's, as with a NUL, is not asked for: PostgreSQL would fail on it.
        if all(text.isprintable() for text in (address.value, address.corp, address.attribute)):
            by_kind[address.kind].append(address)
    named = {address: ids for kind, those in by_kind.items() for address, ids in _LOOKUPS[kind](those, among).items()}
    user_ids: set[int] = set()
    unknown = []
    for address in wanted:
        ids = named.get(address, set())
        if not ids:
            unknown.append((address, Why.UNKNOWN))
        elif len(ids) > 1 and address.kind not in _OF_SEVERAL:
            unknown.append((address, Why.AMBIGUOUS))
        else:
            user_ids |= ids
    return Found(frozenset(user_ids), unknown)


_OF_SEVERAL = frozenset({Kind.ATTRIBUTE, Kind.DEPARTMENT, Kind.GROUP})
_Named = Mapping[Address, set[int]]


def _collected(addresses: Sequence[Address], fold: Callable[[str], str], rows: Iterable[tuple[str, int]]) -> _Named:
    """By address the people of `rows`, which are folded values with the person of each."""
    found: dict[str, set[int]] = defaultdict(set)
    for folded, user_id in rows:
        found[folded].add(user_id)
    return {address: found[fold(address.value)] for address in addresses if fold(address.value) in found}


def _by_username(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    names = {address.value for address in addresses}
    return _collected(addresses, str, among.filter(username__in=names).order_by().values_list("username", "pk"))


def _by_email(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    people = among.exclude(email="").annotate(folded_email=Lower("email"))
    rows = people.filter(folded_email__in={address.value.lower() for address in addresses})
    return _collected(addresses, str.lower, rows.order_by().values_list("folded_email", "pk"))


def _by_login_id(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    """By what is somebody's account in the BI: the attribute that is marked for it, or what the connection names."""
    source = BiConnection.objects.filter(pk=THE_ONE).values_list("external_id_source", flat=True).first()
    if source in _LOGIN_SOURCES:
        return _LOGIN_SOURCES[source](addresses, among)
    attribute = Attribute.objects.bi_login_ids().first()
    return {} if attribute is None else _by_value(attribute, addresses, among)


_LOGIN_SOURCES = {USERNAME: _by_username, EMAIL: _by_email}


def _by_attribute(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    by_key: dict[str, list[Address]] = defaultdict(list)
    for address in addresses:
        by_key[address.attribute].append(address)
    attributes = Attribute.objects.filter(key__in=by_key)
    return {
        address: ids
        for attribute in attributes
        for address, ids in _by_value(attribute, by_key[attribute.key], among).items()
    }


def _by_value(attribute: Attribute, addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    values = AttributeValue.objects.of(attribute).among(address.value for address in addresses)
    rows = values.filter(user__in=among.order_by().values("pk")).order_by()
    return _collected(addresses, fold_value, rows.values_list("folded", "user_id"))


def _by_userid(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    userids = {fold_userid(address.value) for address in addresses}
    accounts = WeComAccount.objects.complete().filter(userid_folded__in=userids, user__in=among.order_by().values("pk"))
    rows = list(accounts.order_by().values_list("userid_folded", "user_id", "corp__corpid", "corp__name"))
    return {
        address: {
            user_id
            for folded, user_id, *corp in rows
            if folded == fold_userid(address.value) and (not address.corp or address.corp in corp)
        }
        for address in addresses
    }


def _by_account(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    userids, login_ids = _by_userid(addresses, among), _by_login_id(addresses, among)
    return {address: userids.get(address, set()) | login_ids.get(address, set()) for address in addresses}


def _by_department(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    """Whoever stands in the department or below it. One of those with the same name is as good as unknown: each of
    them is meant only by its number."""
    return {address: _people_in(_departments(address), among) for address in addresses}


def _departments(address: Address) -> list[int]:
    condition = Q(name=address.value)
    if address.value.isascii() and address.value.isdigit() and len(address.value) <= NUMBER_DIGITS:
        condition |= Q(wecom_department_id=int(address.value))
    rows = Department.objects.present().filter(condition)
    if address.corp:
        rows = rows.filter(Q(corp__corpid=address.corp) | Q(corp__name=address.corp))
    return list(rows.order_by("pk").values_list("pk", flat=True)[:SAME_NAMED_AT_MOST])


def _people_in(department_ids: Sequence[int], among: QuerySet[User]) -> set[int]:
    found = []
    for pk in department_ids:
        reached = departments.reached([pk], with_those_below=True)
        accounts = WeComAccount.objects.in_departments(reached).order_by().values("user_id")
        people = set(among.filter(pk__in=accounts).order_by().values_list("pk", flat=True))
        found += [people] if people else []
    return found[0] if len(found) == 1 else set()


def _by_group(addresses: Sequence[Address], among: QuerySet[User]) -> _Named:
    names = {address.value for address in addresses}
    members = User.groups.through.objects.filter(group__name__in=names, user__in=among.order_by().values("pk"))
    return _collected(addresses, str, members.order_by().values_list("group__name", "user_id"))


_LOOKUPS: Mapping[Kind, Callable[[Sequence[Address], QuerySet[User]], _Named]] = {
    Kind.USER: _by_username,
    Kind.USERID: _by_userid,
    Kind.LOGIN_ID: _by_login_id,
    Kind.ACCOUNT: _by_account,
    Kind.EMAIL: _by_email,
    Kind.ATTRIBUTE: _by_attribute,
    Kind.DEPARTMENT: _by_department,
    Kind.GROUP: _by_group,
}
