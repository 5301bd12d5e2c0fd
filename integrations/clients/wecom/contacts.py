"""Calls about people: sign-in codes and the directory. Source of each call: developer.work.weixin.qq.com."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from integrations.clients.errors import UnexpectedResponseError
from integrations.clients.wecom.calls import (
    Answer,
    AnswerError,
    Calls,
    child,
    integer,
    integers,
    objects,
    optional_integer,
    optional_text,
    parse_answer,
    text,
)

ROWS_A_PAGE = 10_000
PAGES_AT_MOST = 200  # two million rows


@dataclass(frozen=True, slots=True)
class Identity:
    """The person who signed in with a code: a member has a userid, anybody else an openid."""

    userid: str = ""
    openid: str = ""


def identity_from(answer: Answer) -> Identity:
    """Parse auth/getuserinfo; older servers write `UserId` and `OpenId`."""
    identity = Identity(
        userid=optional_text(answer, "userid") or optional_text(answer, "UserId"),
        openid=optional_text(answer, "openid") or optional_text(answer, "OpenId"),
    )
    if not identity.userid and not identity.openid:
        raise AnswerError("neither userid nor openid")
    return identity


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
    # The RESTRICTED_FIELDS that are missing from the answer.
    withheld: tuple[str, ...] = field(default=(), compare=False)


RESTRICTED_FIELDS = ("mobile", "email", "biz_mail", "gender", "avatar", "qr_code", "address")


def _read_own_fields(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Return the plain texts of `extattr` (type 0), in today's form or the old one (`value` beside the name).

    Links and mini programs are left out.
    """
    return tuple(
        (optional_text(one, "name"), optional_text(child(one, "text"), "value") or optional_text(one, "value"))
        for one in objects(child(answer, "extattr"), "attrs")
        if not optional_integer(one, "type")
    )


def user_from(answer: Answer) -> User:
    """Parse a member of user/get or user/list."""
    enable = optional_integer(answer, "enable")
    return User(
        userid=text(answer, "userid"),
        name=optional_text(answer, "name"),
        department_ids=integers(answer, "department"),
        main_department_id=optional_integer(answer, "main_department"),
        is_leader_in=tuple([value == 1 for value in integers(answer, "is_leader_in_dept")]),
        position=optional_text(answer, "position"),
        mobile=optional_text(answer, "mobile"),
        email=optional_text(answer, "email"),
        biz_mail=optional_text(answer, "biz_mail"),
        alias=optional_text(answer, "alias"),
        status=optional_integer(answer, "status"),
        is_enabled=None if enable is None else enable == 1,
        own_fields=_read_own_fields(answer),
        withheld=tuple([name for name in RESTRICTED_FIELDS if name not in answer]),
    )


@dataclass(frozen=True, slots=True)
class Department:
    """A department; larger `order` comes first. Names are empty in a simple list."""

    department_id: int
    parent_id: int | None = None
    name: str = ""
    order: int = 0


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member in a department; a member of two departments has two rows."""

    userid: str
    department_id: int


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A page of rows and the cursor of the next page, empty at the end."""

    rows: tuple[MemberRow, ...]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag's members (userid, name) and departments."""

    name: str
    members: tuple[tuple[str, str], ...]
    department_ids: tuple[int, ...]


Through = Callable[[Callable[[], MemberPage]], MemberPage]


def users_from(answer: Answer) -> tuple[User, ...]:
    """Parse user/list and user/simplelist."""
    return tuple(user_from(user) for user in objects(answer, "userlist", required=True))


def member_page_from(answer: Answer) -> MemberPage:
    """Parse user/list_id."""
    rows = objects(answer, "dept_user", required=True)
    return MemberPage(
        tuple(MemberRow(text(row, "userid"), integer(row, "department")) for row in rows),
        optional_text(answer, "next_cursor"),
    )


def _department_of(answer: Answer) -> Department:
    return Department(
        department_id=integer(answer, "id"),
        parent_id=optional_integer(answer, "parentid"),
        name=optional_text(answer, "name"),
        order=optional_integer(answer, "order") or 0,
    )


def departments_from(answer: Answer) -> tuple[Department, ...]:
    """Parse department/list and department/simplelist, whose list is called `department_id`."""
    name = "department_id" if "department_id" in answer else "department"
    return tuple(_department_of(department) for department in objects(answer, name, required=True))


def department_from(answer: Answer) -> Department:
    """Parse department/get."""
    department = child(answer, "department")
    if not department:
        raise AnswerError("department is missing")
    return _department_of(department)


