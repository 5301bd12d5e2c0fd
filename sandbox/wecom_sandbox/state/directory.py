"""Departments, members and tags of a company, with indexes that keep the API quick for 100,000 people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ROOT_DEPARTMENT = 1
DEPARTMENT_ID_MOST = 2**31 - 1
DEPARTMENTS_MOST = 30_000
ACTIVE, DISABLED, NOT_ACTIVATED, LEFT = 1, 2, 4, 5
_USERID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")
_NAME_MOST_CHARACTERS, _LEVELS_MOST, _ORDER_BELOW = 32, 15, 2**32
_NOT_IN_NAMES = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')


def fold_id(userid: str) -> str:
    """Return the form in which userids are compared: WeCom's ids are case-insensitive."""
    return userid.lower()


def is_userid(text: str) -> bool:
    """Return whether WeCom accepts the userid: 1 to 64 letters, digits and some signs."""
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
    # A member without an interface licence is named in unlicenseduser and gets nothing (for third-party apps).
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
        return fold_id(self.userid)


@dataclass(slots=True)
class Tag:
    tagid: int
    tagname: str
    userids: list[str] = field(default_factory=list)
    partyids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Visibility:
    """Part of the directory that an app sees: departments, with all below them, and single members (folded userids)."""

    departments: frozenset[int]
    singles: frozenset[str]

    def sees(self, member: Member) -> bool:
        return member.folded in self.singles or any(number in self.departments for number in member.department)

    def reaches(self, member: Member) -> bool:
        """Return whether the app can send messages to the member, who must be visible, enabled and still there."""
        return member.status not in (DISABLED, LEFT) and self.sees(member)


