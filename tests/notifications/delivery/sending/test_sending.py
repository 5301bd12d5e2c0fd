"""Sending: claim, call, settle. Certain and unclear outcomes, at the socket and in the rows."""

import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.db import connection, transaction
from pytest_django import Settings

from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.channels import Outcome, OutcomeKind
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.queue import hand_out_deliveries
from notifications.delivery.sending.send import send_deliveries
from notifications.delivery.sending.settle import settle_attempt
from notifications.models import Attempt, Delivery, Receipt
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.one_delivery import claim_delivery, personal, send_delivery
from tests.notifications.side_by_side import Elsewhere, do_at_once
from tests.notifications.wecom_stub import WeComStub, errcode, http, reset

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivery(wire: WeComStub) -> Delivery:
    """A message to three people of one company."""
    corp = make_corp(api_base_url=wire.url)
    people = [make_person(corp, userid) for userid in ("LiLei", "han", "jim")]
    render_run(run_id=make_run(make_subscription(*people)).pk, now=NOW)
    return Delivery.objects.get()


def send(delivery: Delivery, clock: FakeClock) -> Delivery:
    assert send_delivery(delivery.pk, clock=clock)
    delivery.refresh_from_db()
    return delivery


def read_outcomes(delivery: Delivery) -> list[tuple[str, int | None]]:
    return list(delivery.attempts.values_list("outcome", "errcode"))


def read_exceptions(delivery: Delivery) -> dict[str, str]:
    receipts = delivery.receipts.exclude(status="")
    return {address.split(":")[1]: status for address, status in receipts.values_list("address", "status")}


def waits_for(delivery: Delivery, clock: FakeClock, low: float, high: float) -> bool:
    assert delivery.status == Delivery.Status.PENDING
    assert (delivery.fencing_token, delivery.lease_until, delivery.queued_until) == (None, None, None)
    return low <= (delivery.next_attempt_at - clock.now).total_seconds() <= high


def test_an_accepted_message(delivery: Delivery, wire: WeComStub, clock: FakeClock) -> None:
    wire.sends.append({"errcode": 0, "errmsg": "ok", "msgid": "m1", "response_code": "rc"})

    send(delivery, clock)

    assert wire.bodies == [bytes(delivery.body)]
    assert (delivery.status, delivery.settled_at) == (Delivery.Status.ACCEPTED, NOW)
    assert (delivery.msgid, delivery.response_code, delivery.errcode) == ("m1", "rc", 0)
    assert (delivery.accepted_count, delivery.is_accepted_on_repeat) == (3, False)
    assert (delivery.fencing_token, delivery.lease_until, delivery.unclear_since) == (None, None, None)
    assert read_exceptions(delivery) == {}
    attempt = delivery.attempts.get()
    assert (attempt.number, attempt.outcome, attempt.errcode) == (1, Attempt.Outcome.ACCEPTED, 0)
    assert (attempt.started_at, attempt.finished_at) == (NOW, NOW)
    assert attempt.duration_ms is not None


