"""Later migrations, each from the state before with rows in it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from tests.databases import Stages, migrated
from tests.notifications.factories import NOW
from tests.notifications.test_migrations import index_names

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("accounts", "0009_people_imports"), ("notifications", "0009_schedules")]


def test_runs_of_before_were_asked_for_by_no_token(stages: Stages) -> None:
    apps = stages.enter(BEFORE)
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="finished"
    )

    after = migrated([("notifications", "0010_api_tokens")])

    run = after.get_model("notifications", "Run").objects.get()
    assert (run.trigger, run.api_token) == ("manual", None)
    token = after.get_model("notifications", "ApiToken").objects.create(
        name="t", owner_id=person.pk, digest="d", form_key="k", created_at=NOW, expires_at=NOW + timedelta(days=1)
    )
    assert token.reach == "subscriptions"
    requests = after.get_model("notifications", "AcceptedRequest").objects
    requests.create(token=token, key="night-7", fingerprint="f", created_at=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        requests.create(token=token, key="night-7", fingerprint="g", created_at=NOW)
    assert "request_accepted" in index_names("notifications_acceptedrequest")


def test_orders_of_before_have_no_attribute_rules_and_keep_their_recipients(stages: Stages) -> None:
    apps = stages.enter([("accounts", "0009_people_imports"), ("notifications", "0010_api_tokens")])
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    order = apps.get_model("notifications", "Subscription").objects.create(
        name="每日九点", report=report, crontab="0 9 * * *"
    )
    order.users.add(person)
    attribute = apps.get_model("accounts", "Attribute").objects.create(key="region", name="区域")

    after = migrated([("notifications", "0011_attribute_rules")])

    order = after.get_model("notifications", "Subscription").objects.get()
    assert (order.rules_match, order.users.count(), order.attribute_rules.count()) == ("all", 1, 0)
    after.get_model("notifications", "AttributeRule").objects.create(
        subscription=order, attribute_id=attribute.pk, operator="is", values=["华北"]
    )
    with pytest.raises(ProtectedError):
        after.get_model("accounts", "Attribute").objects.get(key="region").delete()


def test_of_what_went_wrong_before_no_owner_is_told_and_the_log_keeps_its_rows(stages: Stages) -> None:
    apps = stages.enter([("notifications", "0011_attribute_rules")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="北山", corpid="ww1", agentid=1, secret="s")
    person = apps.get_model("accounts", "User").objects.create(username="lilei")
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    order = apps.get_model("notifications", "Subscription").objects.create(
        name="每日九点", report=report, crontab="0 9 * * *", owner=person
    )
    runs = [
        apps.get_model("notifications", "Run").objects.create(
            key=f"test:{status}", subscription=order, trigger="schedule", slot_at=NOW, claimed_at=NOW,
            render_after=NOW, status=status,
        )
        for status in ("missed", "failed", "finished", "waiting")
    ]  # fmt: skip
    delivery = apps.get_model("notifications", "Delivery").objects.create(
        run=runs[2], corp=corp, channel="wecom", message_form="text", created_at=NOW, title="日报", text="x",
        corpid="ww1", agentid=1, body=b"{}", mark="m" * 32, language="zh-hans", recipient_count=1, status="accepted",
        attempt_count=1, next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip
    receipts = apps.get_model("notifications", "Receipt").objects
    receipts.create(run=runs[2], delivery=delivery, channel="wecom", user=person, address="1:lilei")
    apps.get_model("notifications", "Attempt").objects.create(
        delivery=delivery, number=1, fencing_token=uuid.uuid4(), started_at=NOW, outcome="accepted"
    )

    after = migrated([("notifications", "0013_fewer_indexes")])

    told = after.get_model("notifications", "Run").objects.order_by("pk").values_list("status", "owner_told_at")
    assert list(told) == [("missed", NOW), ("failed", NOW), ("finished", None), ("waiting", None)]
    kept = after.get_model("notifications", "Receipt").objects.get()
    assert (kept.run_id, kept.user_id, kept.delivery.mark) == (runs[2].pk, person.pk, "m" * 32)
    assert after.get_model("notifications", "Attempt").objects.get().delivery_id == delivery.pk
    with pytest.raises(IntegrityError), transaction.atomic():
        after.get_model("notifications", "Attempt").objects.create(
            delivery_id=delivery.pk, number=1, fencing_token=uuid.uuid4(), started_at=NOW, outcome="started"
        )
    added = {"run_under_way", "run_untold", "delivery_by_robot"}
    assert added <= index_names("notifications_run", "notifications_delivery")


def test_reports_of_before_are_plain_and_their_runs_and_messages_stay(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0009_given_up_events"), ("notifications", "0013_fewer_indexes")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="C", corpid="ww1", agentid=1)
    report = apps.get_model("notifications", "Report").objects.create(title="{{ 日报 }}", body="{% if %} {{ x }}")
    order = apps.get_model("notifications", "Subscription").objects.create(
        name="每日", report=report, crontab="0 9 * * *"
    )
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", subscription=order, trigger="schedule", slot_at=NOW, claimed_at=NOW, render_after=NOW
    )
    apps.get_model("notifications", "Delivery").objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="{{ 日报 }}", text="x",
        corpid="ww1", agentid=1, body=b"{}", mark="m" * 32, language="zh-hans", recipient_count=1,
        next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip

    after = migrated([("notifications", "0014_reports_with_data")])

    report = after.get_model("notifications", "Report").objects.get()
    assert (report.is_template, report.figures, report.title, report.body) == (
        *(False, ""),
        *("{{ 日报 }}", "{% if %} {{ x }}"),
    )
    order = after.get_model("notifications", "Subscription").objects.get()
    assert (order.skips_empty, order.skips_unchanged, order.stale_after_minutes, order.if_stale) == (
        *(False, False, None),
        "note",
    )
    assert after.get_model("notifications", "Run").objects.get().fingerprint == ""
    assert after.get_model("notifications", "Delivery").objects.get().content is None
    assert "delivery_by_content" in index_names("notifications_delivery")


def test_alert_rules_of_before_stay_and_may_have_silence_windows(stages: Stages) -> None:
    before = [("integrations", "0010_data_sources"), ("notifications", "0018_recipients_of_alerts")]
    apps = stages.enter(before)
    corp = apps.get_model("integrations", "Corp").objects.create(name="C", corpid="ww1", agentid=1)
    source = apps.get_model("integrations", "DataSource").objects.create(name="数据仓库", kind="sql")
    card = apps.get_model("integrations", "Card").objects.create(name="销售额", source=source, sql="SELECT 1")
    receiver = apps.get_model("notifications", "AlertReceiver").objects.create(name="值班", to_everyone=True)
    condition = {"aggregate": "sum", "column": "销售额", "comparison": "lt", "values": ["1000"], "filters": {}}
    rule = apps.get_model("notifications", "AlertRule").objects.create(
        name="销售额过低", card=card, receiver=receiver, conditions=[condition], crontab="*/10 * * * *",
        holding={"": 2}, tells_on_workdays_only=True, next_run_at=NOW,
    )  # fmt: skip
    moments = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    incident = apps.get_model("notifications", "Incident").objects.create(
        key="k", title="销售额过低", rule=rule, corp=corp, **moments
    )
    apps.get_model("notifications", "IncidentEvent").objects.create(incident=incident, kind="silenced", at=NOW)
    kept = apps.get_model("notifications", "AlertRule").objects.values().get()

    after = migrated([("notifications", "0019_silence_windows")])

    assert after.get_model("notifications", "AlertRule").objects.values().get() == kept
    event = after.get_model("notifications", "IncidentEvent").objects.get()
    assert (event.incident_id, event.kind) == (incident.pk, "silenced")
    windows = after.get_model("notifications", "SilenceWindow").objects
    windows.create(rule_id=rule.pk, name="夜间", weekdays="6,7")
    assert windows.get().rule.name == "销售额过低"
    again = migrated(before)
    assert again.get_model("notifications", "AlertRule").objects.values().get() == kept
    assert again.get_model("notifications", "Incident").objects.get().rule_id == rule.pk


def test_messages_of_before_carry_no_picture_and_go_on(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0010_data_sources"), ("notifications", "0014_reports_with_data")])
    corp = apps.get_model("integrations", "Corp").objects.create(name="C", corpid="ww1", agentid=1)
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="sending"
    )
    apps.get_model("notifications", "Delivery").objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="T", text="x",
        corpid="ww1", agentid=1, body=b"{}", mark="m" * 32, language="zh-hans", recipient_count=1,
        next_attempt_at=NOW, expires_at=NOW,
    )  # fmt: skip
    owner = apps.get_model("accounts", "User").objects.create(username="owner")
    apps.get_model("notifications", "ApiToken").objects.create(
        name="before", owner=owner, digest="d" * 64, form_key="f" * 32, created_at=NOW, expires_at=NOW
    )

    after = migrated([("notifications", "0016_alerts")])

    delivery = after.get_model("notifications", "Delivery").objects.get()
    assert (delivery.status, bytes(delivery.body), delivery.medium, delivery.media_until) == (
        "pending",
        b"{}",
        None,
        None,
    )
    assert not after.get_model("notifications", "ApiToken").objects.get().may_alert
    assert not after.get_model("notifications", "Incident").objects.exists()
    assert not after.get_model("notifications", "AlertCard").objects.exists()


def test_rules_of_before_stay_their_subscriptions_and_receivers_may_have_some(stages: Stages) -> None:
    apps = stages.enter(
        [
            ("accounts", "0012_people_exports"),
            ("integrations", "0010_data_sources"),
            ("notifications", "0017_run_losses"),
        ]
    )
    report = apps.get_model("notifications", "Report").objects.create(title="日报", body="x")
    order = apps.get_model("notifications", "Subscription").objects.create(name="早报", report=report)
    region = apps.get_model("accounts", "Attribute").objects.create(key="region", name="区域")
    fields = {"attribute_id": region.pk, "operator": "is", "values": ["华北"]}
    rule = apps.get_model("notifications", "AttributeRule").objects.create(subscription=order, **fields)
    receiver = apps.get_model("notifications", "AlertReceiver").objects.create(name="值班", to_everyone=True)

    after = migrated([("notifications", "0018_recipients_of_alerts")])

    kept = after.get_model("notifications", "AttributeRule").objects.get()
    assert (kept.pk, kept.subscription_id, kept.receiver_id, kept.values) == (rule.pk, order.pk, None, ["华北"])
    known = after.get_model("notifications", "AlertReceiver").objects.get()
    assert (known.to_everyone, known.rules_match) == (True, "all")
    rules = after.get_model("notifications", "AttributeRule").objects
    rules.create(receiver_id=receiver.pk, **fields)
    for owners in ({}, {"subscription_id": order.pk, "receiver_id": receiver.pk}):
        with pytest.raises(IntegrityError), transaction.atomic():
            rules.create(**owners, **fields)


def test_rules_that_were_split_before_end_nothing_that_is_gone(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0012_slow_sources"), ("notifications", "0022_late_clicks")])
    source = apps.get_model("integrations", "DataSource").objects.create(name="数仓", kind="sql")
    card = apps.get_model("integrations", "Card").objects.create(name="销售额", source=source, sql="SELECT 1")
    receiver = apps.get_model("notifications", "AlertReceiver").objects.create(name="值班", to_everyone=True)
    apps.get_model("notifications", "AlertRule").objects.create(
        name="过低", card=card, receiver=receiver, conditions=[], split_column="城市", holding={"上海": 1}
    )

    after = migrated([("notifications", "0023_parts_that_are_gone")])

    rule = after.get_model("notifications", "AlertRule").objects.get()
    assert (rule.absent_checks, rule.absent, rule.holding) == (0, {}, {"上海": 1})


def test_pictures_of_before_stay_their_runs_or_previews_and_incidents_may_have_some(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0012_slow_sources"), ("notifications", "0023_parts_that_are_gone")])
    run = apps.get_model("notifications", "Run").objects.create(
        key="test:1", trigger="manual", slot_at=NOW, claimed_at=NOW, render_after=NOW, status="sending"
    )
    fields = {"kind": "picture", "digest": "d" * 64, "recipe": b"r", "created_at": NOW, "make_after": NOW}
    of_run = apps.get_model("notifications", "Medium").objects.create(run=run, **fields)
    preview = apps.get_model("notifications", "Medium").objects.create(**fields)
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    known = apps.get_model("notifications", "Incident").objects.create(key="k", title="x", **times)

    after = migrated([("notifications", "0024_pictures_of_incidents")])

    media = after.get_model("notifications", "Medium").objects
    assert list(media.order_by("pk").values_list("pk", "run", "incident")) == [
        (of_run.pk, run.pk, None),
        (preview.pk, None, None),
    ]
    incident = after.get_model("notifications", "Incident").objects.get()
    assert (incident.pk, incident.card) == (known.pk, None)
    assert "medium_preview" in index_names("notifications_medium")
    media.create(incident=incident, **fields)
    for owners in ({"incident_id": known.pk}, {"incident_id": known.pk, "run_id": run.pk}):
        with pytest.raises(IntegrityError), transaction.atomic():
            media.create(**owners, **{**fields, "digest": "e" * 64 if "run_id" in owners else fields["digest"]})
