"""A subscription whose runs fail in a row pauses itself, tells its owner, and goes on when it is enabled again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications import tasks
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.owner_notices import pause_failing
from notifications.models import Delivery, Receipt, Run, Subscription
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values, version_on
from tests.notifications.factories import (
    NOW,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner")


@pytest.fixture
def subscription(owner: User, corp: Corp) -> Subscription:
    return make_subscription(owner=owner, report=make_report(corp=corp), pauses_after_failures=3)


def ended(subscription: Subscription, outcome: str, **fields: Any) -> Run:
    """A run that ended so: the statuses of its deliveries, or "failed" for one of which nothing could be made."""
    if outcome in Run.Status.values:
        return make_run(subscription, status=outcome, error="坏" * (outcome == Run.Status.FAILED), **fields)
    run = make_run(subscription, **fields)
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.filter(run=run).update(status=outcome.partition(":")[2], settled_at=NOW)
    maintenance.sweep(now=NOW)
    return run


def is_paused(subscription: Subscription) -> bool:
    pause_failing(now=NOW)
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
        # What was held up until it was worthless, or was never begun, says nothing of the subscription.
        ([CANCELED] * 5, False),
        (["failed", CANCELED, "failed", "missed", "failed"], True),
    ],
)
def test_so_many_failures_in_a_row_pause(
    outcomes: list[str], pauses: bool, subscription: Subscription, corp: Corp
) -> None:
    subscription.users.add(make_person(corp, "reader"))
    for outcome in outcomes:
        ended(subscription, outcome)

    assert is_paused(subscription) is pauses


def test_zero_is_never(subscription: Subscription) -> None:
    Subscription.objects.update(pauses_after_failures=0)
    for _number in range(20):
        ended(subscription, "failed")

    assert is_paused(subscription) is False


@pytest.mark.parametrize("trigger", [Run.Trigger.TRIAL, Run.Trigger.RESEND])
def test_what_goes_to_one_person_or_again_does_not_count(trigger: Run.Trigger, subscription: Subscription) -> None:
    ended(subscription, "failed")
    for _number in range(3):
        ended(subscription, "failed", trigger=trigger)

    assert is_paused(subscription) is False


def test_a_disabled_company_is_no_failure_and_nobody_to_reach_is_one(subscription: Subscription, corp: Corp) -> None:
    subscription.users.add(make_person(corp, "reader"))
    Corp.objects.update(is_enabled=False)
    for _number in range(3):
        ended(subscription, "delivery:canceled")
    assert set(Receipt.objects.values_list("reason", flat=True)) == {"corp_disabled"}
    assert is_paused(subscription) is False

    Corp.objects.update(is_enabled=True)
    subscription.users.set([make_person()])
    for _number in range(3):
        ended(subscription, "delivery:canceled")

    assert set(Receipt.objects.filter(reason="no_account").values_list("run__status", flat=True)) == {"finished"}
    assert is_paused(subscription) is True


def test_its_owner_is_notified_what_happened_and_what_to_do(subscription: Subscription) -> None:
    for _number in range(3):
        ended(subscription, "failed")

    tasks._notify_owners(NOW)

    [notice] = Run.objects.filter(trigger=Run.Trigger.NOTICE)
    render_run(run_id=notice.pk, now=NOW)
    text = Delivery.objects.get(run=notice).text
    assert text.endswith("“每日九点”连续失败 3 次，已自动暂停。请按执行记录的提示排除问题，再在其页面勾选“启用”。")


def test_it_stands_in_the_list_on_its_page_and_on_the_overview(subscription: Subscription) -> None:
    for _number in range(3):
        ended(subscription, "failed")
    pause_failing(now=NOW)
    browser = client_of(make_superuser())
    page = reverse("admin:notifications_subscription_change", args=[subscription.pk])

    assert "连续失败，已暂停" in browser.get(reverse("admin:notifications_subscription_changelist")).content.decode()
    assert "“每日九点”连续失败 3 次" in browser.get(page).content.decode()
    index = browser.get(reverse("admin:index"))
    [attention] = [one for one in index.context["overview"].attentions if "连续失败" in one.sentence]
    assert attention.url == page


def test_whoever_enables_it_begins_the_count_anew(subscription: Subscription, corp: Corp) -> None:
    for _number in range(3):
        ended(subscription, "failed")
    assert is_paused(subscription) is True
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
        assert is_paused(subscription) is False, count
        ended(subscription, "failed", claimed_at=later + timedelta(minutes=count))
    assert is_paused(subscription) is True
