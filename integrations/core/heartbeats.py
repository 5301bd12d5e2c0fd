"""Heartbeats: each process writes its own row.

They stand in the database and on its clock: a Valkey that was emptied kills nobody, and processes whose clocks differ
agree.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from integrations.models import Heartbeat

if TYPE_CHECKING:
    from datetime import datetime

# How often a process writes a sign of life, in seconds.
HEARTBEAT_SECONDS = 5
# A process that has been silent for so long, in seconds, counts as dead: four signs of life are missing.
STALE_SECONDS = 20
# The row of a dead process goes when another of its kind begins so much later, and in any case after some days.
_REPLACED_AFTER = timedelta(hours=1)
_FORGOTTEN_AFTER = timedelta(days=7)


def process_name() -> str:
    """What tells this process from all others: its host and its id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(*, kind: Heartbeat.Kind, name: str, queues: Collection[str] = ()) -> None:
    """Write a sign of life. `queues`: those that a worker takes from now. Raises django.db.Error."""
    joined = ",".join(sorted(queues))
    if Heartbeat.objects.filter(kind=kind, name=name).update(queues=joined, beat_at=Now()):
        return
    _forget_former(kind, joined)
    Heartbeat.objects.bulk_create(
        [Heartbeat(kind=kind, name=name, queues=joined, beat_at=Now())], ignore_conflicts=True
    )


def living() -> QuerySet[Heartbeat]:
    """Rows of processes that have shown a sign of life within STALE_SECONDS."""
    return Heartbeat.objects.filter(beat_at__gt=Now() - timedelta(seconds=STALE_SECONDS))


def end(*, kind: Heartbeat.Kind, name: str) -> None:
    """Take the row away: this process ends in order, and nobody need miss it. Raises django.db.Error.

    The rows of dead processes that it stood in for go with it: they would say that nobody was heard since.
    """
    for queues in Heartbeat.objects.filter(kind=kind, name=name).values_list("queues", flat=True):
        dead = Q(queues=queues, beat_at__lt=Now() - timedelta(seconds=STALE_SECONDS))
        Heartbeat.objects.filter(dead | Q(name=name), kind=kind).delete()


def is_served(queue: str, *, now: datetime) -> bool:
    """Whether a live worker takes from the queue."""
    live = Heartbeat.objects.filter(kind=Heartbeat.Kind.WORKER, beat_at__gt=now - timedelta(seconds=STALE_SECONDS))
    return any(queue in queues.split(",") for queues in live.values_list("queues", flat=True))


def _forget_former(kind: Heartbeat.Kind, queues: str) -> None:
    """Rows of processes in whose place this one has come, and of those that are gone for good."""
    Heartbeat.objects.filter(kind=kind, queues=queues, beat_at__lt=Now() - _REPLACED_AFTER).delete()
    Heartbeat.objects.filter(beat_at__lt=Now() - _FORGOTTEN_AFTER).delete()
