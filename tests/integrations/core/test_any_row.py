"""A question that is written once is answered anew each time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.core.background import AnyRow, _write_question
from integrations.models import Heartbeat

pytestmark = pytest.mark.django_db


def hear(name: str, *, seconds_ago: int = 0) -> Heartbeat:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Heartbeat.objects.create(kind=Heartbeat.Kind.WEB, name=name, beat_at=at)


def test_any_row_goes_by_the_clock_of_the_database_and_is_written_once() -> None:
    old = AnyRow(
        lambda now: [
            Heartbeat.objects.filter(beat_at__lt=now - timedelta(seconds=60)),
            Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL),
        ]
    )
    hear("a:1", seconds_ago=50)
    assert not old.exists()

    hear("b:2", seconds_ago=70)

    assert old.exists()
    assert _write_question.cache_info().misses == 1
