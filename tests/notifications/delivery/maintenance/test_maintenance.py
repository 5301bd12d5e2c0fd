"""Maintenance of the engine's rows: the sweep, deletion, repairs after a wrong clock, and checks of Valkey."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from django.core import checks
from django.db import connection
from django.db.models import Model
from pytest_django import Settings

from integrations.models import Card, CardData, CheckRun, DataSource, Installation
from notifications import tasks
from notifications.alerts import evaluation
from notifications.delivery import maintenance
from notifications.delivery.maintenance import delete_chunk, purge_runs_and_incidents, repair_clock_damage
from notifications.delivery.rendering.render import render_run
from notifications.delivery.rows import compute_delivery_lease
from notifications.delivery.runs import scheduler
from notifications.delivery.sending.queue import hand_out_deliveries
from notifications.models import (
    REPEAT_SECONDS,
    AlertCheck,
    AlertRule,
    Attempt,
    CorpQueue,
    Delivery,
    Draft,
    FrozenContent,
    Incident,
    Medium,
    Receipt,
    Run,
    Subscription,
)
from notifications.models.subscriptions import DRAFT_KEPT
from tests.between import just_before
from tests.notifications.alerts.conftest import make_alert_channel
from tests.notifications.delivery.attachments.places import make_medium
from tests.notifications.factories import NOW, make_corp, make_people, make_person, make_run, make_subscription, utc
from tests.notifications.one_delivery import claim_delivery, personal
from tests.notifications.side_by_side import do_at_once
from tools.services import start_valkey

pytestmark = pytest.mark.django_db


def test_a_lost_rendering_is_found_after_its_time_and_handed_out_once() -> None:
    run = make_run(make_subscription(), render_after=NOW + timedelta(seconds=60))

    assert maintenance.sweep_deliveries(now=NOW + timedelta(seconds=59)) == []
    assert maintenance.sweep_deliveries(now=NOW + timedelta(seconds=60)) == [run.pk]
    assert maintenance.sweep_deliveries(now=NOW + timedelta(seconds=61)) == []
    assert maintenance.sweep_deliveries(now=NOW + timedelta(seconds=120)) == [run.pk]


def test_a_lease_that_cannot_be_settled_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    personal(make_corp(), 2)
    bad, good = Delivery.objects.order_by("pk")
    Delivery.objects.update(status=Delivery.Status.SENDING, lease_until=NOW)

    def refuse_the_first(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "fencing_token" in sql and bad.pk in parameters:
            raise ConnectionError("no database")
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(refuse_the_first):
        maintenance.sweep_deliveries(now=NOW + timedelta(minutes=2))

    assert f"delivery={bad.pk}: its ended lease could not be settled" in caplog.text
    good.refresh_from_db()
    assert good.status == Delivery.Status.PENDING


def test_the_longest_due_go_first_up_to_the_limit() -> None:
    ids = personal(make_corp(), 3)
    Delivery.objects.update(queued_until=None)
    Delivery.objects.filter(pk=ids[2]).update(next_attempt_at=NOW - timedelta(hours=1))

    assert hand_out_deliveries(now=NOW, limit=2).ordinary == [ids[2], ids[0]]
    assert hand_out_deliveries(now=NOW, limit=2).ordinary == [ids[1]]


@pytest.mark.django_db(transaction=True)
def test_side_by_side_each_message_is_queued_once() -> None:
    ids = personal(make_corp(), 40)
    Delivery.objects.update(queued_until=None)
    found: list[int] = []

    def work() -> None:
        while batch := hand_out_deliveries(now=NOW, limit=7).ordinary:
            found.extend(batch)

    do_at_once(*[work] * 4)

    assert sorted(set(found)) == ids
    assert len(found) == len(ids)


@pytest.mark.parametrize("status", ["accepted", "failed", "unknown", "canceled"])
def test_a_run_is_finished_when_its_last_delivery_is_settled(status: str) -> None:
    personal(make_corp(), 1)
    for unsettled in ("pending", "sending"):
        Delivery.objects.update(status=unsettled, lease_until=NOW + timedelta(seconds=60))
        maintenance.sweep_deliveries(now=NOW)
        assert Run.objects.get().status == Run.Status.SENDING
    Delivery.objects.update(status=status)

    maintenance.sweep_deliveries(now=NOW + timedelta(seconds=5))
    maintenance.sweep_deliveries(now=NOW + timedelta(seconds=6))

    run = Run.objects.get()
    assert (run.status, run.finished_at) == (Run.Status.FINISHED, NOW + timedelta(seconds=5))


LATER = NOW + timedelta(days=31)


@pytest.fixture(autouse=True)
def _thirty_days(settings: Settings) -> None:
    settings.LOG_RETENTION_DAYS = 30


@pytest.fixture
def run() -> Run:
    run = make_run(make_subscription(*make_people(make_corp(), 5), make_person()))
    [pk] = render_run(run_id=run.pk, now=NOW)
    claim_delivery(pk, now=NOW)
    Delivery.objects.update(status="accepted")
    Run.objects.update(status="finished")
    return run


def test_a_chunk_at_a_time_until_nothing_of_the_run_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.maintenance.CHUNK", 4)
    again = make_run(make_subscription(), now=LATER, status="finished", resends=run)
    FrozenContent.objects.create(run=run, document=b"x")
    make_medium(run)

    counts = []
    while count := purge_runs_and_incidents(now=LATER):
        counts.append(count)

    assert counts == [4, 2, 1, 1, 1, 1, 1]
    assert not any(model.objects.exists() for model in (Receipt, Attempt, Delivery, FrozenContent, Medium))
    again.refresh_from_db()
    assert list(Run.objects.all()) == [again]
    assert again.resends is None


@pytest.mark.parametrize(
    "changes", [{"status": "sending"}, {"status": "waiting"}, {"claimed_at": NOW + timedelta(days=2)}]
)
def test_what_is_under_way_or_young_is_kept(changes: dict[str, object], run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(**changes)

    assert purge_runs_and_incidents(now=LATER) == 0
    assert Receipt.objects.count() == 6


def test_drafts_that_nobody_came_back_to_go_at_the_tick() -> None:
    person = make_person()
    for page, age in (("push:new", timedelta(days=30)), ("push:7", timedelta(days=29, hours=23))):
        Draft.objects.create(person=person, page=page, values="name=x", saved_at=NOW - age)

    with just_before("DELETE", lambda: Draft.objects.update(saved_at=NOW)):  # somebody comes back at this moment
        assert delete_chunk(Draft.objects.filter(saved_at__lte=NOW - DRAFT_KEPT)) == 0
    Draft.objects.filter(page="push:new").update(saved_at=NOW - timedelta(days=30))
    tasks._purge(NOW)

    assert list(Draft.objects.values_list("page", flat=True)) == ["push:7"]


YEAR = timedelta(days=365)


def read_next_run_at(subscription: Subscription) -> datetime | None:
    subscription.refresh_from_db()
    return subscription.next_run_at


def tick_at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "database_now", lambda: moment)
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda *_arguments, **_queue: None)
    tasks.tick()


@pytest.mark.parametrize("ahead", [timedelta(hours=30), YEAR, timedelta(days=3650)])
def test_ticks_under_a_wrong_clock_and_then_under_the_right_one(
    ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    tick_at(NOW + ahead, monkeypatch)
    far = read_next_run_at(subscription)
    assert far is not None
    assert far > NOW + ahead

    tick_at(NOW, monkeypatch)

    assert read_next_run_at(subscription) == utc("2026-11-25 01:00")
    assert Installation.objects.filter(tick_period__lte=NOW.timestamp()).exists()


def test_a_slot_that_was_only_recorded_runs_when_it_comes() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    scheduler.claim_due_subscriptions(now=NOW + YEAR)
    early = Run.objects.get(slot_at=utc("2026-11-25 01:00"))
    assert early.status == Run.Status.MISSED

    repair_clock_damage(now=NOW)
    [pk] = scheduler.claim_due_subscriptions(now=utc("2026-11-25 01:00"))

    run = Run.objects.get(pk=pk)
    assert (run.key, run.status) == (f"sub:{subscription.pk}:2026-11-25T01:00Z", Run.Status.WAITING)
    early.refresh_from_db()
    assert (early.status, early.owner_notified_at) == (Run.Status.MISSED, NOW)
    assert early.key == f"{run.key}:early:{early.pk}"
    assert early.error_text == "写入这条记录时服务器时钟偏快，其中的时间到来时会照常执行。"


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_slot_that_ran_before_its_time_runs_again_only_if_nothing_was_made_of_it(is_sent: bool) -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"))
    scheduler.claim_due_subscriptions(now=utc("2026-11-25 01:00:10"))
    if is_sent:
        Run.objects.update(status=Run.Status.FINISHED)

    repair_clock_damage(now=NOW)
    assert read_next_run_at(subscription) == utc("2026-11-25 01:00")
    run_ids = scheduler.claim_due_subscriptions(now=utc("2026-11-25 01:00:10"))

    assert (len(run_ids), Run.objects.filter(status=Run.Status.MISSED).count()) == ((0, 0) if is_sent else (1, 1))
    assert Run.objects.filter(key=f"sub:{subscription.pk}:2026-11-25T01:00Z").exists()
    assert read_next_run_at(subscription) == utc("2026-11-26 01:00")


def test_a_slot_that_ran_before_its_time_and_is_under_way_for_long_is_not_missed() -> None:
    make_subscription(next_run_at=utc("2026-11-25 01:00"), grace_minutes=60)
    scheduler.claim_due_subscriptions(now=utc("2026-11-25 01:00:10"))
    Run.objects.update(status=Run.Status.SENDING)

    repair_clock_damage(now=utc("2026-11-25 00:50"))
    scheduler.claim_due_subscriptions(now=utc("2026-11-25 06:00"))

    assert Run.objects.get().status == Run.Status.SENDING


def test_one_whose_validity_had_ended_goes_on() -> None:
    subscription = make_subscription(next_run_at=utc("2026-11-25 01:00"), valid_to=utc("2026-12-01 00:00"))
    scheduler.claim_due_subscriptions(now=NOW + YEAR)
    assert read_next_run_at(subscription) is None

    repair_clock_damage(now=NOW)

    assert read_next_run_at(subscription) == utc("2026-11-25 01:00")


@pytest.mark.parametrize(("claimed_at", "render_after"), [(NOW, NOW + timedelta(seconds=60)), (NOW + YEAR, NOW)])
def test_a_run_that_waits_is_rendered_now_unless_it_was_claimed_before(
    claimed_at: datetime, render_after: datetime
) -> None:
    subscription = make_subscription(next_run_at=NOW + YEAR)  # as an administrator has set it
    waits_until = render_after if claimed_at == NOW else claimed_at
    run = make_run(subscription, claimed_at=claimed_at, render_after=waits_until)

    assert repair_clock_damage(now=NOW) == (claimed_at > NOW)

    run.refresh_from_db()
    assert (run.claimed_at, run.render_after) == (NOW, render_after)
    assert repair_clock_damage(now=NOW) == 0
    assert (read_next_run_at(subscription) == NOW + YEAR) is (claimed_at == NOW)


def test_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.maintenance.BATCH", 2)
    subscriptions = [make_subscription(next_run_at=utc("2026-11-25 01:00")) for _ in range(5)]
    scheduler.claim_due_subscriptions(now=NOW + YEAR)

    repair_clock_damage(now=NOW)

    assert {read_next_run_at(one) for one in subscriptions} == {utc("2026-11-25 01:00")}


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


def test_a_lease_from_the_future_ends() -> None:
    delivery = make_delivery(Delivery.Status.SENDING, lease_until=NOW + YEAR)
    held = make_delivery(Delivery.Status.SENDING, lease_until=NOW + compute_delivery_lease())

    repair_clock_damage(now=NOW)

    for row, lease in ((delivery, timedelta()), (held, compute_delivery_lease())):
        row.refresh_from_db()
        assert row.lease_until == NOW + lease


def make_delivery(status: Delivery.Status, **fields: Any) -> Delivery:
    run = make_run(make_subscription(*make_people(make_corp(), 1), next_run_at=None))
    [pk] = render_run(run_id=run.pk, now=NOW)
    Delivery.objects.filter(pk=pk).update(status=status, **fields)
    return Delivery.objects.get(pk=pk)


@pytest.mark.parametrize(("ahead", "is_back"), [(-5, False), (0, False), (59, False), (63, True), (86_400, True)])
def test_a_clock_counts_as_set_back_beyond_the_tolerance(
    ahead: int, is_back: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler.claim_tick(now=NOW + timedelta(seconds=ahead), period_seconds=2)

    tick_at(NOW, monkeypatch)

    assert ("the clock was set back" in caplog.text) == is_back


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


def make_card() -> Card:
    return Card.objects.create(name="销售", source=DataSource.objects.create(name="数仓", kind="sql"), sql="SELECT 1")


def make_rule(**fields: Any) -> AlertRule:
    corp = make_corp()
    rule = AlertRule.objects.create(name="过低", card=make_card(), corp=corp, conditions=[], **fields)
    rule.users.set(make_people(corp, 1))
    return rule


def test_alert_rules_are_checked_at_their_next_time_and_take_what_is_found_then() -> None:
    rule = make_rule(crontab="*/10 * * * *", next_run_at=NOW)
    evaluation.check_due_rules(now=NOW + YEAR)
    evaluation.check_due_rules(now=NOW + YEAR + timedelta(minutes=10))
    AlertRule.objects.update(checked_slot_at=NOW + YEAR)

    repair_clock_damage(now=NOW)

    rule.refresh_from_db()
    assert (rule.next_run_at, rule.checked_slot_at) == (utc("2026-11-24 01:10"), NOW)
    assert list(AlertCheck.objects.values_list("slot_at", "requested_at")) == [(NOW, NOW)]


def test_incidents_are_told_of_at_once_where_the_wrong_clock_wrote_when() -> None:
    far, later = NOW + YEAR, NOW + timedelta(minutes=50)
    wrong = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at", "notified_at", "notice_due_at"), far)
    right = dict.fromkeys(wrong, NOW) | {"notice_due_at": later}
    rule = make_rule(crontab="0 * * * *")
    channel = make_alert_channel(corp=make_corp())
    told = {"title": "CPU", "notice_kind": "repeat"}
    damaged = Incident.objects.create(key="a", rule=rule, silenced_until=far, **told, **wrong)
    kept = Incident.objects.create(key="b", channel=channel, silenced_until=later, **told, **right)

    repair_clock_damage(now=NOW)

    damaged.refresh_from_db()
    assert {name: getattr(damaged, name) for name in wrong} == dict.fromkeys(wrong, NOW)
    assert not damaged.is_silenced(NOW)
    kept.refresh_from_db()
    assert (kept.notice_due_at, kept.silenced_until) == (later, later)


def test_data_of_cards_is_fetched_now_or_forgotten_where_its_slot_is_to_come() -> None:
    """Otherwise the later slot would go out with the old data."""
    card, far = make_card(), NOW + YEAR
    row = CardData.objects.create(
        card=card, slot_at=NOW, requested_at=far, next_try_at=far, lease_token="x", lease_until=far
    )
    times = {"requested_at": NOW, "next_try_at": NOW, "finished_at": NOW}
    CardData.objects.create(card=card, slot_at=far, status="ready", **times)

    repair_clock_damage(now=NOW)

    assert list(CardData.objects.due(NOW)) == list(CardData.objects.all()) == [row]
    assert CardData.objects.get().requested_at == NOW


def test_checks_of_the_diagnosis_are_of_now() -> None:
    far = NOW + YEAR
    times = {"requested_at": far, "finished_at": far}
    run = CheckRun.objects.create(corp=make_corp(), check_name="token", connection_version=1, **times)

    repair_clock_damage(now=NOW)

    run.refresh_from_db()
    assert (run.requested_at, run.finished_at) == (NOW, NOW)


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    """A Valkey with the product's settings, which the test may change."""
    server = start_valkey()
    settings.VALKEY_URL = server.url
    with redis.Redis.from_url(server.url) as store:
        yield store
    server.kill()  # on SIGTERM one with a log would try to write it first
    server.stop()


def run_valkey_checks() -> set[str]:
    # With databases, as `migrate` does: these checks ask servers.
    messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    return {str(message.id) for message in messages if str(message.id).startswith("notifications.")}


def test_a_valkey_that_would_come_back_old_or_forget_a_part_is_found(store: redis.Redis) -> None:
    assert run_valkey_checks() == set()
    store.config_set("save", "3600 1")
    assert run_valkey_checks() == {"notifications.W002"}
    store.config_set("appendonly", "yes")
    assert run_valkey_checks() == set()
    store.config_set("maxmemory-policy", "allkeys-lru")
    assert run_valkey_checks() == {"notifications.W001"}

    # Without the right to read its settings, other known facts are still reported.
    store.acl_setuser("default", enabled=True, categories=["+@all"], commands=["-config"])
    assert run_valkey_checks() == {"notifications.W001"}


def test_a_valkey_that_is_away_is_no_finding(settings: Settings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    assert run_valkey_checks() == set()
