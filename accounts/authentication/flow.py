"""Decides what to do with a browser that returns from WeCom. Pure (docs/en/sign-in.md).

A code is used only with a state that this browser began here for this corp, and only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from django.utils.translation import get_language

from accounts.authentication import state as authentication_state
from accounts.authentication.state import Arrival, Finding, Kind, LoginState
from integrations.companies import links
from integrations.core.safe_urls import HOME, rooted, safe_path

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.core.redis import Limit
    from integrations.models import Corp

# What WeCom and the home page link put into the callback's query for themselves.
_RESERVED = frozenset({"code", "state", "domain", "path_url"})
FIRST_ATTEMPT = 1
# First retry: the code or the state was refused.
SECOND_ATTEMPT = 2
# Last retry: the state was already used by a request whose response was lost.
LAST_ATTEMPT = 3


class Cause(StrEnum):
    """The reasons why a sign-in stops. Each has a page in accounts.explanations."""

    UNKNOWN_COMPANY = "unknown-company"
    COMPANY_DISABLED = "company-disabled"
    NOT_LINKED = "not-linked"
    COMPANY_MISSING = "company-missing"
    OUT_OF_SCOPE = "out-of-scope"
    NOT_ADMITTED = "not-admitted"
    NOT_A_MEMBER = "not-a-member"
    OTHER_COMPANY = "other-company"
    USER_DISABLED = "user-disabled"
    CODE_EXPIRED = "code-expired"
    SIGN_IN_EXPIRED = "sign-in-expired"
    COOKIES_BLOCKED = "cookies-blocked"
    ADDRESS_DIFFERS = "address-differs"
    DOMAIN_NOT_TRUSTED = "domain-not-trusted"
    IP_NOT_TRUSTED = "ip-not-trusted"
    MISCONFIGURED = "misconfigured"
    UNEXPECTED_ANSWER = "unexpected-answer"
    WECOM_UNREACHABLE = "wecom-unreachable"
    STORE_UNREACHABLE = "store-unreachable"
    BI_OFF = "bi-off"
    BI_NO_PAGE = "bi-no-page"
    BI_NOT_ALLOWED = "bi-not-allowed"
    BI_NO_EXTERNAL_ID = "bi-no-external-id"
    BI_UNUSABLE = "bi-unusable"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True)
class Redeem:
    """Use the code, then go to `target`. `kind`: by which way it came."""

    target: str
    attempt: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Land:
    """Go to `target`: the person is signed in already."""

    target: str
    burns_code: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """Begin an authorisation of our own, as number `attempt`."""

    target: str
    attempt: int
    burns_code: bool


@dataclass(frozen=True, slots=True)
class Explain:
    """Show the page for `cause`; no further restart."""

    cause: Cause
    target: str
    burns_code: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The person declined at WeCom: back to the login page."""

    target: str


Step = Redeem | Land | Restart | Explain | GiveUp


def next_step(
    *, arrival: Arrival, inner_page: str, has_code: bool, has_state: bool, has_cookie: bool, session: CurrentSession
) -> Step:
    """`inner_page`: what the callback's own query asks for. `session`: who the browser's session belongs to."""
    target = arrival.state.target if arrival.state else inner_page
    if arrival.finding is Finding.OVER_LIMIT:
        return Explain(Cause.TOO_MANY, target, burns_code=True)
    if has_state and not has_code:
        return GiveUp(target)
    if arrival.finding is Finding.OURS and arrival.state is not None:
        return Redeem(target, arrival.attempt, arrival.state.kind)
    if arrival.finding is Finding.FOREIGN:
        return _after_foreign(arrival, target, has_cookie=has_cookie, session=session)
    return _after_used(arrival, target, session=session)


def after_refused_code(*, attempt: int, target: str) -> Restart | Explain:
    """WeCom says that the code is used, old or unknown."""
    if attempt < SECOND_ATTEMPT:
        return Restart(target, SECOND_ATTEMPT, burns_code=False)
    return Explain(Cause.CODE_EXPIRED, target, burns_code=False)


