"""What is sent is what was locked: rows that somebody rewrites between a task's reading of them and its claim."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import connection, transaction

from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.recall import readdress, withdraw
from notifications.delivery.sending.queue import claim_deliveries, find_pending
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Attempt, Delivery, Receipt
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_person, make_run, make_subscription
from tests.notifications.one_delivery import send_delivery
from tests.notifications.wire import Wire, reset

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def delivery(corp: Corp) -> Delivery:
    people = [make_person(corp, userid) for userid in ("LiLei", "jim")]
    [pk] = render_run(run_id=make_run(make_subscription(*people)).pk, now=NOW)
    return Delivery.objects.get(pk=pk)


def elsewhere(work: Callable[[], object]) -> None:
    """Over another connection, as another process does it."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def send_while(work: Callable[[], object], delivery: Delivery) -> int:
    """A task that has read the row asks for the time before it claims: then `work` is done."""
    left = [work]

    def clock() -> datetime:
        if left:
            elsewhere(left.pop())
        return NOW

    return send_deliveries([delivery.pk], clock=clock, is_stopping=lambda: False)


REWRITES = [
    pytest.param(lambda corp: withdraw(corp, ["lilei"], NOW), "jim", id="withdrawn"),
    pytest.param(lambda corp: readdress(corp, "LiLei", "Li.Lei"), "Li.Lei|jim", id="readdressed"),
]


@pytest.mark.parametrize(("rewrite", "touser"), REWRITES)
def test_old_bytes_never_go_out(
    rewrite: Callable[[Corp], None], touser: str, corp: Corp, delivery: Delivery, wire: Wire
) -> None:
    tried = send_while(lambda: rewrite(corp), delivery)

    delivery.refresh_from_db()
    assert (tried, wire.bodies, Attempt.objects.count()) == (0, [], 0)
    assert (delivery.status, delivery.attempt_count, delivery.queued_until) == ("pending", 0, None)
    assert send_delivery(delivery.pk, clock=lambda: NOW)
    assert [json.loads(body)["touser"] for body in wire.bodies] == [touser]


@pytest.mark.parametrize(("rewrite", "touser"), REWRITES)
def test_a_repeat_after_a_lost_answer_has_the_bytes_of_the_first_attempt(
    rewrite: Callable[[Corp], None], touser: str, corp: Corp, delivery: Delivery, wire: Wire, clock: FakeClock
) -> None:
    wire.sends.append(reset)
    send_while(lambda: rewrite(corp), delivery)
    assert send_delivery(delivery.pk, clock=clock)

    elsewhere(lambda: withdraw(corp, ["jim"], NOW))
    clock.advance(minutes=5)
    assert send_delivery(delivery.pk, clock=clock)

    first, second = wire.bodies
    assert first == second
    assert json.loads(first)["touser"] == touser


def test_who_is_withdrawn_before_the_claim_is_skipped_and_gets_nothing(
    corp: Corp, delivery: Delivery, wire: Wire
) -> None:
    send_while(lambda: withdraw(corp, ["lilei", "jim"], NOW), delivery)

    assert wire.bodies == []
    assert set(Receipt.objects.values_list("status", "reason")) == {("skipped", "barred")}


def test_a_picture_that_was_renewed_meanwhile_is_sent_with_its_new_id(
    corp: Corp, delivery: Delivery, wire: Wire
) -> None:
    new = bytes(delivery.body).replace(b"jim", b"jim2")

    assert send_while(lambda: Delivery.objects.update(body=new), delivery) == 0

    assert send_delivery(delivery.pk, clock=lambda: NOW)
    assert wire.bodies == [new]


def test_a_message_that_another_task_tried_meanwhile_asks_the_limiter_anew(corp: Corp, delivery: Delivery) -> None:
    read = find_pending([delivery.pk])
    Delivery.objects.update(attempt_count=1)

    assert claim_deliveries(read, now=NOW) == []

    [attempt] = claim_deliveries(find_pending([delivery.pk]), now=NOW)
    assert attempt.number == 2


def test_a_row_that_somebody_rewrites_just_now_is_left_to_them(corp: Corp, delivery: Delivery) -> None:
    read = find_pending([delivery.pk])
    begun, done = threading.Event(), threading.Event()

    def rewrite() -> None:
        with transaction.atomic():
            withdraw(corp, ["lilei"], NOW)
            begun.set()
            done.wait(20)
        connection.close()

    thread = threading.Thread(target=rewrite)
    thread.start()
    begun.wait(20)
    while_it_is_held = claim_deliveries(find_pending([delivery.pk]), now=NOW)
    done.set()
    thread.join()

    assert while_it_is_held == []
    assert claim_deliveries(read, now=NOW) == []
    [attempt] = claim_deliveries(find_pending([delivery.pk]), now=NOW)
    assert json.loads(bytes(attempt.delivery.body))["touser"] == "jim"
    assert attempt.delivery.recipient_count == 1


def test_what_is_given_back_is_locked_in_the_order_of_its_keys(corp: Corp, delivery: Delivery) -> None:
    """Whoever waits for the first row holds none of those behind it."""
    [other_id] = render_run(run_id=make_run(make_subscription(make_person(corp, "han"))).pk, now=NOW)
    # The first one's new version lies behind the other in the table.
    Delivery.objects.filter(pk=delivery.pk).update(queued_until=NOW)
    pids: list[int] = []

    def give_back() -> None:
        pids.append(backend())
        send_deliveries([delivery.pk, other_id], clock=lambda: NOW, is_stopping=lambda: True)
        connection.close()

    thread = threading.Thread(target=give_back)
    with transaction.atomic():
        Delivery.objects.select_for_update().get(pk=delivery.pk)
        thread.start()
        wait_for_a_lock(pids, thread)
        assert Delivery.objects.select_for_update(skip_locked=True).filter(pk=other_id).exists()
    thread.join()

    assert set(Delivery.objects.values_list("queued_until", flat=True)) == {None}


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    return int(pid)


def wait_for_a_lock(pids: list[int], thread: threading.Thread) -> None:
    """Until the connection in `pids`, as soon as one is there, waits for a lock, or its thread is done."""
    waiting = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
    while thread.is_alive():
        if pids:
            with connection.cursor() as cursor:
                cursor.execute(waiting, pids)
                if cursor.fetchone() is not None:
                    return
