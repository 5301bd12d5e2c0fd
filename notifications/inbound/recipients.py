"""Finds the people whom a message's addresses name, among those whom its sender may reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from accounts.models import Attribute, AttributeValue, User, WeComAccount, fold_userid, fold_value
from accounts.users.bi_identity import EMAIL, USERNAME
from integrations.directory import departments
from integrations.models import BiConnection, Corp, Department, Member
from integrations.models.installation import SINGLETON_PK

ADDRESSES_AT_MOST = 1000
# Digits of a department's number in WeCom.
NUMBER_DIGITS = 10
# A name shared by more departments than this names none of them.
SAME_NAMED_AT_MOST = 20


class AddressKind(StrEnum):
    """Property by which an address names people."""

    USER = "user"
    USERID = "userid"
    LOGIN_ID = "login_id"
    ACCOUNT = "account"
    EMAIL = "email"
    ATTRIBUTE = "attribute"
    DEPARTMENT = "department"
    GROUP = "group"


class AddressProblem(StrEnum):
    """Reason why an address names nobody. Somebody out of the sender's reach is unknown, like somebody who does not
    exist."""

    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Address:
    """A recipient as the sender names it. `corp`: for a userid or a department, the CorpId or the name of its company;
    empty: any company. `attribute`: key of the attribute, for that kind. A department is named by its WeCom number or
    by its name."""

    kind: AddressKind
    value: str
    corp: str = ""
    attribute: str = ""

    def to_document(self) -> dict[str, str]:
        """Return the non-empty fields, in the form that rows and the API use."""
        return {name: str(value) for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class ResolvedAddresses:
    """Result of `resolve_addresses`: the people, and the addresses that name nobody, in their order."""

    user_ids: frozenset[int] = frozenset()
    unknown: list[tuple[Address, AddressProblem]] = field(default_factory=list)


def resolve_addresses(
    addresses: Iterable[Address], *, among: QuerySet[User], corps: QuerySet[Corp]
) -> ResolvedAddresses:
    """Return the people of `among` whom the addresses name, with a few queries for each kind of address. A user name, a
    userid, a loginId and a mail address must name exactly one person, and a department's name one department; otherwise
    they name nobody. An account is a userid or a loginId. `corps`: the companies whose userids and departments the
    sender may use."""
    by_kind: dict[AddressKind, list[Address]] = defaultdict(list)
    wanted = list(dict.fromkeys(addresses))
    for address in wanted:
        # Unprintable text, such as a NUL character, names nobody and would make PostgreSQL fail.
        if all(text.isprintable() for text in (address.value, address.corp, address.attribute)):
            by_kind[address.kind].append(address)
    named: dict[Address, set[int] | AddressProblem] = {}
    for kind, of_kind in by_kind.items():
        named.update(_find_by_kind(kind, of_kind, among, corps))
    user_ids: set[int] = set()
    unknown = []
    for address in wanted:
        ids = named.get(address) or AddressProblem.UNKNOWN
        if isinstance(ids, set) and len(ids) > 1 and address.kind not in _NAMING_SEVERAL:
            ids = AddressProblem.AMBIGUOUS
        if isinstance(ids, AddressProblem):
            unknown.append((address, ids))
        else:
            user_ids |= ids
    return ResolvedAddresses(frozenset(user_ids), unknown)


# An address of these kinds may name any number of people.
_NAMING_SEVERAL = frozenset({AddressKind.ATTRIBUTE, AddressKind.DEPARTMENT, AddressKind.GROUP})
# People by address; or the reason why an address names nobody.
_PeopleByAddress = Mapping[Address, set[int]]
_PeopleOrProblem = Mapping[Address, set[int] | AddressProblem]


def _find_by_kind(
    kind: AddressKind, addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]
) -> _PeopleOrProblem:
    match kind:
        case AddressKind.USER:
            return _find_by_username(addresses, people, corps)
        case AddressKind.USERID:
            return _find_by_userid(addresses, people, corps)
        case AddressKind.LOGIN_ID:
            return _find_by_login_id(addresses, people, corps)
        case AddressKind.ACCOUNT:
            userids = _find_by_userid(addresses, people, corps)
            login_ids = _find_by_login_id(addresses, people, corps)
            return {one: userids.get(one, set()) | login_ids.get(one, set()) for one in addresses}
        case AddressKind.EMAIL:
            return _find_by_email(addresses, people, corps)
        case AddressKind.ATTRIBUTE:
            found: dict[Address, set[int]] = {}
            for attribute in Attribute.objects.filter(key__in={one.attribute for one in addresses}):
                of_key = [one for one in addresses if one.attribute == attribute.key]
                found.update(_find_by_value(attribute, of_key, people))
            return found
        case AddressKind.DEPARTMENT:
            return _find_by_department(addresses, people, corps)
        case AddressKind.GROUP:
            names = {one.value for one in addresses}
            through = User.groups.through.objects
            members = through.filter(group__name__in=names, user__in=people.order_by().values("pk")).order_by()
            return _map_people(addresses, str, members.values_list("group__name", "user_id"))


def _map_people(
    addresses: Sequence[Address], fold: Callable[[str], str], rows: Iterable[tuple[str, int]]
) -> _PeopleByAddress:
    """Map addresses to people. `rows`: pairs of a folded value and a person's key."""
    found: dict[str, set[int]] = defaultdict(set)
    for folded, user_id in rows:
        found[folded].add(user_id)
    return {address: found[fold(address.value)] for address in addresses if fold(address.value) in found}