def _after_foreign(arrival: Arrival, target: str, *, has_cookie: bool, session: CurrentSession) -> Step:
    if session.is_of_this_corp:
        return Land(target, burns_code=True)
    if arrival.attempt < SECOND_ATTEMPT:
        return Restart(target, SECOND_ATTEMPT, burns_code=True)
    return Explain(Cause.SIGN_IN_EXPIRED if has_cookie else Cause.COOKIES_BLOCKED, target, burns_code=True)


def _after_used(arrival: Arrival, target: str, *, session: CurrentSession) -> Step:
    burns_code = arrival.finding is Finding.USED_WITH_ANOTHER_CODE
    if session.is_signed_in:
        return Land(target, burns_code)
    if arrival.attempt < LAST_ATTEMPT:
        return Restart(target, LAST_ATTEMPT, burns_code)
    return Explain(Cause.SIGN_IN_EXPIRED, target, burns_code)


@dataclass(frozen=True, slots=True)
class CurrentSession:
    """The browser's session: signed in at all, and through the corp of this callback."""

    is_signed_in: bool
    is_of_this_corp: bool


# --- Where a sign-in with WeCom begins: under the company's site address, with a state tied to this browser's cookie


@dataclass(frozen=True, slots=True)
class Begun:
    """`state`: for WeCom. `browser_id`: for the browser's cookie, which the caller sets."""

    state: str
    browser_id: str


def is_at_home(request: HttpRequest, corp: Corp) -> bool:
    """Whether the request came in under the address to which WeCom will return: the cookie must be there."""
    return _host(request.get_host()) == _host(links.site_address_for(corp).domain)


def begin(
    request: HttpRequest, corp: Corp, *, kind: Kind, target: str, attempt: int, step_limit: Limit | None
) -> Begun | None:
    """Keep a new state for one authorisation in this browser; None past the limit. Raises redis.RedisError."""
    known = authentication_state.browser_ids(request)
    browser_id = known[0] if known else authentication_state.new_browser_id()
    login_state = LoginState(corp.pk, kind, target, attempt)
    state = authentication_state.begin(state=login_state, browser=browser_id, step_limit=step_limit)
    return None if state is None else Begun(state, browser_id)


def wecom_language() -> str:
    """The person's language as WeCom's pages name it: zh or en."""
    return "en" if (get_language() or "").startswith("en") else "zh"


def _host(host: str) -> str:
    return host.lower().removesuffix(":80").removesuffix(":443")


# --- The page that the callback's own query asks for. Pure -----------------------------------------------------------


def inner_page(raw_query: str) -> str:
    """The page that a callback's own query asks for: `path_url` with all further parameters, else the home page.

    `survey-engine` means `/survey-engine`. The page's query arrives inside `path_url` where it was encoded, and as it
    is where it was not: both give the same page. `raw_query`: as it stands in the address, not decoded; what belongs
    to the page is passed on as it came.
    """
    requested, further = "", []
    for pair in raw_query.split("&"):
        name, _equals, value = pair.partition("=")
        if unquote_plus(name) == "path_url":
            requested = value
        elif pair and unquote_plus(name) not in _RESERVED:
            further.append(pair)
    page = rooted(_decoded_page(requested))
    return safe_path(_with_parameters(page, further)) if page else HOME


def raw_query_of(request: HttpRequest) -> str:
    """The query as the browser sent it; WSGI hands its bytes over as Latin-1."""
    raw: str = request.META.get("QUERY_STRING", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _decoded_page(value: str) -> str:
    """Where the page's own query stands bare behind `?`, it is no further encoded than any query, and stays so."""
    path, question_mark, query = value.partition("?")
    return f"{unquote_plus(path).strip()}{question_mark}{query}"


def _with_parameters(page: str, pairs: list[str]) -> str:
    if not pairs:
        return page
    page, hash_sign, fragment = page.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{'&'.join(pairs)}{hash_sign}{fragment}"
