"""The owner of a subscription is told of runs that were missed or failed: of each once."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import scheduler
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import Channel, Delivery, Priority, Receipt, Run, Subscription
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
    utc,
)

pytestmark = pytest.mark.django_db

WRONG = [Run.Status.MISSED, Run.Status.FAILED]


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner", email="owner@example.com")


def make_wrong(subscription: Subscription, status: Run.Status = Run.Status.MISSED, **fields: Any) -> Run:
    return make_run(subscription, status=status, **{"error": "没有按时开始。", **fields})


def notices(now: datetime = NOW) -> list[Run]:
    """Make and render the notices."""
    ids = request_owner_notices(now=now)
    for pk in ids:
        render_run(run_id=pk, now=NOW)
    return list(Run.objects.filter(pk__in=ids).order_by("pk"))


@pytest.mark.parametrize("status", WRONG)
def test_the_owner_gets_a_message_by_wecom(status: Run.Status, owner: User, corp: Corp) -> None:
    subscription = make_subscription(owner=owner, report=make_report(corp=corp))
    run = make_wrong(subscription, status, slot_at=utc("2026-11-24 01:00"))

    [notice] = notices()

    delivery = Delivery.objects.get()
    assert json.loads(bytes(delivery.body))["touser"] == "Owner"
    assert (delivery.run, delivery.corp, delivery.channel) == (notice, corp, Channel.WECOM)
    assert (delivery.title, delivery.priority) == ("1 次推送没有发出", Priority.URGENT)
    assert delivery.text == "“每日九点”，应于 2026-11-24 09:00 发出：没有按时开始。"
    assert delivery.link == reverse("admin:notifications_run_change", args=[run.pk])
    assert Receipt.objects.get().user == owner
    assert (notice.key, notice.trigger, notice.status) == (f"notice:{run.pk}", Run.Trigger.NOTICE, Run.Status.SENDING)
    assert (notice.subscription, notice.corp, notice.requested_by) == (None, corp, owner)
    run.refresh_from_db()
    assert (run.owner_notified_at, run.owner_notice) == (NOW, notice)


def test_an_owner_without_wecom_gets_a_mail(corp: Corp) -> None:
    owner = make_person(username="unlinked", email="owner@example.com")
    make_wrong(make_subscription(owner=owner, report=make_report(corp=corp)))

    notices()

    delivery = Delivery.objects.get()
    assert (delivery.channel, json.loads(bytes(delivery.body))["to"]) == (Channel.EMAIL, "owner@example.com")


def test_an_owner_who_cannot_be_reached_has_a_receipt_with_the_reason() -> None:
    make_wrong(make_subscription(owner=make_person(username="nowhere")))

    [notice] = notices()

    receipt = Receipt.objects.get()
    assert (receipt.run, receipt.status, receipt.reason) == (notice, "skipped", Receipt.Reason.NO_ACCOUNT)
    assert notice.status == Run.Status.FINISHED


def test_nobody_is_notified_twice(owner: User) -> None:
    make_wrong(make_subscription(owner=owner))

    assert len(notices()) == 1
    assert notices(NOW + timedelta(days=1)) == []


def test_several_runs_are_one_message(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    runs = [make_wrong(subscription) for _ in range(12)]

    [notice] = notices()

    delivery = Delivery.objects.get()
    assert delivery.title == "12 次推送没有发出"
    assert delivery.text.count("没有按时开始") == 10
    assert delivery.text.endswith("\n另有 2 次")
    assert delivery.link == reverse("admin:notifications_run_change", args=[notice.pk])
    assert set(notice.notified_runs.all()) == set(runs)


def test_each_owner_is_notified_of_his_own(owner: User, corp: Corp) -> None:
    other = make_person(corp, "Other")
    for person in (owner, other):
        make_wrong(make_subscription(owner=person))

    notices()

    assert {json.loads(bytes(row.body))["touser"] for row in Delivery.objects.all()} == {"Owner", "Other"}


def test_an_owner_is_notified_once_in_ten_minutes_of_all_since(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    make_wrong(subscription)
    notices()
    later = [make_wrong(subscription) for _ in range(2)]

    assert notices(NOW + timedelta(minutes=9, seconds=59)) == []
    [notice] = notices(NOW + timedelta(minutes=10))

    assert set(notice.notified_runs.all()) == set(later)


@pytest.mark.parametrize("trigger", [Run.Trigger.TRIAL, Run.Trigger.NOTICE])
def test_nobody_is_notified_of_a_trial_or_a_notice_that_fails(trigger: Run.Trigger, owner: User) -> None:
    make_wrong(make_subscription(owner=owner), Run.Status.FAILED, trigger=trigger)

    assert notices() == []


@pytest.mark.parametrize("status", [Run.Status.WAITING, Run.Status.SENDING, Run.Status.FINISHED])
def test_nobody_is_notified_of_what_goes_its_way(status: Run.Status, owner: User) -> None:
    make_wrong(make_subscription(owner=owner), status, error="")

    assert notices() == []


def test_a_subscription_without_owner_counts_as_notified() -> None:
    run = make_wrong(make_subscription())

    assert notices() == []

    run.refresh_from_db()
    assert (run.owner_notified_at, run.owner_notice) == (NOW, None)


def test_what_a_paused_one_misses_is_no_news_and_a_failure_is(owner: User) -> None:
    subscription = make_subscription(owner=owner, is_paused=True)
    make_wrong(subscription)
    failed = make_wrong(subscription, Run.Status.FAILED)

    [notice] = notices()

    assert list(notice.notified_runs.all()) == [failed]


def test_what_was_recalled_is_no_news(owner: User) -> None:
    make_wrong(make_subscription(owner=owner), Run.Status.FAILED, recall_requested_at=NOW)

    assert notices() == []


def test_a_notice_of_several_companies_is_for_those_who_see_all(owner: User, corp: Corp) -> None:
    for its_corp in (corp, make_corp()):
        make_wrong(make_subscription(owner=owner, report=make_report(corp=its_corp)))

    [notice] = notices()

    assert notice.corp is None


def test_a_notice_holds_no_run_up(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    make_wrong(subscription)
    notices()

    assert len(scheduler.claim_due(now=NOW)) == 1
    assert not Run.objects.under_way().filter(trigger=Run.Trigger.NOTICE).exists()


@pytest.mark.django_db(transaction=True)
def test_many_at_once_notify_of_each_run_once(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    runs = [make_wrong(subscription) for _ in range(20)]
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        request_owner_notices(now=NOW)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    notices = Run.objects.filter(trigger=Run.Trigger.NOTICE)
    assert sum(notice.notified_runs.count() for notice in notices) == len(runs)
    assert not Run.objects.unnotified().exists()


def test_the_administration_shows_the_reason_and_who_was_notified(owner: User) -> None:
    root, subscription = client_of(make_superuser()), make_subscription(owner=owner)
    run = make_wrong(subscription)
    [notice] = notices()
    notice_url = reverse("admin:notifications_run_change", args=[notice.pk])

    listed = root.get(reverse("admin:notifications_run_changelist")).content.decode()
    page = root.get(reverse("admin:notifications_run_change", args=[run.pk])).content.decode()
    orders_page = root.get(reverse("admin:notifications_subscription_change", args=[subscription.pk])).content.decode()

    assert "没有按时开始" in listed
    assert "通知负责人" in listed
    assert f'<a href="{notice_url}">' in page
    assert "没有按时开始" in orders_page
    assert root.get(notice_url).status_code == 200
