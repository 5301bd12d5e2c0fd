"""The judge of the chaos suite and of the state machine sees what it is there to see."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifications.models import Delivery, Receipt, Run
from notifications.rendering import render_run
from tests.chaos.judging import Arrived, arrived, stuck, unfounded, wrongs
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription

pytestmark = pytest.mark.django_db
Status = Delivery.Status


@pytest.fixture
def delivery() -> Delivery:
    """One message to u0 and u1."""
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
    Run.objects.update(recall_asked_at=NOW)
    assert unfounded() == []

    Run.objects.update(recall_asked_at=None)
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
