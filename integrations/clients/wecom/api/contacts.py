"""The directory. Source of each call: developer.work.weixin.qq.com, page given at the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from integrations.clients.errors import UnexpectedResponseError
from integrations.clients.wecom.api.base import Calls, Params
from integrations.clients.wecom.schemas import base, contacts

ROWS_A_PAGE = 10_000
PAGES_AT_MOST = 200  # two million rows
Through = Callable[[Callable[[], contacts.MemberPage]], contacts.MemberPage]


def _directly(call: Callable[[], contacts.MemberPage]) -> contacts.MemberPage:
    return call()


class ContactCalls(Calls):
    """Members, departments, tags. RecipientError: it does not exist, or the application may not see it."""

    def user_get(self, userid: str) -> base.User:
        """One member. An application created after 2022-06-20 gets no mobile, e-mail or avatar.

        Source: document/path/90196 (page of 2025-03-06).
        """
        return self._read("user_get", "/cgi-bin/user/get", base.user_from, {"userid": userid})

    def user_simplelist(self, department_id: int) -> tuple[base.User, ...]:
        """The direct members of a department: userid, name, departments. Sub-departments are asked one by one.

        Source: document/path/90200.
        """
        params = {"department_id": department_id}
        return self._read("user_simplelist", "/cgi-bin/user/simplelist", contacts.users_from, params)

    def user_list(self, department_id: int) -> tuple[base.User, ...]:
        """The direct members of a department with all fields that the application may see.

        Source: document/path/90201 (page of 2024-07-24).
        """
        params = {"department_id": department_id}
        return self._read("user_list", "/cgi-bin/user/list", contacts.users_from, params)

    def user_list_id(self, cursor: str = "", limit: int = ROWS_A_PAGE) -> contacts.MemberPage:
        """One page of (userid, department) rows of the whole company; only for the directory-sync assistant.

        `limit`: 1 to 10000. An empty `next_cursor` is the end. Source: document/path/96067 (page of 2024-07-23).
        """
        question = {"cursor": cursor, "limit": limit} if cursor else {"limit": limit}
        return self._query("user_list_id", "/cgi-bin/user/list_id", contacts.member_page_from, question)

    def user_list_id_pages(
        self, *, limit: int = ROWS_A_PAGE, pages_at_most: int = PAGES_AT_MOST, through: Through = _directly
    ) -> Iterator[contacts.MemberPage]:
        """All pages of `user_list_id`, one call each. Raises UnexpectedResponseError where the end does not come.

        `through` makes each call, for a caller who repeats, counts or slows them down.
        Raises, because a list cut off in silence would make a full synchronisation drop people.
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

    def department_list(self, department_id: int | None = None) -> tuple[contacts.Department, ...]:
        """A department with all below it, or everything visible. `parent_id` may point outside the list.

        Source: document/path/90208.
        """
        params = _department(department_id)
        return self._read("department_list", "/cgi-bin/department/list", contacts.departments_from, params)

    def department_simplelist(self, department_id: int | None = None) -> tuple[contacts.Department, ...]:
        """Like `department_list` and quicker, without names and leaders. Source: document/path/95350."""
        return self._read(
            "department_simplelist",
            "/cgi-bin/department/simplelist",
            contacts.department_ids_from,
            _department(department_id),
        )

    def department_get(self, department_id: int) -> contacts.Department:
        """One department. Source: document/path/95351."""
        params = {"id": department_id}
        return self._read("department_get", "/cgi-bin/department/get", contacts.department_from, params)

    def user_getuserid(self, mobile: str) -> str:
        """The userid of a mobile number. Wrong numbers above a fifth of the company's size block it for a day.

        Source: document/path/95402.
        """
        return self._query("user_getuserid", "/cgi-bin/user/getuserid", base.userid_from, {"mobile": mobile})

    def user_get_userid_by_email(self, email: str, email_type: Literal[1, 2] = 1) -> str:
        """The userid of a mail address; `email_type`: 1 company mail, 2 private mail. Source: document/path/95895."""
        question = {"email": email, "email_type": email_type}
        path = "/cgi-bin/user/get_userid_by_email"
        return self._query("user_get_userid_by_email", path, base.userid_from, question)

    def tag_get(self, tag_id: int) -> contacts.Tag:
        """The members and departments of a tag, as far as visible. Source: document/path/90213."""
        return self._read("tag_get", "/cgi-bin/tag/get", contacts.tag_from, {"tagid": tag_id})


def _department(department_id: int | None) -> Params | None:
    return None if department_id is None else {"id": department_id}
