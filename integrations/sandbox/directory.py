"""One company's departments, members and tags, with the look-ups that the API needs to be quick for 100,000 people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ROOT_DEPARTMENT = 1
ACTIVE, DISABLED, NOT_ACTIVATED, LEFT = 1, 2, 4, 5
_USERID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")


def fold(userid: str) -> str:
    """WeCom's ids are case-insensitive: this is the form in which two are compared."""
    return userid.lower()


def is_userid(text: str) -> bool:
    return _USERID.fullmatch(text) is not None


@dataclass(slots=True)
class Department:
    id: int
    name: str
    parentid: int = ROOT_DEPARTMENT
    order: int = 0
    name_en: str = ""
    department_leader: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Member:
    userid: str
    name: str
    department: list[int] = field(default_factory=lambda: [ROOT_DEPARTMENT])
    order: list[int] = field(default_factory=list)
    is_leader_in_dept: list[int] = field(default_factory=list)
    direct_leader: list[str] = field(default_factory=list)
    position: str = ""
    mobile: str = ""
    gender: str = "0"
    email: str = ""
    biz_mail: str = ""
    avatar: str = ""
    telephone: str = ""
    alias: str = ""
    address: str = ""
    status: int = ACTIVE
    main_department: int = 0
    extattr: dict[str, object] | None = None
    # Without an interface licence: told in unlicenseduser, gets nothing (matters for apps of third parties).
    unlicensed: bool = False

    def __post_init__(self) -> None:
        if not is_userid(self.userid):
            raise ValueError(f"userid {self.userid!r} is not 1 to 64 of [0-9A-Za-z_-@.], a letter or digit first")
        self.gender = str(self.gender)
        self.order = (self.order + [0] * len(self.department))[: len(self.department)]
        self.is_leader_in_dept = (self.is_leader_in_dept + [0] * len(self.department))[: len(self.department)]
        if self.main_department not in self.department:
            self.main_department = self.department[0] if self.department else 0

    @property
    def folded(self) -> str:
        return fold(self.userid)


@dataclass(slots=True)
class Tag:
    tagid: int
    tagname: str
    userids: list[str] = field(default_factory=list)
    partyids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What an app sees: departments with all below them, and members listed singly (folded userids)."""

    departments: frozenset[int]
    singles: frozenset[str]

    def sees(self, member: Member) -> bool:
        return member.folded in self.singles or any(number in self.departments for number in member.department)


class Directory:
    """`version` grows with every change, so that what was derived from an older one is recognised."""

    def __init__(self) -> None:
        self.departments: dict[int, Department] = {}
        self.members: dict[str, Member] = {}
        self.tags: dict[int, Tag] = {}
        self.version = 0
        self._direct: dict[int, dict[str, Member]] = {}
        self._children: dict[int, set[int]] = {}

    def put_department(self, department: Department) -> None:
        """Add or replace. The root has id 1 and parentid 0. Raises ValueError where the tree would break."""
        if department.id == ROOT_DEPARTMENT:
            department.parentid = 0
        elif department.parentid not in self.departments or department.parentid in self.subtree(department.id):
            raise ValueError(f"department {department.id} cannot stand under {department.parentid}")
        old = self.departments.get(department.id)
        if old is not None:
            self._children.get(old.parentid, set()).discard(old.id)
        self.departments[department.id] = department
        self._children.setdefault(department.parentid, set()).add(department.id)
        self.version += 1

    def remove_department(self, number: int) -> None:
        """Raises ValueError for the root and for a department that is not empty."""
        if number == ROOT_DEPARTMENT or self._children.get(number) or self._direct.get(number):
            raise ValueError(f"department {number} is the root or not empty")
        department = self.departments.pop(number)
        self._children.get(department.parentid, set()).discard(number)
        self.version += 1

    def put_member(self, member: Member) -> None:
        """Add or replace. Raises ValueError for an unknown department."""
        unknown = [number for number in member.department if number not in self.departments]
        if unknown or not member.department:
            raise ValueError(f"member {member.userid} stands in unknown departments {unknown}")
        self._unlist(member.folded)
        self.members[member.folded] = member
        for number in member.department:
            self._direct.setdefault(number, {})[member.folded] = member
        self.version += 1

    def remove_member(self, userid: str) -> Member:
        """Raises KeyError."""
        self._unlist(fold(userid))
        self.version += 1
        return self.members.pop(fold(userid))

    def put_tag(self, tag: Tag) -> None:
        self.tags[tag.tagid] = tag
        self.version += 1

    def find(self, userid: str) -> Member | None:
        return self.members.get(fold(userid))

    def subtree(self, number: int) -> set[int]:
        """The department and all below it; empty when unknown."""
        found: set[int] = set()
        waiting = [number] if number in self.departments else []
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self._children.get(current, ()))
        return found

    def direct_members(self, number: int) -> Iterable[Member]:
        return self._direct.get(number, {}).values()

    def members_below(self, numbers: Iterable[int]) -> Iterator[Member]:
        """Members of these departments, each once."""
        seen: set[str] = set()
        for number in numbers:
            for folded, member in self._direct.get(number, {}).items():
                if folded not in seen:
                    seen.add(folded)
                    yield member

    def visibility(self, userids: Iterable[str], partyids: Iterable[int], tagids: Iterable[int]) -> Visibility:
        """Listed members, listed departments with their sub-departments, and what the listed tags hold."""
        tags = [self.tags[number] for number in tagids if number in self.tags]
        departments: set[int] = set()
        for number in [*partyids, *(number for tag in tags for number in tag.partyids)]:
            departments |= self.subtree(number)
        singles = {fold(userid) for userid in [*userids, *(userid for tag in tags for userid in tag.userids)]}
        return Visibility(frozenset(departments), frozenset(singles & self.members.keys()))

    def _unlist(self, folded: str) -> None:
        old = self.members.get(folded)
        for number in old.department if old else ():
            self._direct.get(number, {}).pop(folded, None)
