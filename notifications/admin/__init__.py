"""Admin pages of pushes and alerts, and the log of their runs and messages."""

from accounts.users.companies import person_panels
from notifications.admin import api_tokens, inbound, log_pages, operations, reports, rules, subscriptions
from notifications.admin.dashboard import render_person_panel

__all__ = ["api_tokens", "inbound", "log_pages", "operations", "reports", "rules", "subscriptions"]

person_panels.register(render_person_panel)
