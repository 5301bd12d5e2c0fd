"""Access tokens in Valkey (or Redis): one fetch per app, however many threads, processes and hosts ask at once.

The key is corpid + agentid, because tokens differ per application and no part of a secret belongs in a key.

- One caller, the leader, fetches; the others wait for its token (single flight).
- A token is renewed before it ends: one caller renews it, the others use the old one, which is still valid.
- A failed fetch is shared as well. A wrong secret becomes a *pause*: every caller gets the error at once and does not
  ask again, because WeCom blocks an address that keeps sending wrong secrets. `forget()` ends the pause.
- `forget()` also stops a fetch with the old secret from publishing its token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
from cryptography.fernet import InvalidToken

from integrations.clients.errors import (
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.transport import limit_to_deadline, read_boot_clock
from integrations.clients.wecom import errcodes

Kind = Literal["token", "jsapi_ticket"]
KINDS: tuple[Kind, ...] = ("token", "jsapi_ticket")
Cipher = Callable[[bytes], bytes]

RENEW_AHEAD_SECONDS = 300  # how long before its end a token is renewed
LEADER_SECONDS = 60  # longer than a gettoken call can take; afterwards another caller may try
POLL_SECONDS = 0.03  # the interval at which a caller checks whether the fetch of another one has ended
WAIT_SECONDS = 30  # how long a caller waits for the fetch of another one
SHARED_SECONDS = 5  # if WeCom refused the Secret less than this ago, renew() does not try it again
BRIEF_PAUSE_SECONDS = 1  # after another failure: callers that wait already share it, the next caller tries again


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """A token from gettoken and its lifetime in seconds."""

    value: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class Pause:
    """The reason why no token is fetched for `remaining_seconds`. `kind`: the name of the error's class."""

    kind: str
    operation: str
    code: int | None
    message: str
    hint: str
    caller_ip: str
    remaining_seconds: float

    def make_error(self, *, system: str = "wecom") -> IntegrationError:
        """Return the stored failure as an error, for a caller that did not make the call."""
        known: dict[str, Any] = {
            "system": system,
            "operation": self.operation,
            "code": self.code,
            "hint": self.hint,
            "caller_ip": self.caller_ip,
        }
        if self.kind == RateLimitedError.__name__:
            return RateLimitedError(self.message, retry_after_seconds=max(1, round(self.remaining_seconds)), **known)
        # If another release stored a class that is not known here, it counts as a TransientError.
        cls = next((cls for cls in _SHARED_ERRORS if cls.__name__ == self.kind), TransientError)
        return cls(self.message, **known)


# The classes of errors that are stored for other callers; a subclass stands before its base class.
_SHARED_ERRORS = (RateLimitedError, ConfigurationError, TransientError, ForeignAnswerError, UnexpectedResponseError)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token stored in Valkey. Times in seconds from now."""

    value: str = field(repr=False)
    remaining_seconds: float
    renew_ahead_seconds: float

    @property
    def is_fresh(self) -> bool:
        return self.remaining_seconds > self.renew_ahead_seconds


@dataclass(slots=True)
class _LocalCopy:
    """A token's copy in this process: used without asking Valkey until `fresh_until`, usable until `valid_until`."""

    value: str = field(repr=False)
    fresh_until: float
    valid_until: float


