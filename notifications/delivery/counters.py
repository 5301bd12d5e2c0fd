"""Counters in Valkey, shared by all workers: ended calls (notifications.delivery.metrics)."""

from __future__ import annotations

import bisect
import logging
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import redis

from integrations.core.redis import valkey

logger = logging.getLogger(__name__)

# The upper edges of the histogram's buckets.
LAG_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400)
_ATTEMPTS, _LAG = "push:metrics:attempts", "push:metrics:lag"
_SUM = "milliseconds"


class EndedCall(NamedTuple):
    """`code`: WeCom's errcode, or what kind of end it was. `lag_seconds`: from the message's time to its acceptance;
    None for one that was not accepted."""

    channel: str
    code: str
    lag_seconds: float | None


class Lag(NamedTuple):
    """How many accepted calls each bucket holds, the last one without an upper edge, and their sum."""

    counts: list[int]
    seconds: float


def count_ended(calls: Sequence[EndedCall]) -> None:
    """Count calls that ended; without Valkey they are not counted."""
    counts: Counter[tuple[str, str]] = Counter()
    for call in calls:
        counts[_ATTEMPTS, f"{call.channel}:{call.code}"] += 1
        if call.lag_seconds is not None:
            counts[_LAG, str(bisect.bisect_left(LAG_SECONDS, call.lag_seconds))] += 1
            counts[_LAG, _SUM] += round(call.lag_seconds * 1000)
    pipeline = valkey().pipeline(transaction=False)
    for (name, field), count in counts.items():
        pipeline.hincrby(name, field, count)
    try:
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning("%d ended calls were not counted: %s", len(calls), type(error).__name__)


def ended() -> dict[tuple[str, str], int]:
    """Calls that ended so far, by channel and code. Raises redis.RedisError."""
    return {_channel_and_code(name): count for name, count in _hash(_ATTEMPTS).items()}


def lag() -> Lag:
    """Raises redis.RedisError."""
    found = _hash(_LAG)
    counts = [found.get(str(position), 0) for position in range(len(LAG_SECONDS) + 1)]
    return Lag(counts, found.get(_SUM, 0) / 1000)


def _channel_and_code(name: str) -> tuple[str, str]:
    channel, _colon, code = name.partition(":")
    return channel, code


def _hash(name: str) -> dict[str, int]:
    found = valkey().hgetall(name)
    return {str(field, "ascii") if isinstance(field, bytes) else field: int(count) for field, count in found.items()}
