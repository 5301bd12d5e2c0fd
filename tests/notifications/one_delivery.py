"""Sending and claiming of one message, where the engine takes many."""

from __future__ import annotations

from datetime import datetime

from integrations.core.background import Clock
from notifications.delivery.sending.queue import StartedAttempt, claim_deliveries, find_pending
from notifications.delivery.sending.send import send_deliveries


def send_delivery(delivery_id: int, *, clock: Clock) -> bool:
    """False if it may not be tried: not its time, settled, held back, or another has it."""
    return send_deliveries([delivery_id], clock=clock, is_stopping=lambda: False) == 1


def claim_delivery(delivery_id: int, *, now: datetime) -> StartedAttempt | None:
    """None if it may not be tried now."""
    return next(iter(claim_deliveries(find_pending([delivery_id]), now=now)), None)
