"""The directory, as WeCom answers it."""

from __future__ import annotations

from dataclasses import dataclass

from integrations.clients.wecom.schemas.base import (
    Answer,
    AnswerError,
    User,
    child,
    integer,
    integers,
    objects,
    optional_integer,
    optional_text,
    text,
    texts,
    user_from,
)


@dataclass(frozen=True, slots=True)
class Department:
    """One department; larger `order` comes first. Names are empty in a simple list."""

    department_id: int
    parent_id: int | None = None
    name: str = ""
    name_en: str = ""
    leader_userids: tuple[str, ...] = ()
    order: int = 0


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member in a department; a member of two departments has two rows."""

    userid: str
    department_id: int


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A page of rows, and the cursor of the next one; empty at the end."""

    rows: tuple[MemberRow, ...]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag holds: members (userid, name) and departments."""

    name: str
    members: tuple[tuple[str, str], ...]
    department_ids: tuple[int, ...]


def users_from(answer: Answer) -> tuple[User, ...]:
    """user/list and user/simplelist."""
    return tuple(user_from(user) for user in objects(answer, "userlist", required=True))


def member_page_from(answer: Answer) -> MemberPage:
    """user/list_id."""
    rows = objects(answer, "dept_user", required=True)
    return MemberPage(
        tuple(MemberRow(text(row, "userid"), integer(row, "department")) for row in rows),
        optional_text(answer, "next_cursor"),
    )


def _department(answer: Answer) -> Department:
    return Department(
        department_id=integer(answer, "id"),
        parent_id=optional_integer(answer, "parentid"),
        name=optional_text(answer, "name"),
        name_en=optional_text(answer, "name_en"),
        leader_userids=texts(answer, "department_leader"),
        order=optional_integer(answer, "order") or 0,
    )


def departments_from(answer: Answer) -> tuple[Department, ...]:
    """department/list."""
    return tuple(_department(department) for department in objects(answer, "department", required=True))


def department_ids_from(answer: Answer) -> tuple[Department, ...]:
    """department/simplelist, whose list is called `department_id`."""
    return tuple(_department(department) for department in objects(answer, "department_id", required=True))


def department_from(answer: Answer) -> Department:
    """department/get."""
    department = child(answer, "department")
    if not department:
        raise AnswerError("department is missing")
    return _department(department)


def tag_from(answer: Answer) -> Tag:
    """tag/get."""
    members = objects(answer, "userlist")
    return Tag(
        name=optional_text(answer, "tagname"),
        members=tuple((text(member, "userid"), optional_text(member, "name")) for member in members),
        department_ids=integers(answer, "partylist"),
    )
