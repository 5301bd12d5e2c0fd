"""The steps of a sign-in with WeCom in one browser: states, limits, the start, and the return from WeCom.

A code is redeemed to sign somebody in only once, and only with a state that was stored here for this browser and corp.
docs/en/sign-in.md ("States and codes") defines what can become of a state and of a code.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from integrations.core.http import HOME, add_leading_slash, choose_safe_path
from integrations.core.redis import COUNTING, Limit, read_limit_arguments, script
from integrations.models.fields import get_cipher

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from integrations.models import Corp


# WeCom's codes are valid for five minutes. States are stored for as long, and again as long once they are consumed.
CODE_SECONDS = 300
STATE_SECONDS = 300
RANDOM_LENGTH = 40
_BROWSER_ID_COOKIE = "guanwecom-browser"
_BROWSER_ID_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_BROWSER_IDS_AT_MOST = 10
_STATE_FORM = re.compile(rf"[A-Za-z0-9]{{{RANDOM_LENGTH}}}[1-9]")
# All addresses with the same IPv6 prefix of this length count as one.
_IPV6_PREFIX = 48


class SignInKind(StrEnum):
    """The way in which people prove their identity: silently inside WeCom, or on WeCom's QR page."""

    SILENT = "silent"
    QR = "qr"


@dataclass(frozen=True, slots=True)
class SignInState:
    """A sign-in under way at WeCom. `attempt` counts from 1 and limits the number of restarts. The store does not hold
    this number: it is the last digit of the state's text, known even if the store has lost the state."""

    corp_id: int
    kind: SignInKind
    target: str
    attempt: int


class StateStatus(Enum):
    """The results of looking up a returned state. The values are those that _CONSUME_STATE returns."""

    # This browser began the sign-in for this corp. The state is consumed now.
    OURS = "ours"
    # This browser began the sign-in, but the state was consumed before, with this code or with another one.
    CONSUMED = "consumed"
    CONSUMED_WITH_ANOTHER_CODE = "consumed with another code"
    # The state is unknown, expired, of another corp or of another browser; or the code was refused before.
    FOREIGN = "foreign"
    # The address is over its limit, and the state was not looked up. Or the company is over its limit, and the state is
    # consumed now.
    OVER_LIMIT = "over limit"


@dataclass(frozen=True, slots=True)
class ReturnedState:
    """The result of looking up a returned state. `state` is None if it is unknown for this corp, or if the address is
    over its limit. For a state of another browser it is set, too, so that a restart leads to the same target."""

    status: StateStatus
    state: SignInState | None
    attempt: int


