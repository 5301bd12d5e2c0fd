"""The shared store (Valkey): one client per process."""

from __future__ import annotations

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
    """The client of settings.VALKEY_URL. Threads share its pool; each process makes its own."""
    return _client(settings.VALKEY_URL)


def script(text: str) -> Script:
    """What runs `text` (Lua) in the Valkey of settings.VALKEY_URL, by its digest, which is made once in a process."""
    return _script(settings.VALKEY_URL, text)


@cache
def _script(url: str, text: str) -> Script:
    return _client(url).register_script(text)
