"""Cookies: one ties a sign-in to its browser, one remembers the chosen company.

Usually a browser has one id. Where it comes for the first time with several tabs at once, each is answered with one:
under names of their own, so that none takes another's place and no tab loses its sign-in.
"""

from __future__ import annotations

import re
import secrets

from django.http import HttpRequest, HttpResponseBase

_COOKIE = "guanwecom-browser"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_IDS_AT_MOST = 10
_CORP_COOKIE = "guanwecom-company"
_CORP_SECONDS = 365 * 24 * 3600


def browser_ids(request: HttpRequest) -> list[str]:
    """What the browser's cookies say, at most ten; none without one of ours."""
    prefix = _prefix(request)
    found = [value for name, value in request.COOKIES.items() if name.startswith(prefix) and _FORM.fullmatch(value)]
    return found[:_IDS_AT_MOST]


def new_browser_id() -> str:
    return secrets.token_urlsafe(32)


def keep_browser_id(response: HttpResponseBase, request: HttpRequest, value: str) -> None:
    """Until the browser is closed. Lax: WeCom's pages send the person back from another site."""
    name = _prefix(request) + value[:8]
    response.set_cookie(name, value, path="/", secure=request.is_secure(), httponly=True, samesite="Lax")


def forget_browser_ids(response: HttpResponseBase, request: HttpRequest) -> None:
    """At sign-out: whoever noted a cookie of a shared computer can do nothing with it later."""
    for name in request.COOKIES:
        if name.startswith(_prefix(request)):
            response.delete_cookie(name, path="/", samesite="Lax")


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


def _prefix(request: HttpRequest) -> str:
    """With __Host- no sibling domain can plant the cookie; browsers take that over https only."""
    return f"__Host-{_COOKIE}-" if request.is_secure() else f"{_COOKIE}-"
