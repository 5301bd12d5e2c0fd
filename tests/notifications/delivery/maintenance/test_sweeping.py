"""What was left lying is found: tasks that were lost, runs that are finished."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.queue import hand_out
from notifications.models import Delivery, Run
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription

pytestmark = pytest.mark.django_db


def rendered(number: int = 1) -> list[int]:
    corp = make_corp()
    people = [make_person(corp, f"u{n}") for n in range(number)]
    return [i for person in people for i in render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)]


def test_a_lost_rendering_is_found_after_its_time_and_handed_out_once() -> None:
    run = make_run(make_subscription(), render_after=NOW + timedelta(seconds=60))

    assert maintenance.sweep(now=NOW + timedelta(seconds=59)).run_ids == []
    assert maintenance.sweep(now=NOW + timedelta(seconds=60)).run_ids == [run.pk]
    assert maintenance.sweep(now=NOW + timedelta(seconds=61)).run_ids == []
    assert maintenance.sweep(now=NOW + timedelta(seconds=120)).run_ids == [run.pk]


@pytest.mark.parametrize("status", [status for status in Run.Status if status != Run.Status.WAITING])
def test_other_runs_are_not_rendered_again(status: Run.Status) -> None:
    make_run(make_subscription(), status=status)

    assert maintenance.sweep(now=NOW).run_ids == []


def test_a_lost_sending_task_is_made_up_for() -> None:
    [delivery_id] = rendered()
    assert hand_out(now=NOW, limit=10).ordinary == [delivery_id]

    assert hand_out(now=NOW + timedelta(seconds=59), limit=10).ordinary == []
    assert hand_out(now=NOW + timedelta(seconds=60), limit=10).ordinary == [delivery_id]
    assert hand_out(now=NOW + timedelta(seconds=61), limit=10).ordinary == []


def test_a_lease_that_cannot_be_settled_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rendered(2)
    bad, good = Delivery.objects.order_by("pk")
    Delivery.objects.update(status=Delivery.Status.SENDING, lease_until=NOW)

    def refuse_the_first(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "fencing_token" in sql and bad.pk in parameters:
            raise ConnectionError("no database")
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(refuse_the_first):
        swept = maintenance.sweep(now=NOW + timedelta(minutes=2))

    assert swept.lease_count == 1
    assert f"delivery={bad.pk}: its ended lease could not be settled" in caplog.text
    good.refresh_from_db()
    assert good.status == Delivery.Status.PENDING


def test_the_longest_due_go_first_up_to_the_limit() -> None:
    ids = rendered(3)
    Delivery.objects.update(queued_until=None)
    Delivery.objects.filter(pk=ids[2]).update(next_attempt_at=NOW - timedelta(hours=1))

    assert hand_out(now=NOW, limit=2).ordinary == [ids[2], ids[0]]
    assert hand_out(now=NOW, limit=2).ordinary == [ids[1]]


@pytest.mark.django_db(transaction=True)
def test_side_by_side_each_message_is_queued_once() -> None:
    ids = rendered(40)
    Delivery.objects.update(queued_until=None)
    found: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        while batch := hand_out(now=NOW, limit=7).ordinary:
            found.extend(batch)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(set(found)) == ids
    assert len(found) == len(ids)


@pytest.mark.parametrize("status", ["accepted", "failed", "unknown", "canceled"])
def test_a_run_is_finished_when_its_last_delivery_is_settled(status: str) -> None:
    rendered()
    assert maintenance.sweep(now=NOW).finished_count == 0
    Delivery.objects.update(status=status)

    assert maintenance.sweep(now=NOW + timedelta(seconds=5)).finished_count == 1

    run = Run.objects.get()
    assert (run.status, run.finished_at) == (Run.Status.FINISHED, NOW + timedelta(seconds=5))
    assert maintenance.sweep(now=NOW + timedelta(seconds=6)).finished_count == 0


@pytest.mark.parametrize("status", ["pending", "sending"])
def test_a_run_with_an_unsettled_delivery_goes_on(status: str) -> None:
    rendered()
    Delivery.objects.update(status=status, lease_until=NOW + timedelta(seconds=60))

    assert maintenance.sweep(now=NOW).finished_count == 0
    assert Run.objects.get().status == Run.Status.SENDING
