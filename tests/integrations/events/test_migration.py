"""Events and members of the release before stay as they are; nothing is made of events that were stored then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from integrations.models import EventWork
from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE, AFTER = [("integrations", "0005_directory")], [("integrations", "0006_event_work")]
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)


def test_what_was_stored_before_stays_and_is_not_worked_off(stages: Stages) -> None:
    old = stages.enter(BEFORE)
    corp = old.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    old.get_model("integrations", "Member").objects.create(
        corp=corp, userid="LiLei", userid_folded="lilei", first_seen_at=NOW, changed_at=NOW
    )
    event = {"event": "change_contact", "is_event": True, "happened_at": NOW, "received_at": NOW, "body": "<xml/>"}
    old.get_model("integrations", "CallbackEvent").objects.create(corp=corp, kind="app", key="k", **event)

    apps = migrated(AFTER)

    member = apps.get_model("integrations", "Member").objects.get()
    assert (member.userid, member.renamed_at) == ("LiLei", None)
    assert apps.get_model("integrations", "CallbackEvent").objects.get().body == "<xml/>"
    assert not apps.get_model("integrations", "EventWork").objects.exists()
    migrated(BEFORE)
    assert "integrations_eventwork" not in connection.introspection.table_names()


def test_work_that_was_given_up_before_is_found_afterwards(stages: Stages) -> None:
    old = stages.enter([("integrations", "0008_employee_number")])
    corp = old.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    event = old.get_model("integrations", "CallbackEvent").objects.create(
        corp=corp,
        kind="app",
        key="1",
        is_event=True,
        event="subscribe",
        body="<xml/>",
        received_at=NOW,
        happened_at=NOW,
    )
    for status in ("failed", "done"):
        row = {"event": event, "corp": corp, "consumer": status, "status": status}
        old.get_model("integrations", "EventWork").objects.create(**row)

    migrated([("integrations", "0009_given_up_events")])

    assert list(EventWork.objects.given_up().values_list("consumer", "corp")) == [("failed", corp.pk)]
