"""Refreshes access tokens: one fetch per app, however many threads, processes and hosts ask at once.

The key is corpid + agentid, because tokens differ per application and no part of a secret belongs in a key.

- One caller fetches, the others wait for what it gets (single flight).
- A token is renewed before it ends: one caller renews it, the others go on with the old one, which is still valid.
- A failed fetch is shared as well. A wrong secret becomes a *pause* that every caller gets at once instead of asking
  again, because WeCom blocks an address that keeps sending wrong secrets. `forget()` ends it.
- `forget()` also takes the right to publish from a fetch that is under way with the old secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

import redis
from cryptography.fernet import InvalidToken

from integrations.clients.clock import read_boot_clock
from integrations.clients.errors import (
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.transport import patience_seconds
from integrations.clients.wecom import errcodes

Kind = Literal["token", "jsapi_ticket"]
KINDS: tuple[Kind, ...] = ("token", "jsapi_ticket")

RENEW_AHEAD_SECONDS = 300
LEADER_SECONDS = 60  # longer than a gettoken call can take; after it another caller may try
WAIT_SECONDS = 30
SHARED_SECONDS = 5  # a refused Secret is no news to whoever tries it so soon after
BRIEF_PAUSE_SECONDS = 1  # after an outage: those who waited share the failure, the next caller tries again
_POLL_SECONDS = (0.01, 0.1)


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """What gettoken gave: the token and its lifetime in seconds."""

    value: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no token is being fetched at the moment, for `remaining_seconds` more. `kind` says which error it was."""

    kind: str
    operation: str
    code: int | None
    message: str
    hint: str
    caller_ip: str
    remaining_seconds: float

    def error(self, *, system: str = "wecom") -> IntegrationError:
        """The same failure again, for a caller that did not ask itself."""
        known: dict[str, Any] = {
            "system": system,
            "operation": self.operation,
            "code": self.code,
            "hint": self.hint,
            "caller_ip": self.caller_ip,
        }
        if self.kind == "rate_limited":
            return RateLimitedError(self.message, retry_after_seconds=max(1, round(self.remaining_seconds)), **known)
        return _KINDS[self.kind](self.message, **known)


_KINDS: dict[str, type[IntegrationError]] = {
    "configuration": ConfigurationError,
    "transient": TransientError,
    "foreign": ForeignAnswerError,  # before the class that it belongs to
    "unexpected": UnexpectedResponseError,
}


def _kind(error: IntegrationError) -> str:
    if isinstance(error, RateLimitedError):
        return "rate_limited"
    return next((kind for kind, cls in _KINDS.items() if isinstance(error, cls)), "unexpected")


class TokenStore(Protocol):
    """Where a client gets its token from."""

    def get(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken], kind: Kind = "token") -> str:
        """The token (or a JS-SDK ticket) of the application; calls `fetch` where there is none and nobody fetches.

        Raises what `fetch` raised, also where another caller's fetch raised it, and TransientError where the wait
        for another caller took too long.
        """

    def renew(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken]) -> None:
        """Ask for a token though there may be one, and keep it for everybody. Raises what `fetch` raised.

        What another caller asks at this moment, and a Secret that was refused a moment ago, are not asked about again.
        """

    def drop(self, corpid: str, agentid: int | None, token: str, kind: Kind = "token") -> None:
        """Forget `token`, which WeCom refused. A newer token stays."""

    def forget(self, corpid: str, agentid: int | None) -> None:
        """Forget token, tickets and pause, because an administrator saved another secret."""

    def drop_copies(self, corpid: str, agentid: int | None) -> None:
        """Use no copy any more that this process has of its own: it may have missed a `forget()` elsewhere."""

    def pause(self, corpid: str, agentid: int | None) -> Pause | None:
        """Why no token is fetched at the moment; None where nothing stands in the way."""


@dataclass(frozen=True, slots=True)
class Held:
    """A token as a shelf holds it. Times in seconds from now."""

    value: str = field(repr=False)
    remaining_seconds: float
    renew_ahead_seconds: float


