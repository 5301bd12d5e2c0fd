"""Ties a session to the browser in which its person signed in, by a second cookie.

A sibling domain can plant the session cookie of somebody else: its victim would go on in that person's session, and
take it for the own one. This cookie has the prefix __Host- under https, so no other domain can plant it. A session that
comes without its own is nobody's.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from accounts.authentication import lifetimes

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest, HttpResponse

_COOKIE = "guanwecom-session"
# In the session: the digest of what the cookie holds.
_KEY = "bound_to"


def is_at_home(request: HttpRequest) -> bool:
    """Whether the request's session belongs to this browser, as far as it was tied to one."""
    tied_to = request.session.get(_KEY)
    if tied_to is None:
        return True
    return secrets.compare_digest(tied_to, _digest(request.COOKIES.get(_cookie_name(request), "")))


def tie(request: HttpRequest, response: HttpResponse) -> None:
    """After a sign-in: the session and this browser belong together from now on."""
    secret = secrets.token_urlsafe(32)
    request.session[_KEY] = _digest(secret)
    response.set_cookie(
        _cookie_name(request),
        secret,
        max_age=_seconds(request.session),
        path="/",
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def _seconds(session: SessionBase) -> int | None:
    """As long as the session's own cookie can be kept; None until the browser is closed."""
    return None if session.get_expire_at_browser_close() else int(lifetimes.longest().total_seconds())


def _cookie_name(request: HttpRequest) -> str:
    return f"__Host-{_COOKIE}" if request.is_secure() else _COOKIE


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
