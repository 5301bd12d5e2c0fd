"""Limits respected ahead of time: one limiter for all workers, on Valkey's clock (docs/push-engine.md, Limits)."""

from notifications.limiter.gate import Gate, Room, StoreLostError
from notifications.limiter.permits import Budget, Member, PastCall, Permit, Request, Scope
from notifications.limiter.shared import ask, gate, member_waits, register_history

__all__ = [
    "Budget",
    "Gate",
    "Member",
    "PastCall",
    "Permit",
    "Request",
    "Room",
    "Scope",
    "StoreLostError",
    "ask",
    "gate",
    "member_waits",
    "register_history",
]
