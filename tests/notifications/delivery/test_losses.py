"""Runs that ended without reaching everybody say whom they lost, and their subscription's owner is told."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.explanations import sum_up_losses
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import recall
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import Delivery, Receipt, Run, SubscriptionChoice
from tests.notifications.admin.conftest import client_of
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_people,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.one_delivery import send_delivery
from tests.notifications.wire import Wire, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp(wire: Wire) -> Corp:
    return make_corp(api_base_url=wire.url)


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner")


PLAIN = {"settled_at": NOW, "recipient_count": 1, "invalid_count": 0, "unlicensed_count": 0}


def rendered(*people: User, **fields: Any) -> Run:
    run = make_run(make_subscription(*people, **fields))
    render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def ended(run: Run, *deliveries: dict[str, Any]) -> Run:
    """The run as the sweep leaves it, its deliveries being these."""
    original = Delivery.objects.get(run=run)
    for number, fields in enumerate(deliveries):
        original.pk, original.mark = (original.pk if number == 0 else None), f"{run.pk}-{number}"
        for name, value in {**PLAIN, **fields}.items():
            setattr(original, name, value)
        original.save()
    maintenance.sweep(now=NOW)
    run.refresh_from_db()
    assert run.status == Run.Status.FINISHED
    return run


def notices() -> list[Run]:
    return list(Run.objects.filter(pk__in=request_owner_notices(now=NOW)))


@pytest.mark.parametrize(
    ("deliveries", "sentence"),
    [
        ([{"status": "failed", "recipient_count": 3}], "3 个接收人被拒绝。"),
        ([{"status": "failed"}, {"status": "accepted"}], "1 个接收人被拒绝。"),
        ([{"status": "canceled", "recipient_count": 2}], "已过期，未发给 2 个接收人。"),
        ([{"status": "unknown"}, {"status": "accepted"}], "1 个接收人结果未知，不确定是否收到。"),
        (
            [{"status": "failed"}, {"status": "canceled"}, {"status": "unknown", "recipient_count": 7}],
            "1 个接收人被拒绝。 已过期，未发给 1 个接收人。 7 个接收人结果未知，不确定是否收到。",
        ),
        # WeCom named all of them, and nobody else got it.
        ([{"status": "failed", "invalid_count": 1}], "没有送达任何人：原因见送达明细。"),
        (
            [{"status": "accepted", "recipient_count": 2, "invalid_count": 1, "unlicensed_count": 1}],
            "没有送达任何人：原因见送达明细。",
        ),
    ],
)
def test_a_run_that_lost_somebody_says_so_and_its_owner_is_notified(
    deliveries: list[dict[str, Any]], sentence: str, owner: User
) -> None:
    run = ended(rendered(owner, owner=owner), *deliveries)

    assert run.error_text == sentence
    [notice] = notices()
    assert list(notice.notified_runs.all()) == [run]
    assert notices() == []


@pytest.mark.parametrize(
    "deliveries",
    [
        [{"status": "accepted"}],
        [{"status": "accepted", "recipient_count": 100, "invalid_count": 2, "unlicensed_count": 3}],
        # Personal messages: somebody is always invalid in a large company.
        [{"status": "failed", "invalid_count": 1}, {"status": "accepted"}],
        # Its only recipient has left meanwhile.
        [{"status": "canceled", "recipient_count": 0}, {"status": "accepted"}],
    ],
)
def test_who_is_named_by_wecom_is_no_loss_while_others_got_it(deliveries: list[dict[str, Any]], owner: User) -> None:
    run = ended(rendered(owner, owner=owner), *deliveries)

    assert run.error == ""
    assert notices() == []


def test_a_content_that_wecom_refuses_is_reported_all_the_way(
    corp: Corp, owner: User, wire: Wire, clock: FakeClock
) -> None:
    run = rendered(owner, *make_people(corp, 4), owner=owner, name="周报")
    wire.sends.append(errcode(40058))
    assert send_delivery(Delivery.objects.get().pk, clock=clock)

    maintenance.sweep(now=clock.now)
    [notice] = notices()
    render_run(run_id=notice.pk, now=NOW)

    delivery = Delivery.objects.get(run=notice)
    assert delivery.title == "1 次推送未送达所有人"
    assert "“周报”" in delivery.text
    assert "5 个接收人被拒绝。" in delivery.text
    assert delivery.link == reverse("admin:notifications_run_change", args=[run.pk])


def test_what_became_worthless_is_reported(owner: User, clock: FakeClock) -> None:
    run = rendered(owner, owner=owner, lifetime_hours=1)

    maintenance.sweep(now=clock.advance(hours=2))

    run.refresh_from_db()
    assert run.error_text == "已过期，未发给 1 个接收人。"
    assert len(notices()) == 1


def test_what_was_recalled_is_no_loss(owner: User) -> None:
    run = rendered(owner, owner=owner)
    recall.request_recall(run, person=make_superuser(), now=NOW)

    maintenance.sweep(now=NOW)

    run.refresh_from_db()
    assert (run.status, run.error_text) == (Run.Status.FINISHED, "")
    assert notices() == []


def test_what_a_paused_one_lets_become_worthless_is_no_news(owner: User, clock: FakeClock) -> None:
    run = rendered(owner, owner=owner, lifetime_hours=1, is_paused=True)

    maintenance.sweep(now=clock.advance(hours=2))

    run.refresh_from_db()
    assert run.error_text
    assert notices() == []


def test_people_who_cannot_be_reached_at_all_are_reported(owner: User) -> None:
    off = make_corp(is_enabled=False)

    run = rendered(*make_people(off, 2), owner=owner)

    assert (run.status, run.error_text) == (Run.Status.FINISHED, "没有送达任何人：原因见送达明细。")
    assert len(notices()) == 1


def test_an_order_that_names_nobody_any_more_is_reported(owner: User) -> None:
    run = rendered(owner=owner)

    assert (run.status, run.error_text) == (Run.Status.FINISHED, "没有送达任何人：没有选择接收人。")
    assert len(notices()) == 1


def test_who_has_paused_it_is_no_loss(corp: Corp, owner: User) -> None:
    person = make_person(corp, "Paused")
    subscription = make_subscription(person, owner=owner)
    SubscriptionChoice.objects.create(
        subscription=subscription, user=person, kind=SubscriptionChoice.Kind.PAUSED, chosen_at=NOW
    )
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)

    run.refresh_from_db()
    assert (run.status, run.error, Receipt.objects.get().reason) == (Run.Status.FINISHED, "", "paused")
    assert notices() == []


def test_many_ended_runs_cost_two_questions(owner: User) -> None:
    runs = [rendered(owner) for _ in range(5)]
    Delivery.objects.update(status=Delivery.Status.FAILED)

    with CaptureQueriesContext(connection) as queries:
        found = sum_up_losses([run.pk for run in runs])

    assert len(queries) == 2
    assert set(found) == {run.pk for run in runs}
    assert sum_up_losses([]) == {}


def test_the_administration_points_at_them(owner: User) -> None:
    lost = ended(rendered(owner, owner=owner), {"status": "failed"})
    fine = ended(rendered(owner, owner=owner), {"status": "accepted"})
    Run.objects.update(claimed_at=timezone.now())
    root = client_of(make_superuser())

    index = root.get(reverse("admin:index")).content.decode()
    page = root.get(reverse("admin:notifications_run_change", args=[lost.pk])).content.decode()
    listed = root.get(f"{reverse('admin:notifications_run_changelist')}?reached=not_all&day=week")

    assert "过去 24 小时有 1 次执行未送达所有人" in index
    assert '<span class="pill pill-bad">已完成，有人未收到</span>' in page
    assert "1 个接收人被拒绝。" in page
    assert [row.pk for row in listed.context["cl"].result_list] == [lost.pk]
    orders = root.get(reverse("admin:notifications_subscription_changelist")).content.decode()
    assert orders.count("已完成，有人未收到") == 1
    for run, is_lost in ((lost, True), (fine, False)):
        order = root.get(reverse("admin:notifications_subscription_change", args=[run.subscription_id]))
        assert ("已完成，有人未收到" in order.content.decode()) == is_lost
