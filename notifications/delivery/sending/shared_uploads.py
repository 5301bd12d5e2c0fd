"""Shares uploads: what several messages of a run carry alike is uploaded once for the application that sends them.

In the cache, and no more than a help: where it forgets, the same is uploaded again, which harms nobody. What is shared
is named by all that an upload consists of, so nobody gets another's picture, whatever becomes of the rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core.cache import cache

if TYPE_CHECKING:
    from notifications.models import Delivery

# Much less than WeCom keeps it.
SHARED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """`until`: when WeCom may have forgotten it."""

    media_id: str
    until: datetime


class UnderWayError(Exception):
    """Another task uploads the same just now."""


def begin(key: str, *, delivery_id: int, seconds_at_most: float, used: str = "") -> Uploaded | None:
    """What was uploaded under this key; None: the caller uploads it, and says so by `end`. Raises UnderWayError.

    `delivery_id`: of whoever asks; who asks again has lost the task before. `seconds_at_most`: how long an upload that
    died or is slow holds up the others. `used`: the media_id that a message had before it came back; WeCom has
    forgotten that one.
    """
    lock = _lock(key)
    is_mine = cache.add(lock, delivery_id, timeout=seconds_at_most) or cache.get(lock) == delivery_id
    # Only now: whoever had the lock before may have just finished.
    known: Uploaded | None = cache.get(key)
    if known is None or known.media_id == used:
        if not is_mine:
            raise UnderWayError
        return None
    if is_mine:
        end(key, delivery_id=delivery_id)
    return known


def end(key: str, found: Uploaded | None = None, *, delivery_id: int) -> None:
    """The upload that the caller has begun is over. `found`: what the others get; None where there is nothing."""
    if found is not None:
        cache.set(key, found, timeout=SHARED_FOR.total_seconds())
    lock = _lock(key)
    if cache.get(lock) == delivery_id:  # else another has begun meanwhile
        cache.delete(lock)


def _lock(key: str) -> str:
    return f"{key}:lock"


def key_of(delivery: Delivery, content: bytes, name: str) -> str:
    """Equal for equal bytes of one run, by the same name, through the same application or robot."""
    sender = (delivery.run_id, delivery.channel, delivery.corp_id, delivery.corpid, delivery.agentid, delivery.robot_id)
    content_type = delivery.medium.content_type if delivery.medium else ""
    parts = (*sender, delivery.message_form, delivery.medium_id, content_type, name)
    digest = hashlib.sha256(repr([str(part) for part in parts]).encode("utf-8", "replace") + b"\0" + content)
    return f"upload:{digest.hexdigest()}"
