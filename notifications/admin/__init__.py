"""The admin pages: what is sent (orders), and what became of it (log)."""

from notifications.admin import log, orders

__all__ = ["log", "orders"]
