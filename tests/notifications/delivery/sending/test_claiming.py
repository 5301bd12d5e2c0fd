"""Messages are sent as they were locked: rows that change between a task's reading and its claim."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends import locmem
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from integrations.models import Corp
from notifications.delivery.rendering.render import render_run, render_runs
from notifications.delivery.runs.recall import readdress_deliveries, withdraw_recipients
from notifications.delivery.sending.queue import claim_deliveries, read_sendables
from notifications.delivery.sending.send import get_call_threads, send_deliveries, take_ended
from notifications.delivery.sending.uploads import prepare_deliveries
from notifications.models import Attempt, CorpQueue, Delivery, MessageForm, Robot, Run
from tests.notifications.conftest import FakeClock
from tests.notifications.delivery.attachments.places import make_delivery
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.one_delivery import send_all, send_delivery
from tests.notifications.side_by_side import Elsewhere, do_at_once
from tests.notifications.wecom_stub import WeComStub, errcode, reset

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def delivery(corp: Corp) -> Delivery:
    people = [make_person(corp, userid) for userid in ("LiLei", "jim")]
    [pk] = render_run(run_id=make_run(make_subscription(*people)).pk, now=NOW)
    return Delivery.objects.get(pk=pk)


def send_while(work: Callable[[], object], delivery: Delivery) -> int:
    """Send the delivery, and do `work` between the task's reading of the row and its claim."""
    left = [work]

    def clock() -> datetime:
        if left:
            do_at_once(left.pop())
        return NOW

    return send_deliveries([delivery.pk], clock=clock, is_stopping=lambda: False)


REWRITES = [
    pytest.param(lambda corp: withdraw_recipients(corp, ["lilei"], NOW), "jim", id="withdrawn"),
    pytest.param(lambda corp: readdress_deliveries(corp, "LiLei", "Li.Lei"), "Li.Lei|jim", id="readdressed"),
]


@pytest.mark.parametrize(("rewrite", "touser"), REWRITES)
def test_old_bytes_never_go_out(
    rewrite: Callable[[Corp], None], touser: str, corp: Corp, delivery: Delivery, wire: WeComStub
) -> None:
    tried = send_while(lambda: rewrite(corp), delivery)

    delivery.refresh_from_db()
    assert (tried, wire.bodies, Attempt.objects.count()) == (0, [], 0)
    assert (delivery.status, delivery.attempt_count, delivery.queued_until) == ("pending", 0, None)
    assert send_delivery(delivery.pk, clock=lambda: NOW)
    assert [json.loads(body)["touser"] for body in wire.bodies] == [touser]


@pytest.mark.parametrize(("rewrite", "touser"), REWRITES)
def test_a_repeat_after_a_lost_answer_has_the_bytes_of_the_first_attempt(
    rewrite: Callable[[Corp], None], touser: str, corp: Corp, delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.sends.append(reset)
    send_while(lambda: rewrite(corp), delivery)
    assert send_delivery(delivery.pk, clock=clock)

    do_at_once(lambda: withdraw_recipients(corp, ["jim"], NOW))
    clock.advance(minutes=5)
    assert send_delivery(delivery.pk, clock=clock)

    first, second = wire.bodies
    assert first == second
    assert json.loads(first)["touser"] == touser


def test_a_message_that_another_task_tried_meanwhile_asks_the_limiter_anew(delivery: Delivery) -> None:
    read = read_sendables(Delivery.objects.filter(pk=delivery.pk))
    Delivery.objects.update(attempt_count=1)

    assert claim_deliveries(read, now=NOW) == []

    [claimed] = claim_deliveries(read_sendables(Delivery.objects.filter(pk=delivery.pk)), now=NOW)
    assert claimed.attempt.number == 2


def test_a_row_that_somebody_rewrites_just_now_is_left_to_them(corp: Corp, delivery: Delivery) -> None:
    read = read_sendables(Delivery.objects.filter(pk=delivery.pk))
    begun, done = threading.Event(), threading.Event()

    def rewrite() -> None:
        with transaction.atomic():
            withdraw_recipients(corp, ["lilei"], NOW)
            begun.set()
            done.wait(20)
        connection.close()

    thread = threading.Thread(target=rewrite)
    thread.start()
    begun.wait(20)
    while_it_is_held = claim_deliveries(read_sendables(Delivery.objects.filter(pk=delivery.pk)), now=NOW)
    done.set()
    thread.join()

    assert while_it_is_held == []
    assert claim_deliveries(read, now=NOW) == []
    [claimed] = claim_deliveries(read_sendables(Delivery.objects.filter(pk=delivery.pk)), now=NOW)
    assert json.loads(bytes(claimed.body))["touser"] == "jim"
    assert claimed.recipient_count == 1


def test_what_is_given_back_is_locked_in_the_order_of_its_keys(corp: Corp, delivery: Delivery) -> None:
    """Callers that wait for the first row hold none of the later ones."""
    [other_id] = render_run(run_id=make_run(make_subscription(make_person(corp, "han"))).pk, now=NOW)
    # The new version of the first row lies behind the other in the table.
    Delivery.objects.filter(pk=delivery.pk).update(queued_until=NOW)
    ids = [delivery.pk, other_id]
    work = Elsewhere(lambda: send_deliveries(ids, clock=lambda: NOW, is_stopping=lambda: True))

    with transaction.atomic():
        Delivery.objects.select_for_update().get(pk=delivery.pk)
        work.until_it_waits()
        assert Delivery.objects.select_for_update(skip_locked=True).filter(pk=other_id).exists()
    work.join()

    assert set(Delivery.objects.values_list("queued_until", flat=True)) == {None}


@pytest.mark.parametrize("task", [render_runs, prepare_deliveries])
def test_what_nobody_holds_is_given_back_by_a_worker_that_ends(task: Any) -> None:
    """Workers that end wait for no lock: two that wait would be a deadlock."""
    later = NOW + timedelta(seconds=20)
    held, other = (
        make_run(make_subscription(), render_after=later)
        if task is render_runs
        else make_delivery(make_corp(), MessageForm.IMAGE, queued_until=NOW)
        for _number in range(2)
    )
    work = Elsewhere(lambda: task([held.pk, other.pk], clock=lambda: NOW, is_stopping=lambda: True))

    with transaction.atomic():
        type(held).objects.select_for_update().get(pk=held.pk)
        work.until_it_waits()
        other.refresh_from_db()
    work.join()

    assert other.render_after == NOW if isinstance(other, Run) else other.queued_until is None


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    return int(pid)


def cut(pid: int) -> None:
    """End a connection of the database. Another connection asks for it, and the server waits until it has ended."""

    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 20000)", [pid])

    do_at_once(end)


