"""What waits: rows in the database, by the kind of work, and tasks in the queues of the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import redis
from celery import current_app
from django.conf import settings
from django.db.models import QuerySet

from accounts.models import UnsentAudit
from integrations.core.redis import valkey
from integrations.models import CardData, EventWork
from notifications.models import InboundFetch, IncomingMessage, MakerQueue, Medium, OutgoingMail, Run

# More are not counted: they are too many in any case.
COUNTED = 10_000
# Rows of work by the name under which monitors know it; deliveries have a metric of their own.
WORK: dict[str, Callable[[datetime], QuerySet[Any]]] = {
    "runs": lambda _now: Run.objects.filter(status=Run.Status.WAITING),
    "data": lambda _now: CardData.objects.waiting(),
    "pictures": lambda _now: _media(MakerQueue.CHARTS),
    "page_pictures": lambda _now: _media(MakerQueue.SNAPSHOTS),
    "events": lambda _now: EventWork.objects.waiting(),
    "inbound_files": lambda _now: InboundFetch.objects.all(),
    "webhooks": lambda now: IncomingMessage.objects.to_call_back(now),
    "audit_for_syslog": lambda _now: UnsentAudit.objects.all(),
    "mails": lambda now: OutgoingMail.objects.due(now),
}


def _media(queue: MakerQueue) -> QuerySet[Medium]:
    return Medium.objects.filter(status=Medium.Status.WAITING, queue=queue)


def work(*, now: datetime) -> dict[str, int]:
    """How many rows of each kind of work are to be done, counted up to COUNTED. Raises django.db.Error."""
    return {name: rows(now).order_by()[:COUNTED].count() for name, rows in WORK.items()}


def queue_names() -> Iterator[str]:
    """The queues of settings, and those of pictures, files and pictures of pages."""
    yield from (queue.name for queue in settings.CELERY_TASK_QUEUES)
    yield from MakerQueue.values


def tasks() -> dict[str, int]:
    """How many tasks stand in each queue and are in no worker's hands; empty where Valkey does not answer."""
    steps = current_app.conf.broker_transport_options.get("priority_steps", [0, 3, 6, 9])
    store, found = valkey(), {}
    try:
        for name in queue_names():
            found[name] = sum(store.llen(name if not step else f"{name}\x06\x16{step}") for step in steps)
    except redis.RedisError:
        return {}
    return found
