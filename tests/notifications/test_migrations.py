"""The migrations of notifications, each from the state of the release before with rows in it."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError, connection

from tests.databases import Stages, migrated
from tests.notifications.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)
# What the release before had of every app.
BEFORE = [
    ("accounts", "0001_initial"),
    ("integrations", "0002_verification_and_callbacks"),
    ("notifications", "0001_initial"),
]


def index_names(*tables: str) -> set[str]:
    with connection.cursor() as cursor:
        found = [connection.introspection.get_constraints(cursor, table) for table in tables]
    return {name for constraints in found for name, constraint in constraints.items() if constraint["index"]}


def test_the_indexes_of_the_log_are_added_to_tables_with_rows(stages: Stages) -> None:
    apps = stages.enter(BEFORE)
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山", corpid="ww1", agentid=1, secret="s")
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="finished"
    )
    delivery = apps.get_model("notifications", "Delivery").objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="日报", text="x", corpid="ww1",
        agentid=1, body=b"{}", mark=uuid.uuid4().hex, language="zh-hans", recipient_count=2, status="failed",
        next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip
    receipts = apps.get_model("notifications", "Receipt").objects
    for number, status in enumerate(["", "invalid"]):
        receipts.create(run=run, delivery=delivery, channel="wecom", address=f"1:{number}", status=status)

    after = migrated([("notifications", "0002_log_indexes")])

    assert list(
        after.get_model("notifications", "Receipt").objects.order_by("pk").values_list("address", "status")
    ) == [
        ("1:0", ""),
        ("1:1", "invalid"),
    ]
    assert after.get_model("notifications", "Delivery").objects.get().title == "日报"
    tables = ("notifications_run", "notifications_delivery", "notifications_receipt")
    added = {"run_claimed", "delivery_exception", "delivery_title", "receipt_exception"}
    assert added <= index_names(*tables)
    migrated(BEFORE)
    assert added.isdisjoint(index_names(*tables))


def test_pauses_and_priorities_are_added_to_orders_and_messages_that_wait(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0005_directory"), ("notifications", "0003_barred_reason")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山", corpid="ww1", agentid=1, secret="s")
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    apps.get_model("notifications", "Subscription").objects.create(name="每日", report=report, crontab="0 9 * * *")
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="sending"
    )
    apps.get_model("notifications", "Delivery").objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="日报", text="x", corpid="ww1",
        agentid=1, body=b"{}", mark=uuid.uuid4().hex, language="zh-hans", recipient_count=2, status="pending",
        next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip

    after = migrated([("notifications", "0004_limits_and_pauses")])

    subscription = after.get_model("notifications", "Subscription").objects.get()
    assert (subscription.priority, subscription.is_paused) == (1, False)
    assert after.get_model("notifications", "Delivery").objects.get().priority == 1
    queues = after.get_model("notifications", "CorpQueue").objects
    queues.create(corp_id=corp.pk)
    queues.create(corp_id=None)
    with pytest.raises(IntegrityError):
        queues.create(corp_id=None)
    assert {"attempt_started", "delivery_queue", "delivery_queued"} <= index_names(
        "notifications_attempt", "notifications_delivery"
    )


def test_subscriptions_come_out_with_no_departments_and_their_people(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0003_directory_policy"), ("notifications", "0004_limits_and_pauses")])
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    subscription = apps.get_model("notifications", "Subscription").objects.create(
        name="每日九点", report=report, crontab="0 9 * * *"
    )
    subscription.users.add(person)

    after = migrated([("notifications", "0005_departments")])

    kept = after.get_model("notifications", "Subscription").objects.get()
    assert (kept.name, kept.with_subdepartments, list(kept.departments.all())) == ("每日九点", True, [])
    assert [one.username for one in kept.users.all()] == ["lilei"]


def test_orders_and_messages_of_before_go_by_the_app_as_they_did(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0005_directory"), ("notifications", "0005_departments")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山", corpid="ww1", agentid=1, secret="s")
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    apps.get_model("notifications", "Subscription").objects.create(name="每日", report=report, crontab="0 9 * * *")
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="sending"
    )
    apps.get_model("notifications", "Delivery").objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="日报", text="x", corpid="ww1",
        agentid=1, body=b"{}", mark=uuid.uuid4().hex, language="zh-hans", recipient_count=2, status="pending",
        next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip

    after = migrated([("notifications", "0006_channels")])

    subscription = after.get_model("notifications", "Subscription").objects.get()
    assert (subscription.channel, subscription.robot, subscription.fallback_channel) == ("wecom", None, "")
    delivery = after.get_model("notifications", "Delivery").objects.get()
    assert (delivery.channel, delivery.robot) == ("wecom", None)
    robot = after.get_model("notifications", "Robot")
    robot.objects.create(name="群", corp_id=corp.pk, key="k")
    with pytest.raises(IntegrityError):
        robot.objects.create(name="群", corp_id=corp.pk, key="k")


def test_nobody_has_paused_anything_after_the_step_that_lets_people_pause(stages: Stages) -> None:
    apps = stages.enter(
        [
            ("accounts", "0003_directory_policy"),
            ("integrations", "0007_bi_connection"),
            ("notifications", "0006_channels"),
        ]
    )
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    subscription = apps.get_model("notifications", "Subscription").objects.create(
        name="每日九点", report=report, crontab="0 9 * * *"
    )
    subscription.users.add(person)

    after = migrated([("notifications", "0007_recipients_choices")])

    assert after.get_model("notifications", "Subscription").objects.get().users.count() == 1
    choices = after.get_model("notifications", "SubscriptionChoice").objects
    assert not choices.exists()
    choices.create(subscription_id=subscription.pk, user_id=person.pk, kind="paused", chosen_at=NOW)
    with pytest.raises(IntegrityError):
        choices.create(subscription_id=subscription.pk, user_id=person.pk, kind="declined", chosen_at=NOW)


def test_runs_of_before_are_neither_taken_back_nor_sent_again(stages: Stages) -> None:
    apps = stages.enter([("notifications", "0007_recipients_choices")])
    apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="finished"
    )

    after = migrated([("notifications", "0008_resend_and_recall")])

    run = after.get_model("notifications", "Run").objects.get()
    assert (run.recall_asked_at, run.recall_asked_by, run.resends, run.resends_unknown) == (None, None, None, False)
    assert "run_recalled" in index_names("notifications_run")


def test_crontabs_of_before_stay_crontabs_and_are_not_spread(stages: Stages) -> None:
    apps = stages.enter([("notifications", "0008_resend_and_recall")])
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    before = apps.get_model("notifications", "Subscription").objects.create(
        name="每日九点", report=report, crontab="0 9 * * 1-5", time_zone="Europe/Berlin", next_run_at=NOW
    )
    apps.get_model("notifications", "Run").objects.create(
        key="test:1", subscription=before, trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW
    )

    after = migrated([("notifications", "0009_schedules")])

    kept = after.get_model("notifications", "Subscription").objects.get()
    assert (kept.repeat, kept.crontab, kept.time_zone) == ("crontab", "0 9 * * 1-5", "Europe/Berlin")
    assert (kept.local_time, kept.weekdays, kept.month_day) == (None, "", "")
    assert (kept.free_days, kept.jitter_seconds, kept.next_run_at) == ("send", 0, NOW)
    assert after.get_model("notifications", "Run").objects.get().due_at is None
    migrated([("notifications", "0008_resend_and_recall")])


def test_routes_that_named_senders_stay_limited_to_them(stages: Stages) -> None:
    apps = stages.enter([("notifications", "0019_silence_windows")])
    receiver = apps.get_model("notifications", "AlertReceiver").objects.create(name="值班")
    routes = apps.get_model("notifications", "AlertRoute").objects
    named, open_to_all = (routes.create(name=name, receiver=receiver) for name in ("指定", "不限"))
    owner = apps.get_model("accounts", "User").objects.create(username="li")
    tokens = apps.get_model("notifications", "ApiToken").objects
    named.senders.set(
        [
            tokens.create(name=name, owner=owner, digest=name, form_key=name, created_at=NOW, expires_at=NOW)
            for name in ("a1", "b2")
        ]
    )

    after = migrated([("notifications", "0020_senders_of_routes")])

    kept = after.get_model("notifications", "AlertRoute").objects
    assert kept.get(pk=named.pk).is_limited_to_senders
    assert kept.get(pk=named.pk).senders.count() == 2
    assert not kept.get(pk=open_to_all.pk).is_limited_to_senders


def test_incidents_that_somebody_closed_stay_closed(stages: Stages) -> None:
    apps = stages.enter([("notifications", "0020_senders_of_routes")])
    incidents = apps.get_model("notifications", "Incident").objects
    events = apps.get_model("notifications", "IncidentEvent").objects
    for key, status, kinds in (
        ("closed", "resolved", ["resolved", "reopened", "closed"]),
        ("over", "resolved", ["closed", "reopened", "resolved"]),
        ("open", "open", ["closed", "reopened"]),
    ):
        one = incidents.create(
            key=key, title=key, status=status, starts_at=NOW, stretch_at=NOW, opened_at=NOW, seen_at=NOW
        )
        for kind in kinds:
            events.create(incident=one, kind=kind, at=NOW)

    after = migrated([("notifications", "0021_closed_by_hand")])

    marked = after.get_model("notifications", "Incident").objects.filter(is_closed_by_hand=True)
    assert list(marked.values_list("key", flat=True)) == ["closed"]