def tag_from(answer: Answer) -> Tag:
    """Parse tag/get."""
    members = objects(answer, "userlist")
    return Tag(
        name=optional_text(answer, "tagname"),
        members=tuple((text(member, "userid"), optional_text(member, "name")) for member in members),
        department_ids=integers(answer, "partylist"),
    )


class ContactCalls(Calls):
    """Sign-in, members, departments, tags. RecipientError: the object does not exist, or the app may not see it."""

    def auth_getuserinfo(self, code: str) -> Identity:
        """Return the person of `code`, which works once and for 5 minutes: after LoginRefusedError, start the sign-in
        again. Members outside the visible scope have a userid too: check `user_get` after it.

        Source: document/path/91023 (page of 2022-09-23); 98177 for the page with the QR code.
        """
        params = {"code": code}
        return self._read("auth_getuserinfo", "/cgi-bin/auth/getuserinfo", identity_from, params)

    def user_get(self, userid: str) -> User:
        """Return one member. An application created after 2022-06-20 gets no mobile, e-mail or avatar.

        Source: document/path/90196 (page of 2025-03-06).
        """
        return self._read("user_get", "/cgi-bin/user/get", user_from, {"userid": userid})

    def user_simplelist(self, department_id: int) -> tuple[User, ...]:
        """Return the direct members of a department: userid, name, departments. Ask for sub-departments one by one.

        Source: document/path/90200.
        """
        params = {"department_id": department_id}
        return self._read("user_simplelist", "/cgi-bin/user/simplelist", users_from, params)

    def user_list(self, department_id: int) -> tuple[User, ...]:
        """Return the direct members of a department with all fields that the application may see.

        Source: document/path/90201 (page of 2024-07-24).
        """
        params = {"department_id": department_id}
        return self._read("user_list", "/cgi-bin/user/list", users_from, params)

    def user_list_id(self, cursor: str = "", limit: int = ROWS_A_PAGE) -> MemberPage:
        """Return a page of (userid, department) rows of the company; only for the directory-sync assistant.

        `limit`: 1 to 10000. An empty `next_cursor` is the end. Source: document/path/96067 (page of 2024-07-23).
        """
        question = {"cursor": cursor, "limit": limit} if cursor else {"limit": limit}
        return parse_answer(
            "user_list_id", member_page_from, self._write("user_list_id", "/cgi-bin/user/list_id", question)
        )

    def user_list_id_pages(
        self, *, limit: int = ROWS_A_PAGE, pages_at_most: int = PAGES_AT_MOST, through: Through = lambda call: call()
    ) -> Iterator[MemberPage]:
        """Yield all pages of `user_list_id`, one call each.

        `through` makes each call, so that a caller can repeat, count or slow it down. Raises UnexpectedResponseError
        if the list does not end, because a list cut off in silence would make a full synchronisation drop people.
        """
        seen: set[str] = set()
        cursor = ""
        for _page in range(pages_at_most):
            page = through(partial(self.user_list_id, cursor, limit))
            yield page
            cursor = page.next_cursor
            if not cursor:
                return
            if cursor in seen:
                break
            seen.add(cursor)
        message = f"the list did not end within {pages_at_most} pages, or its cursor came again"
        raise UnexpectedResponseError(message, system="wecom", operation="user_list_id")

    def department_list(self, department_id: int | None = None) -> tuple[Department, ...]:
        """Return a department with all below it, or everything visible. `parent_id` may point outside the list.

        Source: document/path/90208.
        """
        params = None if department_id is None else {"id": department_id}
        return self._read("department_list", "/cgi-bin/department/list", departments_from, params)

    def department_simplelist(self, department_id: int | None = None) -> tuple[Department, ...]:
        """Return departments like `department_list`, faster, without names and leaders. Source: document/path/95350."""
        params = None if department_id is None else {"id": department_id}
        return self._read("department_simplelist", "/cgi-bin/department/simplelist", departments_from, params)

    def department_get(self, department_id: int) -> Department:
        """Return one department. Raises RecipientError if it is missing (60003) or not visible to the app (60011).

        Source: document/path/95351.
        """
        params = {"id": department_id}
        return self._read("department_get", "/cgi-bin/department/get", department_from, params)

    def tag_get(self, tag_id: int) -> Tag:
        """Return the visible members and departments of a tag. Source: document/path/90213."""
        return self._read("tag_get", "/cgi-bin/tag/get", tag_from, {"tagid": tag_id})
