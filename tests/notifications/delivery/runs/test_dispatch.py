"""Due subscriptions become runs: once per slot, whatever was missed and whoever else dispatches."""

from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from notifications.delivery.rows import RENDER_LEASE, lock_skipping
from notifications.delivery.runs import scheduler
from notifications.delivery.runs.triggers import TriggerRefusedError, request_run
from notifications.models import FreeDays, Repeat, Run, Subscription
from notifications.subscriptions.schedules import find_next_due
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
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db


def list_runs() -> list[tuple[str, datetime, int]]:
    return list(Run.objects.order_by("slot_at").values_list("status", "slot_at", "slot_count"))


def test_a_due_subscription_gets_one_run_and_its_next_time() -> None:
    corp = make_corp()
    subscription = make_subscription(report=make_report(corp=corp))

    run_ids = scheduler.claim_due_subscriptions(now=NOW)

    run = Run.objects.get()
    assert run_ids == [run.pk]
    assert run.key == f"sub:{subscription.pk}:2026-11-24T01:00Z"
    assert (run.subscription, run.corp, run.trigger) == (subscription, corp, Run.Trigger.SCHEDULE)
    assert (run.status, run.slot_at, run.slot_count) == (Run.Status.WAITING, utc("2026-11-24 01:00"), 1)
    assert (run.claimed_at, run.render_after) == (NOW, NOW + RENDER_LEASE)
    subscription.refresh_from_db()
    assert subscription.next_run_at == utc("2026-11-25 01:00")


def test_what_is_disabled_or_not_yet_due_stays() -> None:
    make_subscription(is_enabled=False, next_run_at=NOW)
    make_subscription(crontab="1 9 * * *")

    assert scheduler.claim_due_subscriptions(now=NOW) == []
    assert not Run.objects.exists()