# KEYS: token, pause, lead. Values: token "<digest>:<renew ahead ms>:<encrypted>", pause JSON, lead "<owner>".
_READ = """
local function read(key) return redis.call('GET', key), redis.call('PTTL', key) end
local token, token_ms = read(KEYS[1])
local pause, pause_ms = read(KEYS[2])
return {token, token_ms, pause, pause_ms}
"""
# ARGV: owner, number of the key to set (1 token, 2 pause), value, lifetime in ms. A token ends the pause.
_PUBLISH = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[tonumber(ARGV[2])], ARGV[3], 'PX', ARGV[4])
if ARGV[2] == '1' then redis.call('DEL', KEYS[2]) end
return 1
"""
_DROP = """
local token = redis.call('GET', KEYS[1])
if token and string.sub(token, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class TokenStore:
    """Tokens shared by threads, processes and hosts. Lifetimes run on Valkey's clock, so hosts' clocks may differ.

    `client`: a redis-py client. `encrypt` and `decrypt`: encryption of stored tokens, for example the two methods of a
    `MultiFernet`; a token that cannot be decrypted counts as missing. `pause_seconds`: how long a wrong secret is not
    tried again. `copy_seconds`: how long a process uses its own copy without asking Valkey, so also how long it may
    miss a `forget()` of another process. `system`: the name in errors. Raises TransientError if Valkey does not
    answer.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        encrypt: Cipher,
        decrypt: Cipher,
        prefix: str = "wecom:token:",
        pause_seconds: int = 60,
        wait_seconds: float = WAIT_SECONDS,
        copy_seconds: float = 1.0,
        system: str = "wecom",
    ) -> None:
        self._client = client
        self._encrypt, self._decrypt = encrypt, decrypt
        self._prefix = prefix
        self._pause_seconds, self._wait_seconds, self._copy_seconds = pause_seconds, wait_seconds, copy_seconds
        self._system = system
        self._read_script, self._publish_script, self._drop_script = (
            client.register_script(script) for script in (_READ, _PUBLISH, _DROP)
        )
        self._copies: dict[str, _LocalCopy] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken], kind: Kind = "token") -> str:
        """Return the token (or a JS-SDK ticket) of the application; call `fetch` if none is stored or being fetched.

        Raises the error of `fetch`, also of another caller's fetch, and TransientError after waiting too long for
        another caller.
        """
        key = _make_key(corpid, agentid, kind)
        copy, now = self._copies.get(key), read_boot_clock()
        if copy is not None and now < copy.fresh_until:
            return copy.value
        # One thread of the process asks Valkey; the others use the copy, or wait if there is none.
        usable = copy if copy is not None and now < copy.valid_until else None
        with self._lock_key(key, waits=usable is None) as has_lock:
            if usable is not None and not has_lock:
                return usable.value
            copy = self._copies.get(key)
            if copy is not None and read_boot_clock() < copy.fresh_until:
                return copy.value
            stored = self._find_or_fetch_token(key, fetch)
            now = read_boot_clock()
            fresh_seconds = min(self._copy_seconds, stored.remaining_seconds)
            self._copies[key] = _LocalCopy(stored.value, now + fresh_seconds, now + stored.remaining_seconds)
            return stored.value

    def renew(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken]) -> None:
        """Fetch a new token even if one is stored. Share it, or the failure, unless another caller is fetching.

        Raises the error of `fetch`. If the Secret was refused just before, or calls are limited, raises the stored
        error without calling `fetch`.
        """
        key = _make_key(corpid, agentid, "token")
        try:
            with self._claim_lead(key) as owner:
                pause = self._read(key)[1]
                is_recent = pause is not None and pause.remaining_seconds > self._pause_seconds - SHARED_SECONDS
                codes_not_retried = {errcodes.RATE_LIMITED, *(errcodes.SECRET_REFUSED if is_recent else ())}
                if pause is not None and pause.code in codes_not_retried:
                    raise pause.make_error(system=self._system)
                self._fetch_and_publish(key, owner, fetch)
        finally:
            self._copies.pop(key, None)

    def drop(self, corpid: str, agentid: int | None, token: str, kind: Kind = "token") -> None:
        """Forget `token`, which WeCom refused. A newer token stays."""
        key = _make_key(corpid, agentid, kind)
        # Locked, because a thread that just read the token from Valkey would make it this process's copy again.
        with self._lock_key(key):
            copy = self._copies.get(key)
            if copy is not None and copy.value == token:
                self._copies.pop(key, None)
            with _convert_redis_error():
                self._drop_script(keys=self._list_keys(key), args=[f"{_hash_token(token)}:"])

    def forget(self, corpid: str, agentid: int | None) -> None:
        """Forget token, tickets and pause, because an administrator saved another secret."""
        for kind in KINDS:
            key = _make_key(corpid, agentid, kind)
            with _convert_redis_error():
                self._client.delete(*self._list_keys(key))
            self._copies.pop(key, None)

    def drop_copies(self, corpid: str, agentid: int | None) -> None:
        """Drop this process's copies, because it may have missed a `forget()` of another process."""
        for kind in KINDS:
            key = _make_key(corpid, agentid, kind)
            with self._lock_key(key):  # as in drop()
                self._copies.pop(key, None)

    def find_pause(self, corpid: str, agentid: int | None) -> Pause | None:
        """Return why no token is fetched at the moment; None if one can be fetched."""
        return self._read(_make_key(corpid, agentid, "token"))[1]

    # --- Single flight: one thread of a process, and one process at a time --------------------------------------------

    @contextmanager
    def _lock_key(self, key: str, *, waits: bool = True) -> Iterator[bool]:
        """Keep other threads of this process from reading or dropping the token. Yield whether this thread has the
        lock: always True if it `waits`. Raises TransientError after waiting too long."""
        lock = self._locks.setdefault(key, threading.Lock())
        has_lock = (
            lock.acquire(timeout=limit_to_deadline(self._wait_seconds)) if waits else lock.acquire(blocking=False)
        )
        if waits and not has_lock:
            raise self._make_timeout("waited too long for another thread's token")
        try:
            yield has_lock
        finally:
            if has_lock:
                lock.release()

    @contextmanager
    def _claim_lead(self, key: str) -> Iterator[str]:
        """Claim the right to fetch. Yield the claim's id; an empty text if another caller has the right."""
        _token_key, _pause_key, lead_key = self._list_keys(key)
        lead = self._client.lock(lead_key, timeout=LEADER_SECONDS, thread_local=False)
        with _convert_redis_error():
            is_leader = lead.acquire(blocking=False)
        try:
            yield lead.local.token.decode() if is_leader else ""
        finally:
            if is_leader:
                with suppress(redis.RedisError):  # the lead may have expired; the error of the block counts
                    lead.release()

    def _make_timeout(self, message: str) -> TransientError:
        return TransientError(message, system=self._system, operation="gettoken")

    def _find_or_fetch_token(self, key: str, fetch: Callable[[], FetchedToken]) -> StoredToken:
        """Return the stored token. Fetch one if there is none, or if it ends soon and no other caller renews it: a
        failed renewal leaves the old one in use.

        While another caller fetches, its result is polled. If that process dies, its lock stays for up to a minute.
        """
        ends_at = read_boot_clock() + limit_to_deadline(self._wait_seconds)
        while True:
            stored, pause = self._read(key)
            if stored is not None and (stored.is_fresh or pause is not None):
                return stored
            if pause is not None:
                raise pause.make_error(system=self._system)
            with self._claim_lead(key) as owner:
                if owner:
                    return self._fetch_as_leader(key, owner, stored, fetch)
            if stored is not None:
                return stored
            if read_boot_clock() >= ends_at:
                raise self._make_timeout("waited too long for another caller's token")
            time.sleep(POLL_SECONDS)

    def _fetch_as_leader(
        self, key: str, owner: str, stored: StoredToken | None, fetch: Callable[[], FetchedToken]
    ) -> StoredToken:
        """Fetch and publish a token, unless the previous leader has. If that fails, return `stored` if there is one."""
        try:
            latest, pause = self._read(key)
            if latest is not None and latest.is_fresh:
                return latest
            if pause is not None:
                raise pause.make_error(system=self._system)
            return self._fetch_and_publish(key, owner, fetch)
        except IntegrationError:
            if stored is None:
                raise
            return stored

    def _fetch_and_publish(self, key: str, owner: str, fetch: Callable[[], FetchedToken]) -> StoredToken:
        """Fetch a token. Store it, or the failure, for all callers if `owner` still has the right to fetch."""
        try:
            token = fetch()
        except IntegrationError as error:
            cls = next((cls for cls in _SHARED_ERRORS if isinstance(error, cls)), UnexpectedResponseError)
            seconds: float = self._pause_seconds if cls is ConfigurationError else BRIEF_PAUSE_SECONDS
            if isinstance(error, RateLimitedError):
                seconds = error.retry_after_seconds
            names = ("operation", "code", "message", "hint", "caller_ip")
            failure = {"kind": cls.__name__, **{name: getattr(error, name) for name in names}}
            with _convert_redis_error():
                self._publish_script(
                    keys=self._list_keys(key), args=[owner, 2, json.dumps(failure), _to_milliseconds(seconds)]
                )
            raise
        # Renew at most half of the lifetime ahead: WeCom may return the same token with the rest of its time. With less
        # than 300 s left, such a token would otherwise be due again at once, and every call would fetch it.
        stored = StoredToken(token.value, token.expires_in, min(RENEW_AHEAD_SECONDS, token.expires_in / 2))
        encrypted = base64.b64encode(self._encrypt(stored.value.encode())).decode()
        value = f"{_hash_token(stored.value)}:{_to_milliseconds(stored.renew_ahead_seconds)}:{encrypted}"
        with _convert_redis_error():
            self._publish_script(
                keys=self._list_keys(key), args=[owner, 1, value, _to_milliseconds(stored.remaining_seconds)]
            )
        return stored

    # --- Valkey: every step is atomic ---------------------------------------------------------------------------------

    def _list_keys(self, key: str) -> list[str]:
        # The braces keep the three keys on one node of a cluster.
        return [f"{self._prefix}{{{key}}}:{part}" for part in ("token", "pause", "lead")]

    def _read(self, key: str) -> tuple[StoredToken | None, Pause | None]:
        """Return the token and the pause; each is None if there is none."""
        with _convert_redis_error():
            token, token_ms, pause, pause_ms = self._read_script(keys=self._list_keys(key))
        stored = None
        if token is not None:
            _token_digest, ahead_ms, encrypted = token.decode().split(":", 2)
            with suppress(ValueError, InvalidToken):  # no present key decrypts it: a new one is fetched
                value = self._decrypt(base64.b64decode(encrypted)).decode()
                stored = StoredToken(value, token_ms / 1000, int(ahead_ms) / 1000)
        if pause is None:
            return stored, None
        return stored, Pause(**json.loads(pause), remaining_seconds=pause_ms / 1000)


class TrialTokens:
    """Tokens of one client that tries credentials. They are not shared. After a refusal no token is fetched again."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._refusals: dict[str, ConfigurationError | RateLimitedError] = {}
        self._lock = threading.RLock()  # reentrant: the fetch of a ticket gets a token here

    def get(self, corpid: str, agentid: int | None, fetch: Callable[[], FetchedToken], kind: Kind = "token") -> str:
        """Return the token, as TokenStore does."""
        key = _make_key(corpid, agentid, kind)
        with self._lock:
            if key in self._refusals:
                raise self._refusals[key]
            if key not in self._tokens:
                try:
                    self._tokens[key] = fetch().value
                except (ConfigurationError, RateLimitedError) as error:
                    self._refusals[key] = error
                    raise
            return self._tokens[key]

    def renew(self, _corpid: str, _agentid: int | None, fetch: Callable[[], FetchedToken]) -> None:
        """Fetch a token, to check the Secret."""
        fetch()

    def drop(self, corpid: str, agentid: int | None, token: str, kind: Kind = "token") -> None:
        """Forget `token`, which WeCom refused. A newer token stays."""
        key = _make_key(corpid, agentid, kind)
        with self._lock:
            if self._tokens.get(key) == token:
                del self._tokens[key]


def _make_key(corpid: str, agentid: int | None, kind: Kind) -> str:
    """Return corpid + agentid (None: the contacts assistant), and the kind of a ticket."""
    application = f"{corpid}:{'contacts' if agentid is None else agentid}"
    return application if kind == "token" else f"{application}:{kind}"


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _to_milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@contextmanager
def _convert_redis_error() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        message = f"the token store does not answer ({type(error).__name__})"
        raise TransientError(message, system="valkey", operation="tokens") from error
