"""Answers about people: sign-in and the directory. The parsers raise AnswerError for an answer of another form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from integrations.clients.wecom.calls import (
    Answer,
    read_child,
    read_integer,
    read_integers,
    read_objects,
    read_optional_integer,
    read_optional_text,
    read_text,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The person who signed in with a code. A member of the company has a userid, anybody else an openid."""

    userid: str = ""
    openid: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A member, as far as the application may see. Fields that WeCom left out are empty."""

    userid: str
    name: str = ""
    department_ids: tuple[int, ...] = ()
    main_department_id: int | None = None
    is_leader_in: tuple[bool, ...] = ()
    position: str = ""
    mobile: str = ""
    email: str = ""
    biz_mail: str = ""
    alias: str = ""
    status: int | None = None
    is_enabled: bool | None = None
    # The company's own plain-text fields (extattr) that the application may see: name and value.
    own_fields: tuple[tuple[str, str], ...] = ()
    # The names of RESTRICTED_FIELDS that the answer does not have.
    withheld: tuple[str, ...] = field(default=(), compare=False)


# Fields that WeCom withholds from applications without the right to them.
RESTRICTED_FIELDS = ("mobile", "email", "biz_mail", "gender", "avatar", "qr_code", "address")


def parse_user(answer: Answer) -> User:
    """Parse a member of user/get or user/list."""
    enable = read_optional_integer(answer, "enable")
    return User(
        userid=read_text(answer, "userid"),
        name=read_optional_text(answer, "name"),
        department_ids=read_integers(answer, "department"),
        main_department_id=read_optional_integer(answer, "main_department"),
        is_leader_in=tuple([value == 1 for value in read_integers(answer, "is_leader_in_dept")]),
        position=read_optional_text(answer, "position"),
        mobile=read_optional_text(answer, "mobile"),
        email=read_optional_text(answer, "email"),
        biz_mail=read_optional_text(answer, "biz_mail"),
        alias=read_optional_text(answer, "alias"),
        status=read_optional_integer(answer, "status"),
        is_enabled=None if enable is None else enable == 1,
        # Only plain texts (type 0), not links or mini programs. An older form has `value` beside the name.
        own_fields=tuple(
            (
                read_optional_text(one, "name"),
                read_optional_text(read_child(one, "text"), "value") or read_optional_text(one, "value"),
            )
            for one in read_objects(read_child(answer, "extattr"), "attrs")
            if not read_optional_integer(one, "type")
        ),
        withheld=tuple([name for name in RESTRICTED_FIELDS if name not in answer]),
    )


@dataclass(frozen=True, slots=True)
class Department:
    """A department. Among siblings, larger `order` comes first. department/simplelist gives no names."""

    department_id: int
    parent_id: int | None = None
    name: str = ""
    order: int = 0


class MemberRow(NamedTuple):
    """A member in one of their departments."""

    userid: str
    department_id: int


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A page of rows, one for each department of a member. `next_cursor`: for the next page; empty at the end."""

    rows: tuple[MemberRow, ...]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag's members (userid, name) and departments."""

    name: str
    members: tuple[tuple[str, str], ...]
    department_ids: tuple[int, ...]


def parse_users(answer: Answer) -> tuple[User, ...]:
    """Parse user/list and user/simplelist."""
    return tuple(parse_user(user) for user in read_objects(answer, "userlist", required=True))


def parse_department(answer: Answer) -> Department:
    """Parse a department of any answer about departments."""
    return Department(
        department_id=read_integer(answer, "id"),
        parent_id=read_optional_integer(answer, "parentid"),
        name=read_optional_text(answer, "name"),
        order=read_optional_integer(answer, "order") or 0,
    )


def parse_departments(answer: Answer) -> tuple[Department, ...]:
    """Parse department/list and department/simplelist, whose list is called `department_id`."""
    name = "department_id" if "department_id" in answer else "department"
    return tuple(parse_department(department) for department in read_objects(answer, name, required=True))
