"""OAuth states of sign-ins under way, the cookies that tie each to its browser, and how many steps there may be.

States are kept in Valkey: login() replaces the session, and tabs share it.

A state is random, belongs to one browser (by its cookie) and one corp, is consumed once, and is kept for a while after
that with its target, so that the back button and a double tap land where the first arrival landed. A code that was
refused once is kept beside them for as long as WeCom takes it: no state takes it any more.

Limits are counted by the same scripts: a step of a sign-in asks the store once.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from integrations.core.redis import COUNTING, Limit, key_and_count, script, valkey

# How long the state of a sign-in may wait for its code: as long as WeCom's codes live.
STATE_SECONDS = 300
USED_SECONDS = 300
# As long as WeCom takes a code.
CODE_SECONDS = 300
RANDOM_LENGTH = 40
_BROWSER_COOKIE = "guanwecom-browser"
_BROWSER_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_BROWSER_IDS_AT_MOST = 10
_FORM = re.compile(rf"[A-Za-z0-9]{{{RANDOM_LENGTH}}}[1-9]")
# What counts as one address of IPv6.
_IPV6_PREFIX = 48


class Kind(StrEnum):
    """How the person proves who they are: silently inside WeCom, or at WeCom's page with the QR code."""

    SILENT = "silent"
    QR = "qr"


@dataclass(frozen=True, slots=True)
class LoginState:
    """One authorisation under way. `attempt` counts from 1; a restart carries a higher one, which ends loops."""

    corp_id: int
    kind: Kind
    target: str
    attempt: int


