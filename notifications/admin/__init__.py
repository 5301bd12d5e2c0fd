"""Admin pages of pushes and alerts, and the log of their runs and messages."""

from accounts.users.companies import person_panels
from notifications.admin import (
    alerts,
    api_tokens,
    inbound,
    log_pages,
    operations,
    reports,
    subscriptions,
)
from notifications.admin.dashboard import person_panel

__all__ = [
    "alerts",
    "api_tokens",
    "inbound",
    "log_pages",
    "operations",
    "reports",
    "subscriptions",
]

person_panels.register(person_panel)
