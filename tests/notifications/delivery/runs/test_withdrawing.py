"""What waits for people whom WeCom does not let in any more, and for those who have another userid by now."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.directory.sync import apply_to
from accounts.models import DirectoryPolicy, User
from integrations.core import hooks
from integrations.models import Corp, Member
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.recall import readdress, withdraw
from notifications.models import Attempt, Delivery, MessageForm, Receipt, Run
from tests.notifications.factories import NOW, make_corp, make_people, make_person, make_run, make_subscription
from tests.notifications.one_delivery import claim_delivery, send_delivery
from tests.notifications.wire import Wire

pytestmark = pytest.mark.django_db
Status = Delivery.Status


def rendered(*people: User, form: MessageForm = MessageForm.TEXTCARD) -> Delivery:
    run = make_run(make_subscription(*people, message_form=form))
    (delivery_id,) = render_run(run_id=run.pk, now=NOW)
    return Delivery.objects.get(pk=delivery_id)


def payload(delivery: Delivery) -> dict[str, Any]:
    delivery.refresh_from_db()
    body: dict[str, Any] = json.loads(bytes(delivery.body))
    return body


def receipts(delivery: Delivery) -> dict[str, tuple[str, str]]:
    rows = Receipt.objects.filter(delivery=delivery)
    return {one.address.split(":")[1]: (one.status, one.reason) for one in rows}


def counts(run_id: int) -> tuple[int, int]:
    run = Run.objects.get(pk=run_id)
    return run.recipient_count, run.skipped_count


SKIPPED = ("skipped", "barred")


def test_a_message_for_one_leaver_is_canceled(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"))

    withdraw(corp, ["lilei"], NOW)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.settled_at, delivery.recipient_count) == (Status.CANCELED, NOW, 0)
    assert receipts(delivery) == {"lilei": SKIPPED}
    assert counts(delivery.run_id) == (0, 1)
    assert claim_delivery(delivery.pk, now=NOW) is None
    maintenance.sweep(now=NOW)
    assert Run.objects.get().status == Run.Status.FINISHED


@pytest.mark.parametrize("form", MessageForm)
def test_a_shared_message_goes_to_the_others_unchanged(corp: Corp, form: MessageForm) -> None:
    people = [make_person(corp, userid) for userid in ("LiLei", "Han.Mei", "jim")]
    delivery = rendered(*people, form=form)
    before = payload(delivery)

    withdraw(corp, ["han.mei", "nobody"], NOW)

    assert payload(delivery) == {**before, "touser": "LiLei|jim"}
    assert (delivery.status, delivery.recipient_count, delivery.settled_at) == (Status.PENDING, 2, None)
    assert receipts(delivery) == {"lilei": ("", ""), "han.mei": SKIPPED, "jim": ("", "")}
    assert counts(delivery.run_id) == (2, 1)


def test_the_bytes_are_those_of_a_message_for_the_others_alone(corp: Corp) -> None:
    """Keys in their order, nothing escaped: as the body is made at first."""
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))
    before = bytes(delivery.body)

    withdraw(corp, ["lilei"], NOW)

    delivery.refresh_from_db()
    assert bytes(delivery.body) == before.replace(b'"LiLei|jim"', b'"jim"')


def test_only_the_others_get_it(corp: Corp, wire: Wire) -> None:
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))
    withdraw(corp, ["lilei"], NOW)

    Corp.objects.update(api_base_url=wire.url)

    assert send_delivery(delivery.pk, clock=lambda: NOW)

    (body,) = wire.bodies
    assert json.loads(body)["touser"] == "jim"
    delivery.refresh_from_db()
    assert (delivery.status, delivery.accepted_count) == (Status.ACCEPTED, 1)


@pytest.mark.parametrize("is_unclear", [True, False])
def test_what_was_tried_stays_as_it_is(corp: Corp, is_unclear: bool) -> None:
    """From its first attempt on a message is frozen, recipients and all."""
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))
    Delivery.objects.update(attempt_count=1, unclear_since=NOW if is_unclear else None)
    before = bytes(delivery.body)

    withdraw(corp, ["lilei"], NOW)
    readdress(corp, "jim", "james")

    delivery.refresh_from_db()
    assert (bytes(delivery.body), delivery.status, delivery.recipient_count) == (before, Status.PENDING, 2)
    assert receipts(delivery) == {"lilei": ("", ""), "jim": ("", "")}


def test_what_is_being_sent_stays_as_it_is(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"))
    assert claim_delivery(delivery.pk, now=NOW) is not None

    withdraw(corp, ["lilei"], NOW)

    delivery.refresh_from_db()
    assert delivery.status == Status.SENDING
    assert Attempt.objects.count() == 1


def test_a_settled_message_stays_as_it_is(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"))
    Delivery.objects.update(status=Status.ACCEPTED, settled_at=NOW)

    withdraw(corp, ["lilei"], NOW + timedelta(hours=1))

    assert receipts(delivery) == {"lilei": ("", "")}


def test_the_same_userid_of_another_company_is_another_person(corp: Corp) -> None:
    other = make_corp()
    delivery = rendered(make_person(other, "LiLei"))

    withdraw(corp, ["lilei"], NOW)
    readdress(corp, "lilei", "lei")

    assert payload(delivery)["touser"] == "LiLei"
    assert delivery.status == Status.PENDING


def test_a_second_time_changes_nothing(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))
    withdraw(corp, ["lilei"], NOW)
    withdraw(corp, ["lilei"], NOW + timedelta(hours=1))

    delivery.refresh_from_db()
    assert (delivery.recipient_count, counts(delivery.run_id)) == (1, (1, 1))


def test_where_nothing_waits_it_costs_one_query(corp: Corp) -> None:
    with CaptureQueriesContext(connection) as queries:
        withdraw(corp, [f"u{number}" for number in range(1000)], NOW)

    statements = [one["sql"] for one in queries.captured_queries]
    # Beside the lock by which it waits for what is being frozen.
    assert len([one for one in statements if one.startswith("SELECT") and "pg_advisory" not in one]) == 1


def test_hundreds_of_leavers_at_once(corp: Corp) -> None:
    delivery = rendered(*make_people(corp, 900))

    withdraw(corp, [f"u{number}" for number in range(899)], NOW)

    assert payload(delivery)["touser"] == "U899"
    assert counts(delivery.run_id) == (1, 899)


# --- Another userid ---------------------------------------------------------------------------------------------------


def test_what_waits_goes_to_the_new_userid(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))

    hooks.member_renamed(corp, "LiLei", "Lei.Li")

    assert payload(delivery)["touser"] == "Lei.Li|jim"
    assert receipts(delivery) == {"lei.li": ("", ""), "jim": ("", "")}
    assert delivery.recipient_count == 2


def test_a_message_that_goes_to_the_new_userid_s_former_owner_is_left(corp: Corp) -> None:
    delivery = rendered(make_person(corp, "LiLei"), make_person(corp, "jim"))

    readdress(corp, "LiLei", "jim")

    assert payload(delivery)["touser"] == "LiLei|jim"


# --- From the directory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"presence": "deleted", "left_at": NOW},
        {"presence": "out_of_scope", "left_at": NOW},
        {"status": "disabled"},
        {"waits_since": NOW},
    ],
    ids=lambda change: next(iter(change)) + str(next(iter(change.values()))),
)
def test_applying_the_policy_withdraws(corp: Corp, change: dict[str, Any]) -> None:
    policy = DirectoryPolicy.objects.create(corp=corp, mode="link")
    members = [
        Member.objects.create(corp=corp, userid=userid, userid_folded=userid, first_seen_at=NOW, changed_at=NOW)
        for userid in ("lilei", "jim")
    ]
    delivery = rendered(*(make_person(corp, one.userid) for one in members))
    Member.objects.filter(userid="lilei").update(**change)

    apply_to(corp=corp, policy=policy, members=list(Member.objects.all()), now=NOW)

    assert payload(delivery)["touser"] == "jim"
    assert receipts(delivery) == {"lilei": SKIPPED, "jim": ("", "")}
