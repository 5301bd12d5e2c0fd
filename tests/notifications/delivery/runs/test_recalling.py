"""Taking a run back: what waits does not go out, what was accepted is recalled, and what cannot be says why."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.db import transaction
from pytest_django import Settings

from accounts.models import User
from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.channels import Kind, Outcome
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import recall as runs_recall
from notifications.delivery.sending.queue import hand_out
from notifications.delivery.sending.send import send_deliveries
from notifications.delivery.sending.settle import settle_attempt
from notifications.models import Delivery, Run
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription, make_superuser
from tests.notifications.one_delivery import claim_delivery
from tests.notifications.side_by_side import Elsewhere
from tests.notifications.wire import Wire, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp(wire: Wire) -> Corp:
    return make_corp(api_base_url=wire.url)


@pytest.fixture
def me() -> User:
    return make_superuser()


@pytest.fixture
def run(corp: Corp) -> Run:
    run = make_run(make_subscription(*make_people(corp, 2)))
    render_run(run_id=run.pk, now=NOW)
    return run


def send(clock: FakeClock) -> int:
    ids = list(Delivery.objects.values_list("pk", flat=True))
    return send_deliveries(ids, clock=clock, is_stopping=lambda: False)


def recall(run: Run, me: User, clock: FakeClock) -> int:
    assert runs_recall.request_recall(run, person=me, now=clock.now)
    return recall_due(clock)


def recall_due(clock: FakeClock) -> int:
    ids = runs_recall.to_recall(now=clock.now)
    return runs_recall.recall_deliveries(ids, clock=clock, is_stopping=lambda: False)


def test_what_waits_is_canceled_first(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    assert recall(run, me, clock) == 0

    assert Delivery.objects.get().status == Delivery.Status.CANCELED
    assert hand_out(now=clock.now).ordinary == []
    assert send(clock) == 0
    assert wire.bodies == []


def test_what_was_accepted_is_recalled_by_its_msgid(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    send(clock)
    wire.bodies.clear()

    assert recall(run, me, clock) == 1

    assert [json.loads(body) for body in wire.bodies] == [{"msgid": "msg-1"}]
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.recalled_at, delivery.recall_error) == ("accepted", NOW, "")
    assert recall_due(clock) == 0


def test_it_is_requested_once(run: Run, me: User) -> None:
    assert runs_recall.request_recall(run, person=me, now=NOW)
    assert not runs_recall.request_recall(run, person=me, now=NOW)
    run.refresh_from_db()
    assert not runs_recall.can_be_recalled(run, now=NOW)


def test_what_is_under_way_is_recalled_when_it_is_settled(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    attempt = claim_delivery(Delivery.objects.get().pk, now=NOW)
    assert attempt is not None
    assert recall(run, me, clock) == 0

    settle_attempt(attempt, Outcome(Kind.ACCEPTED, errcode=0, msgid="m7"), duration_ms=1, now=NOW)

    assert recall_due(clock) == 1
    assert json.loads(wire.bodies[-1]) == {"msgid": "m7"}


@pytest.mark.parametrize(("kind", "status"), [(Kind.NOT_SENT, "canceled"), (Kind.UNCLEAR, "unknown")])
def test_what_comes_back_to_its_queue_does_not_go_out_again(
    kind: Kind, status: str, run: Run, me: User, clock: FakeClock
) -> None:
    attempt = claim_delivery(Delivery.objects.get().pk, now=NOW)
    assert attempt is not None
    recall(run, me, clock)
    settle_attempt(attempt, Outcome(kind), duration_ms=1, now=NOW)

    assert hand_out(now=clock.advance(hours=1)).ordinary == []
    maintenance.sweep(now=clock.now)

    assert Delivery.objects.get().status == status


def test_a_refused_recall_says_why_and_is_not_repeated(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    send(clock)
    wire.sends.append(errcode(42052))

    assert recall(run, me, clock) == 0

    assert "42052" in Delivery.objects.get().recall_error
    clock.advance(minutes=5)
    assert recall_due(clock) == 0
    assert len(wire.bodies) == 2


def test_what_fails_for_the_moment_is_tried_again(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    send(clock)
    wire.sends.append(errcode(-1))
    assert recall(run, me, clock) == 0
    assert recall_due(clock) == 0

    clock.advance(minutes=1)

    assert recall_due(clock) == 1


@pytest.fixture
def three(corp: Corp, clock: FakeClock) -> Run:
    """A run that was sent by three calls."""
    run = make_run(make_subscription(*make_people(corp, 3)))
    [pk] = render_run(run_id=run.pk, now=NOW)
    delivery = Delivery.objects.get()
    for number in range(2):
        delivery.pk, delivery.mark = None, f"mark{number}"
        delivery.save()
    assert send(clock) == 3
    return run


@pytest.mark.parametrize("code", [60020, 45009])
def test_what_concerns_the_company_makes_its_recalls_wait(
    code: int, three: Run, me: User, wire: Wire, clock: FakeClock, valkey_client: redis.Redis
) -> None:
    wire.sends.append(errcode(code))

    assert recall(three, me, clock) == 0

    assert len(wire.bodies) == 3 + 1
    assert list(Delivery.objects.values_list("recall_error", flat=True)) == [""] * 3
    clock.advance(seconds=59)
    assert recall_due(clock) == 0
    assert len(wire.bodies) == 3 + 1
    valkey_client.flushdb()  # its clock stood still: the company is held back there
    clock.advance(seconds=62)
    assert recall_due(clock) == 3


def test_recalls_keep_to_the_limits_of_their_own(
    three: Run, me: User, wire: Wire, clock: FakeClock, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 2

    assert recall(three, me, clock) == 2

    assert len(wire.bodies) == 3 + 2
    assert Delivery.objects.filter(recalled_at=None, recall_error="").count() == 1


def test_after_a_day_nothing_is_recalled(run: Run, me: User, wire: Wire, clock: FakeClock) -> None:
    send(clock)
    clock.now += timedelta(hours=24)
    run.refresh_from_db()

    assert not runs_recall.can_be_recalled(run, now=clock.now)
    assert recall(run, me, clock) == 0
    assert len(wire.bodies) == 1


def test_a_run_that_is_not_rendered_yet_makes_no_messages(corp: Corp, me: User) -> None:
    run = make_run(make_subscription(*make_people(corp, 1)))

    runs_recall.request_recall(run, person=me, now=NOW)

    assert render_run(run_id=run.pk, now=NOW) == []
    run.refresh_from_db()
    assert (run.status, run.error_text) == (Run.Status.FAILED, "在生成消息之前已撤回。")


@pytest.mark.django_db(transaction=True)
class TestSideBySide:
    """Whoever changes many rows waits for none that another transaction holds: nobody waits in a circle."""

    def test_what_somebody_holds_is_handed_out_later(self, three: Run, me: User) -> None:
        first, *others = Delivery.objects.order_by("pk").values_list("pk", flat=True)
        runs_recall.request_recall(three, person=me, now=NOW)
        handed_out: list[int] = []
        work = Elsewhere(lambda: handed_out.extend(runs_recall.to_recall(now=NOW)))

        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=first)
            work.until_it_waits()
            while_it_is_held = list(handed_out)
        work.join()

        assert while_it_is_held == others
        assert runs_recall.to_recall(now=NOW) == [first]

    def test_what_somebody_holds_is_not_waited_for_where_a_company_must_wait(
        self, three: Run, me: User, wire: Wire, clock: FakeClock
    ) -> None:
        first, second, third = Delivery.objects.order_by("pk").values_list("pk", flat=True)
        runs_recall.request_recall(three, person=me, now=NOW)
        wire.sends.append(errcode(60020))
        work = Elsewhere(lambda: runs_recall.recall_deliveries([second], clock=clock, is_stopping=lambda: False))

        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=first)
            work.until_it_waits()
            due_ids = list(runs_recall.due(clock.now).order_by("pk").values_list("pk", flat=True))
        work.join()

        assert due_ids == [first]
