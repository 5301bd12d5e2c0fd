"""Taking a run back: what waits is canceled, what was accepted is recalled, and what cannot be recalled says why."""

import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.directory.sync import PolicyStep
from accounts.models import DirectoryPolicy, User
from integrations.core import hooks
from integrations.models import Corp, Member
from notifications.delivery import maintenance
from notifications.delivery.channels import Outcome, OutcomeKind
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import recall as runs_recall
from notifications.delivery.runs.recall import readdress_deliveries, withdraw_recipients
from notifications.delivery.runs.triggers import can_be_resent, request_resend
from notifications.delivery.sending.queue import hand_out_deliveries
from notifications.delivery.sending.settle import settle_attempt
from notifications.models import Delivery, MessageForm, Receipt, Robot, Run
from notifications.subscriptions.addressees import choose_subscription
from tests.notifications.conftest import FakeClock
from tests.notifications.delivery.attachments.places import body_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_people,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.one_delivery import claim_delivery, send_all
from tests.notifications.side_by_side import Elsewhere
from tests.notifications.wecom_stub import WeComStub, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture
def me() -> User:
    return make_superuser()


@pytest.fixture
def run(corp: Corp) -> Run:
    run = make_run(make_subscription(*make_people(corp, 2)))
    render_run(run_id=run.pk, now=NOW)
    return run


def recall(run: Run, clock: FakeClock) -> int:
    assert runs_recall.request_recall(run, person=make_superuser(), now=clock.now)
    return recall_due(clock)


def recall_due(clock: FakeClock) -> int:
    ids = runs_recall.hand_out_recalls(now=clock.now)
    return runs_recall.recall_deliveries(ids, clock=clock, is_stopping=lambda: False)


def test_what_was_accepted_is_recalled_by_its_msgid(run: Run, wire: WeComStub, clock: FakeClock) -> None:
    send_all(clock)
    wire.bodies.clear()

    assert recall(run, clock) == 1

    assert [json.loads(body) for body in wire.bodies] == [{"msgid": "msg-1"}]
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.recalled_at, delivery.recall_error) == ("accepted", NOW, "")
    assert recall_due(clock) == 0


def test_what_is_under_way_is_recalled_when_it_is_settled(run: Run, wire: WeComStub, clock: FakeClock) -> None:
    claimed = claim_delivery(Delivery.objects.get().pk, now=NOW)
    assert claimed is not None
    assert recall(run, clock) == 0

    settle_attempt(claimed.attempt, Outcome(OutcomeKind.ACCEPTED, errcode=0, msgid="m7"), duration_ms=1, now=NOW)

    assert recall_due(clock) == 1
    assert json.loads(wire.bodies[-1]) == {"msgid": "m7"}


@pytest.mark.parametrize(("kind", "status"), [(OutcomeKind.NOT_SENT, "canceled"), (OutcomeKind.UNCLEAR, "unknown")])
def test_what_comes_back_to_its_queue_does_not_go_out_again(
    kind: OutcomeKind, status: str, run: Run, clock: FakeClock
) -> None:
    claimed = claim_delivery(Delivery.objects.get().pk, now=NOW)
    assert claimed is not None
    recall(run, clock)
    settle_attempt(claimed.attempt, Outcome(kind), duration_ms=1, now=NOW)

    assert hand_out_deliveries(now=clock.advance(hours=1)).ordinary == []
    maintenance.sweep_deliveries(now=clock.now)

    assert Delivery.objects.get().status == status


def test_a_refused_recall_says_why_and_is_not_repeated(run: Run, wire: WeComStub, clock: FakeClock) -> None:
    send_all(clock)
    wire.sends.append(errcode(42052))

    assert recall(run, clock) == 0

    assert "42052" in Delivery.objects.get().recall_error
    clock.advance(minutes=5)
    assert recall_due(clock) == 0
    assert len(wire.bodies) == 2


def test_what_fails_for_the_moment_is_tried_again(run: Run, wire: WeComStub, clock: FakeClock) -> None:
    send_all(clock)
    wire.sends.append(errcode(-1))
    assert recall(run, clock) == 0
    assert recall_due(clock) == 0

    clock.advance(minutes=1)

    assert recall_due(clock) == 1