def _find_by_username(addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]) -> _PeopleByAddress:
    names = {address.value for address in addresses}
    return _map_people(addresses, str, people.filter(username__in=names).order_by().values_list("username", "pk"))


def _find_by_email(addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]) -> _PeopleByAddress:
    people = people.exclude(email="").annotate(folded_email=Lower("email"))
    rows = people.filter(folded_email__in={address.value.lower() for address in addresses})
    return _map_people(addresses, str.lower, rows.order_by().values_list("folded_email", "pk"))


def _find_by_login_id(addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]) -> _PeopleByAddress:
    """Find people by their BI account: the attribute marked for it, or the field that the connection names."""
    source = BiConnection.objects.filter(pk=SINGLETON_PK).values_list("external_id_source", flat=True).first()
    if source in _LOGIN_SOURCES:
        return _LOGIN_SOURCES[source](addresses, people, corps)
    attribute = Attribute.objects.bi_login_ids().first()
    return {} if attribute is None else _find_by_value(attribute, addresses, people)


_LOGIN_SOURCES = {USERNAME: _find_by_username, EMAIL: _find_by_email}


def _find_by_value(attribute: Attribute, addresses: Sequence[Address], people: QuerySet[User]) -> _PeopleByAddress:
    values = AttributeValue.objects.of(attribute).among(address.value for address in addresses)
    rows = values.filter(user__in=people.order_by().values("pk")).order_by()
    return _map_people(addresses, fold_value, rows.values_list("folded", "user_id"))


def _find_by_userid(addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]) -> _PeopleByAddress:
    userids = {fold_userid(address.value) for address in addresses}
    accounts = WeComAccount.objects.complete().filter(
        userid_folded__in=userids, corp__in=corps, user__in=people.order_by().values("pk")
    )
    rows = list(accounts.order_by().values_list("userid_folded", "user_id", "corp__corpid", "corp__name"))
    return {
        address: {
            user_id
            for folded, user_id, *corp in rows
            if folded == fold_userid(address.value) and (not address.corp or address.corp in corp)
        }
        for address in addresses
    }


def _find_by_department(
    addresses: Sequence[Address], people: QuerySet[User], corps: QuerySet[Corp]
) -> _PeopleOrProblem:
    """Find the people in a department and its subdepartments. Of departments with the same name, empty ones do not
    count. If several remain, the name is ambiguous: the sender has to give number and company."""
    candidates = _find_departments(addresses, corps)
    tree = departments.DepartmentTree({one.corp_id for same_named in candidates.values() for one in same_named})
    below = {
        one.pk: tree.find_covered([one.pk], with_subdepartments=True)
        for same_named in candidates.values()
        for one in same_named[:SAME_NAMED_AT_MOST]
    }
    # The direct members among the people, by department.
    direct: dict[int, set[int]] = defaultdict(set)
    if department_ids := set[int]().union(*below.values()):
        accounts = WeComAccount.objects.in_departments(department_ids).filter(user__in=people.order_by().values("pk"))
        rows = accounts.order_by().values_list("corp_id", "userid_folded", "user_id")
        users = {(corp_id, userid): user_id for corp_id, userid, user_id in rows}
        members = Member.objects.eligible().filter(departments__in=list(department_ids)).order_by()
        for key, corp_id, userid in members.values_list("departments", "corp_id", "userid_folded"):
            if (corp_id, userid) in users:
                direct[key].add(users[corp_id, userid])
    named: dict[Address, set[int] | AddressProblem] = {}
    for address, same_named in candidates.items():
        found = [{pk for key in below[one.pk] for pk in direct[key]} for one in same_named[:SAME_NAMED_AT_MOST]]
        not_empty = [ids for ids in found if ids]
        is_ambiguous = len(same_named) > SAME_NAMED_AT_MOST or len(not_empty) > 1
        named[address] = AddressProblem.AMBIGUOUS if is_ambiguous else not_empty[0] if not_empty else set()
    return named


def _find_departments(addresses: Sequence[Address], corps: QuerySet[Corp]) -> dict[Address, list[Department]]:
    """Return for each address the departments with that name or number, ordered by primary key."""
    values = {address.value for address in addresses}
    numbers = {value for value in values if value.isascii() and value.isdigit() and len(value) <= NUMBER_DIGITS}
    named = Q(name__in=values) | Q(wecom_department_id__in=[int(number) for number in numbers])
    rows = Department.objects.present().filter(named, corp__in=corps).select_related("corp").order_by("pk")
    rows = rows.only("name", "wecom_department_id", "corp__corpid", "corp__name")
    by_value: dict[str, list[Department]] = defaultdict(list)
    for department in rows:
        for value in values.intersection((department.name, str(department.wecom_department_id))):
            by_value[value].append(department)
    return {
        address: [
            department
            for department in by_value[address.value]
            if not address.corp or address.corp in (department.corp.corpid, department.corp.name)
        ]
        for address in addresses
    }