class Shelf(Protocol):
    """Where tokens lie. Every method is atomic."""

    def read(self, key: str) -> tuple[Held | None, Pause | None]:
        """What lies there and why nothing may be fetched; each None where there is none."""

    def lead(self, key: str, owner: str) -> bool:
        """Whether `owner` may fetch now: nobody else does, or whoever did has not come back in time."""

    def release(self, key: str, owner: str) -> None:
        """End the lead of `owner`; that of another stays."""

    def publish(self, key: str, owner: str, held: Held) -> None:
        """Keep `held` for everybody, if `owner` leads still."""

    def publish_pause(self, key: str, owner: str, pause: Pause) -> None:
        """Let nobody fetch for the seconds of `pause`, if `owner` leads still."""

    def drop(self, key: str, value: str) -> None:
        """Forget the token if it is `value`; a newer one stays."""

    def forget(self, key: str) -> None:
        """Forget token, pause and lead."""


def application_key(corpid: str, agentid: int | None, kind: Kind) -> str:
    """corpid + agentid (None: the directory-sync assistant), and for a ticket its kind."""
    application = f"{corpid}:{'contacts' if agentid is None else agentid}"
    return application if kind == "token" else f"{application}:{kind}"


class SingleFlightStore:
    """The algorithm; a shelf says where tokens lie. `system`: whose tokens they are, for errors."""

    def __init__(self, shelf: Shelf, *, pause_seconds: int, wait_seconds: float, system: str = "wecom") -> None:
        self._shelf = shelf
        self._system = system
        self._pause_seconds = pause_seconds
        self._wait_seconds = wait_seconds

    def get(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken], kind: Kind = "token") -> str:
        return self._obtained(application_key(corpid, agentid, kind), fetch).value

    def renew(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken]) -> None:
        key, owner = application_key(corpid, agentid, "token"), secrets.token_hex(8)
        is_second = self._leads_after_others(key, owner)
        try:
            held, pause = self._shelf.read(key)
            if pause is not None and (is_second or self._is_news(pause)):
                raise pause.error(system=self._system)
            if held is None or not is_second:
                self._published(key, owner, fetch)
        finally:
            self._shelf.release(key, owner)

    def _leads_after_others(self, key: str, owner: str) -> bool:
        """Wait until nobody else fetches, and lead. Returns whether somebody did."""
        is_second, give_up_at = False, read_boot_clock() + patience_seconds(self._wait_seconds)
        while not self._shelf.lead(key, owner):
            is_second = True
            if read_boot_clock() >= give_up_at:
                message = "waited too long for another caller's token"
                raise TransientError(message, system=self._system, operation="gettoken")
            time.sleep(_POLL_SECONDS[0])
        return is_second

    def _is_news(self, pause: Pause) -> bool:
        """Whether the Secret was refused a moment ago, or WeCom gives no token to whichever Secret."""
        if pause.code == errcodes.RATE_LIMITED:
            return True
        is_secret = pause.code in errcodes.SECRET_REFUSED
        return is_secret and pause.remaining_seconds > self._pause_seconds - SHARED_SECONDS

    def drop(self, corpid: str, agentid: int | None, token: str, kind: Kind = "token") -> None:
        self._shelf.drop(application_key(corpid, agentid, kind), token)

    def forget(self, corpid: str, agentid: int | None) -> None:
        for kind in KINDS:
            self._shelf.forget(application_key(corpid, agentid, kind))

    def drop_copies(self, corpid: str, agentid: int | None) -> None:
        """Nothing to do: a shelf is read each time."""

    def pause(self, corpid: str, agentid: int | None) -> Pause | None:
        return self._shelf.read(application_key(corpid, agentid, "token"))[1]

    def _obtained(self, key: str, fetch: Callable[[], FetchedToken]) -> Held:
        held, pause = self._shelf.read(key)
        if held is None:
            return self._waited(key, fetch)
        if held.remaining_seconds > held.renew_ahead_seconds or pause is not None:
            return held
        return self._renewed(key, held, fetch)

    def _renewed(self, key: str, held: Held, fetch: Callable[[], FetchedToken]) -> Held:
        """A token near its end: renew it if nobody does, and never fail while the old one is valid."""
        owner = secrets.token_hex(8)
        if not self._shelf.lead(key, owner):
            return held
        try:
            return self._fetched(key, owner, fetch)
        except IntegrationError:
            return held

    def _waited(self, key: str, fetch: Callable[[], FetchedToken]) -> Held:
        owner = secrets.token_hex(8)
        give_up_at = read_boot_clock() + patience_seconds(self._wait_seconds)
        nap = _POLL_SECONDS[0]
        while not self._shelf.lead(key, owner):
            if read_boot_clock() >= give_up_at:
                message = "waited too long for another caller's token"
                raise TransientError(message, system=self._system, operation="gettoken")
            time.sleep(nap * random.uniform(0.5, 1.5))  # noqa: S311  # nosec B311  # spreads callers, guards nothing
            nap = min(nap * 2, _POLL_SECONDS[1])
            held, pause = self._shelf.read(key)
            if held is not None:
                return held
            if pause is not None:
                raise pause.error(system=self._system)
        return self._fetched(key, owner, fetch)

    def _fetched(self, key: str, owner: str, fetch: Callable[[], FetchedToken]) -> Held:
        """What the leader does: look whether a leader before it was quicker, else fetch and tell the others."""
        try:
            held, pause = self._shelf.read(key)
            if held is not None and held.remaining_seconds > held.renew_ahead_seconds:
                return held
            if pause is not None:
                raise pause.error(system=self._system)
            return self._published(key, owner, fetch)
        finally:
            self._shelf.release(key, owner)

    def _published(self, key: str, owner: str, fetch: Callable[[], FetchedToken]) -> Held:
        try:
            token = fetch()
        except IntegrationError as error:
            self._shelf.publish_pause(key, owner, self._pause_of(error))
            raise
        # Not always 300 s: WeCom may give the same token again with what is left of its time: renewing at a
        # fixed distance from its end would then ask on every call. Halving asks a handful of times.
        held = Held(token.value, token.expires_in, min(RENEW_AHEAD_SECONDS, token.expires_in / 2))
        self._shelf.publish(key, owner, held)
        return held

    def _pause_of(self, error: IntegrationError) -> Pause:
        kind = _kind(error)
        seconds: float = BRIEF_PAUSE_SECONDS
        if isinstance(error, RateLimitedError):
            seconds = error.retry_after_seconds
        elif kind == "configuration":
            seconds = self._pause_seconds
        return Pause(kind, error.operation, error.code, error.message, error.hint, error.caller_ip, seconds)


