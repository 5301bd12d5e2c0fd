"""What a channel is to the push engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from integrations.models import Corp
from notifications.limiter import Request, Scope
from notifications.models import Delivery
from notifications.outcomes import Outcome

Caller = Callable[[], Outcome]
Requester = Callable[[Delivery], Request]


class Channel(Protocol):
    """Sends frozen deliveries. Knows the limits of its way, and whether a repeat of the same bytes is safe."""

    # Whether the other side drops a repeat of the same bytes. If not, an unclear outcome is unknown at once.
    is_repeat_safe: ClassVar[bool]

    def requester(self, corp: Corp, *, daily_budget: int) -> Requester:
        """Says what each delivery of the company asks of the limiter: reads what is frozen, and the company's
        addresses. `daily_budget`: the company's person-messages a day, 0 for no limit."""

    def caller(self, delivery: Delivery) -> Caller:
        """The call, ready to be made in a thread without a database. Making it raises nothing that is foreseen."""

    def held_scopes(self, delivery: Delivery) -> tuple[Scope, ...]:
        """What is slowed down when the other side says that it has had too much."""
