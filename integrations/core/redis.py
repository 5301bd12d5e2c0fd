"""The shared store (Valkey): one client per process."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, **settings.VALKEY_OPTIONS)


def valkey() -> redis.Redis:
    """The client of settings.VALKEY_URL. Threads share its pool; each process makes its own."""
    return _client(settings.VALKEY_URL)