# KEYS: the state, the counter of requests. ARGV: browser, corp, kind, target, seconds to keep the state, limit of
# requests.
_STORE_STATE = f"""{COUNTING}
if is_over(KEYS[2], ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'browser', ARGV[1], 'corp', ARGV[2], 'kind', ARGV[3], 'target', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
# KEYS: the state, the key of a refused code, the counters of requests and of codes. ARGV: corp, digest of the code,
# seconds to keep a consumed state, limits of requests and of codes, digests of the browser's ids. Returns
# _ConsumeAnswer. If the state is missing, Valkey returns `false` as its corp, which is unequal to every ARGV.
_CONSUME_STATE = f"""{COUNTING}
if is_over(KEYS[3], ARGV[4]) then return {{'over limit', '', ''}} end
local stored = redis.call('HMGET', KEYS[1], 'browser', 'corp', 'kind', 'target', 'code')
if stored[2] ~= ARGV[1] then return {{'foreign', '', ''}} end
local function answer(status) return {{status, stored[3], stored[4]}} end
local is_ours = false
for i = 6, #ARGV do is_ours = is_ours or stored[1] == ARGV[i] end
if not is_ours then return answer('foreign') end
if stored[5] then return answer(stored[5] == ARGV[2] and 'consumed' or 'consumed with another code') end
if redis.call('EXISTS', KEYS[2]) == 1 then return answer('foreign') end
redis.call('HSET', KEYS[1], 'code', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return answer(is_over(KEYS[4], ARGV[5]) and 'over limit' or 'ours')
"""


class _ConsumeAnswer(NamedTuple):
    """The answer of _CONSUME_STATE. `kind` and `target` are empty if the corp has no such state or it was not read."""

    status: str
    kind: str
    target: str


def store_state(*, state: SignInState, browser_id: str, request_limit: Limit | None = None) -> str | None:
    """Store `state` for STATE_SECONDS. Returns the text for WeCom's `state` parameter, or None above
    `request_limit`."""
    text = f"{secrets.token_hex(RANDOM_LENGTH // 2)}{state.attempt}"
    counter_key, at_most = read_limit_arguments(request_limit)
    values: list[str | int] = [
        hash_text(browser_id),
        state.corp_id,
        state.kind.value,
        state.target,
        STATE_SECONDS,
        at_most,
    ]
    return text if script(_STORE_STATE)(keys=[_make_state_key(text), counter_key], args=values) else None


def consume_state(
    *,
    text: str,
    browser_ids: Iterable[str],
    corp_id: int,
    code: str,
    request_limit: Limit | None = None,
    code_limit: Limit | None = None,
) -> ReturnedState:
    """Look up the state that came back with `code`, and consume it: of several simultaneous requests only one gets
    OURS.

    `browser_ids`: those of the browser that sent the request. `request_limit` counts every request; above it the state
    is not consumed. `code_limit` counts each consumed state; above it the result is OVER_LIMIT.

    A state of another browser or corp, or with a refused code, is not consumed: nobody else can make it useless.
    """
    if not _STATE_FORM.fullmatch(text):
        is_over = request_limit is not None and not request_limit.allows()
        return ReturnedState(StateStatus.OVER_LIMIT if is_over else StateStatus.FOREIGN, None, FIRST_ATTEMPT)
    (request_key, requests_at_most), (code_key, codes_at_most) = map(read_limit_arguments, (request_limit, code_limit))
    values = script(_CONSUME_STATE)(
        keys=[_make_state_key(text), make_refused_code_key(code), request_key, code_key],
        args=[corp_id, hash_text(code), STATE_SECONDS, requests_at_most, codes_at_most, *map(hash_text, browser_ids)],
    )
    answer, attempt = _ConsumeAnswer(*(value.decode() for value in values)), int(text[-1])
    state = SignInState(corp_id, SignInKind(answer.kind), answer.target, attempt) if answer.kind else None
    return ReturnedState(StateStatus(answer.status), state, attempt)


def _make_state_key(text: str) -> str:
    """Return the key of a state in the store: a digest, so that people who can read the keys cannot complete a
    sign-in."""
    return f"accounts:login-state:{hash_text(text)}"


def make_refused_code_key(code: str) -> str:
    """Return the key whose presence means that `code` was refused, in whatever browser and for whatever corp."""
    return f"accounts:refused-code:{hash_text(code)}"


def hash_text(text: str) -> str:
    """Return the SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


# --- Sealed values: encrypted while they are in the task queue or in a page ---


def seal_values(purpose: str, *values: Any) -> str:
    """Encrypt `values` as JSON, so that nobody outside can read or change them. Only the same `purpose` opens them."""
    return get_cipher().encrypt(json.dumps([purpose, *values], ensure_ascii=False).encode()).decode()


def unseal_values(purpose: str, sealed: str, *, seconds: int) -> list[Any]:
    """Decrypt sealed values. Returns an empty list if the purpose differs, the text is invalid, or it is older than
    `seconds`."""
    try:
        content = json.loads(get_cipher().decrypt(sealed.encode(), ttl=seconds))
    except (InvalidToken, ValueError):
        return []
    return content[1:] if isinstance(content, list) and content[:1] == [purpose] else []


# --- Limits -----------------------------------------------------------------------------------------------------------


def make_request_limit(request: HttpRequest) -> Limit:
    """Return the limit of requests (start, callback, QR panel) from one address (IPv6: one /48). Per company, only
    codes that consume a state are counted: otherwise an attacker with many addresses could lock a whole company
    out."""
    return Limit(f"sign-ins:address:{find_network(request) or 'unknown'}", settings.SIGN_INS_PER_ADDRESS)


def find_network(request: HttpRequest) -> str | None:
    """Return the client's address; for IPv6 the /48, because a provider may give one customer all of it. None if the
    address is unknown.

    integrations.core.http has replaced a proxy's address by the client's. A server that listens on `[::]` receives IPv4
    addresses as mapped IPv6 addresses; they are returned as IPv4.
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False).network_address)
    return str(address)


# --- Ids of browsers. A browser usually has one id. If several tabs open at once on the first visit, each gets an id in
# a cookie with a name of its own, so that no id replaces another and each tab can complete its sign-in


def read_browser_ids(request: HttpRequest) -> list[str]:
    """Return the ids in the browser's cookies, at most ten."""
    prefix = _make_cookie_prefix(request)
    ids = [
        value
        for name, value in request.COOKIES.items()
        if name.startswith(prefix) and _BROWSER_ID_FORM.fullmatch(value)
    ]
    return ids[:_BROWSER_IDS_AT_MOST]


def set_browser_id(response: HttpResponseBase, request: HttpRequest, value: str) -> None:
    """Set the cookie of a browser id until the browser is closed."""
    set_cookie(response, request, _make_cookie_prefix(request) + value[:8], value, seconds=None)


def set_cookie(response: HttpResponseBase, request: HttpRequest, name: str, value: str, *, seconds: int | None) -> None:
    """Set a cookie that scripts cannot read. `seconds`: lifetime; None until the browser is closed. SameSite is Lax,
    because WeCom's pages send people back from another site."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=request.is_secure(), httponly=True, samesite="Lax"
    )


def delete_browser_ids(response: HttpResponseBase, request: HttpRequest) -> None:
    """Delete the cookies at sign-out, so that an id copied on a shared computer is useless later."""
    for name in request.COOKIES:
        if name.startswith(_make_cookie_prefix(request)):
            response.delete_cookie(name, path="/", samesite="Lax")


def _make_cookie_prefix(request: HttpRequest) -> str:
    """Return the prefix of the cookies' names. Under https it begins with __Host-: other subdomains cannot set such
    cookies."""
    return f"__Host-{_BROWSER_ID_COOKIE}-" if request.is_secure() else f"{_BROWSER_ID_COOKIE}-"


# --- The next step for a browser that returns from WeCom: functions without I/O --------------------------------------

# Query parameters of the callback that come from WeCom or from the home page link.
_RESERVED = frozenset({"code", "state", "domain", "path_url"})
FIRST_ATTEMPT = 1
# The second attempt: WeCom rejected the code, or the state was not one of this browser.
SECOND_ATTEMPT = 2
# The last attempt: the state was consumed before, as after a lost response, a refresh or the back button.
LAST_ATTEMPT = 3


class Cause(StrEnum):
    """The reasons why a sign-in stops. accounts.explanations has the page for each."""

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
class RedeemCode:
    """The step: redeem the code, then go to `target`."""

    target: str
    attempt: int
    kind: SignInKind


@dataclass(frozen=True, slots=True)
class GoToTarget:
    """The step: go to `target`, since the person is signed in already."""

    target: str
    refuses_code: bool


@dataclass(frozen=True, slots=True)
class RestartSignIn:
    """The step: send the browser to WeCom again, as attempt number `attempt`."""

    target: str
    attempt: int
    refuses_code: bool


@dataclass(frozen=True, slots=True)
class ShowError:
    """The step: show the page for `cause`, without a further restart."""

    cause: Cause
    target: str
    refuses_code: bool


@dataclass(frozen=True, slots=True)
class ReturnToLogin:
    """The step: return to the login page, because the person declined at WeCom."""

    target: str


NextStep = RedeemCode | GoToTarget | RestartSignIn | ShowError | ReturnToLogin


def decide_next_step(
    *,
    returned: ReturnedState,
    requested_page: str,
    has_code: bool,
    has_state: bool,
    has_cookie: bool,
    session: CurrentSession,
) -> NextStep:
    """Choose the next step. `requested_page`: the page in the callback's own query. `session`: the browser's session.

    `refuses_code` of a step: the code signs nobody in here. It is marked as refused, and redeemed in the background.
    """
    status, state, attempt = returned.status, returned.state, returned.attempt
    target = state.target if state else requested_page
    if status is StateStatus.OVER_LIMIT:
        return ShowError(Cause.TOO_MANY, target, refuses_code=True)
    if has_state and not has_code:  # the person declined at WeCom
        return ReturnToLogin(target)
    if status is StateStatus.OURS and state is not None:
        return RedeemCode(target, attempt, state.kind)
    if status is StateStatus.FOREIGN:
        if session.is_of_this_corp:
            return GoToTarget(target, refuses_code=True)
        if attempt < SECOND_ATTEMPT:
            return RestartSignIn(target, SECOND_ATTEMPT, refuses_code=True)
        return ShowError(Cause.SIGN_IN_EXPIRED if has_cookie else Cause.COOKIES_BLOCKED, target, refuses_code=True)
    # This browser consumed the state before. A session opened by password is enough: people scan to confirm in it, too.
    refuses_code = status is StateStatus.CONSUMED_WITH_ANOTHER_CODE
    if session.is_signed_in:
        return GoToTarget(target, refuses_code)
    if attempt < LAST_ATTEMPT:
        return RestartSignIn(target, LAST_ATTEMPT, refuses_code)
    return ShowError(Cause.SIGN_IN_EXPIRED, target, refuses_code)


def decide_after_rejected_code(*, attempt: int, target: str) -> RestartSignIn | ShowError:
    """Choose the next step after WeCom rejected the code: it is redeemed already, expired or unknown."""
    if attempt < SECOND_ATTEMPT:
        return RestartSignIn(target, SECOND_ATTEMPT, refuses_code=False)
    return ShowError(Cause.CODE_EXPIRED, target, refuses_code=False)


@dataclass(frozen=True, slots=True)
class CurrentSession:
    """Facts about the browser's session: whether it is signed in, and whether through the corp of this callback."""

    is_signed_in: bool
    is_of_this_corp: bool


# --- Start of a sign-in with WeCom: under the company's site address, with a state bound to this browser's cookie


def is_at_site_address(request: HttpRequest, corp: Corp) -> bool:
    """Return whether the request came to the address to which WeCom sends the browser back. The cookie must be set
    there."""
    return _strip_default_port(request.get_host()) == _strip_default_port(corp.find_site_address().domain)


def begin_sign_in(
    request: HttpRequest, corp: Corp, *, kind: SignInKind, target: str, attempt: int, request_limit: Limit | None
) -> tuple[str, str] | None:
    """Store a new state for this browser. Returns the text for WeCom's `state` parameter, and the browser's id for
    set_browser_id; None above the limit. Raises redis.RedisError."""
    browser_id = next(iter(read_browser_ids(request)), "") or secrets.token_urlsafe(32)
    sign_in = SignInState(corp.pk, kind, target, attempt)
    text = store_state(state=sign_in, browser_id=browser_id, request_limit=request_limit)
    return None if text is None else (text, browser_id)


def find_wecom_language() -> str:
    """Return the active language as WeCom's pages name it: zh or en."""
    return "en" if (get_language() or "").startswith("en") else "zh"


def _strip_default_port(host: str) -> str:
    return host.lower().removesuffix(":80").removesuffix(":443")


# --- The page that the callback's own query asks for: functions without I/O ------------------------------------------


def find_requested_page(raw_query: str) -> str:
    """Return the page that a callback's own query asks for: `path_url` with all further parameters, else the home page.

    `survey-engine` means `/survey-engine`. The page's own query may be encoded inside `path_url` or follow it
    unencoded; both give the same page. `raw_query`: the query as sent, not decoded. The page's parameters are returned
    unchanged.
    """
    requested, further = "", []
    for pair in raw_query.split("&"):
        name, _equals, value = pair.partition("=")
        if unquote_plus(name) == "path_url":
            requested = value
        elif pair and unquote_plus(name) not in _RESERVED:
            further.append(pair)
    # A query behind an unencoded `?` must not be decoded again.
    path, question_mark, query = requested.partition("?")
    page = add_leading_slash(f"{unquote_plus(path).strip()}{question_mark}{query}")
    if not page:
        return HOME
    page, hash_sign, fragment = page.partition("#")
    if further:
        page += ("&" if "?" in page else "?") + "&".join(further)
    return choose_safe_path(f"{page}{hash_sign}{fragment}")


def read_raw_query(request: HttpRequest) -> str:
    """Return the query as the browser sent it. WSGI decodes its bytes as Latin-1."""
    raw: str = request.META.get("QUERY_STRING", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


# --- Browser and WeCom client by the user agent: functions without I/O. The rule is that of WeCom's JavaScript package
# (@wecom/jssdk): WeCom sends `wxwork/<version>`, WeChat only `MicroMessenger`

_WECOM = re.compile(r"wxwork/[\d.]+", re.IGNORECASE)
_PRIVATE_WECOM = re.compile(r"wxworklocal/", re.IGNORECASE)
_WECHAT = re.compile(r"micromessenger", re.IGNORECASE)
# Tablets get the page for computers.
_PHONE = re.compile(r"mobile|android|iphone|ipod|openharmony|harmonyos", re.IGNORECASE)
_TABLET = re.compile(r"ipad|tablet", re.IGNORECASE)


class Surface(StrEnum):
    """The kind of program in which a page is open."""

    WECOM = "wecom"
    # WeCom's private deployment: another product with other addresses, which are saved in the corp's row.
    PRIVATE_WECOM = "private-wecom"
    # WeChat cannot sign in to a company's application silently, so it is treated like an ordinary browser.
    WECHAT = "wechat"
    BROWSER = "browser"

    @property
    def is_inside_wecom(self) -> bool:
        return self in {Surface.WECOM, Surface.PRIVATE_WECOM}


def detect_surface(user_agent: str) -> Surface:
    """Return the kind of program by its user agent. An unknown one counts as an ordinary browser."""
    if _WECOM.search(user_agent):
        return Surface.PRIVATE_WECOM if _PRIVATE_WECOM.search(user_agent) else Surface.WECOM
    return Surface.WECHAT if _WECHAT.search(user_agent) else Surface.BROWSER


def is_phone(user_agent: str) -> bool:
    """Return whether the user agent is one of a phone, in any program."""
    return _PHONE.search(user_agent) is not None and _TABLET.search(user_agent) is None


# --- Names of program and system by the user agent: a guess to show to people, never used for rights

# In this order: a user agent also contains the names of programs further down.
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


def describe_device(user_agent: str) -> str:
    """Name the program and the system, such as "Chrome · Windows"; empty if neither is known."""
    surface = _SURFACES.get(detect_surface(user_agent))
    program = str(surface) if surface is not None else _find_name(_PROGRAMS, user_agent)
    return " · ".join(filter(None, [program, _find_name(_SYSTEMS, user_agent)]))


def _find_name(names: tuple[tuple[str, re.Pattern[str]], ...], user_agent: str) -> str:
    return next((name for name, pattern in names if pattern.search(user_agent)), "")
