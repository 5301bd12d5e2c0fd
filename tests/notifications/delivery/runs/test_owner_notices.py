"""The owner of a subscription is notified once of each run that was missed or failed."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications import tasks
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import scheduler
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import Channel, Delivery, Priority, Receipt, Run, Subscription
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values
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
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db

WRONG = [Run.Status.MISSED, Run.Status.FAILED]


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner", email="owner@example.com")


def make_wrong(subscription: Subscription, status: Run.Status = Run.Status.MISSED, **fields: Any) -> Run:
    return make_run(subscription, status=status, **{"error": "没有按时开始。", **fields})


def render_notices(now: datetime = NOW) -> list[Run]:
    ids = request_owner_notices(now=now)
    for pk in ids:
        render_run(run_id=pk, now=NOW)
    return list(Run.objects.filter(pk__in=ids).order_by("pk"))


@pytest.mark.parametrize("status", WRONG)
def test_the_owner_gets_a_message_by_wecom(status: Run.Status, owner: User, corp: Corp) -> None:
    subscription = make_subscription(owner=owner, report=make_report(corp=corp))
    run = make_wrong(subscription, status, slot_at=utc("2026-11-24 01:00"))

    [notice] = render_notices()

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

    render_notices()

    delivery = Delivery.objects.get()
    assert (delivery.channel, json.loads(bytes(delivery.body))["to"]) == (Channel.EMAIL, "owner@example.com")


def test_several_runs_are_one_message(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    runs = [make_wrong(subscription) for _ in range(12)]

    [notice] = render_notices()

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

    render_notices()

    assert {json.loads(bytes(row.body))["touser"] for row in Delivery.objects.all()} == {"Owner", "Other"}


def test_an_owner_is_notified_once_in_ten_minutes_of_all_since(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    make_wrong(subscription)
    render_notices()
    later = [make_wrong(subscription) for _ in range(2)]

    assert render_notices(NOW + timedelta(minutes=9, seconds=59)) == []
    [notice] = render_notices(NOW + timedelta(minutes=10))

    assert set(notice.notified_runs.all()) == set(later)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        *((Run.Status.FAILED, {"trigger": trigger}) for trigger in (Run.Trigger.TRIAL, Run.Trigger.NOTICE)),
        *((status, {"error": ""}) for status in Run.Status if status not in {*WRONG, Run.Status.SKIPPED}),
    ],
)
def test_nobody_is_notified_of_trials_notices_and_what_goes_its_way(
    status: Run.Status, fields: dict[str, Any], owner: User
) -> None:
    make_wrong(make_subscription(owner=owner), status, **fields)

    assert render_notices() == []


def test_a_subscription_without_owner_counts_as_notified() -> None:
    run = make_wrong(make_subscription())

    assert render_notices() == []

    run.refresh_from_db()
    assert (run.owner_notified_at, run.owner_notice) == (NOW, None)


def test_what_a_paused_one_misses_is_no_news_and_a_failure_is(owner: User) -> None:
    subscription = make_subscription(owner=owner, is_paused=True)
    make_wrong(subscription)
    failed = make_wrong(subscription, Run.Status.FAILED)

    [notice] = render_notices()

    assert list(notice.notified_runs.all()) == [failed]


def test_a_notice_of_several_companies_is_for_those_who_see_all(owner: User, corp: Corp) -> None:
    for its_corp in (corp, make_corp()):
        make_wrong(make_subscription(owner=owner, report=make_report(corp=its_corp)))

    [notice] = render_notices()

    assert notice.corp is None


@pytest.mark.django_db(transaction=True)
def test_many_at_once_notify_of_each_run_once(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    runs = [make_wrong(subscription) for _ in range(20)]

    do_at_once(*[lambda: request_owner_notices(now=NOW)] * 4)

    notices = Run.objects.filter(trigger=Run.Trigger.NOTICE)
    assert sum(notice.notified_runs.count() for notice in notices) == len(runs)
    assert not Run.objects.unnotified().exists()


def test_the_administration_shows_the_reason_and_who_was_notified(owner: User) -> None:
    root, subscription = client_of(make_superuser()), make_subscription(owner=owner)
    run = make_wrong(subscription)
    [notice] = render_notices()
    notice_url = reverse("admin:notifications_run_change", args=[notice.pk])

    listed = root.get(reverse("admin:notifications_run_changelist")).content.decode()
    page = root.get(reverse("admin:notifications_run_change", args=[run.pk])).content.decode()
    orders_page = root.get(reverse("admin:notifications_subscription_change", args=[subscription.pk])).content.decode()

    assert "没有按时开始" in listed
    assert "通知负责人" in listed
    assert f'<a href="{notice_url}">' in page
    assert "没有按时开始" in orders_page
    assert root.get(notice_url).status_code == 200


@pytest.fixture
def subscription(owner: User, corp: Corp) -> Subscription:
    return make_subscription(owner=owner, report=make_report(corp=corp), pauses_after_failures=3)


def make_ended_run(subscription: Subscription, outcome: str, **fields: Any) -> Run:
    """Create a run with this outcome: its own status, or "delivery:" and the status of its deliveries."""
    if outcome in Run.Status.values:
        return make_run(subscription, status=outcome, error="坏" * (outcome == Run.Status.FAILED), **fields)
    run = make_run(subscription, **fields)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.filter(run=run).update(status=outcome.partition(":")[2], settled_at=NOW)
    maintenance.sweep_deliveries(now=NOW)
    return run


def pauses_itself(subscription: Subscription) -> bool:
    request_owner_notices(now=NOW)
    subscription.refresh_from_db()
    assert (subscription.failures_paused_at is None) is subscription.is_enabled
    return not subscription.is_enabled


REFUSED, ACCEPTED, UNKNOWN, CANCELED = (
    f"delivery:{status}" for status in ("failed", "accepted", "unknown", "canceled")
)


@pytest.mark.parametrize(
    ("outcomes", "pauses"),
    [
        (["failed"] * 3, True),
        (["failed"] * 2, False),
        ([REFUSED, "failed", REFUSED], True),
        (["failed", "failed", ACCEPTED, "failed"], False),
        (["failed", "failed", UNKNOWN, "failed"], False),  # it may have arrived
        (["failed", "failed", "skipped", "failed"], False),  # its data came
        (["failed", ACCEPTED, "failed", "failed", "failed"], True),
        # Expired messages and missed runs say nothing about the subscription.
        ([CANCELED] * 5, False),
        (["failed", CANCELED, "failed", "missed", "failed"], True),
    ],
)
def test_so_many_failures_in_a_row_pause(
    outcomes: list[str], pauses: bool, subscription: Subscription, corp: Corp
) -> None:
    subscription.users.add(make_person(corp, "reader"))
    for outcome in outcomes:
        make_ended_run(subscription, outcome)

    assert pauses_itself(subscription) is pauses


def test_neither_zero_nor_what_goes_to_one_person_or_again_pauses(subscription: Subscription) -> None:
    make_ended_run(subscription, "failed")
    for trigger in (Run.Trigger.TRIAL, Run.Trigger.RESEND) * 2:
        make_ended_run(subscription, "failed", trigger=trigger)
    assert pauses_itself(subscription) is False

    Subscription.objects.update(pauses_after_failures=0)
    for _number in range(5):
        make_ended_run(subscription, "failed")
    assert pauses_itself(subscription) is False


def test_a_disabled_company_is_no_failure_and_nobody_to_reach_is_one(subscription: Subscription, corp: Corp) -> None:
    subscription.users.add(make_person(corp, "reader"))
    Corp.objects.update(is_enabled=False)
    for _number in range(3):
        make_ended_run(subscription, "delivery:canceled")
    assert set(Receipt.objects.values_list("reason", flat=True)) == {"corp_disabled"}
    assert pauses_itself(subscription) is False

    Corp.objects.update(is_enabled=True)
    subscription.users.set([make_person()])
    for _number in range(3):
        make_ended_run(subscription, "delivery:canceled")

    assert set(Receipt.objects.filter(reason="no_account").values_list("run__status", flat=True)) == {"finished"}
    assert pauses_itself(subscription) is True


def test_its_owner_is_told_what_to_do_and_the_list_its_page_and_the_overview_say_so(subscription: Subscription) -> None:
    for _number in range(3):
        make_ended_run(subscription, "failed")

    tasks._notify_owners(NOW)

    [notice] = Run.objects.filter(trigger=Run.Trigger.NOTICE)
    render_run(run_id=notice.pk, now=NOW)
    text = Delivery.objects.get(run=notice).text
    assert text.endswith("“每日九点”连续失败 3 次，已自动暂停。请按执行记录的提示排除问题，再在其页面勾选“启用”。")
    browser = client_of(make_superuser())
    page = reverse("admin:notifications_subscription_change", args=[subscription.pk])
    listed = browser.get(reverse("admin:notifications_subscription_changelist")).content.decode()
    assert '<span class="meta">连续失败</span>' in listed
    assert "“每日九点”连续失败 3 次" in browser.get(page).content.decode()
    index = browser.get(reverse("admin:index"))
    [attention] = [one for one in index.context["overview"]["attentions"] if "连续失败" in one.sentence]
    assert attention.url == page


def test_whoever_enables_it_begins_the_count_anew(subscription: Subscription, corp: Corp) -> None:
    for _number in range(3):
        make_ended_run(subscription, "failed")
    assert pauses_itself(subscription) is True
    page = reverse("admin:notifications_subscription_change", args=[subscription.pk])
    browser = client_of(make_superuser())

    form = values(subscription.report, make_person(corp, "reader"), crontab="0 9 * * *", pauses_after_failures="3")

    answer = browser.post(page, {**form, "page_version": version_on(browser, page)})

    subscription.refresh_from_db()
    assert (answer.status_code, subscription.is_enabled, subscription.failures_paused_at) == (302, True, None)
    assert subscription.next_run_at is not None
    assert subscription.next_run_at > timezone.now()
    later = subscription.failures_counted_from
    assert later is not None
    for count in range(3):
        assert pauses_itself(subscription) is False, count
        make_ended_run(subscription, "failed", claimed_at=later + timedelta(minutes=count))
    assert pauses_itself(subscription) is True


def test_a_notice_holds_no_run_up(owner: User) -> None:
    subscription = make_subscription(owner=owner)
    make_wrong(subscription)
    render_notices()

    assert len(scheduler.claim_due_subscriptions(now=NOW)) == 1
    assert not Run.objects.under_way().filter(trigger=Run.Trigger.NOTICE).exists()
