"""The shared store (Valkey): a client for each process, and limits per minute that hold across processes.

If Valkey does not answer, a limit raises redis.RedisError. Sign-in with WeCom needs Valkey for its states anyway, so
the page for that failure also covers a limit that cannot be counted (docs/en/sign-in.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.commands.core import Script
from redis.sentinel import Sentinel


class ConnectionPools:
    """Factory of connection pools to a Valkey, or to the present primary of several. Django's cache calls it."""

    @staticmethod
    def from_url(url: str, **options: Any) -> redis.ConnectionPool:
        """Return a pool. `options`: settings.VALKEY_OPTIONS. Each new connection asks the Sentinels, if any."""
        if "sentinels" not in options:
            return redis.ConnectionPool.from_url(url, **options)
        service_name = options.pop("service_name")
        sentinel = Sentinel(options.pop("sentinels"), sentinel_kwargs=options.pop("sentinel_kwargs"))  # type: ignore[no-untyped-call]  # redis-py does not annotate it
        primary: redis.Redis = sentinel.master_for(service_name, **options)  # type: ignore[no-untyped-call]  # see above
        pool: redis.ConnectionPool = primary.connection_pool
        return pool


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis(connection_pool=ConnectionPools.from_url(url, **settings.VALKEY_OPTIONS))


def valkey() -> redis.Redis:
    """Return the client of settings.VALKEY_URL. Threads share its pool; each process has its own."""
    return _client(settings.VALKEY_URL)


def script(text: str) -> Script:
    """Return a script that runs `text` (Lua) by its digest; it is registered once per process."""
    return _script(settings.VALKEY_URL, text)


@cache
def _script(url: str, text: str) -> Script:
    return _client(url).register_script(text)


# --- Limits per minute ------------------------------------------------------------------------------------------------

LIMIT_SECONDS = 60
# A Lua function, which scripts of other modules use, too. `at_most` -1: no limit, nothing is counted.
COUNTING = f"""
local function is_over(key, at_most)
    if at_most == '-1' then return false end
    local count = redis.call('INCR', key)
    if count == 1 then redis.call('EXPIRE', key, {LIMIT_SECONDS}) end
    return count > tonumber(at_most)
end
"""
# KEYS: the counter. ARGV: its limit.
_COUNT = f"{COUNTING} return is_over(KEYS[1], ARGV[1]) and 1 or 0"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: `at_most` per minute under `key`."""

    key: str
    at_most: int

    def allows(self) -> bool:
        """Count one more use. Return False if the limit is exceeded."""
        return allows(self.key, at_most=self.at_most)


def read_limit_arguments(limit: Limit | None) -> tuple[str, int]:
    """Return the arguments of COUNTING's `is_over` for a limit, or for none."""
    return (_make_limit_key("none"), -1) if limit is None else (_make_limit_key(limit.key), limit.at_most)


def allows(key: str, *, at_most: int) -> bool:
    """Count one more use of `key`. Return False if it exceeds `at_most` within the minute that the first use began."""
    return not script(_COUNT)(keys=[_make_limit_key(key)], args=[at_most])


def seconds_to_wait(key: str, *, at_most: int) -> int:
    """Count one more use of `key`. Return 0 within the limit, else the seconds until the count starts again."""
    if allows(key, at_most=at_most):
        return 0
    return max(1, math.ceil(int(valkey().pttl(_make_limit_key(key))) / 1000))


def _make_limit_key(key: str) -> str:
    return f"accounts:{{limits}}:{key}"
