"""The tables of the directory come to a database that holds companies already, and can be taken away again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)
RELEASED, BEFORE = [("integrations", "0002_verification_and_callbacks")], [("integrations", "0004_console_writes")]
AFTER = [("integrations", "0005_directory")]
NUMBERED = [("integrations", "0008_employee_number")]
NOW = datetime(2026, 11, 24, 1, 0, 30, tzinfo=UTC)
TABLES = {"department", "member", "membership", "syncrun", "syncchange"}


def tables() -> set[str]:
    names = {f"integrations_{name}" for name in TABLES}
    return names & set(connection.introspection.table_names())


def test_companies_of_the_release_before_get_an_empty_directory(stages: Stages) -> None:
    old = stages.enter(RELEASED)
    values = {"corpid": "ww0123456789abcdef", "agentid": 1000002, "secret": "the-secret", "department_root_ids": [2]}
    key = old.get_model("integrations", "Corp").objects.create(name="北山制造", **values).pk
    assert tables() == set()

    apps = migrated(AFTER)

    corp = apps.get_model("integrations", "Corp").objects.get(pk=key)
    assert (corp.name, corp.secret, corp.department_root_ids) == ("北山制造", "the-secret", [2])
    assert len(tables()) == len(TABLES)
    assert not apps.get_model("integrations", "Member").objects.exists()
    migrated(BEFORE)
    assert tables() == set()


def test_members_come_out_without_a_number_and_as_they_were(stages: Stages) -> None:
    old = stages.enter(AFTER)
    corp = old.get_model("integrations", "Corp").objects.create(
        name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret"
    )
    times = {"first_seen_at": NOW, "changed_at": NOW}
    old.get_model("integrations", "Member").objects.create(
        corp=corp, userid="LiLei", userid_folded="lilei", name="李雷", email="Li@example.com", **times
    )

    member = migrated(NUMBERED).get_model("integrations", "Member").objects.get()

    assert (member.userid, member.name, member.email, member.number) == ("LiLei", "李雷", "Li@example.com", None)
    kept = migrated(AFTER).get_model("integrations", "Member").objects.get()
    assert (kept.userid, kept.email) == ("LiLei", "Li@example.com")
