"""OAuth states of sign-ins under way, and the cookies that tie each to its browser.

States are kept in Valkey: login() replaces the session, and tabs share it.

A state is random, belongs to one browser (by its cookie) and one corp, is consumed once, and is kept for a while after
that with its target, so that the back button and a double tap land where the first arrival landed. A code that was
refused once is kept beside them for as long as WeCom takes it: no state takes it any more.

Limits are counted by the same scripts: a step of a sign-in asks the store once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from accounts.authentication import throttling
from accounts.authentication.throttling import Limit
from integrations.core.redis import script, valkey

USED_SECONDS = 300
# As long as WeCom takes a code.
CODE_SECONDS = 300
RANDOM_LENGTH = 40
_BROWSER_COOKIE = "guanwecom-browser"
_BROWSER_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_BROWSER_IDS_AT_MOST = 10
_FORM = re.compile(rf"[A-Za-z0-9]{{{RANDOM_LENGTH}}}[1-9]")


class Kind(StrEnum):
    """How the person proves who they are: silently inside WeCom, or at WeCom's page with the QR code."""

    SILENT = "silent"
    QR = "qr"


@dataclass(frozen=True, slots=True)
class LoginState:
    """What one authorisation is for. `attempt` counts from 1; a restart carries a higher one, which ends loops."""

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
_BEGIN = f"""{throttling.COUNTING}
if is_over(KEYS[2], ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'browser', ARGV[1], 'corp', ARGV[2], 'kind', ARGV[3], 'target', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
# KEYS: the state, the code as a refused one, what counts the step, what counts a code that is taken. ARGV: corp, code,
# seconds to keep a used state, how many steps and how many codes there may be, the browser's ids (they and the code as
# digests). Returns whether a limit is exceeded, then what is known: kind and target; of this browser also the code that
# it was used with.
_CONSUME = f"""{throttling.COUNTING}
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
    """Keep `state` for settings.LOGIN_STATE_SECONDS; the text for WeCom's `state` parameter comes back.

    None past `step_limit`, which counts this.
    """
    text = f"{secrets.token_hex(RANDOM_LENGTH // 2)}{state.attempt}"
    step_key, steps = throttling.key_and_count(step_limit)
    values: list[str | int] = [
        _digest(browser),
        state.corp_id,
        state.kind.value,
        state.target,
        settings.LOGIN_STATE_SECONDS,
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
    (step_key, steps), (code_key, codes) = map(throttling.key_and_count, (step_limit, code_limit))
    code_digest = _digest(code)
    is_over, *known = script(_CONSUME)(
        keys=[_key(text), _refused_key(code), step_key, code_key],
        args=[corp_id, code_digest, USED_SECONDS, steps, codes, *map(_digest, browsers)],
    )
    kind, target, *used_with = (value.decode() for value in known or (b"", b""))
    state = LoginState(corp_id=corp_id, kind=Kind(kind), target=target, attempt=attempt) if known else None
    if is_over:
        return Arrival(Finding.OVER_LIMIT, state, attempt)
    return Arrival(_finding(used_with[0], code_digest) if used_with else Finding.FOREIGN, state, attempt)


def refuse(code: str) -> None:
    """Let no state take `code` from here on, in whatever browser and for whatever corp. Raises redis.RedisError."""
    valkey().set(_refused_key(code), 1, ex=CODE_SECONDS)


def attempt_of(text: str) -> int:
    """The attempt that a state names, also where nothing else is known of it any more; 1 if it is none of ours.

    It is part of the text, so that no loop depends on what the store still remembers.
    """
    return int(text[-1]) if _FORM.fullmatch(text) else 1


def _finding(used_with: str, code_digest: str) -> Finding:
    if not used_with:
        return Finding.OURS
    return Finding.USED if used_with == code_digest else Finding.USED_WITH_ANOTHER_CODE


def _key(text: str) -> str:
    """A digest, so that whoever reads the store's keys cannot answer in somebody's name."""
    return f"accounts:login-state:{_digest(text)}"


def _refused_key(code: str) -> str:
    return f"accounts:refused-code:{_digest(code)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- Browsers. Usually one has one id. Where it comes for the first time with several tabs at once, each tab is
# answered with an id under a name of its own, so that none replaces another and no tab loses its sign-in


def browser_ids(request: HttpRequest) -> list[str]:
    """What the browser's cookies say, at most ten; none without one of ours."""
    prefix = _cookie_prefix(request)
    found = [
        value for name, value in request.COOKIES.items() if name.startswith(prefix) and _BROWSER_FORM.fullmatch(value)
    ]
    return found[:_BROWSER_IDS_AT_MOST]


def new_browser_id() -> str:
    return secrets.token_urlsafe(32)


def keep_browser_id(response: HttpResponseBase, request: HttpRequest, value: str) -> None:
    """Until the browser is closed. Lax: WeCom's pages send the person back from another site."""
    name = _cookie_prefix(request) + value[:8]
    response.set_cookie(name, value, path="/", secure=request.is_secure(), httponly=True, samesite="Lax")


def forget_browser_ids(response: HttpResponseBase, request: HttpRequest) -> None:
    """At sign-out: whoever noted a cookie of a shared computer can do nothing with it later."""
    for name in request.COOKIES:
        if name.startswith(_cookie_prefix(request)):
            response.delete_cookie(name, path="/", samesite="Lax")


def _cookie_prefix(request: HttpRequest) -> str:
    """With __Host- no sibling domain can plant the cookie; browsers take that over https only."""
    return f"__Host-{_BROWSER_COOKIE}-" if request.is_secure() else f"{_BROWSER_COOKIE}-"
