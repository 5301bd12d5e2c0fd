"""The way of a browser through a sign-in: where it begins, what to do when it returns from WeCom, and what it is.

A code is used only with a state that this browser began here for this corp, and only once (docs/en/sign-in.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.authentication import state as authentication_state
from accounts.authentication.state import Arrival, Finding, Kind, LoginState
from integrations.companies import links
from integrations.core.http import HOME, rooted, safe_path

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise

    from integrations.core.redis import Limit
    from integrations.models import Corp

# --- What to do with a browser that returns from WeCom. Pure ----------------------------------------------------------

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
    """Choose the step. `inner_page`: what the callback's own query asks for. `session`: whose the browser's is."""
    target = arrival.state.target if arrival.state else inner_page
    if arrival.finding is Finding.OVER_LIMIT:
        return Explain(Cause.TOO_MANY, target, burns_code=True)
    if has_state and not has_code:
        return GiveUp(target)
    if arrival.finding is Finding.OURS and arrival.state is not None:
        return Redeem(target, arrival.attempt, arrival.state.kind)
    if arrival.finding is Finding.FOREIGN:
        return _step_after_foreign(arrival, target, has_cookie=has_cookie, session=session)
    return _step_after_used(arrival, target, session=session)


def after_refused_code(*, attempt: int, target: str) -> Restart | Explain:
    """Choose the step when WeCom says that the code is used, old or unknown."""
    if attempt < SECOND_ATTEMPT:
        return Restart(target, SECOND_ATTEMPT, burns_code=False)
    return Explain(Cause.CODE_EXPIRED, target, burns_code=False)


def _step_after_foreign(arrival: Arrival, target: str, *, has_cookie: bool, session: CurrentSession) -> Step:
    if session.is_of_this_corp:
        return Land(target, burns_code=True)
    if arrival.attempt < SECOND_ATTEMPT:
        return Restart(target, SECOND_ATTEMPT, burns_code=True)
    return Explain(Cause.SIGN_IN_EXPIRED if has_cookie else Cause.COOKIES_BLOCKED, target, burns_code=True)


def _step_after_used(arrival: Arrival, target: str, *, session: CurrentSession) -> Step:
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
class Authorisation:
    """An authorisation that begins. `state`: for WeCom. `browser_id`: for the cookie, which the caller sets."""

    state: str
    browser_id: str


def is_at_home(request: HttpRequest, corp: Corp) -> bool:
    """Whether the request came in under the address to which WeCom will return: the cookie must be there."""
    return _host(request.get_host()) == _host(links.site_address_for(corp).domain)


def begin(
    request: HttpRequest, corp: Corp, *, kind: Kind, target: str, attempt: int, step_limit: Limit | None
) -> Authorisation | None:
    """Keep a new state for one authorisation in this browser; None past the limit. Raises redis.RedisError."""
    known = authentication_state.browser_ids(request)
    browser_id = known[0] if known else authentication_state.new_browser_id()
    login_state = LoginState(corp.pk, kind, target, attempt)
    state = authentication_state.begin(state=login_state, browser=browser_id, step_limit=step_limit)
    return None if state is None else Authorisation(state, browser_id)


def wecom_language() -> str:
    """Return the person's language as WeCom's pages name it: zh or en."""
    return "en" if (get_language() or "").startswith("en") else "zh"


def _host(host: str) -> str:
    return host.lower().removesuffix(":80").removesuffix(":443")


# --- The page that the callback's own query asks for. Pure -----------------------------------------------------------


def inner_page(raw_query: str) -> str:
    """Return the page that a callback's own query asks for: `path_url` with all further parameters, else the home page.

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
    page = rooted(_decode_page(requested))
    return safe_path(_add_parameters(page, further)) if page else HOME


def raw_query_of(request: HttpRequest) -> str:
    """Return the query as the browser sent it; WSGI hands its bytes over as Latin-1."""
    raw: str = request.META.get("QUERY_STRING", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _decode_page(value: str) -> str:
    """Decode the path. A query that stands bare behind `?` is no further encoded than any query, and stays so."""
    path, question_mark, query = value.partition("?")
    return f"{unquote_plus(path).strip()}{question_mark}{query}"


def _add_parameters(page: str, pairs: list[str]) -> str:
    if not pairs:
        return page
    page, hash_sign, fragment = page.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{'&'.join(pairs)}{hash_sign}{fragment}"


# --- Browser and WeCom client by the user agent. Pure. The rule is that of WeCom's JavaScript package (@wecom/jssdk):
# WeCom says `wxwork/<version>`, WeChat `MicroMessenger` alone

_WECOM = re.compile(r"wxwork/[\d.]+", re.IGNORECASE)
_PRIVATE_WECOM = re.compile(r"wxworklocal/", re.IGNORECASE)
_WECHAT = re.compile(r"micromessenger", re.IGNORECASE)
# Tablets show a page as a computer does. HarmonyOS calls its phones "Phone".
_PHONE = re.compile(r"mobile|android|iphone|ipod|openharmony|harmonyos", re.IGNORECASE)
_TABLET = re.compile(r"ipad|tablet", re.IGNORECASE)


class Surface(StrEnum):
    """The program in which a page is open."""

    WECOM = "wecom"
    # WeCom's private deployment: another product with addresses of its own, which the corp's row then names.
    PRIVATE_WECOM = "private-wecom"
    # Plain WeChat cannot sign in to a company's application silently: it counts as an ordinary browser.
    WECHAT = "wechat"
    BROWSER = "browser"

    @property
    def is_inside_wecom(self) -> bool:
        return self in {Surface.WECOM, Surface.PRIVATE_WECOM}


def surface_of(user_agent: str) -> Surface:
    if _WECOM.search(user_agent):
        return Surface.PRIVATE_WECOM if _PRIVATE_WECOM.search(user_agent) else Surface.WECOM
    return Surface.WECHAT if _WECHAT.search(user_agent) else Surface.BROWSER


def is_phone(user_agent: str) -> bool:
    """Whether the page is opened on a phone, in whatever program."""
    return _PHONE.search(user_agent) is not None and _TABLET.search(user_agent) is None


# --- What a person calls the program and the device behind a user agent. Pure; a guess for people, never for rights ---

# The order matters: each also names those after it, for the sake of old sites.
_PROGRAMS = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"(?:Chrome|CriOS)/")),
    ("Safari", re.compile(r"Safari/")),
)
_SYSTEMS = (
    ("iPad", re.compile(r"iPad")),
    ("iPhone", re.compile(r"iPhone")),
    ("HarmonyOS", re.compile(r"OpenHarmony|HarmonyOS")),
    ("Android", re.compile(r"Android")),
    ("Windows", re.compile(r"Windows")),
    ("macOS", re.compile(r"Macintosh|Mac OS X")),
    ("Linux", re.compile(r"Linux|X11")),
)
_SURFACES: dict[Surface, _StrPromise] = {
    Surface.WECOM: _("WeCom"),
    Surface.PRIVATE_WECOM: _("WeCom (private deployment)"),
    Surface.WECHAT: _("WeChat"),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A browser's program and system; either is empty where nothing is known."""

    program: str
    system: str


def device_of(user_agent: str) -> Device:
    surface = _SURFACES.get(surface_of(user_agent))
    program = str(surface) if surface is not None else _find_name(_PROGRAMS, user_agent)
    return Device(program, _find_name(_SYSTEMS, user_agent))


def _find_name(names: tuple[tuple[str, re.Pattern[str]], ...], user_agent: str) -> str:
    return next((name for name, pattern in names if pattern.search(user_agent)), "")
