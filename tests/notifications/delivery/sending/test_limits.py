"""Limits and rows: messages that must wait go back, some are split off, a lost store is refilled, calls slow down."""

import json
import threading
import time
import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from integrations.core.background import database_now
from integrations.models import Corp
from notifications.delivery.channels import (
    Outcome,
    OutcomeKind,
    make_address_scope,
    make_app_limits,
    make_company_scope,
)
from notifications.delivery.limiter import Request, ask_gate, get_gate
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.queue import (
    ReservedDeliveries,
    claim_deliveries,
    hand_out_deliveries,
    read_sendables,
)
from notifications.delivery.sending.send import UNREACHABLE_SECONDS, SendTask, read_past_calls, send_deliveries
from notifications.delivery.sending.settle import EndedCall, settle_calls
from notifications.models import Attempt, CorpQueue, Delivery, Priority, Receipt
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_people, make_person, make_run, make_subscription
from tests.notifications.one_delivery import personal, send_all
from tests.notifications.side_by_side import do_at_once
from tests.notifications.wecom_stub import WeComStub, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.channels.RESERVED_PERCENT", 0)


def render_together(corp: Corp, *userids: str) -> Delivery:
    people = [make_person(corp, userid) for userid in userids]
    [pk] = render_run(run_id=make_run(make_subscription(*people)).pk, now=NOW)
    return Delivery.objects.get(pk=pk)


def read_used_today(corp: Corp) -> int:
    [count] = ask_gate(lambda gate: gate.count_used_today([make_app_limits(corp.corpid, corp.agentid)]))
    return count


def test_a_call_counts_for_address_company_and_day(corp: Corp, clock: FakeClock) -> None:
    delivery = render_together(corp, *"abc")

    send_all(clock, [delivery.pk])

    rooms = get_gate().find_rooms([make_address_scope(corp), make_company_scope(corp.corpid)], within_seconds=0)
    assert list(rooms.values()) == [19_999, 9_999]
    assert read_used_today(corp) == 3


