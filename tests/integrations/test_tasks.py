"""The tick: due rows make its query true, and are swept."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations import tasks
from integrations.companies import links
from integrations.jobs import requests
from integrations.models import CardData, Corp, Job, SiteAddress
from integrations.tasks import TICK
from tests.integrations.clients.sources.place import make_card

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_tick_with_nothing_to_do_asks_once(corp: Corp) -> None:
    questions: tuple[Callable[[], object], ...] = (TICK.is_anything_due, tasks.tick)
    for ask in questions:
        with CaptureQueriesContext(connection) as asked:
            assert not ask()
        assert len(asked) == 1


def due_job(_corp: Corp) -> None:
    requests.request_job("source.test", now=timezone.now())
    Job.objects.update(queued_until=None)  # its message was lost


def old_job(_corp: Corp) -> None:
    now = timezone.now()
    Job.objects.create(kind="source.test", status="done", requested_at=now, due_at=now, forget_at=now)


def card_data(age: timedelta, **columns: object) -> None:
    """Make data that was requested so long ago; by default it is ready and reported."""
    now = timezone.now()
    ready = {"status": "ready", "finished_at": now, "slot_at": now} if "status" not in columns else {"slot_at": now}
    values = {"next_try_at": now, **ready, **columns}
    CardData.objects.create(card=make_card(), requested_at=now - age, **values)


def is_no_data() -> bool:
    return not CardData.objects.exists()


def ago(**units: int) -> datetime:
    return timezone.now() - timedelta(**units)


# What makes a due row, and whether a tick has done what it needs.
CASES: dict[str, tuple[Callable[[Corp], object], Callable[[], bool]]] = {
    "a job": (due_job, lambda: Job.objects.filter(queued_until__isnull=False).exists()),
    "an old job": (old_job, lambda: not Job.objects.exists()),
    "a certificate": (
        lambda _corp: SiteAddress.objects.create(url="https://push.example.com/"),
        lambda: Job.objects.filter(kind=links.CERTIFICATE).exists(),
    ),
    "data that nobody was told of": (
        lambda _corp: card_data(timedelta(minutes=1), status="failed", finished_at=ago(seconds=16)),
        lambda: CardData.objects.filter(notified_at__isnull=False).exists(),
    ),
    "old data": (lambda _corp: card_data(timedelta(days=400)), is_no_data),
    "an old preview": (lambda _corp: card_data(timedelta(minutes=61), slot_at=None), is_no_data),
    "a preview that nobody began": (
        lambda _corp: card_data(timedelta(minutes=6), slot_at=None, status="waiting", next_try_at=ago(minutes=-1)),
        is_no_data,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_due_makes_the_question_true_and_is_swept(case: str, corp: Corp) -> None:
    assert not TICK.is_anything_due()
    make, is_swept = CASES[case]

    make(corp)

    assert TICK.is_anything_due()
    assert not is_swept()
    tasks.tick()
    assert is_swept()


def test_a_fetch_that_was_lost_makes_it_true_and_is_queued_again(corp: Corp, valkey_client: redis.Redis) -> None:
    card_data(timedelta(minutes=1), status="waiting", next_try_at=timezone.now() - timedelta(seconds=1))
    assert TICK.is_anything_due()

    tasks.tick()

    assert valkey_client.llen("data") == 1
