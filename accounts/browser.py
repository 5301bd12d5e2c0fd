"""The cookie that ties a sign-in to the browser in which it began, and the one that remembers the chosen company."""

from __future__ import annotations

import re
import secrets

from django.http import HttpRequest, HttpResponseBase

_COOKIE = "guanwecom-browser"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_CORP_COOKIE = "guanwecom-company"
_CORP_SECONDS = 365 * 24 * 3600


def browser_id(request: HttpRequest) -> str:
    """What the browser's cookie says; empty without one of ours."""
    value = request.COOKIES.get(_cookie_name(request), "")
    return value if _FORM.fullmatch(value) else ""


def new_browser_id() -> str:
    return secrets.token_urlsafe(32)


def keep_browser_id(response: HttpResponseBase, request: HttpRequest, value: str) -> None:
    """Until the browser is closed. Lax: WeCom's pages send the person back from another site."""
    response.set_cookie(
        _cookie_name(request), value, path="/", secure=request.is_secure(), httponly=True, samesite="Lax"
    )


def forget_browser_id(response: HttpResponseBase, request: HttpRequest) -> None:
    """At sign-out: whoever noted the cookie of a shared computer can do nothing with it later."""
    response.delete_cookie(_cookie_name(request), path="/", samesite="Lax")


def remembered_corp_id(request: HttpRequest) -> int | None:
    """The company that this browser signed in with last. A preference only: it decides nothing."""
    value = request.COOKIES.get(_CORP_COOKIE, "")
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def remember_corp_id(response: HttpResponseBase, request: HttpRequest, corp_id: int) -> None:
    response.set_cookie(
        _CORP_COOKIE,
        str(corp_id),
        max_age=_CORP_SECONDS,
        path="/",
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def _cookie_name(request: HttpRequest) -> str:
    """With its prefix no sibling domain can plant the cookie; browsers take the prefix over https only."""
    return f"__Host-{_COOKIE}" if request.is_secure() else _COOKIE