@dataclass(slots=True)
class _Slot:
    held: Held | None = None
    held_until: float = 0.0
    pause: Pause | None = None
    pause_until: float = 0.0
    owner: str = ""
    owner_until: float = 0.0


class _MemoryShelf:
    """Tokens in this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def read(self, key: str) -> tuple[Held | None, Pause | None]:
        with self._lock:
            slot, now = self._slots.get(key), self._clock()
            if slot is None:
                return None, None
            held = pause = None
            if slot.held is not None and slot.held_until > now:
                held = Held(slot.held.value, slot.held_until - now, slot.held.renew_ahead_seconds)
            if slot.pause is not None and slot.pause_until > now:
                pause = replace(slot.pause, remaining_seconds=slot.pause_until - now)
            return held, pause

    def lead(self, key: str, owner: str) -> bool:
        with self._lock:
            slot, now = self._slots.setdefault(key, _Slot()), self._clock()
            if slot.owner and slot.owner_until > now:
                return False
            slot.owner, slot.owner_until = owner, now + LEADER_SECONDS
            return True

    def release(self, key: str, owner: str) -> None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and slot.owner == owner:
                slot.owner = ""

    def publish(self, key: str, owner: str, held: Held) -> None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.owner != owner:
                return
            slot.held, slot.held_until = held, self._clock() + held.remaining_seconds
            slot.pause = None

    def publish_pause(self, key: str, owner: str, pause: Pause) -> None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.owner != owner:
                return
            slot.pause, slot.pause_until = pause, self._clock() + pause.remaining_seconds

    def drop(self, key: str, value: str) -> None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and slot.held is not None and slot.held.value == value:
                slot.held = None

    def forget(self, key: str) -> None:
        with self._lock:
            self._slots.pop(key, None)


class InMemoryTokenStore(SingleFlightStore):
    """Tokens shared by the threads of one process. `pause_seconds`: how long a wrong secret is not tried again."""

    def __init__(
        self,
        *,
        pause_seconds: int = 60,
        wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = read_boot_clock,
        system: str = "wecom",
    ) -> None:
        super().__init__(_MemoryShelf(clock), pause_seconds=pause_seconds, wait_seconds=wait_seconds, system=system)


Cipher = Callable[[bytes], bytes]

# KEYS: token, pause, lead. Values: token "<digest>:<renew ahead ms>:<sealed>", pause JSON, lead "<owner>".
_READ = """
local function held(key) return redis.call('GET', key), redis.call('PTTL', key) end
local token, token_ms = held(KEYS[1])
local pause, pause_ms = held(KEYS[2])
return {token, token_ms, pause, pause_ms}
"""
_PUBLISH = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""
_PUBLISH_PAUSE = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
return 1
"""
_DROP = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        message = f"the token store does not answer ({type(error).__name__})"
        raise TransientError(message, system="valkey", operation="tokens") from error


