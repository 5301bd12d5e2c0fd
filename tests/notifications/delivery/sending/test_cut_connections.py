"""The database's connection is cut while calls are under way: what they ended with is written over a new one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends import locmem
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Attempt, CorpQueue, Delivery, Robot
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_person, make_run, make_subscription
from tests.notifications.wire import Wire, errcode

pytestmark = pytest.mark.django_db(transaction=True)


def own_backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    return int(pid)


def cut(pid: int) -> None:
    """Over another connection, and gone when this returns: waiting for its end is the server's."""

    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 20000)", [pid])
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def send_all(clock: FakeClock) -> None:
    ids = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
    send_deliveries(ids, clock=clock, is_stopping=lambda: False)


def assert_all_accepted(count: int) -> None:
    assert list(Delivery.objects.values_list("status", flat=True)) == ["accepted"] * count
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["accepted"] * count


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Loses the answer to the COMMIT of the first transaction that says something, with its connection."""

    def lose(words: str) -> Any:
        commit, said = BaseDatabaseWrapper._commit, list[str]()  # type: ignore[attr-defined]

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
    corp: Corp, wire: Wire, clock: FakeClock, losing: Callable[[str], Any], count: int
) -> None:
    """Nothing was sent: it goes out, though what is unclear of a robot's never does."""
    robot = Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")
    for _number in range(count):
        render_run(run_id=make_run(make_subscription(channel="robot", robot=robot)).pk, now=NOW)

    with losing("INTO notifications_attempt"):
        send_all(clock)

    assert wire.bodies == []
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["not_sent"] * count
    clock.now += timedelta(seconds=10)
    send_all(clock)
    assert list(Delivery.objects.values_list("status", flat=True)) == ["accepted"] * count
    assert len(wire.bodies) == count


def test_a_refusal_that_was_committed_without_an_answer_holds_its_company(
    corp: Corp, wire: Wire, clock: FakeClock, losing: Callable[[str], Any]
) -> None:
    for number in range(2):
        render_run(run_id=make_run(make_subscription(make_person(corp, f"u{number}"))).pk, now=NOW)
    first, second = Delivery.objects.order_by("pk")
    wire.sends.append(errcode(60020))

    with losing('UPDATE "notifications_attempt"'):
        send_deliveries([first.pk], clock=clock, is_stopping=lambda: False)

    assert list(CorpQueue.objects.values_list("blocked_errcode", flat=True)) == [60020]
    second.refresh_from_db()
    assert second.next_attempt_at > clock.now


@pytest.mark.parametrize("count", [1, 3])
def test_answers_of_the_app(corp: Corp, wire: Wire, clock: FakeClock, count: int) -> None:
    for number in range(count):
        render_run(run_id=make_run(make_subscription(make_person(corp, f"u{number}"))).pk, now=NOW)
    pid = own_backend()
    wire.on_send = lambda: cut(pid)

    send_all(clock)

    assert_all_accepted(count)
    assert len(wire.bodies) == count


@pytest.mark.parametrize("count", [1, 2])
def test_answers_of_a_robot(corp: Corp, wire: Wire, clock: FakeClock, count: int) -> None:
    robot = Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")
    for _number in range(count):
        render_run(run_id=make_run(make_subscription(channel="robot", robot=robot)).pk, now=NOW)
    pid = own_backend()
    wire.on_send = lambda: cut(pid)

    send_all(clock)

    assert_all_accepted(count)
    assert len(wire.bodies) == count


def test_a_mail_that_was_handed_over(corp: Corp, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    person = make_person(corp, "lilei", email="lilei@example.com")
    render_run(run_id=make_run(make_subscription(person, channel="email")).pk, now=NOW)
    pid, send = own_backend(), locmem.EmailBackend.send_messages

    def send_and_cut(self: locmem.EmailBackend, messages: object) -> int:
        cut(pid)
        return send(self, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(locmem.EmailBackend, "send_messages", send_and_cut)

    send_all(clock)

    assert_all_accepted(1)
    assert len(mail.outbox) == 1