@pytest.fixture
def three(corp: Corp, clock: FakeClock) -> Run:
    """A run that was sent in three calls."""
    run = make_run(make_subscription(*make_people(corp, 3)))
    [pk] = render_run(run_id=run.pk, now=NOW)
    delivery = Delivery.objects.get()
    for number in range(2):
        delivery.pk, delivery.mark = None, f"mark{number}"
        delivery.save()
    assert send_all(clock) == 3
    return run


@pytest.mark.parametrize("code", [60020, 45009])
def test_what_concerns_the_company_makes_its_recalls_wait(
    code: int, three: Run, wire: WeComStub, clock: FakeClock, valkey_client: redis.Redis
) -> None:
    wire.sends.append(errcode(code))

    assert recall(three, clock) == 0

    assert len(wire.bodies) == 3 + 1
    assert list(Delivery.objects.values_list("recall_error", flat=True)) == [""] * 3
    clock.advance(seconds=59)
    assert recall_due(clock) == 0
    assert len(wire.bodies) == 3 + 1
    valkey_client.flushdb()  # Valkey's clock has not moved, and it still holds the company back
    clock.advance(seconds=62)
    assert recall_due(clock) == 3


def test_recalls_keep_to_the_limits_of_their_own(
    three: Run, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 2

    assert recall(three, clock) == 2

    assert len(wire.bodies) == 3 + 2
    assert Delivery.objects.filter(recalled_at=None, recall_error="").count() == 1


def test_a_run_that_is_not_rendered_yet_makes_no_messages(corp: Corp, me: User) -> None:
    run = make_run(make_subscription(*make_people(corp, 1)))

    runs_recall.request_recall(run, person=me, now=NOW)

    assert render_run(run_id=run.pk, now=NOW) == []
    run.refresh_from_db()
    assert (run.status, run.error_text) == (Run.Status.FAILED, "在生成消息之前已撤回。")


@pytest.mark.django_db(transaction=True)
class TestSideBySide:
    """Bulk changes skip rows that another transaction holds, so there are no deadlocks."""

    def test_what_somebody_holds_is_handed_out_later(self, three: Run, me: User) -> None:
        first, *others = Delivery.objects.order_by("pk").values_list("pk", flat=True)
        runs_recall.request_recall(three, person=me, now=NOW)
        handed_out: list[int] = []
        work = Elsewhere(lambda: handed_out.extend(runs_recall.hand_out_recalls(now=NOW)))

        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=first)
            work.until_it_waits()
            while_it_is_held = list(handed_out)
        work.join()

        assert while_it_is_held == others
        assert runs_recall.hand_out_recalls(now=NOW) == [first]

    def test_what_somebody_holds_is_not_waited_for_where_a_company_must_wait(
        self, three: Run, me: User, wire: WeComStub, clock: FakeClock
    ) -> None:
        first, second, third = Delivery.objects.order_by("pk").values_list("pk", flat=True)
        runs_recall.request_recall(three, person=me, now=NOW)
        wire.sends.append(errcode(60020))
        work = Elsewhere(lambda: runs_recall.recall_deliveries([second], clock=clock, is_stopping=lambda: False))

        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=first)
            work.until_it_waits()
            due_ids = list(runs_recall.find_due_recalls(clock.now).order_by("pk").values_list("pk", flat=True))
        work.join()

        assert due_ids == [first]


Status = Delivery.Status


def render_delivery(*people: User, form: MessageForm = MessageForm.TEXTCARD) -> Delivery:
    run = make_run(make_subscription(*people, message_form=form))
    (delivery_id,) = render_run(run_id=run.pk, now=NOW)
    return Delivery.objects.get(pk=delivery_id)


def read_receipts(delivery: Delivery) -> dict[str, tuple[str, str]]:
    rows = Receipt.objects.filter(delivery=delivery)
    return {one.address.split(":")[1]: (one.status, one.reason) for one in rows}


def read_counts(run_id: int) -> tuple[int, int]:
    run = Run.objects.get(pk=run_id)
    return run.recipient_count, run.skipped_count


SKIPPED = ("skipped", "barred")