class _ValkeyShelf:
    """Tokens in Valkey. Life times run on its clock, so hosts need not agree on the time."""

    def __init__(self, client: redis.Redis, seal: Cipher, unseal: Cipher, prefix: str) -> None:
        self._client = client
        self._seal, self._unseal = seal, unseal
        self._prefix = prefix
        self._read, self._publish, self._publish_pause, self._release, self._drop = (
            client.register_script(script) for script in (_READ, _PUBLISH, _PUBLISH_PAUSE, _RELEASE, _DROP)
        )

    def _keys(self, key: str) -> list[str]:
        # The braces keep the three keys on one node of a cluster.
        return [f"{self._prefix}{{{key}}}:{part}" for part in ("token", "pause", "lead")]

    def read(self, key: str) -> tuple[Held | None, Pause | None]:
        with _reached():
            token, token_ms, pause, pause_ms = self._read(keys=self._keys(key))
        held = None if token is None else self._opened(_text(token), token_ms / 1000)
        if pause is None:
            return held, None
        return held, Pause(**json.loads(_text(pause)), remaining_seconds=pause_ms / 1000)

    def _opened(self, stored: str, remaining_seconds: float) -> Held | None:
        _token_digest, ahead_ms, sealed = stored.split(":", 2)
        try:
            value = self._unseal(base64.b64decode(sealed)).decode()
        except (ValueError, InvalidToken):  # sealed with a key that is gone: fetch anew
            return None
        return Held(value, remaining_seconds, int(ahead_ms) / 1000)

    def lead(self, key: str, owner: str) -> bool:
        with _reached():
            return bool(self._client.set(self._keys(key)[2], owner, nx=True, px=LEADER_SECONDS * 1000))

    def release(self, key: str, owner: str) -> None:
        with suppress(redis.RedisError):  # it ends by itself, and an error here would hide the one that matters
            self._release(keys=self._keys(key), args=[owner])

    def publish(self, key: str, owner: str, held: Held) -> None:
        sealed = base64.b64encode(self._seal(held.value.encode())).decode()
        stored = f"{_digest(held.value)}:{_milliseconds(held.renew_ahead_seconds)}:{sealed}"
        with _reached():
            self._publish(keys=self._keys(key), args=[owner, stored, _milliseconds(held.remaining_seconds)])

    def publish_pause(self, key: str, owner: str, pause: Pause) -> None:
        stored = asdict(pause)
        ends_in_ms = _milliseconds(stored.pop("remaining_seconds"))
        with _reached():
            self._publish_pause(keys=self._keys(key), args=[owner, json.dumps(stored), ends_in_ms])

    def drop(self, key: str, value: str) -> None:
        with _reached():
            self._drop(keys=self._keys(key), args=[f"{_digest(value)}:"])

    def forget(self, key: str) -> None:
        with _reached():
            self._client.delete(*self._keys(key))