class Directory:
    """Directory of a company. `version` grows with every change, so that outdated results are recognised.
    `tree_version` grows only with changes of departments and tags."""

    def __init__(self) -> None:
        self.departments: dict[int, Department] = {}
        self.members: dict[str, Member] = {}
        self.tags: dict[int, Tag] = {}
        self.version = self.tree_version = 0
        self._direct_members: dict[int, dict[str, Member]] = {}
        # parentid: name to id. Sibling departments have different names.
        self._children: dict[int, dict[str, int]] = {}

    def put_department(self, department: Department) -> None:
        """Add or replace a department. The root has id 1, parentid 0 and the company's name. Raise ValueError."""
        if department.id == ROOT_DEPARTMENT:
            department.parentid = 0
        else:
            _check_department_fields(department)
            self._check_place(department)
        old = self.departments.get(department.id)
        if old is not None:
            self._children[old.parentid].pop(old.name)
        self.departments[department.id] = department
        self._children.setdefault(department.parentid, {})[department.name] = department.id
        self._note_tree_change()

    def remove_department(self, number: int) -> None:
        """Remove a department. Raise ValueError if it is the root or not empty."""
        if number == ROOT_DEPARTMENT:
            raise ValueError("the root department stays")
        if self._direct_members.get(number):
            raise ValueError(f"department {number} has members")
        if self._children.get(number):
            raise ValueError(f"department {number} has departments below it")
        department = self.departments.pop(number)
        self._children[department.parentid].pop(department.name)
        self._note_tree_change()

    def put_member(self, member: Member) -> None:
        """Add or replace a member. Raise ValueError for an unknown department."""
        unknown = [number for number in member.department if number not in self.departments]
        if unknown or not member.department:
            raise ValueError(f"member {member.userid} must be in departments that exist; unknown: {unknown}")
        self._unindex_member(member.folded)
        self.members[member.folded] = member
        self._index_member(member)
        self.version += 1

    def remove_member(self, userid: str) -> Member:
        """Remove a member. Raise KeyError."""
        self._unindex_member(fold_id(userid))
        self.version += 1
        return self.members.pop(fold_id(userid))

    def rename_member(self, old: Member, new: Member) -> None:
        """Give a person another userid. All lists keep their order."""
        before, after = old.folded, new.folded
        self._unindex_member(before)
        self.members = {after if key == before else key: one for key, one in self.members.items()}
        self.members[after] = new
        self._index_member(new)
        for department in self.departments.values():
            _replace_userid(department.department_leader, before, new.userid)
        for member in self.members.values():
            _replace_userid(member.direct_leader, before, new.userid)
        for tag in self.tags.values():
            _replace_userid(tag.userids, before, new.userid)
        self._note_tree_change()

    def put_tag(self, tag: Tag) -> None:
        self.tags[tag.tagid] = tag
        self._note_tree_change()

    def find(self, userid: str) -> Member | None:
        return self.members.get(fold_id(userid))

    def subtree(self, number: int) -> set[int]:
        """Return the department and all below it; empty if unknown."""
        found: set[int] = set()
        waiting = [number] if number in self.departments else []
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self._children.get(current, {}).values())
        return found

    def tree(self) -> Iterator[tuple[int, Department]]:
        """Yield every department with its depth (0: the root), parents first, larger order first."""
        waiting = [(0, ROOT_DEPARTMENT)]
        while waiting:
            depth, number = waiting.pop()
            yield depth, self.departments[number]
            below = [self.departments[one] for one in self._children.get(number, {}).values()]
            below.sort(key=lambda one: (one.order, -one.id))
            waiting.extend((depth + 1, one.id) for one in below)

    def direct_members(self, number: int) -> Iterable[Member]:
        return self._direct_members.get(number, {}).values()

    def members_below(self, numbers: Iterable[int]) -> Iterator[Member]:
        """Yield the members of these departments, each once."""
        seen: set[str] = set()
        for number in numbers:
            for folded, member in self._direct_members.get(number, {}).items():
                if folded not in seen:
                    seen.add(folded)
                    yield member

    def visibility(self, userids: Iterable[str], tagids: Iterable[int], departments: frozenset[int]) -> Visibility:
        """Return what an app sees: listed members, members of listed tags, and the given `departments`."""
        tags = self._find_known_tags(tagids)
        singles = {fold_id(userid) for userid in [*userids, *(userid for tag in tags for userid in tag.userids)]}
        return Visibility(departments, frozenset(singles & self.members.keys()))

    def find_visible_departments(self, partyids: Iterable[int], tagids: Iterable[int]) -> frozenset[int]:
        """Return the listed departments and those of the listed tags, with their sub-departments."""
        departments: set[int] = set()
        for number in [*partyids, *(number for tag in self._find_known_tags(tagids) for number in tag.partyids)]:
            departments |= self.subtree(number)
        return frozenset(departments)

    def _find_known_tags(self, tagids: Iterable[int]) -> list[Tag]:
        return [self.tags[number] for number in tagids if number in self.tags]

    def _note_tree_change(self) -> None:
        self.version += 1
        self.tree_version += 1

    def _check_place(self, department: Department) -> None:
        """Raise ValueError for an impossible place in the tree."""
        number, name, parent = department.id, department.name, department.parentid
        if parent not in self.departments:
            raise ValueError(f"department {number} has the unknown parent {parent}")
        if self._children.get(parent, {}).get(name, number) != number:
            raise ValueError(f"department {parent} has another {name} below it")
        if number not in self.departments:
            if len(self.departments) >= DEPARTMENTS_MOST:
                raise ValueError(f"there are {DEPARTMENTS_MOST} departments already")
        elif parent in self.subtree(number):
            raise ValueError(f"department {number} cannot be below itself")
        if self._level(parent) + self._height(number) > _LEVELS_MOST:
            raise ValueError(f"department {number} would reach below level {_LEVELS_MOST}")

    def _level(self, number: int) -> int:
        """Return the level of a department; 1 for the root."""
        level = 1
        while number != ROOT_DEPARTMENT:
            number = self.departments[number].parentid
            level += 1
        return level

    def _height(self, number: int) -> int:
        """Return the number of levels of the department and all below it; 1 for a new one."""
        row, height = [number], 0
        while row:
            row = [below for one in row for below in self._children.get(one, {}).values()]
            height += 1
        return height

    def _index_member(self, member: Member) -> None:
        for number in member.department:
            self._direct_members.setdefault(number, {})[member.folded] = member

    def _unindex_member(self, folded: str) -> None:
        old = self.members.get(folded)
        for number in old.department if old else ():
            self._direct_members.get(number, {}).pop(folded, None)


def _replace_userid(userids: list[str], folded: str, userid: str) -> None:
    """Replace a userid, whatever its case."""
    userids[:] = [userid if fold_id(one) == folded else one for one in userids]


def _check_department_fields(department: Department) -> None:
    """Raise ValueError. Source: pages 90205 and 90206 of developer.work.weixin.qq.com, as SDKs quote them."""
    number, name = department.id, department.name
    if not ROOT_DEPARTMENT < number <= DEPARTMENT_ID_MOST:
        raise ValueError(f"department id {number} is not between 2 and {DEPARTMENT_ID_MOST}")
    if not 1 <= len(name) <= _NAME_MOST_CHARACTERS:
        raise ValueError(f"the name of department {number} must have 1 to {_NAME_MOST_CHARACTERS} characters")
    if _NOT_IN_NAMES.search(name):
        raise ValueError(f'the name of department {number} must not contain \\ : * ? " < > |')
    if not 0 <= department.order < _ORDER_BELOW:
        raise ValueError(f"order of department {number} is not between 0 and {_ORDER_BELOW - 1}")
