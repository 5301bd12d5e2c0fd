"""The administration of pushes and alerts, and of what became of them."""

from notifications.admin import (
    alerts,
    api_tokens,
    deliveries,
    inbound,
    incidents,
    operators,
    periodic_tasks,
    queues,
    receipts,
    reports,
    robots,
    runs,
    subscriptions,
    workday_calendar,
)

__all__ = [
    "alerts",
    "api_tokens",
    "deliveries",
    "inbound",
    "incidents",
    "operators",
    "periodic_tasks",
    "queues",
    "receipts",
    "reports",
    "robots",
    "runs",
    "subscriptions",
    "workday_calendar",
]