def test_a_long_look_back_is_split_into_short_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets other writes get in between after an outage, and keeps what was claimed so far."""
    monkeypatch.setattr(scheduler, "BATCH_SECONDS", 0.0)
    subscriptions = [make_subscription(next_run_at=utc("2026-11-24 00:00")) for _ in range(3)]
    left_at_start: list[int] = []
    plan_runs = scheduler.plan_runs

    def third_crashes(subscription: Subscription, *, now: datetime, **more: Any) -> scheduler.RunPlan:
        left_at_start.append(Subscription.objects.due(NOW).count())
        if len(left_at_start) == 3:
            raise SystemExit  # the process ends here
        return plan_runs(subscription, now=now, **more)

    monkeypatch.setattr(scheduler, "plan_runs", third_crashes)
    with pytest.raises(SystemExit):
        scheduler.claim_due_subscriptions(now=NOW)
    monkeypatch.setattr(scheduler, "plan_runs", plan_runs)

    assert left_at_start == [3, 2, 1]
    assert Run.objects.count() == 2
    assert len(scheduler.claim_due_subscriptions(now=NOW)) == 1
    assert set(Run.objects.values_list("subscription", flat=True)) == {one.pk for one in subscriptions}


@pytest.mark.parametrize(
    ("fields", "now", "made"),
    [
        (
            {"crontab": "*/20 * * * *", "next_run_at": utc("2026-11-24 00:20"), "grace_minutes": 60},
            NOW,
            [("waiting", utc("2026-11-24 01:00"), 3)],
        ),
        (
            {"crontab": "0 * * * *", "next_run_at": utc("2026-11-23 20:00"), "grace_minutes": 30},
            NOW,
            [("missed", utc("2026-11-23 20:00"), 5), ("waiting", utc("2026-11-24 01:00"), 1)],
        ),
        ({"grace_minutes": 60}, utc("2026-11-24 02:00:01"), [("missed", utc("2026-11-24 01:00"), 1)]),
        ({"grace_minutes": 0}, utc("2026-11-24 01:00"), [("waiting", utc("2026-11-24 01:00"), 1)]),
        (
            {"crontab": "* * * * *", "next_run_at": utc("2026-11-01 00:00"), "grace_minutes": 5},
            NOW,
            [("missed", utc("2026-11-01 00:00"), 1000), ("waiting", utc("2026-11-24 01:00"), 5)],
        ),
    ],
    ids=["within the grace period", "older ones", "a single older one", "this moment", "counted up to a limit"],
)
def test_missed_times_are_made_up_for_once_or_recorded(
    fields: dict[str, Any], now: datetime, made: list[tuple[str, datetime, int]]
) -> None:
    subscription = make_subscription(**fields)

    run_ids = scheduler.claim_due_subscriptions(now=now)

    assert list_runs() == made
    assert run_ids == list(Run.objects.filter(status="waiting").values_list("pk", flat=True))
    assert all(run.finished_at == now for run in Run.objects.filter(status="missed"))
    assert scheduler.claim_due_subscriptions(now=now) == []
    subscription.refresh_from_db()
    assert subscription.next_run_at is not None
    assert subscription.next_run_at > now


def test_times_outside_the_validity_do_not_run() -> None:
    subscription = make_subscription(valid_to=utc("2026-11-24 01:00"), next_run_at=utc("2026-11-24 01:00"))

    assert scheduler.claim_due_subscriptions(now=NOW) == []

    assert list_runs() == []
    subscription.refresh_from_db()
    assert subscription.next_run_at is None


@pytest.mark.parametrize(
    ("fields", "changes", "reason"),
    [
        ({"crontab": "0 9 30 2 *"}, {}, ""),
        # Four thousand years, which no form accepts.
        ({}, {"grace_minutes": 2**31 - 1}, "OverflowError"),
    ],
    ids=["no schedule", "no plan"],
)
def test_what_cannot_be_planned_fails_visibly_and_blocks_nobody(
    fields: dict[str, Any], changes: dict[str, int], reason: str
) -> None:
    bad = make_subscription(next_run_at=utc("2026-11-24 00:59"), **fields)
    Subscription.objects.filter(pk=bad.pk).update(next_run_at=utc("2026-11-24 00:59"), **changes)
    good = make_subscription()

    run_ids = scheduler.claim_due_subscriptions(now=NOW)

    assert list(Run.objects.filter(pk__in=run_ids).values_list("subscription", flat=True)) == [good.pk]
    failed = Run.objects.get(status=Run.Status.FAILED)
    assert failed.subscription == bad
    assert failed.error_text
    assert reason in failed.error_text
    bad.refresh_from_db()
    assert bad.next_run_at is None
    assert scheduler.claim_due_subscriptions(now=NOW) == []


def test_what_is_spread_runs_when_its_seconds_have_passed_and_is_known_by_its_slot() -> None:
    subscription = make_subscription(jitter_seconds=600, next_run_at=utc("2026-11-24 01:00"))
    due = find_next_due(subscription, utc("2026-11-24 00:59:59"))
    assert due is not None
    assert due.due_at > due.slot_at == utc("2026-11-24 01:00")
    Subscription.objects.update(next_run_at=due.due_at)

    assert scheduler.claim_due_subscriptions(now=due.due_at - timedelta(seconds=1)) == []
    assert len(scheduler.claim_due_subscriptions(now=due.due_at)) == 1

    run = Run.objects.get()
    assert run.key == f"sub:{subscription.pk}:2026-11-24T01:00Z"
    assert (run.slot_at, run.due_at) == (due.slot_at, due.due_at)
    subscription.refresh_from_db()
    following = find_next_due(subscription, due.due_at)
    assert following is not None
    assert subscription.next_run_at == following.due_at


def test_many_spread_subscriptions_are_moved_on_by_one_statement(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(30):
        make_subscription(jitter_seconds=3000, next_run_at=utc("2026-11-24 00:30"), grace_minutes=0)

    with django_assert_max_num_queries(8):
        scheduler.claim_due_subscriptions(now=NOW)

    moved = list(Subscription.objects.values_list("next_run_at", flat=True))
    assert len(set(moved)) > 20
    assert all(moment is not None and moment > NOW for moment in moved)


def test_a_schedule_that_runs_out_of_working_days_says_so() -> None:
    subscription = make_subscription(
        repeat=Repeat.WEEKLY, weekdays="6", local_time=time(9), free_days=FreeDays.SKIP,
        next_run_at=utc("2098-01-04 01:00"),
    )  # fmt: skip

    assert scheduler.claim_due_subscriptions(now=utc("2098-01-04 01:00")) == []

    run = Run.objects.get()
    assert (run.status, run.subscription, run.finished_at) == (Run.Status.FAILED, subscription, run.claimed_at)
    assert "工作日" in run.error_text
    subscription.refresh_from_db()
    assert subscription.next_run_at is None


@pytest.mark.django_db(transaction=True)
def test_dispatchers_side_by_side_never_double_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "BATCH", 7)
    for _ in range(60):
        make_subscription()
    found: list[int] = []

    do_at_once(*[lambda: found.extend(scheduler.claim_due_subscriptions(now=NOW))] * 4)

    assert Run.objects.count() == 60
    assert sorted(found) == sorted(Run.objects.values_list("pk", flat=True))


def test_one_caller_does_a_periods_tick() -> None:
    """Late callers are dropped. A period that was claimed under a wrong clock does not block later ones."""
    year = 365 * 24 * 3600

    claims = [
        scheduler.claim_tick(now=NOW + timedelta(seconds=seconds), period_seconds=2)
        for seconds in (0, 1, 2, 3, 4, 0, year, 6)
    ]

    assert claims == [True, False, True, False, True, False, True, True]


WHOLE = [Run.Trigger.SCHEDULE, Run.Trigger.MANUAL, Run.Trigger.URL, Run.Trigger.DATA_UPDATE]

UNDER_WAY = [Run.Status.WAITING, Run.Status.SENDING]


def make_hourly(**fields: Any) -> Subscription:
    return make_subscription(
        **{"crontab": "0 * * * *", "time_zone": "UTC", "next_run_at": utc("2026-11-24 01:00"), **fields}
    )


def list_later_runs(former: Run) -> list[tuple[str, datetime, int]]:
    found = Run.objects.exclude(pk=former.pk).order_by("slot_at", "pk")
    return list(found.values_list("status", "slot_at", "slot_count"))


def request_by_hand(
    subscription: Subscription, token: str = "t1", trigger: Run.Trigger = Run.Trigger.MANUAL
) -> tuple[Run, bool]:
    person, _is_new = User.objects.get_or_create(username="clicker")
    return request_run(subscription, trigger=trigger, form_key=token, person=person, now=NOW)


@pytest.mark.parametrize("status", UNDER_WAY)
@pytest.mark.parametrize("trigger", WHOLE)
def test_a_slot_waits_for_the_run_before_it(trigger: Run.Trigger, status: Run.Status) -> None:
    subscription = make_hourly()
    former = make_run(subscription, trigger=trigger, status=status)

    assert scheduler.claim_due_subscriptions(now=NOW) == []

    assert list_later_runs(former) == []
    subscription.refresh_from_db()
    assert subscription.next_run_at == utc("2026-11-24 01:00")


def test_a_slot_waits_no_longer_than_its_grace_period() -> None:
    subscription = make_hourly(grace_minutes=60)
    former = make_run(subscription, status=Run.Status.SENDING)

    scheduler.claim_due_subscriptions(now=utc("2026-11-24 02:00"))
    assert list_later_runs(former) == []
    scheduler.claim_due_subscriptions(now=utc("2026-11-24 02:00:01"))

    assert list_later_runs(former) == [("missed", utc("2026-11-24 01:00"), 1)]
    missed = Run.objects.get(status=Run.Status.MISSED)
    assert missed.error_text == "上一次执行在 60 分钟的补发期限结束时仍在进行。"
    assert missed.finished_at == missed.claimed_at
    subscription.refresh_from_db()
    assert subscription.next_run_at == utc("2026-11-24 02:00")


def test_all_that_one_run_holds_up_is_one_row() -> None:
    subscription = make_hourly(crontab="*/10 * * * *", grace_minutes=30)
    former = make_run(subscription, status=Run.Status.SENDING)
    for minute in range(0, 240, 5):
        scheduler.claim_due_subscriptions(now=utc("2026-11-24 01:00") + timedelta(minutes=minute, seconds=1))
    assert list_later_runs(former) == [("missed", utc("2026-11-24 01:00"), 21)]

    Run.objects.filter(pk=former.pk).update(status=Run.Status.FINISHED)
    scheduler.claim_due_subscriptions(now=utc("2026-11-24 05:00"))

    assert list_later_runs(former) == [("missed", utc("2026-11-24 01:00"), 21), ("waiting", utc("2026-11-24 05:00"), 4)]


def test_what_one_run_holds_up_is_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MISSED_COUNTED", 3)
    former = make_run(make_hourly(crontab="* * * * *", grace_minutes=1), status=Run.Status.SENDING)

    for minute in range(8):
        scheduler.claim_due_subscriptions(now=utc("2026-11-24 01:05") + timedelta(minutes=minute))

    assert list_later_runs(former) == [("missed", utc("2026-11-24 01:00"), 3)]


@pytest.mark.parametrize("trigger", Run.PARTIAL)
def test_what_goes_to_some_people_only_holds_nothing_up(trigger: Run.Trigger) -> None:
    make_run(make_hourly(), trigger=trigger, status=Run.Status.SENDING)

    assert len(scheduler.claim_due_subscriptions(now=NOW)) == 1


def test_those_that_wait_hold_up_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "BATCH", 2)
    for _ in range(5):
        make_run(make_hourly(), status=Run.Status.SENDING)
    free = [make_hourly() for _ in range(3)]

    scheduler.claim_due_subscriptions(now=NOW)

    waiting = Run.objects.filter(status=Run.Status.WAITING)
    assert set(waiting.values_list("subscription", flat=True)) == {one.pk for one in free}


@pytest.mark.django_db(transaction=True)
def test_a_tick_that_is_late_sees_the_run_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the subscription as due and without a run just before the other tick makes the run."""
    subscription = make_hourly(crontab="* * * * *")

    def with_another_between(rows: object) -> object:
        monkeypatch.setattr(scheduler, "lock_skipping", lock_skipping)
        found = list(Subscription.objects.filter(pk=subscription.pk))
        do_at_once(lambda: scheduler.claim_due_subscriptions(now=NOW))
        return found

    monkeypatch.setattr(scheduler, "lock_skipping", with_another_between)
    scheduler.claim_due_subscriptions(now=NOW + timedelta(minutes=2))
    scheduler.claim_due_subscriptions(now=NOW + timedelta(minutes=2))

    assert Run.objects.filter(status=Run.Status.WAITING).count() == 1


