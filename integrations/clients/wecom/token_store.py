"""Stores access tokens: in this process, or in Valkey (or Redis) for all processes and hosts."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import redis
from cryptography.fernet import InvalidToken

from integrations.clients.clock import read_boot_clock
from integrations.clients.errors import TransientError
from integrations.clients.wecom.deadline import patience_seconds
from integrations.clients.wecom.token_refresh import (
    KINDS,
    LEADER_SECONDS,
    WAIT_SECONDS,
    FetchedToken,
    Held,
    Kind,
    Pause,
    SingleFlightStore,
    TokenStore,
    application_key,
)

__all__ = ["FetchedToken", "InMemoryTokenStore", "Pause", "TokenStore", "ValkeyTokenStore"]


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
