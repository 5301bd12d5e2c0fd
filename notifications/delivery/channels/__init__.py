"""Registry of channels by name."""

from __future__ import annotations

from notifications.delivery.channels.base import SENT, Caller, Channel, Requester, Sendable
from notifications.delivery.channels.email import Mail
from notifications.delivery.channels.wecom_app import WeComApp
from notifications.delivery.channels.wecom_robot import WeComRobot
from notifications.models import Channel as Name

_CHANNELS: dict[str, Channel] = {Name.WECOM: WeComApp(), Name.ROBOT: WeComRobot(), Name.EMAIL: Mail()}


def channel_of(name: str) -> Channel:
    """Raises KeyError for what is no channel."""
    return _CHANNELS[name]


# --- The ways by which a message reaches people: one module each behind one small interface ---

__all__ = ["SENT", "Caller", "Channel", "Requester", "Sendable", "channel_of"]
