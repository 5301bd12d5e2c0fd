"""Tasks hand over to each other: what is due is rendered, what is rendered is sent, what was lost is found."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from integrations.core import installation
from integrations.core.background import database_clock
from integrations.models import Installation
from notifications import tasks
from notifications.delivery.rendering import render
from notifications.models import AlertCard, Delivery, Incident, Run
from tests.notifications.alerts.conftest import alert, hand_in, make_alert_channel
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.wecom_stub import WeComStub

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _eager() -> Iterator[None]:
    """Celery runs tasks at once, in this process."""
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


def due_subscription(wire: WeComStub) -> None:
    person = make_person(make_corp(api_base_url=wire.url), "lilei")
    now = datetime.now(UTC)
    make_subscription(person, crontab="* * * * *", now=now, next_run_at=now.replace(second=0, microsecond=0))


@pytest.mark.usefixtures("_eager")
def test_a_tick_brings_what_is_due_all_the_way(wire: WeComStub) -> None:
    due_subscription(wire)

    tasks.tick.delay()

    delivery = Delivery.objects.get()
    assert delivery.status == Delivery.Status.ACCEPTED
    assert wire.bodies == [bytes(delivery.body)]


@pytest.mark.usefixtures("_eager")
def test_a_second_tick_of_the_period_does_nothing(wire: WeComStub, settings: Settings) -> None:
    interval = settings.DISPATCH_INTERVAL_SECONDS = 10**9  # no period ends while this test runs
    period = int(datetime.now(UTC).timestamp()) // interval * interval
    Installation.objects.filter(pk=installation.load_installation().pk).update(tick_period=period)
    due_subscription(wire)

    tasks.tick.delay()

    assert not Run.objects.exists()


def test_what_becomes_due_after_the_question_was_written_is_seen() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert not tasks.TICK.is_anything_due()
    assert len(asked) == 1  # one question

    subscription = make_subscription(make_person(), next_run_at=datetime.now(UTC) - timedelta(hours=1))

    assert tasks.TICK.is_anything_due()
    subscription.delete()
    assert not tasks.TICK.is_anything_due()


@pytest.mark.usefixtures("_eager")
def test_a_tick_finds_lost_renderings_and_lost_sendings(wire: WeComStub) -> None:
    corp = make_corp(api_base_url=wire.url)
    now = datetime.now(UTC)
    lost_rendering = make_run(make_subscription(make_person(corp, "a"), next_run_at=None), now=now)
    make_run(make_subscription(make_person(corp, "b"), next_run_at=None), now=now)
    render.render_run(run_id=lost_rendering.pk, now=now)
    Delivery.objects.update(queued_until=None)

    tasks.tick.delay()

    assert list(Delivery.objects.values_list("status", flat=True)) == ["accepted", "accepted"]


@pytest.mark.usefixtures("_eager")
def test_a_tick_has_cards_changed(wire: WeComStub) -> None:
    due_subscription(wire)
    tasks.tick.delay()
    AlertCard.objects.create(delivery=Delivery.objects.get(), next_try_at=datetime.now(UTC) - timedelta(minutes=1))
    Installation.objects.update(tick_period=0)
    tasks.tick.delay()
    assert not AlertCard.objects.get().is_stale


@pytest.mark.usefixtures("_eager")
def test_a_tick_ends_what_is_open_of_a_deleted_channel() -> None:
    channel = make_alert_channel(make_person(make_corp(), "zhang"))
    hand_in(channel, alert())
    channel.delete()

    tasks.tick.delay()

    assert Incident.objects.get().status == Incident.Status.RESOLVED


@pytest.mark.usefixtures("_eager")
def test_a_run_that_crashes_keeps_no_other(wire: WeComStub, monkeypatch: pytest.MonkeyPatch) -> None:
    corp = make_corp(api_base_url=wire.url)
    runs = [make_run(make_subscription(make_person(corp, userid))) for userid in ("a", "b")]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_subscription SET message_form = 'fax' WHERE id = %s", [runs[0].subscription_id]
        )

    tasks.render_runs.delay([run.pk for run in runs])

    assert Delivery.objects.get().run == runs[1]
    runs[0].refresh_from_db()
    assert runs[0].status == Run.Status.WAITING


def test_a_worker_that_stops_gives_runs_back() -> None:
    run = make_run(make_subscription(), render_after=datetime.now(UTC) + timedelta(hours=1))
    assert render.render_runs([run.pk], clock=database_clock(), is_stopping=lambda: True) == []
    run.refresh_from_db()
    assert run.render_after <= datetime.now(UTC)
    assert run.render_count == 0


def test_without_a_broker_nothing_breaks_and_the_rows_wait(
    wire: WeComStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(make_subscription())

    def refuse(*args: object, **options: object) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.render_runs, "apply_async", refuse)
    tasks.enqueue_runs([run.pk])

    assert "no broker" in caplog.text
    run.refresh_from_db()
    assert run.status == Run.Status.WAITING


@pytest.mark.usefixtures("_eager")
def test_a_step_of_a_tick_that_fails_holds_up_no_other(wire: WeComStub, caplog: pytest.LogCaptureFixture) -> None:
    due_subscription(wire)

    def refuse_the_sweep(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "render_after" in sql and "render_count" not in sql:
            raise ConnectionError("no database")
        return execute(sql, *rest)

    Run.objects.create(
        key="test:lost", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status=Run.Status.WAITING
    )
    with connection.execute_wrapper(refuse_the_sweep):
        tasks.tick.delay()

    assert "tick: _sweep failed" in caplog.text
    assert Delivery.objects.get().status == Delivery.Status.ACCEPTED
    assert len(wire.bodies) == 1


def test_ids_travel_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(
        tasks.send_deliveries, "apply_async", lambda arguments, _named, *, queue: sent.append((queue, *arguments))
    )

    tasks.enqueue_deliveries(list(range(120)))
    tasks.enqueue_deliveries([7], queue=tasks.URGENT_QUEUE)

    assert [(queue, len(chunk)) for queue, chunk in sent] == [("celery", 50)] * 2 + [("celery", 20), ("urgent", 1)]
    assert sum((chunk for _queue, chunk in sent[:3]), []) == list(range(120))
    # Publishing 200 tasks at once is easier for a broker than 2,500.
    chunks: list[list[int]] = []
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda arguments, _named, **_queue: chunks.append(*arguments))
    monkeypatch.setattr(tasks, "RUNS_PER_TASK", 2)
    monkeypatch.setattr(tasks, "RENDERING_TASKS_AT_ONCE", 3)
    for count in (4, 15):
        tasks.enqueue_runs(list(range(count)))
    assert [len(chunk) for chunk in chunks] == [2, 2, 5, 5, 5]
