"""The shared store (Valkey): one client per process."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=3)


def valkey() -> redis.Redis:
    """The client of settings.VALKEY_URL. Threads share its pool; each process makes its own."""
    return _client(settings.VALKEY_URL)
