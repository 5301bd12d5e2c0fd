"""A clock that ran far ahead and was set back leaves nothing in the far future."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model

from integrations.models import Card, CardData, CheckRun, DataSource
from notifications import tasks
from notifications.alerts import evaluation
from notifications.delivery.maintenance import repair_clock_damage
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import scheduler
from notifications.models import (
    REPEAT_SECONDS,
    AlertCheck,
    AlertRule,
    CorpQueue,
    Delivery,
    Incident,
    Medium,
    Run,
    Subscription,
)
from tests.notifications.alerts.conftest import make_alert_channel, make_receiver
from tests.notifications.delivery.attachments.places import make_medium
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription, utc

pytestmark = pytest.mark.django_db

YEAR = timedelta(days=365)


def next_of(subscription: Subscription) -> datetime | None:
    subscription.refresh_from_db()
    return subscription.next_run_at


def tick_at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "database_clock", lambda: lambda: moment)
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda *_arguments, **_queue: None)
    tasks.tick()


@pytest.mark.parametrize("ahead", [timedelta(hours=30), YEAR, timedelta(days=3650)])
def test_ticks_under_a_wrong_clock_and_then_under_the_right_one(
    ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    tick_at(NOW + ahead, monkeypatch)
    far = next_of(subscription)
    assert far is not None
    assert far > NOW + ahead

    tick_at(NOW, monkeypatch)

    assert next_of(subscription) == utc("2026-11-25 01:00")
    assert not scheduler.clock_was_set_back(scheduler.TICK, now=NOW)


def test_a_slot_that_was_only_recorded_runs_when_it_comes() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    scheduler.claim_due(now=NOW + YEAR)
    early = Run.objects.get(slot_at=utc("2026-11-25 01:00"))
    assert early.status == Run.Status.MISSED

    repair_clock_damage(now=NOW)
    [pk] = scheduler.claim_due(now=utc("2026-11-25 01:00"))

    run = Run.objects.get(pk=pk)
    assert (run.key, run.status) == (f"sub:{subscription.pk}:2026-11-25T01:00Z", Run.Status.WAITING)
    early.refresh_from_db()
    assert (early.status, early.owner_notified_at) == (Run.Status.MISSED, NOW)
    assert early.key == f"{run.key}:early:{early.pk}"
    assert early.error_text == "写入这条记录时服务器时钟偏快，其中的时间到来时会照常执行。"


def test_a_slot_that_ran_before_its_time_does_not_run_again() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    scheduler.claim_due(now=utc("2026-11-25 01:00:10"))
    Run.objects.update(status=Run.Status.FINISHED)

    repair_clock_damage(now=NOW)
    assert next_of(subscription) == utc("2026-11-25 01:00")
    assert scheduler.claim_due(now=utc("2026-11-25 01:00:10")) == []

    assert Run.objects.count() == 1
    assert next_of(subscription) == utc("2026-11-26 01:00")


def test_a_run_for_a_slot_to_come_of_which_nothing_was_made_waits_for_its_time() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    [pk] = scheduler.claim_due(now=utc("2026-11-25 01:00:10"))

    repair_clock_damage(now=NOW)

    assert Run.objects.get(pk=pk).status == Run.Status.MISSED
    assert len(scheduler.claim_due(now=utc("2026-11-25 01:00:10"))) == 1
    assert Run.objects.get(status=Run.Status.WAITING).key == f"sub:{subscription.pk}:2026-11-25T01:00Z"


def test_one_whose_validity_had_ended_goes_on() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"), valid_to=utc("2026-12-01 00:00"))
    scheduler.claim_due(now=NOW + YEAR)
    assert next_of(subscription) is None

    repair_clock_damage(now=NOW)

    assert next_of(subscription) == utc("2026-11-25 01:00")


def test_what_was_claimed_before_stays() -> None:
    subscription = make_subscription(next_run_at=NOW + YEAR)  # as an administrator has set it
    run = make_run(subscription, claimed_at=NOW, render_after=NOW + timedelta(seconds=60))

    assert repair_clock_damage(now=NOW) == 0

    assert next_of(subscription) == NOW + YEAR
    run.refresh_from_db()
    assert run.render_after == NOW + timedelta(seconds=60)


def test_a_run_that_waits_is_rendered_now() -> None:
    subscription = make_subscription(next_run_at=None)
    run = make_run(subscription, claimed_at=NOW + YEAR, render_after=NOW + YEAR)

    assert repair_clock_damage(now=NOW) == 1

    run.refresh_from_db()
    assert (run.claimed_at, run.render_after) == (NOW, NOW)
    assert repair_clock_damage(now=NOW) == 0


def test_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.maintenance.BATCH", 2)
    subscriptions = [make_subscription(next_run_at=utc("2026-11-25 01:00")) for _ in range(5)]
    scheduler.claim_due(now=NOW + YEAR)

    repair_clock_damage(now=NOW)

    assert {next_of(one) for one in subscriptions} == {utc("2026-11-25 01:00")}


@pytest.mark.parametrize("status", [Delivery.Status.PENDING, Delivery.Status.SENDING])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"next_attempt_at": NOW + YEAR}, {"next_attempt_at": NOW}),
        ({"next_attempt_at": NOW + timedelta(hours=23)}, {"next_attempt_at": NOW + timedelta(hours=23)}),
        ({"expires_at": NOW + YEAR}, {"expires_at": NOW + timedelta(days=1)}),
        ({"queued_until": NOW + YEAR}, {"queued_until": None}),
        ({"queued_until": NOW + timedelta(seconds=60)}, {"queued_until": NOW + timedelta(seconds=60)}),
        ({"unclear_since": NOW + YEAR}, {"unclear_since": NOW - timedelta(seconds=REPEAT_SECONDS)}),
        ({"unclear_since": NOW + timedelta(minutes=30)}, {"unclear_since": NOW + timedelta(minutes=30)}),
    ],
)
def test_messages_wait_no_longer_than_under_a_right_clock(
    wrong: dict[str, Any], right: dict[str, Any], status: Delivery.Status
) -> None:
    delivery = make_delivery(status, **wrong)

    repair_clock_damage(now=NOW)

    delivery.refresh_from_db()
    is_of_pending = "unclear_since" not in wrong and status == Delivery.Status.SENDING
    expected = wrong if is_of_pending else right
    assert {name: getattr(delivery, name) for name in expected} == expected


def test_a_lease_from_the_future_ends(settings: Any) -> None:
    delivery = make_delivery(Delivery.Status.SENDING, lease_until=NOW + YEAR)
    held = make_delivery(Delivery.Status.SENDING, lease_until=NOW + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS))

    repair_clock_damage(now=NOW)

    for row, seconds in ((delivery, 0), (held, settings.DELIVERY_LEASE_SECONDS)):
        row.refresh_from_db()
        assert row.lease_until == NOW + timedelta(seconds=seconds)


def make_delivery(status: Delivery.Status, **fields: Any) -> Delivery:
    run = make_run(make_subscription(*make_people(make_corp(), 1), next_run_at=None))
    [pk] = render_run(run_id=run.pk, now=NOW)
    Delivery.objects.filter(pk=pk).update(status=status, **fields)
    return Delivery.objects.get(pk=pk)


@pytest.mark.parametrize(("ahead", "is_back"), [(-5, False), (0, False), (59, False), (63, True), (86_400, True)])
def test_a_clock_counts_as_set_back_beyond_the_tolerance(ahead: int, is_back: bool) -> None:
    scheduler.claim_tick(scheduler.TICK, now=NOW + timedelta(seconds=ahead), period_seconds=2)

    assert scheduler.clock_was_set_back(scheduler.TICK, now=NOW) == is_back


@pytest.mark.parametrize(
    ("model", "field", "longest"),
    [
        (Run, "render_after", timedelta(seconds=60)),
        (CorpQueue, "probe_at", timedelta(hours=1)),
        (Medium, "make_after", timedelta(minutes=10)),
        (Medium, "created_at", timedelta()),
    ],
)
def test_runs_pictures_and_companies_wait_no_longer_than_under_a_right_clock(
    model: type[Model], field: str, longest: timedelta
) -> None:
    run = make_run(make_subscription(next_run_at=None))
    make_medium(run)
    CorpQueue.objects.create(corp=make_corp(), blocked_since=NOW, probe_at=NOW)
    rows = model._default_manager.filter(**{f"{field}__isnull": False})

    for written, repaired in ((NOW + longest, NOW + longest), (NOW + longest + timedelta(seconds=1), NOW)):
        rows.update(**{field: written})
        repair_clock_damage(now=NOW)
        assert rows.values_list(field, flat=True).get() == repaired


class TestAlertRules:
    @pytest.fixture
    def rule(self) -> AlertRule:
        corp = make_corp()
        card = Card.objects.create(
            name="销售", source=DataSource.objects.create(name="数仓", kind="sql"), sql="SELECT 1"
        )
        receiver = make_receiver(*make_people(corp, 1), corp=corp)
        return AlertRule.objects.create(
            name="过低", card=card, receiver=receiver, crontab="*/10 * * * *", next_run_at=NOW, conditions=[]
        )

    def test_are_checked_at_their_next_time(self, rule: AlertRule) -> None:
        evaluation.claim_due(now=NOW + YEAR)
        evaluation.claim_due(now=NOW + YEAR + timedelta(minutes=10))

        repair_clock_damage(now=NOW)

        rule.refresh_from_db()
        assert rule.next_run_at == utc("2026-11-24 01:10")
        assert list(AlertCheck.objects.values_list("slot_at", "requested_at")) == [(NOW, NOW)]

    def test_take_what_is_found_then(self, rule: AlertRule) -> None:
        AlertRule.objects.update(checked_slot_at=NOW + YEAR)
        AlertCheck.objects.create(
            rule=rule, card=rule.card, slot_at=NOW + YEAR, requested_at=NOW + YEAR, outcome=AlertCheck.Outcome.FINE
        )

        repair_clock_damage(now=NOW)

        rule.refresh_from_db()
        assert rule.checked_slot_at == NOW


class TestIncidents:
    @pytest.fixture
    def incident(self) -> Incident:
        corp = make_corp()
        channel = make_alert_channel(*make_people(corp, 1), corp=corp)
        times = dict.fromkeys(("opened_at", "seen_at", "notified_at", "starts_at", "stretch_at"), NOW)
        return Incident.objects.create(key="k", channel=channel, title="CPU", notice_kind="repeat", **times)

    def test_are_told_of_at_once_where_the_wrong_clock_wrote_when(self, incident: Incident) -> None:
        far = NOW + YEAR
        Incident.objects.update(seen_at=far, notified_at=far, notice_due_at=far, silenced_until=far)

        repair_clock_damage(now=NOW)

        incident.refresh_from_db()
        assert (incident.seen_at, incident.notified_at, incident.notice_due_at) == (NOW, NOW, NOW)
        assert not incident.is_silenced(NOW)

    def test_keep_a_reminder_that_is_still_to_come(self, incident: Incident) -> None:
        later = NOW + timedelta(minutes=50)
        Incident.objects.update(notice_due_at=later, silenced_until=later)

        repair_clock_damage(now=NOW)

        incident.refresh_from_db()
        assert (incident.notice_due_at, incident.silenced_until) == (later, later)

    def test_of_a_rule_began_no_later_than_now(self, incident: Incident) -> None:
        source = DataSource.objects.create(name="数仓", kind="sql")
        card = Card.objects.create(name="销售", source=source, sql="SELECT 1")
        receiver = make_receiver(corp=make_corp())
        rule = AlertRule.objects.create(name="过低", card=card, receiver=receiver, crontab="0 * * * *", conditions=[])
        Incident.objects.update(channel=None, rule=rule, starts_at=NOW + YEAR, stretch_at=NOW + YEAR)

        repair_clock_damage(now=NOW)

        incident.refresh_from_db()
        assert (incident.starts_at, incident.stretch_at) == (NOW, NOW)


class TestDataOfCards:
    @pytest.fixture
    def card(self) -> Card:
        source = DataSource.objects.create(name="数仓", kind="sql")
        return Card.objects.create(name="销售", source=source, sql="SELECT 1")

    def test_that_waits_is_fetched_now(self, card: Card) -> None:
        far = NOW + YEAR
        row = CardData.objects.create(
            card=card, slot_at=NOW, requested_at=far, next_try_at=far, lease_token="x", lease_until=far
        )

        repair_clock_damage(now=NOW)

        assert list(CardData.objects.due(NOW)) == [row]
        assert CardData.objects.get().requested_at == NOW

    def test_of_a_slot_to_come_is_forgotten(self, card: Card) -> None:
        """Or that slot would go out with data from before."""
        times = {"requested_at": NOW, "next_try_at": NOW, "finished_at": NOW}
        CardData.objects.create(card=card, slot_at=NOW + YEAR, status="ready", **times)
        kept = CardData.objects.create(card=card, slot_at=NOW, status="ready", **times)

        repair_clock_damage(now=NOW)

        assert list(CardData.objects.all()) == [kept]


def test_checks_of_the_diagnosis_are_tried_now() -> None:
    far = NOW + YEAR
    times = {"requested_at": far, "started_at": far, "next_try_at": far}
    run = CheckRun.objects.create(corp=make_corp(), check_name="token", connection_version=1, **times)

    repair_clock_damage(now=NOW)

    run.refresh_from_db()
    assert (run.requested_at, run.started_at, run.next_try_at) == (NOW, NOW, NOW)
