"""Rules of the database: a second row, or one without an owner, is refused for every writer."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError

from accounts.models import Attribute, WeComAccount
from integrations.models import Card, CardData, Corp, DataSource
from notifications.models import (
    AlertRule,
    ApiToken,
    Attempt,
    AttributeRule,
    CorpQueue,
    Delivery,
    Incident,
    Medium,
    Robot,
    Run,
    SubscriptionChoice,
)
from tests.notifications.factories import NOW, make_corp, make_person, make_run, make_subscription

pytestmark = pytest.mark.django_db


def refused(model: type[models.Model], **row: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model._base_manager.create(**row)


@pytest.fixture
def corp() -> Corp:
    return make_corp()


@pytest.fixture
def run() -> Run:
    return make_run(make_subscription())


def test_there_is_one_queue_for_all_companies_one_robot_of_a_name_and_one_choice_of_a_person(corp: Corp) -> None:
    choice = {"subscription": make_subscription(), "user": make_person(corp, "LiLei"), "chosen_at": NOW}
    rows: list[tuple[type[models.Model], dict[str, Any]]] = [
        (CorpQueue, {"corp": None}),
        (Robot, {"name": "群", "corp": corp, "key": "k"}),
        (SubscriptionChoice, {"kind": "paused", **choice}),
    ]
    for model, row in rows:
        model._base_manager.create(**row)

        refused(model, **row)


def test_a_token_uses_an_idempotency_key_once(corp: Corp) -> None:
    token = ApiToken.objects.create(
        name="t",
        owner=make_person(corp, "LiLei"),
        digest="d",
        form_key="k",
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )
    row = dict.fromkeys(("slot_at", "claimed_at", "render_after"), NOW) | {"trigger": "url", "api_token": token}
    Run.objects.create(key="a", request_key="night-7", **row)
    Run.objects.create(key="b", **row)
    Run.objects.create(key="c", **row)

    refused(Run, key="d", request_key="night-7", **row)


def test_an_attribute_rule_belongs_to_one_and_keeps_its_attribute() -> None:
    region = Attribute.objects.create(key="region", name="区域")
    card = Card.objects.create(name="库存", source=DataSource.objects.create(name="仓库", kind="sql"), sql="SELECT 1")
    owners = {
        "subscription": make_subscription(),
        "alert_rule": AlertRule.objects.create(name="缺货", card=card, to_everyone=True),
    }
    row = {"attribute": region, "operator": "is", "values": ["华北"]}
    for name, owner in owners.items():
        AttributeRule.objects.create(**{name: owner}, **row)

    refused(AttributeRule, **row)
    refused(AttributeRule, **owners, **row)
    with pytest.raises(ProtectedError):
        region.delete()


def test_a_messages_attempts_have_numbers_of_their_own(corp: Corp, run: Run) -> None:
    delivery = Delivery.objects.create(
        run=run, corp=corp, channel="wecom", message_form="text", created_at=NOW, title="日报", text="x", corpid="ww1",
        agentid=1, body=b"{}", mark="m" * 32, language="zh-hans", recipient_count=1, next_attempt_at=NOW,
        expires_at=NOW,
    )  # fmt: skip
    row = {"delivery": delivery, "number": 1, "fencing_token": uuid.uuid4(), "started_at": NOW}
    Attempt.objects.create(**row, outcome="accepted")

    refused(Attempt, **row, outcome="started")


def test_a_picture_belongs_to_a_run_or_an_incident_or_to_neither(run: Run) -> None:
    incident = Incident.objects.create(
        key="k", title="x", **dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    )
    row = {"kind": "picture", "recipe": b"r", "created_at": NOW, "make_after": NOW}
    for owner in ({}, {"run": run}, {"incident": incident}):
        Medium.objects.create(**owner, **row, digest="d" * 64)

    refused(Medium, incident=incident, **row, digest="d" * 64)
    refused(Medium, incident=incident, run=run, **row, digest="e" * 64)


def test_a_card_has_data_once_for_a_slot_and_often_for_pages() -> None:
    source = DataSource.objects.create(name="数仓", kind="sql")
    card = Card.objects.create(name="销售", source=source, sql="SELECT 1")
    row = {"card": card, "requested_at": NOW, "next_try_at": NOW}
    for slot in (NOW, None, None):
        CardData.objects.create(slot_at=slot, **row)

    refused(CardData, slot_at=NOW, **row)


def test_an_account_that_a_leaver_had_carries_no_userid(corp: Corp) -> None:
    accounts = WeComAccount.objects.filter(user=make_person(corp, "LiLei"))

    with pytest.raises(IntegrityError), transaction.atomic():
        accounts.update(left_at=NOW)

    assert accounts.update(left_at=NOW, userid="", userid_folded="") == 1


def test_messages_are_counted_anew_when_a_hundredth_have_changed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'notifications_delivery'")
        [(options,)] = cursor.fetchall()

    assert set(options) == {"autovacuum_analyze_scale_factor=0.01", "autovacuum_analyze_threshold=1000"}