def test_never_more_at_once_than_a_company_may_have(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PARALLEL = 3
    flying: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def stay_a_moment() -> None:
        with lock:
            flying.append(1)
            most.append(len(flying))
        time.sleep(0.02)
        with lock:
            flying.pop()

    wire.on_send = stay_a_moment

    assert send_all(clock, personal(corp, 12)) == 12

    assert max(most) <= 3
    assert Delivery.objects.filter(status="accepted").count() == 12


def test_a_day_that_is_used_up_leaves_the_rest_for_tomorrow(corp: Corp, clock: FakeClock) -> None:
    CorpQueue.objects.create(corp=corp, daily_budget=5)
    first, second = render_together(corp, *"abcd"), render_together(corp, *"ef")

    assert send_all(clock, [first.pk, second.pk]) == 1

    second.refresh_from_db()
    assert (second.status, second.attempt_count) == (Delivery.Status.PENDING, 0)
    assert timedelta(0) < second.next_attempt_at - NOW <= timedelta(days=1)
    assert read_used_today(corp) == 4


def test_who_had_too_many_messages_is_split_off_before_freezing_and_waits(corp: Corp, settings: Settings) -> None:
    people = make_people(corp, 3)
    settings.LIMIT_MEMBER_PER_MINUTE = 2
    app = make_app_limits(corp.corpid, corp.agentid)
    earlier = [Request(name, (), app=app, members=("u1",)) for name in ("x", "y")]
    ask_gate(lambda gate: gate.acquire(earlier))

    ids = render_run(run_id=make_run(make_subscription(*people)).pk, now=NOW)

    now, later = Delivery.objects.filter(pk__in=ids).order_by("next_attempt_at")
    assert (now.recipient_count, now.next_attempt_at) == (2, NOW)
    assert later.recipient_count == 1
    assert 60 < (later.next_attempt_at - NOW).total_seconds() < 100
    assert list(later.receipts.values_list("address", flat=True)) == [f"{corp.pk}:u1"]
    assert Receipt.objects.count() == 3


def test_without_a_limiter_nothing_is_split_and_nothing_is_sent(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    delivery = render_together(corp, *"ab")

    assert send_all(clock, [delivery.pk]) == 0

    delivery.refresh_from_db()
    assert wire.bodies == []
    assert (delivery.status, delivery.attempt_count, delivery.queued_until) == (Delivery.Status.PENDING, 0, None)
    assert delivery.next_attempt_at == NOW + timedelta(seconds=UNREACHABLE_SECONDS)


@pytest.mark.parametrize("is_flushed", [False, True], ids=["known", "lost"])
def test_a_lost_store_begins_from_the_attempts(
    is_flushed: bool, corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings, valkey_client: redis.Redis
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 3
    now = database_now()
    clock.now = now
    Delivery.objects.all().delete()
    ids = personal(corp, 4)
    Delivery.objects.update(next_attempt_at=now, expires_at=now + timedelta(hours=1))
    send_all(clock, ids[:2])

    if is_flushed:
        valkey_client.flushdb()

    assert send_all(clock, ids[2:]) == 1
    assert len(wire.bodies) == 3
    assert read_used_today(corp) == 3


def test_a_call_whose_permit_was_lost_before_it_began_is_not_made(
    corp: Corp, wire: WeComStub, clock: FakeClock, valkey_client: redis.Redis
) -> None:
    """Neither the limiter that granted the permit nor the attempt, which is not yet written, could count the call."""
    delivery = render_together(corp, *"ab")

    def losing_clock() -> datetime:
        """Empty the store between the permit and the claim, the last time the clock is read."""
        valkey_client.flushdb()
        return clock()

    assert send_deliveries([delivery.pk], clock=losing_clock, is_stopping=lambda: False) == 1

    delivery.refresh_from_db()
    assert wire.bodies == []
    assert (delivery.status, delivery.unclear_since, delivery.attempt_count) == ("pending", None, 1)
    assert list(Attempt.objects.values_list("outcome", "errcode")) == [("not_sent", None)]


def test_what_one_task_gives_back_is_not_taken_from_another(corp: Corp, settings: Settings) -> None:
    """Tasks may hold the same message, each with its own permit."""
    delivery = render_together(corp, "a")
    tasks = [SendTask([delivery.pk], lambda: NOW, lambda: False) for _number in range(2)]
    first, second = (permit for task in tasks for _delivery, permit in task._admit_waiting(1))
    scope = make_company_scope(corp.corpid)

    get_gate().cancel([first])

    assert get_gate().find_rooms([scope], within_seconds=0)[scope] == settings.LIMIT_COMPANY_PER_MINUTE - 1
    get_gate().cancel([second])
    assert get_gate().find_rooms([scope], within_seconds=0)[scope] == settings.LIMIT_COMPANY_PER_MINUTE


def test_the_past_of_an_hour_is_restored_call_by_call_and_the_day_in_sums(corp: Corp) -> None:
    ids = personal(corp, 4)
    token = "00000000-0000-0000-0000-000000000000"
    noon = NOW + timedelta(hours=4)
    for pk, ago, outcome, code in zip(
        ids,
        (timedelta(minutes=5), timedelta(seconds=3), timedelta(hours=3), timedelta(minutes=1)),
        ("accepted", "started", "accepted", "not_sent"),
        (0, None, 0, None),
        strict=True,
    ):
        finished = None if outcome == "started" else noon - ago
        Attempt.objects.create(
            delivery_id=pk, number=1, fencing_token=token, started_at=noon - ago, finished_at=finished,
            outcome=outcome, errcode=code,
        )  # fmt: skip

    past = list(read_past_calls(now=noon))

    assert [(call.request.id, call.ended_seconds_ago, call.request.persons) for call in past] == [
        (f"{ids[0]}.1", 300, 1),
        (f"{ids[1]}.1", 3 - 30, 1),
        ("earlier today", 0, 1),
    ]
    assert len(past[0].request.members) == 1


@pytest.mark.parametrize(("code", "seconds"), [(45009, 60), (45033, 5)])
def test_too_much_for_wecom_slows_the_company_for_every_worker(
    code: int, seconds: int, corp: Corp, wire: WeComStub, clock: FakeClock, valkey_client: redis.Redis
) -> None:
    first, *others = personal(corp, 3)
    wire.sends.append(errcode(code))

    send_all(clock, [first])

    [answer] = get_gate().acquire([Request("other", (make_company_scope(corp.corpid),), is_urgent=True)])
    assert isinstance(answer, float)
    assert seconds - 2 < answer <= seconds
    assert send_all(clock, others) == 0
    ceiling = valkey_client.get(f"push:limit:{make_company_scope(corp.corpid).key}:ceiling")
    assert ceiling == (b"1" if code == 45033 else None)  # too many at once: fewer may be
    assert not CorpQueue.objects.blocked().exists()


@pytest.mark.django_db(transaction=True)
def test_many_tasks_together_stay_within_the_companys_minute(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 10
    ids = personal(corp, 24)

    do_at_once(*(partial(send_all, clock, ids[start::4]) for start in range(4)))

    assert len(wire.bodies) == 10
    assert Delivery.objects.filter(status="accepted").count() == 10
    assert Delivery.objects.filter(status="pending", next_attempt_at__gt=NOW).count() == 14


def test_a_lost_lease_among_many_changes_nothing_of_its_message(corp: Corp) -> None:
    ids = personal(corp, 3)
    claimed = claim_deliveries(read_sendables(Delivery.objects.filter(pk__in=ids)), now=NOW)
    Delivery.objects.filter(pk=ids[1]).update(fencing_token="00000000-0000-0000-0000-000000000001")
    outcomes = [Outcome(OutcomeKind.ACCEPTED, errcode=0, msgid=f"m{number}") for number in range(3)]

    settle_calls([EndedCall(row, outcome, 7, NOW) for row, outcome in zip(claimed, outcomes, strict=True)])

    rows = Delivery.objects.order_by("pk").values_list("status", "msgid", "settled_at", "lease_until")
    assert [row[:2] for row in rows] == [("accepted", "m0"), ("sending", ""), ("accepted", "m2")]
    assert (rows[0][2], rows[0][3]) == (NOW, None)
    assert rows[1][3] is not None
    made = Attempt.objects.order_by("pk").values_list("outcome", "errcode", "duration_ms", "finished_at")
    assert list(made) == [("accepted", 0, 7, NOW)] * 3


def find_corp_id(delivery_id: int) -> int:
    return Delivery.objects.get(pk=delivery_id).corp_id


def test_of_many_that_wait_the_first_alone_are_read() -> None:
    make_corp()
    pks = [personal(make_corp(), 1)[0] for _company in range(2)]
    names = [field.attname for field in Delivery._meta.concrete_fields if field.name not in {"id", "mark"}]
    for copied in Delivery.objects.filter(pk__in=pks):
        values = {name: getattr(copied, name) for name in names}
        Delivery.objects.bulk_create(Delivery(**values, mark=uuid.uuid4().hex) for _ in range(1000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_delivery")

    with CaptureQueriesContext(connection) as captured:
        assert len(hand_out_deliveries(now=NOW, limit=10).ordinary) == 20

    asked = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert len(asked) > 5
    assert [sql for sql in asked if read_of_deliveries(sql) > 100] == []


def read_of_deliveries(sql: str) -> int:
    """Count the rows of deliveries that the database reads for this statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [found] = cursor.fetchone()
    [explained] = json.loads(found) if isinstance(found, str) else found
    return _read_by(explained["Plan"])


def _read_by(node: dict[str, Any]) -> int:
    rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    own = rows if node.get("Relation Name") == Delivery._meta.db_table else 0
    return int(own) + sum(map(_read_by, node.get("Plans", [])))


def test_no_more_is_handed_out_than_the_company_may_send_soon(settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 3
    busy, quiet = make_corp(), make_corp()
    many, few = personal(busy, 5), personal(quiet, 1)

    assert sorted(hand_out_deliveries(now=NOW).ordinary) == sorted([*many[:3], *few])
    # Messages already handed to tasks will use the room.
    assert hand_out_deliveries(now=NOW) == ReservedDeliveries()
    # A lost task no longer counts, and its rows go first.
    assert hand_out_deliveries(now=NOW + timedelta(seconds=60)).ordinary[:1] == many[:1]


@pytest.mark.parametrize(
    ("limit", "value", "is_same_corpid"), [("COMPANY", 4, True), ("ADDRESS", 2, False)], ids=["corpid", "proxy"]
)
def test_rows_of_one_corpid_share_its_room_and_a_proxy_has_an_address_of_its_own(
    limit: str, value: int, is_same_corpid: bool, settings: Settings
) -> None:
    setattr(settings, f"LIMIT_{limit}_PER_MINUTE", value)
    first, proxy = make_corp(), "http://user:password@proxy.example.test:3128"
    second = make_corp(corpid=first.corpid) if is_same_corpid else make_corp(proxy_url=proxy)
    personal(first, 5)
    personal(second, 5)

    found = hand_out_deliveries(now=NOW).ordinary

    assert sorted(map(find_corp_id, found)) == [first.pk] * 2 + [second.pk] * 2


def test_the_address_serves_its_companies_evenly(settings: Settings) -> None:
    settings.LIMIT_ADDRESS_PER_MINUTE = 7
    corps = [make_corp() for _ in range(3)]
    for corp, number in zip(corps, (5, 1, 5), strict=True):
        personal(corp, number)

    found = hand_out_deliveries(now=NOW).ordinary

    assert [find_corp_id(pk) for pk in found] == [corp.pk for corp in [*corps, corps[0], corps[2], corps[0], corps[2]]]


def test_urgent_messages_have_a_queue_and_a_share_of_their_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 10
    monkeypatch.setattr("notifications.delivery.channels.RESERVED_PERCENT", 20)
    corp = make_corp()
    ordinary = personal(corp, 9)
    assert hand_out_deliveries(now=NOW) == ReservedDeliveries([], ordinary[:8])
    urgent = personal(corp, 2, priority=Priority.URGENT)

    assert hand_out_deliveries(now=NOW) == ReservedDeliveries(urgent, [])


def test_while_another_worker_fills_the_limiter_nothing_is_handed_out(valkey_client: redis.Redis) -> None:
    personal(make_corp(), 1)
    valkey_client.flushdb()
    valkey_client.set("push:limit:restoring", 1, ex=60)

    assert hand_out_deliveries(now=NOW) == ReservedDeliveries()

    valkey_client.delete("push:limit:restoring")
    assert len(hand_out_deliveries(now=NOW).ordinary) == 1