@dataclass(slots=True)
class _Copy:
    """What this process last read: good without asking until `fresh_until`, usable until `valid_until`."""

    held: Held = field(repr=False)
    fresh_until: float
    valid_until: float


class ValkeyTokenStore(SingleFlightStore):
    """Tokens shared by threads, processes and hosts.

    `client`: a redis-py client. `seal` and `unseal`: encryption of what is stored, for example the two methods of a
    `MultiFernet`; a token that does not unseal counts as none. `pause_seconds`: how long a wrong secret is not tried
    again. `copy_seconds`: how long a process uses its own copy without asking Valkey, so also how long it may miss
    a `forget()` of another process. Raises TransientError where Valkey does not answer.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        seal: Cipher,
        unseal: Cipher,
        prefix: str = "wecom:token:",
        pause_seconds: int = 60,
        wait_seconds: float = WAIT_SECONDS,
        copy_seconds: float = 1.0,
        system: str = "wecom",
    ) -> None:
        shelf = _ValkeyShelf(client, seal, unseal, prefix)
        super().__init__(shelf, pause_seconds=pause_seconds, wait_seconds=wait_seconds, system=system)
        self._copy_seconds = copy_seconds
        self._copies: dict[str, _Copy] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken], kind: Kind = "token") -> str:
        key = application_key(corpid, agentid, kind)
        copy, now = self._copies.get(key), read_boot_clock()
        if copy is not None and now < copy.fresh_until:
            return copy.held.value
        # One thread of the process asks Valkey; the others go on with the copy, or wait where there is none.
        if copy is None or now >= copy.valid_until:
            with self._alone(key):
                return self._shared(key, fetch)
        lock = self._lock(key)
        if not lock.acquire(blocking=False):
            return copy.held.value
        try:
            return self._shared(key, fetch)
        finally:
            lock.release()

    def _lock(self, key: str) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """No other thread of this process reads or drops the token meanwhile."""
        lock = self._lock(key)
        if not lock.acquire(timeout=patience_seconds(self._wait_seconds)):
            message = "waited too long for another thread's token"
            raise TransientError(message, system=self._system, operation="gettoken")
        try:
            yield
        finally:
            lock.release()

    def _shared(self, key: str, fetch: Callable[[], FetchedToken]) -> str:
        copy = self._copies.get(key)
        if copy is not None and read_boot_clock() < copy.fresh_until:
            return copy.held.value
        held = self._obtained(key, fetch)
        now = read_boot_clock()
        fresh_seconds = min(self._copy_seconds, held.remaining_seconds)
        self._copies[key] = _Copy(held, now + fresh_seconds, now + held.remaining_seconds)
        return held.value

    def renew(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken]) -> None:
        try:
            super().renew(corpid, agentid, fetch)
        finally:
            self._copies.pop(application_key(corpid, agentid, "token"), None)

    def drop(self, corpid: str, agentid: int | None, token: str, kind: Kind = "token") -> None:
        key = application_key(corpid, agentid, kind)
        # Alone: a thread that read the token from Valkey a moment ago would put it back as this process's copy.
        with self._alone(key):
            copy = self._copies.get(key)
            if copy is not None and copy.held.value == token:
                self._copies.pop(key, None)
            super().drop(corpid, agentid, token, kind)

    def forget(self, corpid: str, agentid: int | None) -> None:
        super().forget(corpid, agentid)
        for kind in KINDS:
            self._copies.pop(application_key(corpid, agentid, kind), None)

    def drop_copies(self, corpid: str, agentid: int | None) -> None:
        for kind in KINDS:
            key = application_key(corpid, agentid, kind)
            with self._alone(key):  # as in drop()
                self._copies.pop(key, None)
