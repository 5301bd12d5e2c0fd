"""The administration of pushes and alerts, and of what became of them."""

from notifications.admin import (
    alerts,
    api_tokens,
    deliveries,
    inbound,
    operations,
    reports,
    robots,
    runs,
    subscriptions,
)

__all__ = [
    "alerts",
    "api_tokens",
    "deliveries",
    "inbound",
    "operations",
    "reports",
    "robots",
    "runs",
    "subscriptions",
]
