"""Admin pages of inbound channels."""

from notifications.admin.inbound import channels

__all__ = ["channels"]
