"""The migrations that brought the HTTP API and attribute rules, from the state before with rows in it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from tests.notifications.factories import NOW
from tests.notifications.test_migrations import _all_again, index_names, migrated  # noqa: F401  # a fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_all_again")]
BEFORE = [("accounts", "0009_people_imports"), ("notifications", "0009_schedules")]


def test_runs_of_before_were_asked_for_by_no_token() -> None:
    apps = migrated(BEFORE)
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


def test_orders_of_before_have_no_attribute_rules_and_keep_their_recipients() -> None:
    apps = migrated([("accounts", "0009_people_imports"), ("notifications", "0010_api_tokens")])
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
