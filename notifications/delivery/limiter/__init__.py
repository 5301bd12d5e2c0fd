"""Rate limiter for all workers, on Valkey's clock (docs/en/push-engine.md, Limits)."""

from notifications.delivery.limiter.gate import (
    Budget,
    Gate,
    Member,
    PastCall,
    Permit,
    Request,
    Room,
    Scope,
    StoreLostError,
)
from notifications.delivery.limiter.shared_gate import gate, member_waits, query, store_lost

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
    "query",
    "gate",
    "member_waits",
    "store_lost",
]
