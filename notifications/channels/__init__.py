"""The ways by which a message reaches people: one module each behind one small interface."""

from notifications.channels.base import SENT, Caller, Channel, Requester, Sendable
from notifications.channels.registry import channel_of

__all__ = ["SENT", "Caller", "Channel", "Requester", "Sendable", "channel_of"]
