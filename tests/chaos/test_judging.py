"""Errors that the judge of the chaos suite and of the state machine must find."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifications.delivery.rendering.render import render_run
from notifications.models import Channel, Delivery, MessageForm, Receipt, Run
from tests.chaos.judge import Arrived, arrived, in_groups, stuck, unfounded, wrong_groups, wrongs
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
    return arrived([message], delivery.corpid)


def settle(delivery: Delivery, status: str, **fields: object) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(status=status, settled_at=NOW, **fields)


def test_everybody_once_is_right(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)

    assert wrongs(on_phones(delivery, "u0", "u1")) == []


def test_who_has_it_twice_and_who_never_got_it(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)

    first, second = wrongs(on_phones(delivery, "u0", "u0"))

    assert first.startswith("twice: ")
    assert second.startswith("never arrived: ")


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED])
def test_what_did_not_go_out_may_not_have_arrived(delivery: Delivery, status: str) -> None:
    settle(delivery, status)

    assert wrongs(Arrived()) == []
    [said] = wrongs(on_phones(delivery, "u1"))
    assert said.startswith("arrived against the receipt: ")


def test_an_invalid_person_among_accepted_ones_has_nothing(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    Receipt.objects.filter(address__endswith=":u1").update(status=Receipt.Status.INVALID)

    assert wrongs(on_phones(delivery, "u0")) == []
    assert len(wrongs(on_phones(delivery, "u0", "u1"))) == 1


def test_nobody_knows_may_be_both(delivery: Delivery) -> None:
    settle(delivery, Status.UNKNOWN, unclear_since=NOW)

    assert wrongs(on_phones(delivery, "u0")) == []


def test_a_repeat_does_not_name_whom_wecom_cannot_reach(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED, unclear_since=NOW)
    found = on_phones(delivery, "u0")

    assert len(wrongs(found)) == 1
    assert wrongs(found, deaf={(delivery.corpid, "u1")}) == []


def test_what_waits_and_has_arrived_would_be_sent_afresh(delivery: Delivery) -> None:
    [said] = wrongs(on_phones(delivery, "u0"))
    assert said.startswith("arrived, and would be sent afresh: ")

    Delivery.objects.update(unclear_since=NOW)
    assert wrongs(on_phones(delivery, "u0")) == []


def test_a_message_that_no_receipt_knows_of(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    stranger = Arrived({(delivery.corpid, "u0", "f" * 32): 1})

    [said] = wrongs(on_phones(delivery, "u0", "u1") + stranger)

    assert "no receipt knows of it" in said


def test_endings_need_a_reason(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    assert unfounded() == []

    for status in (Status.FAILED, Status.CANCELED, Status.UNKNOWN):
        settle(delivery, status)
        assert len(unfounded()) == 1


def test_reasons_that_are_documented(delivery: Delivery) -> None:
    settle(delivery, Status.UNKNOWN, unclear_since=NOW)
    assert unfounded() == []

    settle(delivery, Status.CANCELED, unclear_since=None)
    Run.objects.update(recall_requested_at=NOW)
    assert unfounded() == []

    Run.objects.update(recall_requested_at=None)
    Delivery.objects.update(expires_at=NOW)
    assert unfounded() == []

    settle(delivery, Status.FAILED)
    Receipt.objects.update(status=Receipt.Status.INVALID)
    assert unfounded() == []


def test_what_has_not_ended(delivery: Delivery) -> None:
    later = NOW + timedelta(minutes=1)
    assert len(stuck(now=later)) == 2

    settle(delivery, Status.ACCEPTED)
    Run.objects.update(status=Run.Status.FINISHED)
    assert stuck(now=later) == []


def test_a_picture_is_known_by_what_was_uploaded_for_it(delivery: Delivery) -> None:
    body = b'{"touser":"u0|u1","msgtype":"image","image":{"media_id":"media-7"}}'
    settle(delivery, Status.ACCEPTED, body=body, message_form=MessageForm.IMAGE)
    message = {"msgtype": "image", "image": {"media_id": "media-7"}, "receivers": ["u0"]}

    [said] = wrongs(arrived([message], delivery.corpid))

    assert said.startswith("never arrived: ")
    assert ":u1: accepted" in said


def test_a_card_of_alerts_is_known_by_the_mark_in_its_address(delivery: Delivery) -> None:
    settle(delivery, Status.ACCEPTED)
    card = {"card": {"url": f"https://bi.example.com/alerts/7/?m={delivery.mark}"}, "receivers": ["u0", "u1"]}

    assert wrongs(arrived([card], delivery.corpid)) == []


def test_a_message_from_which_everybody_was_taken_out_ended_for_a_reason(delivery: Delivery) -> None:
    settle(delivery, Status.CANCELED, recipient_count=0)

    assert unfounded() == []


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

    assert (wrong_groups(delivery.corpid, in_groups(messages)) == []) is is_right
    assert arrived(messages, delivery.corpid) == Arrived()
