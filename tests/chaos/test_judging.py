"""Errors that the judge of the chaos suite and of the state machine must find."""

from datetime import timedelta

import pytest

from notifications.delivery.rendering.render import render_run
from notifications.models import Channel, Delivery, MessageForm, Receipt, Run
from tests.chaos.judge import (
    Arrived,
    count_arrived,
    count_in_groups,
    find_unfinished,
    find_unfounded,
    find_wrong_groups,
    find_wrong_receipts,
)
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription

pytestmark = pytest.mark.django_db
Status = Delivery.Status


@pytest.fixture
def delivery() -> Delivery:
    """A message to u0 and u1."""
    corp = make_corp()
    [pk] = render_run(run_id=make_run(make_subscription(*make_people(corp, 2))).pk, now=NOW)
    return Delivery.objects.get(pk=pk)


def on_phones(delivery: Delivery, *userids: str) -> Arrived:
    link = f"https://bi.example.com/m/{delivery.mark}/"
    message = {"textcard": {"url": link, "description": link}, "receivers": list(userids)}
    return count_arrived([message], delivery.corpid)


def settle(delivery: Delivery, status: str, **fields: object) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(status=status, settled_at=NOW, **fields)


TWICE, NEVER, AGAINST, AFRESH = (
    f"{word}: "
    for word in ("twice", "never arrived", "arrived against the receipt", "arrived, and would be sent afresh")
)


@pytest.mark.parametrize(
    ("status", "fields", "userids", "complaints"),
    [
        (Status.ACCEPTED, {}, ["u0", "u1"], []),
        (Status.ACCEPTED, {}, ["u0", "u0"], [TWICE, NEVER]),
        *((status, {}, [], []) for status in (Status.FAILED, Status.CANCELED)),
        *((status, {}, ["u1"], [AGAINST]) for status in (Status.FAILED, Status.CANCELED)),
        (Status.UNKNOWN, {"unclear_since": NOW}, ["u0"], []),
        (Status.PENDING, {}, ["u0"], [AFRESH]),
        (Status.PENDING, {"unclear_since": NOW}, ["u0"], []),
        # WeCom does not name again whom it cannot reach.
        (Status.ACCEPTED, {"unclear_since": NOW}, ["u0"], [NEVER]),
    ],
)
def test_receipts_are_compared_with_phones(
    delivery: Delivery, status: str, fields: dict[str, object], userids: list[str], complaints: list[str]
) -> None:
    settle(delivery, status, **fields)

    found = find_wrong_receipts(on_phones(delivery, *userids))

    assert [sentence.startswith(complaint) for sentence, complaint in zip(found, complaints, strict=True)] == [
        True
    ] * len(complaints)
    if fields:
        assert find_wrong_receipts(on_phones(delivery, *userids), deaf={(delivery.corpid, "u1")}) == []


def test_an_invalid_person_among_accepted_ones_has_nothing(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    Receipt.objects.filter(address__endswith=":u1").update(status=Receipt.Status.INVALID)

    assert find_wrong_receipts(on_phones(delivery, "u0")) == []
    assert len(find_wrong_receipts(on_phones(delivery, "u0", "u1"))) == 1


def test_a_message_that_no_receipt_knows_of(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    stranger = Arrived({(delivery.corpid, "u0", "f" * 32): 1})

    [said] = find_wrong_receipts(on_phones(delivery, "u0", "u1") + stranger)

    assert "no receipt knows of it" in said


@pytest.mark.parametrize(
    ("status", "fields", "is_founded"),
    [
        (Status.ACCEPTED, {}, True),
        *((status, {}, False) for status in (Status.FAILED, Status.CANCELED, Status.UNKNOWN)),
        (Status.UNKNOWN, {"unclear_since": NOW}, True),
        (Status.CANCELED, {"recall_requested_at": NOW}, True),
        (Status.CANCELED, {"expires_at": NOW}, True),
        # Everybody was taken out of it.
        (Status.CANCELED, {"recipient_count": 0}, True),
    ],
)
def test_endings_need_a_documented_reason(
    delivery: Delivery, status: str, fields: dict[str, object], is_founded: bool
) -> None:
    settle(delivery, status, **fields)

    assert len(find_unfounded()) == (0 if is_founded else 1)
    if status == Status.FAILED:
        Receipt.objects.update(status=Receipt.Status.INVALID)
        assert find_unfounded() == []


def test_what_has_not_ended(delivery: Delivery) -> None:
    later = NOW + timedelta(minutes=1)
    assert len(find_unfinished(now=later)) == 2

    settle(delivery, Status.ACCEPTED)
    Run.objects.update(status=Run.Status.FINISHED)
    assert find_unfinished(now=later) == []


def test_a_picture_is_known_by_its_upload_and_a_card_of_alerts_by_the_mark_in_its_address(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    card = {"card": {"url": f"https://bi.example.com/alerts/7/?m={delivery.mark}"}, "receivers": ["u0", "u1"]}
    assert find_wrong_receipts(count_arrived([card], delivery.corpid)) == []

    body = b'{"touser":"u0|u1","msgtype":"image","image":{"media_id":"media-7"}}'
    settle(delivery, Status.ACCEPTED, body=body, message_form=MessageForm.IMAGE)
    message = {"msgtype": "image", "image": {"media_id": "media-7"}, "receivers": ["u0"]}

    [said] = find_wrong_receipts(count_arrived([message], delivery.corpid))

    assert said.startswith(NEVER)
    assert ":u1: accepted" in said


@pytest.mark.parametrize(
    ("status", "count", "is_right"),
    [
        ("accepted", 1, True),
        ("accepted", 0, False),
        ("accepted", 2, False),
        ("unknown", 0, True),
        ("unknown", 1, True),
        ("failed", 1, False),
    ],
)
def test_a_group_has_what_was_accepted_and_perhaps_what_nobody_knows(
    status: str, count: int, is_right: bool, delivery: Delivery
) -> None:
    settle(delivery, status, channel=Channel.ROBOT)
    messages = [{"msgtype": "text", "robot": "key", "receivers": []}] * count

    assert (find_wrong_groups(delivery.corpid, count_in_groups(messages)) == []) is is_right
    assert count_arrived(messages, delivery.corpid) == Arrived()