@pytest.mark.django_db(transaction=True)
def test_dispatchers_and_people_at_once_never_make_two_go() -> None:
    """Four callers handle ten minutes of a subscription that is due every minute."""
    subscription = make_hourly(crontab="* * * * *")

    def clock_side() -> None:
        for minute in range(10):
            scheduler.claim_due_subscriptions(now=NOW + timedelta(minutes=minute))

    def people_side(name: str) -> None:
        for number in range(10):
            with suppress(TriggerRefusedError):
                request_by_hand(subscription, f"{name}{number}")

    User.objects.create(username="clicker")
    do_at_once(clock_side, clock_side, lambda: people_side("a"), lambda: people_side("b"))

    assert Run.objects.under_way().count() == 1


def test_a_form_sent_twice_gives_one_run() -> None:
    subscription = make_subscription(report=make_report(corp=make_corp()))

    first, second = request_by_hand(subscription), request_by_hand(subscription)

    run = Run.objects.get()
    assert (first, second) == ((run, True), (run, False))
    assert (run.key, run.slot_at, run.corp) == ("manual:t1", NOW, subscription.report.corp)
    assert run.requested_by == User.objects.get(username="clicker")


@pytest.mark.parametrize("status", UNDER_WAY)
def test_a_run_by_hand_is_refused_beside_another_that_has_not_ended_and_a_trial_goes(status: Run.Status) -> None:
    subscription = make_subscription()
    make_run(subscription, status=status)

    with pytest.raises(TriggerRefusedError) as caught:
        request_by_hand(subscription)

    assert caught.value.code == "run_under_way"
    assert Run.objects.count() == 1
    trial, is_new = request_by_hand(subscription, trigger=Run.Trigger.TRIAL)
    assert is_new
    for ended in (Run.Status.FINISHED, Run.Status.MISSED, Run.Status.FAILED):
        Run.objects.exclude(pk=trial.pk).update(status=ended)
        assert request_by_hand(subscription, f"after-{ended}")[1]


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


