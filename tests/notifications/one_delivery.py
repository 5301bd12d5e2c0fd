"""Messages for one person each, and the engine's functions for many deliveries called with one."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

from integrations.core.background import Clock
from integrations.models import Corp
from notifications.delivery.channels import Sendable
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.queue import claim_deliveries, read_sendables
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Delivery
from tests.notifications.factories import NOW, make_person, make_run, make_subscription

_numbers = count()


def personal(corp: Corp, number: int, **fields: Any) -> list[int]:
    """Create this many frozen messages of the company, each for another person."""
    people = [make_person(corp, f"p{next(_numbers)}") for _ in range(number)]
    runs = [make_run(make_subscription(person, **fields)) for person in people]
    return [pk for run in runs for pk in render_run(run_id=run.pk, now=NOW)]


def send_delivery(delivery_id: int, *, clock: Clock) -> bool:
    """Send the delivery. Return False if it may not be tried: not due, settled, held back, or claimed by another."""
    return send_deliveries([delivery_id], clock=clock, is_stopping=lambda: False) == 1


def send_all(clock: Clock, ids: Sequence[int] | None = None) -> int:
    """Send these deliveries, or all that are pending. Return how many were tried."""
    if ids is None:
        pending = Delivery.objects.filter(status=Delivery.Status.PENDING).order_by("pk")
        ids = list(pending.values_list("pk", flat=True))
    return send_deliveries(ids, clock=clock, is_stopping=lambda: False)


def claim_delivery(delivery_id: int, *, now: datetime) -> Sendable | None:
    """Claim the delivery. Return None if it may not be tried now."""
    return next(iter(claim_deliveries(read_sendables(Delivery.objects.filter(pk=delivery_id)), now=now)), None)
