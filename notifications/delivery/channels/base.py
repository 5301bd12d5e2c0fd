"""Protocol of a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from integrations.models import Corp
from notifications.delivery.channels.outcomes import Outcome
from notifications.delivery.limiter import Request, Scope


@dataclass(slots=True)
class Sendable:
    """What a call needs of a delivery: frozen, but for the count of attempts. `due_at`: its run's time; `corp`: known
    once it is claimed.

    No model: making one takes a fifth of a call's time, for columns that no call reads.
    """

    pk: int
    run_id: int
    corp_id: int
    channel: str
    robot_id: int | None
    corpid: str
    agentid: int
    body: bytes
    created_at: datetime
    priority: int
    recipient_count: int
    attempt_count: int
    due_at: datetime | None = None
    corp: Corp = field(init=False, repr=False, compare=False)


# The columns of Delivery, in this order.
SENT = (
    *("pk", "run_id", "corp_id", "channel", "robot_id", "corpid", "agentid", "body", "created_at"),
    *("priority", "recipient_count", "attempt_count"),
)


Caller = Callable[[], Outcome]
Requester = Callable[[Sendable], Request]


class Channel(Protocol):
    """Sends frozen deliveries. Knows the limits of its way, and whether a repeat of the same bytes is safe."""

    # Whether the other side drops a repeat of the same bytes. If not, an unclear outcome is unknown at once.
    is_repeat_safe: ClassVar[bool]

    def requester(self, corp: Corp, *, daily_budget: int) -> Requester:
        """Says what each delivery of the company asks of the limiter: reads what is frozen, and the company's
        addresses. `daily_budget`: the company's person-messages a day, 0 for no limit."""

    def caller(self, delivery: Sendable) -> Caller:
        """The call, ready to be made in a thread without a database. Making it raises nothing that is foreseen."""

    def held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        """What is slowed down when the other side says that it has had too much."""
