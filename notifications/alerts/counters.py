"""How many alerts came, and how many of them no route took. In Valkey, as all counters of the metrics."""

from __future__ import annotations

import logging

import redis

from integrations.store import valkey

logger = logging.getLogger(__name__)

_RECEIVED = "alerts:metrics:received"
_UNROUTED = "alerts:unrouted"
RECENT_SECONDS = 24 * 60 * 60


def count_received(count: int, unrouted_count: int) -> None:
    """Count a payload's alerts; without Valkey they are taken all the same."""
    pipeline = valkey().pipeline(transaction=False)
    pipeline.hincrby(_RECEIVED, "routed", count - unrouted_count)
    pipeline.hincrby(_RECEIVED, "unrouted", unrouted_count)
    if unrouted_count:
        pipeline.incrby(_UNROUTED, unrouted_count)
        pipeline.expire(_UNROUTED, RECENT_SECONDS)
    try:
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning("%d alerts were not counted: %s", count, type(error).__name__)


def received() -> dict[str, int]:
    """All alerts so far, by whether a route took them. Empty without Valkey."""
    try:
        found = valkey().hgetall(_RECEIVED)
    except redis.RedisError:
        return {}
    return {str(name, "ascii") if isinstance(name, bytes) else name: int(count) for name, count in found.items()}


def recently_unrouted() -> int:
    """Alerts that no route took, counted until a day passes without one. 0 without Valkey."""
    try:
        return int(valkey().get(_UNROUTED) or 0)
    except redis.RedisError:
        return 0