def assert_all_accepted(count: int) -> None:
    assert list(Delivery.objects.values_list("status", flat=True)) == ["accepted"] * count
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["accepted"] * count


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A context that loses the answer to the COMMIT of the first transaction with these words, and its connection."""

    def lose(words: str) -> Any:
        commit, said = BaseDatabaseWrapper._commit, list[str]()  # type: ignore[attr-defined]  # private

        def note(execute: Any, sql: str, *rest: Any) -> object:
            if words in sql:
                said.append(sql)
            return execute(sql, *rest)

        def commit_and_cut(self: Any) -> None:
            commit(self)
            if said and "lost" not in said:
                said.append("lost")
                self.connection.close()
                raise OperationalError("the server closed the connection")

        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit_and_cut)
        return connection.execute_wrapper(note)

    return lose


@pytest.mark.parametrize("count", [1, 2])
def test_a_claim_of_a_robot_s_messages_that_was_committed_without_an_answer(
    corp: Corp, wire: WeComStub, clock: FakeClock, losing: Callable[[str], Any], count: int
) -> None:
    """Robots' messages with an unclear outcome are never repeated, but here nothing was sent."""
    robot = Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")
    for _number in range(count):
        render_run(run_id=make_run(make_subscription(channel="robot", robot=robot)).pk, now=NOW)

    with losing('INTO "notifications_attempt"'):
        send_all(clock)

    assert wire.bodies == []
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["not_sent"] * count
    clock.now += timedelta(seconds=10)
    send_all(clock)
    assert list(Delivery.objects.values_list("status", flat=True)) == ["accepted"] * count
    assert len(wire.bodies) == count


def test_a_refusal_that_was_committed_without_an_answer_holds_its_company(
    corp: Corp, wire: WeComStub, clock: FakeClock, losing: Callable[[str], Any]
) -> None:
    for number in range(2):
        render_run(run_id=make_run(make_subscription(make_person(corp, f"u{number}"))).pk, now=NOW)
    first, second = Delivery.objects.order_by("pk")
    wire.sends.append(errcode(60020))

    with losing('UPDATE "notifications_attempt"'):
        send_all(clock, [first.pk])

    assert list(CorpQueue.objects.values_list("blocked_errcode", flat=True)) == [60020]
    second.refresh_from_db()
    assert second.next_attempt_at > clock.now


@pytest.mark.parametrize("is_of_robot", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_answers_over_a_connection_that_was_cut(
    corp: Corp, wire: WeComStub, clock: FakeClock, count: int, is_of_robot: bool
) -> None:
    robot = Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")
    for number in range(count):
        push = make_subscription(channel="robot", robot=robot) if is_of_robot else None
        render_run(run_id=make_run(push or make_subscription(make_person(corp, f"u{number}"))).pk, now=NOW)
    pid = backend()
    wire.on_send = lambda: cut(pid)

    send_all(clock)

    assert_all_accepted(count)
    assert len(wire.bodies) == count


def test_a_mail_that_was_handed_over(corp: Corp, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    person = make_person(corp, "lilei", email="lilei@example.com")
    render_run(run_id=make_run(make_subscription(person, channel="email")).pk, now=NOW)
    pid, send = backend(), locmem.EmailBackend.send_messages

    def send_and_cut(self: locmem.EmailBackend, messages: Any) -> int:
        cut(pid)
        return send(self, messages)

    monkeypatch.setattr(locmem.EmailBackend, "send_messages", send_and_cut)

    send_all(clock)

    assert_all_accepted(1)
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_each_call_is_reported_once_with_what_it_returned_or_raised(error: BaseException) -> None:
    calls: dict[Future[Any], str] = {}
    release = threading.Event()

    def fail() -> str:
        raise error

    calls[get_call_threads().submit(fail)] = "failing"
    assert take_ended(calls, seconds=30) == [("failing", error)]
    calls[get_call_threads().submit(lambda: str(release.wait(30)))] = "slow"
    assert take_ended(calls, seconds=0.05) == []
    release.set()
    assert take_ended(calls, seconds=30) == [("slow", "True")]
    assert not calls
    # A process that ends does not wait for its calls.
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "call")
