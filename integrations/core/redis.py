"""The shared store (Valkey): one client per process, and limits per minute that all processes count in it.

Where Valkey does not answer, the caller of a limit gets redis.RedisError. Nobody signs in with WeCom without it anyway,
since it holds the states: the page that says so is the answer to a limit that cannot be counted, too
(docs/en/sign-in.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import redis
from django.conf import settings
from redis.sentinel import Sentinel

if TYPE_CHECKING:
    from redis.commands.core import Script


class ConnectionPools:
    """Makes pools of connections to a Valkey, or to whichever of several is the primary. Django's cache calls it."""

    @staticmethod
    def from_url(url: str, **options: Any) -> redis.ConnectionPool:
        """`options`: settings.VALKEY_OPTIONS. Where they name Sentinels, those are asked for each new connection."""
        if "sentinels" not in options:
            return redis.ConnectionPool.from_url(url, **options)
        service_name = options.pop("service_name")
        sentinel = Sentinel(options.pop("sentinels"), sentinel_kwargs=options.pop("sentinel_kwargs"))  # type: ignore[no-untyped-call]
        primary: redis.Redis = sentinel.master_for(service_name, **options)  # type: ignore[no-untyped-call]
        pool: redis.ConnectionPool = primary.connection_pool
        return pool


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis(connection_pool=ConnectionPools.from_url(url, **settings.VALKEY_OPTIONS))


def valkey() -> redis.Redis:
    """Return the client of settings.VALKEY_URL. Threads share its pool; each process makes its own."""
    return _client(settings.VALKEY_URL)


def script(text: str) -> Script:
    """Return what runs `text` (Lua) in settings.VALKEY_URL by its digest, which is made once in a process."""
    return _script(settings.VALKEY_URL, text)


@cache
def _script(url: str, text: str) -> Script:
    return _client(url).register_script(text)


# --- Limits per minute ------------------------------------------------------------------------------------------------

LIMIT_SECONDS = 60
# For scripts that count on their way. `at_most` -1: no limit, nothing is counted.
COUNTING = f"""
local function is_over(key, at_most)
    if at_most == '-1' then return false end
    local count = redis.call('INCR', key)
    if count == 1 then redis.call('EXPIRE', key, {LIMIT_SECONDS}) end
    return count > tonumber(at_most)
end
"""
# KEYS: what is counted. ARGV: how many may be.
_COUNT = f"{COUNTING} return is_over(KEYS[1], ARGV[1]) and 1 or 0"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of what is counted under `key`: `at_most` within a minute."""

    key: str
    at_most: int

    def allows(self) -> bool:
        """Count one more; False past the limit."""
        return allows(self.key, at_most=self.at_most)


def key_and_count(limit: Limit | None) -> tuple[str, int]:
    """Return what COUNTING's `is_over` wants to know of a limit, or of none."""
    return (_limit_key("none"), -1) if limit is None else (_limit_key(limit.key), limit.at_most)


def allows(key: str, *, at_most: int) -> bool:
    """Count one more under `key`; False past `at_most` within the minute that the first of them began."""
    return not script(_COUNT)(keys=[_limit_key(key)], args=[at_most])


def seconds_to_wait(key: str, *, at_most: int) -> int:
    """Count one more under `key`: 0 where that may be, past `at_most` the seconds until the count begins anew."""
    if allows(key, at_most=at_most):
        return 0
    return max(1, math.ceil(int(valkey().pttl(_limit_key(key))) / 1000))


def _limit_key(key: str) -> str:
    return f"accounts:{{limits}}:{key}"
