"""Connection tests of the releases before become runs of checks."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection

from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE, AFTER = [("integrations", "0002_verification_and_callbacks")], [("integrations", "0003_diagnosis")]
ASKED = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def test_connection_tests_are_carried_over(stages: Stages) -> None:
    apps = stages.enter(BEFORE)
    corp = apps.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret", connection_version=3
    )
    tests = apps.get_model("integrations", "ConnectionTest").objects
    refused = {"status": "failed", "problem": "refused"}
    rows: list[dict[str, Any]] = [
        {"status": "passed", "app_name": "观远BI"},
        {**refused, "errcode": 40001, "hint": "123", "message": "invalid credential"},
        {**refused, "errcode": 60020, "caller_ip": "203.0.113.9"},
        {**refused, "errcode": 301002},
        {"status": "failed", "problem": "app_disabled"},
        {"status": "failed", "problem": "unreachable"},
        {"status": "failed"},
        {"status": "running", "finished_at": None},
    ]
    for number, row in enumerate(rows):
        asked = ASKED + dt.timedelta(minutes=number)
        times = {"requested_at": asked, "finished_at": asked + dt.timedelta(seconds=1)}
        tests.create(corp=corp, connection_version=number, **{**times, **row})

    runs = migrated(AFTER).get_model("integrations", "CheckRun").objects.order_by("pk")

    assert list(runs.values_list("connection_version", "check_name", "status", "problem", "errcode")) == [
        (0, "token", "ok", "", None),
        (0, "ip", "ok", "", None),
        (0, "agentid", "ok", "named", None),
        (0, "app", "ok", "", None),
        (1, "token", "wrong", "refused", 40001),
        (2, "token", "ok", "", None),
        (2, "ip", "wrong", "refused", 60020),
        (3, "token", "ok", "", None),
        (3, "ip", "ok", "", None),
        (3, "agentid", "wrong", "refused", 301002),
        (4, "token", "ok", "", None),
        (4, "ip", "ok", "", None),
        (4, "agentid", "ok", "", None),
        (4, "app", "wrong", "disabled", None),
        (5, "token", "wrong", "unreachable", None),
        (6, "token", "skipped", "unqueued", None),
    ]
    first = runs[0]
    assert (first.corp_id, first.requested_at, first.finished_at) == (corp.pk, ASKED, ASKED + dt.timedelta(seconds=1))
    secret = runs.get(connection_version=1)
    assert (secret.hint, secret.detail) == ("123", "invalid credential")
    ip = runs.get(connection_version=2, check_name="ip")
    assert (ip.caller_ip, ip.facts) == ("203.0.113.9", {"addresses": ["203.0.113.9"]})
    assert runs.get(connection_version=0, check_name="agentid").facts == {"app_name": "观远BI"}
    assert "integrations_connectiontest" not in connection.introspection.table_names()
