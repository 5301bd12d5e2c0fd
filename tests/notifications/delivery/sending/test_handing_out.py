"""What is given to tasks: as much of each company as its limits have room for, the companies in turn, alerts first."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from integrations.models import Corp
from notifications.delivery.channels import company_scope
from notifications.delivery.limiter import query
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.queue import HandedOut, hand_out, share_evenly
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Delivery, Priority
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription
from tests.notifications.wire import Wire

pytestmark = pytest.mark.django_db
_numbers = count()


def personal(corp: Corp, number: int, priority: Priority = Priority.ORDINARY) -> list[int]:
    """So many messages of the company, each for somebody else."""
    ids = []
    for person in (make_person(corp, f"p{next(_numbers)}") for _ in range(number)):
        run = make_run(make_subscription(person, priority=priority))
        ids += render_run(run_id=run.pk, now=NOW)
    return ids


def corp_of(delivery_id: int) -> int:
    return Delivery.objects.get(pk=delivery_id).corp_id


def test_companies_take_turns() -> None:
    first, second = make_corp(), make_corp()
    many, few = personal(first, 4), personal(second, 2)

    found = hand_out(now=NOW)

    assert found == HandedOut([], [many[0], few[0], many[1], few[1], many[2], many[3]])
    assert not hand_out(now=NOW)


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
        assert len(hand_out(now=NOW, limit=10).ordinary) == 20

    asked = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert len(asked) > 5
    assert [sql for sql in asked if read_of_deliveries(sql) > 100] == []


def read_of_deliveries(sql: str) -> int:
    """How many of their rows the database reads for it."""
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
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 3, 0
    busy, quiet = make_corp(), make_corp()
    many, few = personal(busy, 5), personal(quiet, 1)

    assert sorted(hand_out(now=NOW).ordinary) == sorted([*many[:3], *few])
    # What is in the tasks' hands will take the room.
    assert hand_out(now=NOW) == HandedOut()
    # A lost task is not counted any more, and its rows go first.
    assert hand_out(now=NOW + timedelta(seconds=60)).ordinary[:1] == many[:1]


def test_rows_of_one_corpid_share_its_room(settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 4, 0
    first = make_corp()
    second = make_corp(corpid=first.corpid)
    personal(first, 5)
    personal(second, 5)

    found = hand_out(now=NOW).ordinary

    assert sorted(map(corp_of, found)) == [first.pk] * 2 + [second.pk] * 2


def test_the_address_serves_its_companies_evenly(settings: Settings) -> None:
    settings.LIMIT_ADDRESS_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 7, 0
    corps = [make_corp() for _ in range(3)]
    for corp, number in zip(corps, (5, 1, 5), strict=True):
        personal(corp, number)

    found = hand_out(now=NOW).ordinary

    assert [corp_of(pk) for pk in found] == [corp.pk for corp in [*corps, corps[0], corps[2], corps[0], corps[2]]]


def test_a_company_behind_a_proxy_has_an_address_of_its_own(settings: Settings) -> None:
    settings.LIMIT_ADDRESS_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 2, 0
    direct, proxied = make_corp(), make_corp(proxy_url="http://user:password@proxy.example.test:3128")
    personal(direct, 3)
    personal(proxied, 3)

    found = hand_out(now=NOW).ordinary

    assert sorted(map(corp_of, found)) == [direct.pk] * 2 + [proxied.pk] * 2


def test_urgent_messages_have_a_queue_and_a_share_of_their_own(settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 10, 20
    corp = make_corp()
    ordinary = personal(corp, 9)
    assert hand_out(now=NOW) == HandedOut([], ordinary[:8])
    urgent = personal(corp, 2, Priority.URGENT)

    assert hand_out(now=NOW) == HandedOut(urgent, [])


def test_a_company_that_was_told_to_slow_down_gets_nothing_meanwhile() -> None:
    corp, other = make_corp(), make_corp()
    personal(corp, 1)
    theirs = personal(other, 1)
    query(lambda gate: gate.hold(company_scope(corp.corpid), seconds=60))

    assert hand_out(now=NOW).ordinary == theirs


def test_while_another_worker_fills_the_limiter_nothing_is_handed_out(valkey_client: redis.Redis) -> None:
    personal(make_corp(), 1)
    valkey_client.flushdb()
    valkey_client.set("push:limit:restoring", 1, ex=60)

    assert hand_out(now=NOW) == HandedOut()

    valkey_client.delete("push:limit:restoring")
    assert len(hand_out(now=NOW).ordinary) == 1


def test_what_the_limits_hold_back_is_sent_by_and_by(wire: Wire, clock: FakeClock, settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_RESERVED_PERCENT = 2, 0
    ids = personal(make_corp(api_base_url=wire.url), 3)

    # As if another dispatcher had handed out all of them at the same time.
    tried_count = send_deliveries(ids, clock=clock, is_stopping=lambda: False)

    assert (tried_count, len(wire.bodies)) == (2, 2)
    held = Delivery.objects.get(status=Delivery.Status.PENDING)
    assert held.attempt_count == 0
    assert held.queued_until is None
    assert 55 < (held.next_attempt_at - NOW).total_seconds() <= 61
    assert hand_out(now=NOW) == HandedOut()


@given(wanted=st.dictionaries(st.integers(), st.integers(0, 50), max_size=8), total=st.integers(0, 200))
def test_even_parts(wanted: dict[int, int], total: int) -> None:
    parts = share_evenly(wanted, total)

    assert parts.keys() == wanted.keys()
    assert all(0 <= parts[key] <= wanted[key] for key in wanted)
    assert sum(parts.values()) == min(total, sum(wanted.values()))
    # Whoever got less than he wanted got as much as anybody, but for what cannot be divided.
    short = [parts[key] for key in wanted if parts[key] < wanted[key]]
    assert not short or max(parts.values()) - min(short) <= 1
