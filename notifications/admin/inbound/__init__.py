"""Admin pages of inbound channels, and of the messages that came in."""

from notifications.admin.inbound import channels, messages

__all__ = ["channels", "messages"]
