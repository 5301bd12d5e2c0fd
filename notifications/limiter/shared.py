"""The gate of this deployment: one for each process, all on the same Valkey."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from integrations.store import valkey
from notifications.limiter.gate import Gate

# On top of the call's own total deadline: its way from the permit into a thread.
PERMIT_SECONDS = 10


def gate(*, call_seconds: float | None = None) -> Gate:
    """The gate on settings.VALKEY_URL. `call_seconds`: how long a call may take, where that is not
    WECOM_TOTAL_TIMEOUT_SECONDS."""
    longest = settings.WECOM_TOTAL_TIMEOUT_SECONDS if call_seconds is None else call_seconds
    return _gate(settings.VALKEY_URL, longest + PERMIT_SECONDS)


@cache
def _gate(_url: str, lease_seconds: float) -> Gate:
    """The address is part of the cache's key only."""
    return Gate(valkey(), lease_seconds=lease_seconds)
