"""The limiter of this process. Modules that know past calls register with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import TypeVar

import redis
from django.conf import settings

from integrations.core.redis import valkey
from integrations.hooks import Hook
from notifications.delivery.limiter.gate import Gate, Member, PastCall, StoreLostError

T = TypeVar("T")
logger = logging.getLogger(__name__)

# On top of the call's own total deadline: its way from the permit into a thread.
PERMIT_SECONDS = 10

# Asked for the calls with which a store begins that does not know the past.
store_lost: Hook[[], Iterable[PastCall]] = Hook()


def gate(*, call_seconds: float | None = None) -> Gate:
    """The gate on settings.VALKEY_URL. `call_seconds`: how long a call may take, where that is not
    WECOM_TOTAL_TIMEOUT_SECONDS."""
    longest = settings.WECOM_TOTAL_TIMEOUT_SECONDS if call_seconds is None else call_seconds
    return _gate(settings.VALKEY_URL, longest + PERMIT_SECONDS)


def query(question: Callable[[Gate], T]) -> T:
    """The gate's answer; a store that does not know the past is filled before, with the calls that attempts tell of.

    Raises StoreLostError while another worker fills it.
    """
    try:
        return question(gate())
    except StoreLostError:
        if not gate().restore(chain.from_iterable(store_lost())):
            raise
        logger.warning(
            "the limiter's store was empty, old or another one, or its clock was set: it begins from the attempts "
            "of the last hour and day"
        )
    return question(gate())


def member_waits(member: Member, userids: Sequence[str]) -> list[float]:
    """For each folded userid the seconds until the app may write to it again: 0 for now.

    0 also where the limiter cannot be asked: before the call it is asked again.
    """
    try:
        return query(lambda gate: gate.member_waits(member, userids))
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the limiter could not be asked before freezing: %s", type(error).__name__)
        return [0.0] * len(userids)


@cache
def _gate(_url: str, lease_seconds: float) -> Gate:
    """The address is part of the cache's key only."""
    return Gate(valkey(), lease_seconds=lease_seconds)
