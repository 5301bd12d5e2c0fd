"""The gate of this deployment: one for each process, all on the same Valkey."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from integrations.store import valkey
from notifications.limiter.gate import Gate

# On top of the call's own total deadline: its way from the permit into a thread.
PERMIT_SECONDS = 10


def gate() -> Gate:
    """The gate on settings.VALKEY_URL."""
    return _gate(settings.VALKEY_URL, settings.WECOM_TOTAL_TIMEOUT_SECONDS + PERMIT_SECONDS)


@cache
def _gate(_url: str, lease_seconds: float) -> Gate:
    """The address is part of the cache's key only."""
    return Gate(valkey(), lease_seconds=lease_seconds)
