"""System checks of the push engine's settings. `manage.py check` runs them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

from notifications.timing import QUEUE_LEASE, TASK_SECONDS


@checks.register()
def queue_lease_outlasts_task(**_kwargs: Any) -> list[checks.CheckMessage]:
    """A task that outlives the lease of its deliveries finds them in a second task's hands."""
    most = QUEUE_LEASE.total_seconds() - TASK_SECONDS
    if most > settings.WECOM_TOTAL_TIMEOUT_SECONDS:
        return []
    return [
        checks.Error(
            "WECOM_TOTAL_TIMEOUT_SECONDS is too long for the push engine.",
            hint=f"A sending task would outlive the lease of its deliveries. Set less than {most:.0f} seconds.",
            id="notifications.E001",
        )
    ]