def test_what_fails_before_the_call_is_certain_and_tried_again(
    delivery: Delivery, wire: WeComStub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Clients that cannot be built send nothing, so nothing is unclear, whatever the exception."""
    Corp.objects.update(ca_bundle="certificates that go into a file")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    send(delivery, clock)

    assert wire.bodies == []
    assert read_outcomes(delivery) == [(Attempt.Outcome.NOT_SENT, None)]
    assert delivery.unclear_since is None
    assert "FileNotFoundError" in delivery.error
    assert waits_for(delivery, clock, 100, 140)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not tell how long it slept")
def test_a_machine_that_sleeps_before_its_call_does_not_make_it(
    delivery: Delivery, wire: WeComStub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have repeated the message meanwhile, and WeCom's duplicate check no longer knows it."""
    read = time.clock_gettime

    def fall_asleep(execute: Any, sql: str, *rest: Any) -> object:
        if "notifications_attempt" in sql:
            monkeypatch.setattr(time, "clock_gettime", lambda clock_id: read(clock_id) + 5 * 3600)
        return execute(sql, *rest)

    with connection.execute_wrapper(fall_asleep):
        send(delivery, clock)

    assert wire.bodies == []
    assert read_outcomes(delivery) == [(Attempt.Outcome.NOT_SENT, None)]


def test_the_people_whom_wecom_names_are_exceptions(delivery: Delivery, wire: WeComStub, clock: FakeClock) -> None:
    wire.sends.append({"errcode": 0, "errmsg": "ok", "invaliduser": "lilei|stranger", "unlicenseduser": "JIM"})

    send(delivery, clock)

    assert delivery.status == Delivery.Status.ACCEPTED
    assert read_exceptions(delivery) == {"lilei": Receipt.Status.INVALID, "jim": Receipt.Status.UNLICENSED}
    assert (delivery.accepted_count, delivery.invalid_count, delivery.unlicensed_count) == (1, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_another_connection_sees_the_started_attempt_during_the_call(
    delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    seen: list[list[tuple[str, int | None]]] = []

    def look() -> None:
        seen.append(read_outcomes(delivery))
        with transaction.atomic():  # would wait for a lock held by the sender
            Delivery.objects.filter(pk=delivery.pk).update(link="x")
        connection.close()

    wire.on_send = look

    send(delivery, clock)

    assert seen == [[(Attempt.Outcome.STARTED, None)]]
    assert delivery.status == Delivery.Status.ACCEPTED


def test_backoff_doubles_up_to_a_quarter_of_an_hour(delivery: Delivery, clock: FakeClock) -> None:
    delivery.corp.api_base_url = "http://127.0.0.1:1"
    delivery.corp.save()
    waits = []

    for _ in range(10):
        send(delivery, clock)
        waits.append((delivery.next_attempt_at - clock.now).total_seconds())
        clock.now = delivery.next_attempt_at

    assert set(read_outcomes(delivery)) == {(Attempt.Outcome.NOT_SENT, None)}
    assert delivery.unclear_since is None
    nominal = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert all(0.8 * n <= wait <= 1.2 * n for n, wait in zip(nominal, waits, strict=True))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reset, None),
        (http(502, "<html>bad gateway</html>"), None),
        (http(200, "<html>please sign in</html>"), None),
        (http(404, "<html>not here</html>"), None),
        (errcode(-1), -1),
    ],
    ids=["reset", "502", "html", "404", "-1"],
)
def test_an_unclear_outcome_is_repeated_with_the_same_bytes(
    answer: Any, code: int | None, delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.sends.append(answer)

    send(delivery, clock)

    assert read_outcomes(delivery) == [(Attempt.Outcome.UNCLEAR, code)]
    assert (delivery.status, delivery.unclear_since) == (Delivery.Status.PENDING, NOW)
    clock.now = delivery.next_attempt_at
    send(delivery, clock)
    assert wire.bodies == [bytes(delivery.body)] * 2
    assert (delivery.status, delivery.is_accepted_on_repeat) == (Delivery.Status.ACCEPTED, True)


def test_a_slow_answer_is_unclear(delivery: Delivery, wire: WeComStub, clock: FakeClock, settings: Settings) -> None:
    settings.WECOM_TOTAL_TIMEOUT_SECONDS = 2
    released = threading.Event()
    wire.on_send = lambda: released.wait(60)

    send(delivery, clock)
    released.set()

    assert read_outcomes(delivery) == [(Attempt.Outcome.UNCLEAR, None)]
    assert delivery.unclear_since == NOW


def test_after_three_and_a_half_hours_an_unclear_message_is_unknown_and_never_sent_again(
    delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.sends.extend([reset] * 100)

    while delivery.status == Delivery.Status.PENDING:
        send(delivery, clock)
        clock.now = max(clock.now, delivery.next_attempt_at)

    assert delivery.status == Delivery.Status.UNKNOWN
    last = delivery.attempts.latest("number")
    assert last.started_at < NOW + timedelta(hours=3.5)
    assert delivery.settled_at == last.finished_at
    sent_count = len(wire.bodies)
    clock.advance(hours=1)
    assert not send_delivery(delivery.pk, clock=clock)
    assert hand_out_deliveries(now=clock.now, limit=10).ordinary == []
    assert len(wire.bodies) == sent_count
    assert set(wire.bodies) == {bytes(delivery.body)}


def test_busy_is_repeated_three_times_and_then_unknown(delivery: Delivery, wire: WeComStub, clock: FakeClock) -> None:
    wire.sends.extend([errcode(-1)] * 100)
    waits = []

    while delivery.status == Delivery.Status.PENDING:
        send(delivery, clock)
        waits.append((delivery.next_attempt_at - clock.now).total_seconds())
        clock.now = max(clock.now, delivery.next_attempt_at)

    assert delivery.status == Delivery.Status.UNKNOWN
    assert len(wire.bodies) == 4
    assert all(0.8 * n <= wait <= 1.2 * n for n, wait in zip([30, 300, 1800], waits[:3], strict=True))


@pytest.mark.parametrize(
    ("code", "named", "invalid"),
    [
        (81013, {"invaliduser": "lilei"}, {"lilei", "han", "jim"}),  # nobody was reached
        (40003, {"invaliduser": "lilei"}, {"lilei"}),
        *((code, {}, set[str]()) for code in (40201, 82004, 85002)),  # refused words are nobody's account
        *((code, {}, set[str]()) for code in (40058, 82001, 99999)),  # our mistakes, and unknown codes
    ],
)
def test_a_refusal_is_final_and_names_whom_wecom_names(
    code: int, named: dict[str, str], invalid: set[str], delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.sends.append(errcode(code, **named))

    send(delivery, clock)

    assert (delivery.status, delivery.errcode) == (Delivery.Status.FAILED, code)
    assert read_exceptions(delivery) == dict.fromkeys(invalid, Receipt.Status.INVALID)
    assert (delivery.accepted_count, delivery.invalid_count) == (0, len(invalid))
    assert read_outcomes(delivery) == [(Attempt.Outcome.REFUSED, code)]
    assert not send_delivery(delivery.pk, clock=clock)
    assert len(wire.bodies) == 1


def test_a_message_made_for_an_app_that_was_changed_is_refused_without_a_call(
    delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    """WeCom would answer 301002, and the whole company's queue would wait."""
    Corp.objects.filter(pk=delivery.corp_id).update(agentid=delivery.agentid + 1)

    send(delivery, clock)

    assert delivery.status == Delivery.Status.FAILED
    assert delivery.error == "the company's app was changed after this message was made"
    assert wire.bodies == []


def test_a_refusal_after_an_unclear_attempt_leaves_the_outcome_unknown(
    delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.sends.extend([reset, errcode(81013, invaliduser="lilei|han|jim")])
    send(delivery, clock)
    clock.now = delivery.next_attempt_at

    send(delivery, clock)

    assert (delivery.status, delivery.errcode) == (Delivery.Status.UNKNOWN, 81013)
    assert read_exceptions(delivery) == {}


@pytest.mark.parametrize(("code", "wait_seconds"), [(45009, 60), (45033, 5), (60020, 120), (301002, 120)])
def test_what_concerns_the_whole_company_makes_its_queue_wait_and_drops_nothing(
    code: int, wait_seconds: int, delivery: Delivery, wire: WeComStub, clock: FakeClock, valkey_client: redis.Redis
) -> None:
    render_run(run_id=make_run(make_subscription(make_person(delivery.corp, "more"))).pk, now=NOW)
    waiting = Delivery.objects.exclude(pk=delivery.pk).get()
    wire.sends.append(errcode(code))

    send(delivery, clock)

    until = NOW + timedelta(seconds=wait_seconds)
    assert (delivery.status, delivery.next_attempt_at, delivery.errcode) == (Delivery.Status.PENDING, until, code)
    assert read_outcomes(delivery) == [(Attempt.Outcome.NOT_SENT, code)]
    waiting.refresh_from_db()
    assert waiting.next_attempt_at == until
    assert not send_delivery(waiting.pk, clock=clock)
    assert len(wire.bodies) == 1
    clock.now = until
    for hold in valkey_client.keys("*:hold"):  # Valkey's own clock has not moved
        valkey_client.delete(hold)
    assert send(waiting, clock).status == Delivery.Status.ACCEPTED


@pytest.mark.parametrize(
    ("answer", "code", "seconds"),
    [
        (errcode(-1), -1, (4, 6)),
        (errcode(40001), 40001, (120, 120)),
        (http(200, "<html>please sign in</html>"), None, (120, 120)),
    ],
    ids=["busy", "wrong secret", "html"],
)
def test_without_a_token_the_message_is_kept_and_nothing_is_unclear(
    answer: Any, code: int | None, seconds: tuple[float, float], delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    wire.tokens.append(answer)

    send(delivery, clock)

    assert read_outcomes(delivery) == [(Attempt.Outcome.NOT_SENT, code)]
    assert waits_for(delivery, clock, *seconds)
    assert delivery.unclear_since is None
    assert "secret" not in delivery.error
    assert wire.bodies == []


@pytest.mark.parametrize(
    ("valid_for", "is_unclear"),
    [(timedelta(hours=24), False), (timedelta(minutes=10), True), (timedelta(hours=3.5), True)],
    ids=["worthless", "unclear and worthless", "unclear and held up"],
)
def test_what_is_not_sent_in_time_is_canceled_or_unknown_if_it_may_have_arrived(
    valid_for: timedelta, is_unclear: bool, delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    if valid_for < timedelta(hours=1):
        Delivery.objects.update(expires_at=NOW + valid_for)
    if is_unclear:
        wire.sends.append(reset)
        send(delivery, clock)
    clock.now += valid_for

    assert not send_delivery(delivery.pk, clock=clock)
    maintenance.sweep_deliveries(now=clock.now)

    delivery.refresh_from_db()
    expected = Delivery.Status.UNKNOWN if is_unclear else Delivery.Status.CANCELED
    assert (delivery.status, delivery.settled_at, len(wire.bodies)) == (expected, clock.now, is_unclear)


def test_a_worker_that_died_during_the_call_is_followed_by_the_same_bytes(
    delivery: Delivery, wire: WeComStub, clock: FakeClock
) -> None:
    claim_delivery(delivery.pk, now=NOW)
    clock.advance(seconds=59)
    maintenance.sweep_deliveries(now=clock.now)
    assert Delivery.objects.get().status == Delivery.Status.SENDING

    clock.advance(seconds=2)
    maintenance.sweep_deliveries(now=clock.now)

    delivery.refresh_from_db()
    assert waits_for(delivery, clock, 4, 6)
    assert delivery.unclear_since == NOW
    assert read_outcomes(delivery) == [(Attempt.Outcome.UNCLEAR, None)]
    clock.now = delivery.next_attempt_at
    send(delivery, clock)
    assert (delivery.status, delivery.is_accepted_on_repeat) == (Delivery.Status.ACCEPTED, True)
    assert wire.bodies == [bytes(delivery.body)]


def test_a_lease_without_an_attempt_means_that_nothing_was_sent(delivery: Delivery, clock: FakeClock) -> None:
    claim_delivery(delivery.pk, now=NOW)
    Attempt.objects.all().delete()
    clock.advance(minutes=2)

    maintenance.sweep_deliveries(now=clock.now)

    delivery.refresh_from_db()
    assert waits_for(delivery, clock, 0, 0)
    assert delivery.unclear_since is None


def test_a_worker_thought_dead_changes_nothing_any_more(delivery: Delivery, clock: FakeClock) -> None:
    claimed = claim_delivery(delivery.pk, now=NOW)
    assert claimed is not None
    clock.advance(minutes=2)
    maintenance.sweep_deliveries(now=clock.now)
    delivery.refresh_from_db()
    before = (delivery.status, delivery.next_attempt_at, delivery.unclear_since)

    is_held = settle_attempt(claimed.attempt, Outcome(OutcomeKind.REFUSED, errcode=40058), duration_ms=1, now=clock.now)

    assert not is_held
    delivery.refresh_from_db()
    assert (delivery.status, delivery.next_attempt_at, delivery.unclear_since) == before
    assert read_outcomes(delivery) == [(Attempt.Outcome.REFUSED, 40058)]


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_sends(delivery: Delivery, wire: WeComStub, clock: FakeClock) -> None:
    results: list[bool] = []

    do_at_once(*[lambda: results.append(send_delivery(delivery.pk, clock=clock))] * 6)

    assert sorted(results) == [False] * 5 + [True]
    assert len(wire.bodies) == 1


@pytest.mark.parametrize("seconds", [0, 121], ids=["a worker that stops", "a task that took too long"])
def test_what_was_not_begun_is_given_back(wire: WeComStub, clock: FakeClock, settings: Settings, seconds: int) -> None:
    settings.SEND_PARALLEL_PER_TASK = 1
    ids = personal(make_corp(api_base_url=wire.url), 3)
    wire.on_send = lambda: clock.advance(seconds=seconds)

    tried = send_deliveries(ids, clock=clock, is_stopping=lambda: not seconds and len(wire.bodies) >= 1)

    assert tried == 1
    assert hand_out_deliveries(now=NOW, limit=10).ordinary == ids[1:]


def test_one_message_that_cannot_be_tried_does_not_keep_the_others(wire: WeComStub, clock: FakeClock) -> None:
    broken, good = ids = personal(make_corp(api_base_url=wire.url), 2)
    # The attempt with number 1 exists already, so it cannot be written again.
    Attempt.objects.create(delivery_id=broken, number=1, fencing_token=uuid4(), started_at=NOW)

    assert send_deliveries(ids, clock=clock, is_stopping=lambda: False) == 1

    statuses = dict(Delivery.objects.values_list("pk", "status"))
    assert statuses == {broken: Delivery.Status.PENDING, good: Delivery.Status.ACCEPTED}


@pytest.mark.django_db(transaction=True)
def test_the_sweep_and_a_late_worker_do_not_wait_in_a_circle(delivery: Delivery) -> None:
    claimed = claim_delivery(delivery.pk, now=NOW)
    assert claimed is not None
    accepted, results = Outcome(OutcomeKind.ACCEPTED, errcode=0), list[bool]()
    late = Elsewhere(lambda: results.append(settle_attempt(claimed.attempt, accepted, duration_ms=1, now=NOW)))

    with transaction.atomic():  # as the sweep does: first the delivery, then its attempt
        Delivery.objects.select_for_update().get(pk=delivery.pk)
        late.until_it_waits()
        Attempt.objects.filter(pk=claimed.attempt.pk).update(outcome=Attempt.Outcome.UNCLEAR)
        Delivery.objects.filter(pk=delivery.pk).update(status=Delivery.Status.PENDING, fencing_token=None)
    late.join()

    assert results == [False]