def test_a_message_for_one_leaver_is_canceled(corp: Corp) -> None:
    delivery = render_delivery(make_person(corp, "LiLei"))

    withdraw_recipients(corp, ["lilei"], NOW)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.settled_at, delivery.recipient_count) == (Status.CANCELED, NOW, 0)
    assert read_receipts(delivery) == {"lilei": SKIPPED}
    assert read_counts(delivery.run_id) == (0, 1)
    assert claim_delivery(delivery.pk, now=NOW) is None
    maintenance.sweep_deliveries(now=NOW)
    assert Run.objects.get().status == Run.Status.FINISHED


@pytest.mark.parametrize("form", MessageForm)
def test_a_shared_message_goes_to_the_others_unchanged(corp: Corp, form: MessageForm) -> None:
    people = [make_person(corp, userid) for userid in ("LiLei", "Han.Mei", "jim")]
    delivery = render_delivery(*people, form=form)
    before = bytes(delivery.body)

    withdraw_recipients(corp, ["han.mei", "nobody"], NOW)
    withdraw_recipients(corp, ["han.mei"], NOW + timedelta(hours=1))  # a second time changes nothing

    delivery.refresh_from_db()
    # Keys in their order, nothing escaped: as the body is made at first.
    assert bytes(delivery.body) == before.replace(b'"LiLei|Han.Mei|jim"', b'"LiLei|jim"')
    assert (delivery.status, delivery.recipient_count, delivery.settled_at) == (Status.PENDING, 2, None)
    assert read_receipts(delivery) == {"lilei": ("", ""), "han.mei": SKIPPED, "jim": ("", "")}
    assert read_counts(delivery.run_id) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"attempt_count": 1, "unclear_since": NOW},
        {"attempt_count": 1},
        {"attempt_count": 1, "status": "sending"},
        {"status": "accepted", "settled_at": NOW},
    ],
)
def test_what_was_tried_stays_as_it_is(corp: Corp, change: dict[str, Any]) -> None:
    """Messages are frozen from their first attempt on, including their recipients."""
    delivery = render_delivery(make_person(corp, "LiLei"), make_person(corp, "jim"))
    Delivery.objects.update(**change)
    before = bytes(delivery.body)

    withdraw_recipients(corp, ["lilei"], NOW)
    readdress_deliveries(corp, "jim", "james")

    delivery.refresh_from_db()
    assert (bytes(delivery.body), delivery.recipient_count) == (before, 2)
    assert read_receipts(delivery) == {"lilei": ("", ""), "jim": ("", "")}


def test_the_same_userid_of_another_company_is_another_person(corp: Corp) -> None:
    other = make_corp()
    delivery = render_delivery(make_person(other, "LiLei"))

    withdraw_recipients(corp, ["lilei"], NOW)
    readdress_deliveries(corp, "lilei", "lei")

    assert body_of(delivery)["touser"] == "LiLei"
    assert delivery.status == Status.PENDING


def test_where_nothing_waits_it_costs_one_query(corp: Corp) -> None:
    with CaptureQueriesContext(connection) as queries:
        withdraw_recipients(corp, [f"u{number}" for number in range(1000)], NOW)

    statements = [one["sql"] for one in queries.captured_queries]
    # Apart from the lock that waits for messages being frozen.
    assert len([one for one in statements if one.startswith("SELECT") and "pg_advisory" not in one]) == 1


def test_what_waits_goes_to_the_new_userid(corp: Corp) -> None:
    delivery = render_delivery(make_person(corp, "LiLei"), make_person(corp, "jim"))

    hooks.member_renamed(corp, "LiLei", "Lei.Li")

    assert body_of(delivery)["touser"] == "Lei.Li|jim"
    assert read_receipts(delivery) == {"lei.li": ("", ""), "jim": ("", "")}
    assert delivery.recipient_count == 2


def test_a_message_that_goes_to_the_new_userid_s_former_owner_is_left(corp: Corp) -> None:
    delivery = render_delivery(make_person(corp, "LiLei"), make_person(corp, "jim"))

    readdress_deliveries(corp, "LiLei", "jim")

    assert body_of(delivery)["touser"] == "LiLei|jim"


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
    delivery = render_delivery(*(make_person(corp, one.userid) for one in members))
    Member.objects.filter(userid="lilei").update(**change)

    PolicyStep(corp=corp, policy=policy, members=list(Member.objects.all()), now=NOW).apply_policy(None)

    assert body_of(delivery)["touser"] == "jim"
    assert read_receipts(delivery) == {"lilei": SKIPPED, "jim": ("", "")}


