"""Which module stands behind a name."""

from __future__ import annotations

from notifications.channels.base import Channel
from notifications.channels.mail import Mail
from notifications.channels.wecom_app import WeComApp
from notifications.channels.wecom_robot import WeComRobot
from notifications.models import Channel as Name

_CHANNELS: dict[str, Channel] = {Name.WECOM: WeComApp(), Name.ROBOT: WeComRobot(), Name.EMAIL: Mail()}


def channel_of(name: str) -> Channel:
    """Raises KeyError for what is no channel."""
    return _CHANNELS[name]
