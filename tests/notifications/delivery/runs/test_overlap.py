"""Of one subscription one run goes at a time, whoever asks: the clock, an administrator, another system."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from notifications import tasks
from notifications.delivery.rows import unlocked
from notifications.delivery.runs import scheduler
from notifications.delivery.runs.triggers import TriggerRefusedError, request_run
from notifications.models import Run, Subscription
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

WHOLE = [Run.Trigger.SCHEDULE, Run.Trigger.MANUAL, Run.Trigger.URL, Run.Trigger.DATA_UPDATE]
UNDER_WAY = [Run.Status.WAITING, Run.Status.SENDING]


def make_hourly(**fields: Any) -> Subscription:
    return make_subscription(
        **{"crontab": "0 * * * *", "time_zone": "UTC", "next_run_at": utc("2026-11-24 01:00"), **fields}
    )


def later_runs(former: Run) -> list[tuple[str, datetime, int]]:
    found = Run.objects.exclude(pk=former.pk).order_by("slot_at", "pk")
    return list(found.values_list("status", "slot_at", "slot_count"))


def request_by_hand(
    subscription: Subscription, token: str = "t1", trigger: Run.Trigger = Run.Trigger.MANUAL
) -> tuple[Run, bool]:
    person, _is_new = User.objects.get_or_create(username="clicker")
    return request_run(subscription, trigger=trigger, token=token, person=person, now=NOW)


# --- The clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", UNDER_WAY)
@pytest.mark.parametrize("trigger", WHOLE)
def test_a_slot_waits_for_the_run_before_it(trigger: Run.Trigger, status: Run.Status) -> None:
    subscription = make_hourly()
    former = make_run(subscription, trigger=trigger, status=status)

    assert scheduler.claim_due(now=NOW) == []

    assert later_runs(former) == []
    subscription.refresh_from_db()
    assert subscription.next_run_at == utc("2026-11-24 01:00")


def test_a_slot_runs_as_soon_as_the_run_before_it_has_ended() -> None:
    subscription = make_hourly()
    former = make_run(subscription, status=Run.Status.SENDING)
    scheduler.claim_due(now=NOW)

    Run.objects.filter(pk=former.pk).update(status=Run.Status.FINISHED)
    run_ids = scheduler.claim_due(now=NOW + timedelta(minutes=5))

    assert later_runs(former) == [("waiting", utc("2026-11-24 01:00"), 1)]
    assert run_ids == [Run.objects.get(status="waiting").pk]


def test_times_that_came_meanwhile_are_made_up_for_by_one_run() -> None:
    subscription = make_hourly(crontab="*/10 * * * *")
    former = make_run(subscription, status=Run.Status.SENDING)
    scheduler.claim_due(now=NOW)

    Run.objects.filter(pk=former.pk).update(status=Run.Status.FINISHED)
    scheduler.claim_due(now=utc("2026-11-24 01:25"))

    assert later_runs(former) == [("waiting", utc("2026-11-24 01:20"), 3)]


def test_a_slot_waits_no_longer_than_its_grace_period() -> None:
    subscription = make_hourly(grace_minutes=60)
    former = make_run(subscription, status=Run.Status.SENDING)

    scheduler.claim_due(now=utc("2026-11-24 02:00"))
    assert later_runs(former) == []
    scheduler.claim_due(now=utc("2026-11-24 02:00:01"))

    assert later_runs(former) == [("missed", utc("2026-11-24 01:00"), 1)]
    missed = Run.objects.get(status=Run.Status.MISSED)
    assert missed.error_text == "上一次执行在 60 分钟的补发期限结束时仍在进行。"
    assert missed.finished_at == missed.claimed_at
    subscription.refresh_from_db()
    assert subscription.next_run_at == utc("2026-11-24 02:00")


def test_all_that_one_run_holds_up_is_one_row() -> None:
    subscription = make_hourly(crontab="*/10 * * * *", grace_minutes=30)
    former = make_run(subscription, status=Run.Status.SENDING)
    for minute in range(0, 240, 5):
        scheduler.claim_due(now=utc("2026-11-24 01:00") + timedelta(minutes=minute, seconds=1))
    assert later_runs(former) == [("missed", utc("2026-11-24 01:00"), 21)]

    Run.objects.filter(pk=former.pk).update(status=Run.Status.FINISHED)
    scheduler.claim_due(now=utc("2026-11-24 05:00"))

    assert later_runs(former) == [
        ("missed", utc("2026-11-24 01:00"), 21),
        ("waiting", utc("2026-11-24 05:00"), 4),
    ]


def test_what_one_run_holds_up_is_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MISSED_COUNTED", 3)
    former = make_run(make_hourly(crontab="* * * * *", grace_minutes=1), status=Run.Status.SENDING)

    for minute in range(8):
        scheduler.claim_due(now=utc("2026-11-24 01:05") + timedelta(minutes=minute))

    assert later_runs(former) == [("missed", utc("2026-11-24 01:00"), 3)]


@pytest.mark.parametrize("trigger", Run.PARTIAL)
def test_what_goes_to_some_people_only_holds_nothing_up(trigger: Run.Trigger) -> None:
    make_run(make_hourly(), trigger=trigger, status=Run.Status.SENDING)

    assert len(scheduler.claim_due(now=NOW)) == 1


def test_another_subscriptions_run_holds_nothing_up() -> None:
    make_run(make_subscription(next_run_at=None), status=Run.Status.SENDING)
    make_hourly()

    assert len(scheduler.claim_due(now=NOW)) == 1


def test_those_that_wait_hold_up_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "BATCH", 2)
    for _ in range(5):
        make_run(make_hourly(), status=Run.Status.SENDING)
    free = [make_hourly() for _ in range(3)]

    scheduler.claim_due(now=NOW)

    waiting = Run.objects.filter(status=Run.Status.WAITING)
    assert set(waiting.values_list("subscription", flat=True)) == {one.pk for one in free}


@pytest.mark.django_db(transaction=True)
def test_a_dispatcher_that_is_late_sees_the_run_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has found the subscription due, without a run under way, when the other one makes the run."""
    subscription = make_hourly(crontab="* * * * *")

    def with_another_between(rows: object) -> object:
        monkeypatch.setattr(scheduler, "unlocked", unlocked)
        thread = threading.Thread(target=in_thread, args=(lambda: scheduler.claim_due(now=NOW),))
        found = list(Subscription.objects.filter(pk=subscription.pk))
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(scheduler, "unlocked", with_another_between)
    scheduler.claim_due(now=NOW + timedelta(minutes=2))
    scheduler.claim_due(now=NOW + timedelta(minutes=2))

    assert Run.objects.filter(status=Run.Status.WAITING).count() == 1