def resend(run: Run, me: User, *, number: int = 1, with_unknown: bool = False) -> list[str]:
    run.refresh_from_db()
    [again], is_new = request_resend(run, number=number, with_unknown=with_unknown, person=me, now=NOW)
    assert is_new
    render_run(run_id=again.pk, now=NOW)
    return sorted(Receipt.objects.filter(run=again, delivery__isnull=False).values_list("address", flat=True))


def make_mixed_run(corp: Corp) -> Run:
    """Create a run with one delivery for each of four people, and one skipped person."""
    people = [make_person(corp, userid) for userid in ("fine", "failed", "unknown", "late", "invalid")]
    run = make_run(make_subscription(*people, make_person(username="skipped")))
    render_run(run_id=run.pk, now=NOW)
    first = Delivery.objects.get()
    for userid, status in (("failed", "failed"), ("unknown", "unknown"), ("late", "canceled")):
        first.pk, first.mark, first.status = None, userid, status
        first.save()
        Receipt.objects.filter(address__endswith=f":{userid}").update(delivery=first)
    Delivery.objects.filter(status="pending").update(status="accepted")
    Receipt.objects.filter(address__endswith=":invalid").update(status="invalid")
    return run


def test_those_who_did_not_get_it_and_others_only_when_that_is_confirmed(corp: Corp, me: User) -> None:
    run = make_mixed_run(corp)

    assert resend(run, me) == [f"{corp.pk}:{userid}" for userid in ("failed", "invalid", "late")]

    again = Run.objects.get(resends=run)
    assert (again.trigger, again.requested_by, again.skipped_count) == (Run.Trigger.RESEND, me, 1)
    assert (run.find_later_resends(), again.find_later_resends()) == ([again.pk], [])
    User.objects.get(username="skipped").wecom_accounts.create(corp=corp, userid="new")  # linked meanwhile
    assert Receipt.objects.unknown(run).count() == 1
    assert set(resend(run, me, number=2, with_unknown=True)) == {f"{corp.pk}:unknown", f"{corp.pk}:new"}


def test_a_group_gets_it_again_where_its_robot_failed(corp: Corp, me: User) -> None:
    robot = Robot.objects.create(name="群", corp=corp, key="robot-key")
    run = make_run(make_subscription(channel="robot", robot=robot))
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")

    assert resend(run, me) == [f"robot:{robot.pk}"]


@pytest.mark.parametrize("kind", ["paused", "declined"])
def test_who_wanted_none_of_it_gets_none_of_it_later(corp: Corp, me: User, kind: str) -> None:
    """Resending repairs failures, and declining is no failure, even if the person has changed their mind since."""
    han = make_person(corp, "han")
    subscription = make_subscription(make_person(corp, "lilei"), han)
    choose_subscription(han, subscription_id=subscription.pk, kind=kind, now=NOW)
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")
    assert list(Receipt.objects.unreached(run).values_list("address", flat=True)) == [f"{corp.pk}:lilei"]
    choose_subscription(han, subscription_id=subscription.pk, kind="", now=NOW)

    assert resend(run, me) == [f"{corp.pk}:lilei"]
    assert not Receipt.objects.filter(run__resends=run, user=han).exists()


def test_who_declined_after_it_failed_is_left_in_peace(corp: Corp, me: User) -> None:
    lilei, han = make_person(corp, "lilei"), make_person(corp, "han")
    subscription = make_subscription(lilei, han)
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")
    choose_subscription(han, subscription_id=subscription.pk, kind="declined", now=NOW)

    assert resend(run, me) == [f"{corp.pk}:lilei"]
    skipped = Receipt.objects.get(run__resends=run, user=han)
    assert (skipped.status, skipped.reason) == ("skipped", "declined")


@pytest.mark.parametrize(
    ("changes", "may"),
    [({"status": "finished"}, True), ({"status": "missed"}, False), ({"recall_requested_at": NOW}, False)],
)
def test_what_can_be_sent_again(changes: dict[str, object], may: bool, corp: Corp) -> None:
    run = make_mixed_run(corp)
    Run.objects.filter(pk=run.pk).update(**changes)
    run.refresh_from_db()

    assert can_be_resent(run) == may
