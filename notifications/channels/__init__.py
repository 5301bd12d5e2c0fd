"""The ways by which a message reaches people: one module each behind one small interface."""

from notifications.channels.base import Caller, Channel, Requester
from notifications.channels.registry import channel_of

__all__ = ["Caller", "Channel", "Requester", "channel_of"]