def in_thread(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_dispatchers_and_people_at_once_never_make_two_go() -> None:
    """Ten minutes of a subscription for every minute, from four sides."""
    subscription = make_hourly(crontab="* * * * *")
    barrier = threading.Barrier(4)

    def clock_side() -> None:
        barrier.wait()
        for minute in range(10):
            scheduler.claim_due(now=NOW + timedelta(minutes=minute))

    def people_side(name: str) -> None:
        barrier.wait()
        for number in range(10):
            with suppress(TriggerRefusedError):
                request_by_hand(subscription, f"{name}{number}")

    User.objects.create(username="clicker")
    works: list[Callable[[], object]] = [clock_side, clock_side, lambda: people_side("a"), lambda: people_side("b")]
    threads = [threading.Thread(target=in_thread, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Run.objects.under_way().count() == 1


# --- People and other systems ---------------------------------------------------------------------------------------


def test_a_form_sent_twice_gives_one_run() -> None:
    subscription = make_subscription(report=make_report(corp=make_corp()))

    first, second = request_by_hand(subscription), request_by_hand(subscription)

    run = Run.objects.get()
    assert (first, second) == ((run, True), (run, False))
    assert (run.key, run.slot_at, run.corp) == ("manual:t1", NOW, subscription.report.corp)
    assert run.requested_by == User.objects.get(username="clicker")


def test_a_trial_and_a_manual_run_of_one_form_differ() -> None:
    subscription = make_subscription()

    for trigger in (Run.Trigger.MANUAL, Run.Trigger.TRIAL):
        request_by_hand(subscription, trigger=trigger)

    assert set(Run.objects.values_list("key", flat=True)) == {"manual:t1", "trial:t1"}


@pytest.mark.parametrize("status", UNDER_WAY)
@pytest.mark.parametrize("trigger", WHOLE)
def test_a_run_by_hand_is_refused_beside_another(trigger: Run.Trigger, status: Run.Status) -> None:
    subscription = make_subscription()
    make_run(subscription, trigger=trigger, status=status)

    with pytest.raises(TriggerRefusedError) as caught:
        request_by_hand(subscription)

    assert caught.value.code == "run_under_way"
    assert Run.objects.count() == 1


@pytest.mark.parametrize("status", [Run.Status.FINISHED, Run.Status.MISSED, Run.Status.FAILED])
def test_a_run_by_hand_follows_one_that_has_ended(status: Run.Status) -> None:
    subscription = make_subscription()
    make_run(subscription, status=status)

    assert request_by_hand(subscription)[1]


def test_a_trial_goes_beside_a_run() -> None:
    subscription = make_subscription()
    make_run(subscription, status=Run.Status.SENDING)

    assert request_by_hand(subscription, trigger=Run.Trigger.TRIAL)[1]


def test_the_page_says_that_a_run_is_under_way() -> None:
    corp = make_corp()
    root, subscription = client_of(make_superuser()), make_subscription(make_person(corp, "ann"))
    former = make_run(subscription, status=Run.Status.SENDING)
    url = reverse("admin:notifications_subscription_run", args=[subscription.pk])

    shown, answered = root.get(url), root.post(url, {"token": "0" * 32})

    assert (shown.status_code, answered.status_code) == (200, 409)
    for response in (shown, answered):
        page = response.content.decode()
        assert "同一推送同时只执行一次" in page
        assert "立即发送" not in page
    assert list(Run.objects.all()) == [former]


@pytest.mark.django_db(transaction=True)
def test_a_double_click_is_answered_by_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda *_arguments, **_queue: None)
    root, subscription = client_of(make_superuser()), make_subscription(make_person(make_corp(), "ann"))

    answers = [post_run(root, subscription) for _ in range(2)]

    run = Run.objects.get()
    assert answers == [(302, reverse("admin:notifications_run_change", args=[run.pk]))] * 2


def post_run(root: Client, subscription: Subscription) -> tuple[int, str]:
    url = reverse("admin:notifications_subscription_run", args=[subscription.pk])
    response = root.post(url, {"token": "0" * 32})
    return response.status_code, response.headers["Location"]
