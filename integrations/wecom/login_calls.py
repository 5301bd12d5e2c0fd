"""Who came with a code. Source of each call: developer.work.weixin.qq.com, page given at the call."""

from __future__ import annotations

from integrations.wecom import schemas
from integrations.wecom.calls import Calls


class LoginCalls(Calls):
    """Signing in. A code works once and for 5 minutes: LoginRefusedError means that sign-in starts anew."""

    def auth_getuserinfo(self, code: str) -> schemas.Identity:
        """Who came with `code`. A member outside the visible scope has a userid too: check `user_get` after it.

        Source: document/path/91023 (page of 2022-09-23); 98177 for the page with the QR code.
        """
        params = {"code": code}
        return self._read("auth_getuserinfo", "/cgi-bin/auth/getuserinfo", schemas.identity_from, params)

    def user_getuserinfo(self, code: str) -> schemas.Identity:
        """The older spelling of `auth_getuserinfo`, which still answers; for servers that know only this one."""
        params = {"code": code}
        return self._read("user_getuserinfo", "/cgi-bin/user/getuserinfo", schemas.identity_from, params)

    def auth_getuserdetail(self, user_ticket: str) -> schemas.UserDetail:
        """What a member agreed to show, after a sign-in with `snsapi_privateinfo`; the ticket lives 1800 s.

        Source: document/path/95833 (page of 2023-03-14).
        """
        question = {"user_ticket": user_ticket}
        return self._ask("auth_getuserdetail", "/cgi-bin/auth/getuserdetail", schemas.user_detail_from, question)
