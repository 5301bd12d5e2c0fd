"""Sending again to those whom a run did not reach: exactly them, once for each page that asks."""

from __future__ import annotations

import pytest

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.triggers import can_be_resent, next_number, request_resend
from notifications.models import Delivery, Receipt, Robot, Run
from notifications.subscriptions.addressees import choose_subscription
from tests.notifications.factories import (
    NOW,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def me() -> User:
    return make_superuser()


def resent(run: Run, me: User, *, number: int = 1, with_unknown: bool = False) -> list[str]:
    """Who is sent to again."""
    run.refresh_from_db()
    [again], is_new = request_resend(run, number=number, with_unknown=with_unknown, person=me, now=NOW)
    assert is_new
    render_run(run_id=again.pk, now=NOW)
    return sorted(Receipt.objects.filter(run=again, delivery__isnull=False).values_list("address", flat=True))


def one_each(corp: Corp) -> Run:
    """A run with one delivery for each of four people, and somebody skipped."""
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


def test_those_who_did_not_get_it_and_nobody_else(corp: Corp, me: User) -> None:
    run = one_each(corp)

    assert resent(run, me) == [f"{corp.pk}:{userid}" for userid in ("failed", "invalid", "late")]

    again = Run.objects.get(resends=run)
    assert (again.trigger, again.requested_by, again.skipped_count) == (Run.Trigger.RESEND, me, 1)


def test_those_of_whom_nobody_knows_only_when_that_is_confirmed(corp: Corp, me: User) -> None:
    run = one_each(corp)
    assert Receipt.objects.unknown(run).count() == 1

    assert f"{corp.pk}:unknown" in resent(run, me, with_unknown=True)


def test_one_page_sends_again_once(corp: Corp, me: User) -> None:
    run = one_each(corp)

    number = next_number(run)

    are_new = [
        request_resend(run, number=number, with_unknown=with_unknown, person=me, now=NOW)[1]
        for with_unknown in (False, True)
    ]

    assert are_new == [True, False]
    assert next_number(run) == 2


def test_who_was_linked_meanwhile_gets_it_now(corp: Corp, me: User) -> None:
    run = one_each(corp)
    person = User.objects.get(username="skipped")
    person.wecom_accounts.create(corp=corp, userid="new")

    assert f"{corp.pk}:new" in resent(run, me)


def test_a_group_gets_it_again_where_its_robot_failed(corp: Corp, me: User) -> None:
    robot = Robot.objects.create(name="群", corp=corp, key="robot-key")
    run = make_run(make_subscription(channel="robot", robot=robot))
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")

    assert resent(run, me) == [f"robot:{robot.pk}"]


@pytest.mark.parametrize("kind", ["paused", "declined"])
def test_who_wanted_none_of_it_gets_none_of_it_later(corp: Corp, me: User, kind: str) -> None:
    """Nor after changing one's mind: resending repairs what went wrong, and nothing went wrong here."""
    han = make_person(corp, "han")
    subscription = make_subscription(make_person(corp, "lilei"), han)
    choose_subscription(han, subscription_id=subscription.pk, kind=kind, now=NOW)
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")
    assert list(Receipt.objects.unreached(run).values_list("address", flat=True)) == [f"{corp.pk}:lilei"]
    choose_subscription(han, subscription_id=subscription.pk, kind="", now=NOW)

    assert resent(run, me) == [f"{corp.pk}:lilei"]
    assert not Receipt.objects.filter(run__resends=run, user=han).exists()


def test_who_declined_after_it_failed_is_left_in_peace(corp: Corp, me: User) -> None:
    lilei, han = make_person(corp, "lilei"), make_person(corp, "han")
    subscription = make_subscription(lilei, han)
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status="failed")
    choose_subscription(han, subscription_id=subscription.pk, kind="declined", now=NOW)

    assert resent(run, me) == [f"{corp.pk}:lilei"]
    skipped = Receipt.objects.get(run__resends=run, user=han)
    assert (skipped.status, skipped.reason) == ("skipped", "declined")


def test_where_all_wanted_none_of_it_nothing_is_offered(corp: Corp) -> None:
    lilei = make_person(corp, "lilei")
    subscription = make_subscription(lilei)
    choose_subscription(lilei, subscription_id=subscription.pk, kind="declined", now=NOW)
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)

    assert not Receipt.objects.unreached(run, with_unknown=True).exists()


@pytest.mark.parametrize(
    ("changes", "may"),
    [({"status": "finished"}, True), ({"status": "missed"}, False), ({"recall_requested_at": NOW}, False)],
)
def test_what_can_be_sent_again(changes: dict[str, object], may: bool, corp: Corp) -> None:
    run = one_each(corp)
    Run.objects.filter(pk=run.pk).update(**changes)
    run.refresh_from_db()

    assert can_be_resent(run) == may
