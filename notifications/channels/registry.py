"""Which module stands behind a name."""

from __future__ import annotations

from notifications.channels.base import Channel
from notifications.channels.wecom_app import WeComApp
from notifications.models import Channel as Name

_CHANNELS: dict[str, Channel] = {Name.WECOM: WeComApp()}


def channel_of(name: str) -> Channel:
    """Raises KeyError for what is no channel."""
    return _CHANNELS[name]
