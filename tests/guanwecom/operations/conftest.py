"""A running engine: fresh heartbeats of beat and of a worker for all required queues, and a tick."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django_celery_beat.schedulers import ModelEntry
from pytest_django import Settings

from integrations.core import installation
from integrations.core.background import database_now
from integrations.models import Heartbeat, Installation
from tests.notifications.wecom_stub import WeComStub, running_wire


def heard(kind: Heartbeat.Kind, name: str, *, seconds_ago: float = 0, queues: str = "") -> None:
    at = database_now() - timedelta(seconds=seconds_ago)
    Heartbeat.objects.update_or_create(kind=kind, name=name, defaults={"queues": queues, "beat_at": at})


def ticked(*, seconds_ago: float = 0) -> None:
    period = int(database_now().timestamp() - seconds_ago)
    Installation.objects.filter(pk=installation.load_installation().pk).update(tick_period=period)


def read_metrics(settings: Settings) -> str:
    settings.METRICS_TOKEN = "invented-token-of-at-least-32-characters"
    headers = {"authorization": f"Bearer {settings.METRICS_TOKEN}"}
    return Client().get("/metrics", headers=headers).content.decode()


@pytest.fixture
def running(db: None) -> None:
    ticked()
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        ModelEntry.from_entry(name, **entry)
    heard(Heartbeat.Kind.BEAT, "host:1")
    heard(Heartbeat.Kind.WORKER, "host:2", queues=",".join(queue.name for queue in settings.CELERY_TASK_QUEUES))


@pytest.fixture
def wire() -> Iterator[WeComStub]:
    """A WeCom that keeps what was sent."""
    with running_wire() as wire:
        yield wire
