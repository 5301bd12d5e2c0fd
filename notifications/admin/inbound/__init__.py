"""Admin pages of inbound channels, and of the messages that came in."""

from notifications.admin.inbound import channels, incoming

__all__ = ["channels", "incoming"]
