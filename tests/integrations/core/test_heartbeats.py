"""Signs of life: a row for each process, on the database's clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from integrations.core import heartbeats
from integrations.models import Heartbeat

pytestmark = pytest.mark.django_db
WORKER, BEAT = Heartbeat.Kind.WORKER, Heartbeat.Kind.BEAT


def rows() -> list[tuple[str, str, str]]:
    return list(Heartbeat.objects.values_list("kind", "name", "queues"))


def age(name: str, **passed: int) -> None:
    Heartbeat.objects.filter(name=name).update(beat_at=F("beat_at") - timedelta(**passed))


def test_a_process_has_one_row_which_says_what_it_does_now() -> None:
    heartbeats.beat(kind=WORKER, name="host:1", queues=["urgent", "celery"])
    age("host:1", minutes=5)
    before = Heartbeat.objects.get().beat_at

    heartbeats.beat(kind=WORKER, name="host:1", queues=["data"])

    assert rows() == [("worker", "host:1", "data")]
    assert Heartbeat.objects.get().beat_at - before > timedelta(minutes=4)


def test_a_process_that_ends_in_order_is_forgotten() -> None:
    heartbeats.beat(kind=BEAT, name="host:1")
    heartbeats.beat(kind=BEAT, name="host:2")

    heartbeats.end(kind=BEAT, name="host:1")

    assert rows() == [("beat", "host:2", "")]


def test_a_dead_process_is_forgotten_when_another_has_come_in_its_place() -> None:
    heartbeats.beat(kind=WORKER, name="dead:1", queues=["charts"])
    heartbeats.beat(kind=WORKER, name="dead:2", queues=["data"])
    heartbeats.beat(kind=WORKER, name="fresh:1", queues=["charts"])
    age("dead:1", hours=2)
    age("dead:2", hours=2)

    heartbeats.beat(kind=WORKER, name="host:3", queues=["charts"])

    assert rows() == [("worker", "dead:2", "data"), ("worker", "fresh:1", "charts"), ("worker", "host:3", "charts")]


def test_whoever_has_been_dead_for_a_week_is_gone_for_good() -> None:
    heartbeats.beat(kind=WORKER, name="dead:1", queues=["charts"])
    age("dead:1", days=8)

    heartbeats.beat(kind=BEAT, name="host:1")

    assert rows() == [("beat", "host:1", "")]
