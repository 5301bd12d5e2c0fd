"""What is written in bulk reads back as it was given, whatever stands in it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from notifications.delivery.rows import insert_contents, insert_deliveries
from notifications.models import Delivery, FrozenContent, Priority, Run
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription

pytestmark = pytest.mark.django_db

AWKWARD = "日报 \"100 %s\" \\u0041 {0} 'x' 😀\n\t<br>"
# As JSON has them: an escaped NUL is text, and a real one stands in none.
BODY = '{"text":"\\u0000 \\"日报\\" 😀 %s"}'.encode()


@pytest.fixture
def run() -> Run:
    return make_run(make_subscription(make_person(make_corp(), "li")))


def delivery(run: Run, **fields: Any) -> Delivery:
    defaults = {
        **{"run": run, "corp": make_corp(), "channel": "wecom", "message_form": "text", "created_at": NOW},
        **{"title": "日报", "text": "x", "corpid": "ww1", "agentid": 4_000_000_000, "body": BODY, "language": "en"},
        **{"recipient_count": 1, "next_attempt_at": NOW, "expires_at": NOW + timedelta(hours=1)},
    }
    return Delivery(**{**defaults, **fields})


def columns(row: Delivery) -> dict[str, Any]:
    fields = [field.attname for field in Delivery._meta.concrete_fields]
    return {name: bytes(value) if isinstance(value := getattr(row, name), memoryview) else value for name in fields}


def test_deliveries_read_back_as_they_were(run: Run) -> None:
    kept = FrozenContent.objects.create(run=run, document=b"x")
    plain = delivery(run)
    odd = delivery(
        run,
        **{"title": AWKWARD, "text": AWKWARD, "link": "/cards/7?a=%s", "content": kept, "plain_body": BODY},
        **{"priority": Priority.URGENT, "status": Delivery.Status.PREPARING, "errcode": -1, "msgid": AWKWARD},
        **{"fencing_token": uuid.uuid4(), "lease_until": NOW + timedelta(microseconds=1), "unclear_since": NOW},
    )
    given = [columns(row) for row in (plain, odd)]

    insert_deliveries([plain, odd])

    found = [columns(Delivery.objects.get(mark=row.mark)) for row in (plain, odd)]
    assert found == [{**row, "id": pk} for row, pk in zip(given, (plain.pk, odd.pk), strict=True)]


def test_each_delivery_gets_the_id_of_its_row(run: Run) -> None:
    rows = [delivery(run, title=f"{number}") for number in range(30)]

    insert_deliveries(rows)

    assert dict(Delivery.objects.values_list("pk", "title")) == {row.pk: row.title for row in rows}
    assert len({row.pk for row in rows}) == 30


def test_a_title_that_is_too_long_is_refused_not_cut(run: Run) -> None:
    with pytest.raises(DataError), transaction.atomic():
        insert_deliveries([delivery(run, title="长" * 129)])

    assert not Delivery.objects.exists()


def test_so_much_text_as_one_statement_does_not_take_is_written_by_several(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.delivery.rows.MESSAGE_BYTES_AT_ONCE", 1000)
    rows = [delivery(run, text="长" * 100, body=b"x" * 50, plain_body=b"y" * 50) for _number in range(5)]

    with CaptureQueriesContext(connection) as asked:
        insert_deliveries(rows)

    assert [query["sql"].count("长" * 100) for query in asked] == [2, 2, 1]
    assert {row.pk for row in rows} == set(Delivery.objects.values_list("pk", flat=True))


def test_no_delivery_is_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        insert_deliveries([])
        assert insert_contents(1, []) == []


def test_contents_keep_their_order_beyond_one_statement(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.rows.CONTENTS_AT_ONCE", 3)
    documents = [bytes([number, 0, 255 - number]) for number in range(8)]

    ids = insert_contents(run.pk, documents)

    kept = {row.pk: row for row in FrozenContent.objects.all()}
    assert [bytes(kept[pk].document) for pk in ids] == documents
    assert {row.run_id for row in kept.values()} == {run.pk}