def test_a_slot_that_already_ran_does_not_run_again() -> None:
    subscription = make_subscription()
    make_run(subscription, key=f"sub:{subscription.pk}:2026-11-24T01:00Z", status=Run.Status.FINISHED)

    assert scheduler.claim_due_subscriptions(now=NOW) == []

    assert Run.objects.count() == 1


def test_an_announcement_gets_exactly_one_run_and_then_ends() -> None:
    push = make_subscription(crontab="", repeat=Repeat.ONCE, on_date=date(2026, 11, 24), local_time=time(9))
    assert push.next_run_at == utc("2026-11-24 01:00")

    for later in (timedelta(0), timedelta(minutes=1), timedelta(days=1), timedelta(days=400)):
        scheduler.claim_due_subscriptions(now=NOW + later)
        Run.objects.update(status=Run.Status.FINISHED)

    assert list_runs() == [(Run.Status.FINISHED, utc("2026-11-24 01:00"), 1)]
    ended = Subscription.objects.get(pk=push.pk)
    assert ended.next_run_at is None
    assert find_next_due(ended, NOW) is None
    assert "没有下次执行时间" not in client_of(make_superuser()).get(reverse("admin:index")).content.decode()


def test_a_missed_announcement_is_recorded_and_not_made_up_for_after_its_grace() -> None:
    make_subscription(crontab="", repeat=Repeat.ONCE, on_date=date(2026, 11, 24), local_time=time(9), grace_minutes=30)

    scheduler.claim_due_subscriptions(now=NOW + timedelta(hours=2))

    assert list_runs() == [(Run.Status.MISSED, utc("2026-11-24 01:00"), 1)]
    assert Subscription.objects.get().next_run_at is None