class Finding(Enum):
    OURS = "ours"  # begun by this browser for this corp, and consumed now
    USED = "used"  # the same, but consumed before, with this code
    USED_WITH_ANOTHER_CODE = "used with another code"
    FOREIGN = "foreign"  # unknown, expired, of another corp or of another browser; or brought with a refused code
    OVER_LIMIT = (
        "over limit"  # the address is, and nothing is known of the state; or the company is, and it is consumed
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a state that came back turned out to be. `state` is None where nothing is known of it for this corp, or the
    address is over its limit.

    That of another browser says where it leads, as a link does.
    """

    finding: Finding
    state: LoginState | None
    attempt: int


# KEYS: the state, what counts the step. ARGV: browser, corp, kind, target, seconds to keep it, how many steps there may
# be.
_BEGIN = f"""{COUNTING}
if is_over(KEYS[2], ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'browser', ARGV[1], 'corp', ARGV[2], 'kind', ARGV[3], 'target', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
# KEYS: the state, the code as a refused one, what counts the step, what counts a code that is taken. ARGV: corp, code,
# seconds to keep a used state, how many steps and how many codes there may be, the browser's ids (they and the code as
# digests). Returns whether a limit is exceeded, then what is known: kind and target; of this browser also the code that
# it was used with.
_CONSUME = f"""{COUNTING}
if is_over(KEYS[3], ARGV[4]) then return {{1}} end
local kept = redis.call('HMGET', KEYS[1], 'browser', 'corp', 'kind', 'target', 'code')
if kept[2] ~= ARGV[1] then return {{0}} end
local ours = false
for i = 6, #ARGV do ours = ours or kept[1] == ARGV[i] end
if not ours then return {{0, kept[3], kept[4]}} end
if kept[5] then return {{0, kept[3], kept[4], kept[5]}} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {{0, kept[3], kept[4]}} end
redis.call('HSET', KEYS[1], 'code', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if is_over(KEYS[4], ARGV[5]) then return {{1, kept[3], kept[4]}} end
return {{0, kept[3], kept[4], ''}}
"""


def begin(*, state: LoginState, browser: str, step_limit: Limit | None = None) -> str | None:
    """Keep `state` for STATE_SECONDS. Returns the text for WeCom's `state` parameter.

    None past `step_limit`, which counts this.
    """
    text = f"{secrets.token_hex(RANDOM_LENGTH // 2)}{state.attempt}"
    step_key, steps = key_and_count(step_limit)
    values: list[str | int] = [
        _digest(browser),
        state.corp_id,
        state.kind.value,
        state.target,
        STATE_SECONDS,
        steps,
    ]
    return text if script(_BEGIN)(keys=[_key(text), step_key], args=values) else None


def consume(
    *,
    text: str,
    browsers: Iterable[str],
    corp_id: int,
    code: str,
    step_limit: Limit | None = None,
    code_limit: Limit | None = None,
) -> Arrival:
    """Consume the state that came back with `code`, at once for all processes: only one arrival finds it OURS.

    `browsers`: the ids of the browser that brings it. `step_limit` counts every arrival; past it the state stays
    untouched. `code_limit` counts each state that is consumed now; past it the arrival finds OVER_LIMIT.

    A state of another browser or corp stays untouched: whoever else knows it cannot spoil it. So does one that comes
    with a refused code.
    """
    attempt = attempt_of(text)
    if not _FORM.fullmatch(text):
        is_over = step_limit is not None and not step_limit.allows()
        return Arrival(Finding.OVER_LIMIT if is_over else Finding.FOREIGN, None, attempt)
    (step_key, steps), (code_key, codes) = map(key_and_count, (step_limit, code_limit))
    code_digest = _digest(code)
    is_over, *known = script(_CONSUME)(
        keys=[_key(text), _refused_key(code), step_key, code_key],
        args=[corp_id, code_digest, USED_SECONDS, steps, codes, *map(_digest, browsers)],
    )
    kind, target, *used_with = (value.decode() for value in known or (b"", b""))
    state = LoginState(corp_id=corp_id, kind=Kind(kind), target=target, attempt=attempt) if known else None
    if is_over:
        return Arrival(Finding.OVER_LIMIT, state, attempt)
    if not used_with:
        return Arrival(Finding.FOREIGN, state, attempt)
    if not used_with[0]:
        return Arrival(Finding.OURS, state, attempt)
    finding = Finding.USED if used_with[0] == code_digest else Finding.USED_WITH_ANOTHER_CODE
    return Arrival(finding, state, attempt)


def refuse(code: str) -> None:
    """Let no state take `code` from here on, in whatever browser and for whatever corp. Raises redis.RedisError."""
    valkey().set(_refused_key(code), 1, ex=CODE_SECONDS)


def attempt_of(text: str) -> int:
    """Return the attempt that a state names, also where nothing else is known of it any more; 1 if it is none of ours.

    It is part of the text, so that no loop depends on what the store still remembers.
    """
    return int(text[-1]) if _FORM.fullmatch(text) else 1


def _key(text: str) -> str:
    """Return the key of a state: a digest, so that whoever reads the store's keys cannot answer in somebody's name."""
    return f"accounts:login-state:{_digest(text)}"


def _refused_key(code: str) -> str:
    return f"accounts:refused-code:{_digest(code)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- Limits -----------------------------------------------------------------------------------------------------------


def step_limit(request: HttpRequest) -> Limit:
    """Return the limit of steps (start, callback, QR panel) from one address (of IPv6: its /48).

    Nothing that anybody may ask for without a code counts against a company: whoever has many addresses could shut out
    its people.
    """
    return Limit(f"sign-ins:address:{network_of(request) or 'unknown'}", settings.SIGN_INS_PER_ADDRESS)


def redeeming_limit(*, corp_id: int) -> Limit:
    """Return the limit of codes of one company that are about to be redeemed."""
    return Limit(f"sign-ins:corp:{corp_id}", settings.SIGN_INS_PER_COMPANY)


def network_of(request: HttpRequest) -> str | None:
    """Return the caller's address; of IPv6 the /48, since one customer of a provider may have all of it.

    Proxies are unwrapped already (integrations.core.http). A server that listens on `[::]` names IPv4 callers inside
    one network of IPv6: they are told apart as IPv4.
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


# --- Browsers. Usually one has one id. Where it comes for the first time with several tabs at once, each tab is
# answered with an id under a name of its own, so that none replaces another and no tab loses its sign-in


def browser_ids(request: HttpRequest) -> list[str]:
    """Return the ids in the browser's cookies, at most ten."""
    prefix = _cookie_prefix(request)
    found = [
        value for name, value in request.COOKIES.items() if name.startswith(prefix) and _BROWSER_FORM.fullmatch(value)
    ]
    return found[:_BROWSER_IDS_AT_MOST]


def new_browser_id() -> str:
    return secrets.token_urlsafe(32)


def keep_browser_id(response: HttpResponseBase, request: HttpRequest, value: str) -> None:
    """Set the cookie until the browser is closed. Lax: WeCom's pages send the person back from another site."""
    name = _cookie_prefix(request) + value[:8]
    response.set_cookie(name, value, path="/", secure=request.is_secure(), httponly=True, samesite="Lax")


def forget_browser_ids(response: HttpResponseBase, request: HttpRequest) -> None:
    """Delete the cookies at sign-out: whoever noted one on a shared computer can do nothing with it later."""
    for name in request.COOKIES:
        if name.startswith(_cookie_prefix(request)):
            response.delete_cookie(name, path="/", samesite="Lax")


def _cookie_prefix(request: HttpRequest) -> str:
    """Begin with __Host-, so that no sibling domain can plant the cookie; browsers take that over https only."""
    return f"__Host-{_BROWSER_COOKIE}-" if request.is_secure() else f"{_BROWSER_COOKIE}-"
