"""A WeCom for tests of sign-in: it answers requests and counts them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import responses
from requests import PreparedRequest

API = "https://qyapi.weixin.qq.com"
HINT = "hint: [1764000000123456789012345], from ip: 203.0.113.9, more info at https://open.work.weixin.qq.com"


@dataclass
class WeCom:
    """Codes that work once, and readable people inside the scope. Everything else is refused."""

    identities: dict[str, dict[str, str]] = field(default_factory=dict)
    in_scope: set[str] = field(default_factory=set)
    # An answer in place of the usual one, by the last part of the path: JSON, a page, or an exception to raise.
    instead: dict[str, dict[str, Any] | str | Exception] = field(default_factory=dict)
    redeemed: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def gives(self, code: str, *, userid: str = "", **identity: str) -> None:
        """Let `code` stand for the member `userid`, who is then in scope, or for `identity` as it is."""
        self.identities[code] = {"userid": userid, **identity} if userid else identity
        self.in_scope.add(userid.lower())

    def answer(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        parts = urlsplit(str(request.url))
        operation = parts.path.rpartition("/")[2]
        instead = self.instead.get(operation)
        if isinstance(instead, Exception):
            raise instead
        if isinstance(instead, str):
            return 200, {"Content-Type": "text/html"}, instead
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        usual = getattr(self, f"_{operation}")(query)
        return 200, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(instead or usual)

    def _gettoken(self, query: dict[str, str]) -> dict[str, Any]:
        return {"errcode": 0, "errmsg": "ok", "access_token": "token", "expires_in": 7200}

    def _getuserinfo(self, query: dict[str, str]) -> dict[str, Any]:
        self.redeemed.append(query["code"])
        identity = self.identities.pop(query["code"], None)
        return refusal(40029, "invalid code") if identity is None else {"errcode": 0, "errmsg": "ok", **identity}

    def _get(self, query: dict[str, str]) -> dict[str, Any]:
        self.read.append(query["userid"])
        if query["userid"].lower() not in self.in_scope:
            return refusal(60011, "no privilege to access/modify contact/party/agent")
        return {"errcode": 0, "errmsg": "ok", "userid": query["userid"], "name": "李雷"}


def refusal(errcode: int, words: str) -> dict[str, Any]:
    return {"errcode": errcode, "errmsg": f"{words}, {HINT}"}


@contextmanager
def answer_as_wecom() -> Iterator[WeCom]:
    """Answer as WeCom while the block runs; any other network call fails."""
    wecom = WeCom()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        for path in ("gettoken", "auth/getuserinfo", "user/get"):
            wire.add_callback(responses.GET, f"{API}/cgi-bin/{path}", callback=wecom.answer)
        yield wecom
