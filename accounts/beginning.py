"""Where a sign-in with WeCom begins: under the company's site address, with a state tied to this browser's cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import get_language

from accounts import browser, login_state
from accounts.login_state import Kind, LoginState
from integrations import links

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.models import Corp


@dataclass(frozen=True, slots=True)
class Begun:
    """`state`: for WeCom. `browser_id`: for the browser's cookie, which the caller sets."""

    state: str
    browser_id: str


def is_at_home(request: HttpRequest, corp: Corp) -> bool:
    """Whether the request came in under the address to which WeCom will return: the cookie must be there."""
    return _host(request.get_host()) == _host(links.site_address_for(corp).domain)


def begin(request: HttpRequest, corp: Corp, *, kind: Kind, target: str, attempt: int) -> Begun:
    """Keep a new state for one authorisation in this browser. Raises redis.RedisError."""
    known = browser.browser_ids(request)
    browser_id = known[0] if known else browser.new_browser_id()
    state = login_state.begin(state=LoginState(corp.pk, kind, target, attempt), browser=browser_id)
    return Begun(state, browser_id)


def wecom_language() -> str:
    """The person's language as WeCom's pages name it: zh or en."""
    return "en" if (get_language() or "").startswith("en") else "zh"


def _host(host: str) -> str:
    return host.lower().removesuffix(":80").removesuffix(":443")
