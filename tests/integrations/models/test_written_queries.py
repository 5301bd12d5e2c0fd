"""A SELECT written by hand gives the instances that Django would give."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.models import Corp, Heartbeat
from integrations.models.written_queries import WrittenQuery

pytestmark = pytest.mark.django_db


def test_fields_have_the_values_that_django_gives_them(corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(department_root_ids=[3, 7])
    names = [field.attname for field in Corp._meta.concrete_fields]
    columns = ", ".join(str(field.column) for field in reversed(Corp._meta.concrete_fields))
    query = WrittenQuery(Corp, f"SELECT {columns} FROM integrations_corp WHERE id = %s")  # noqa: S608  # our own names

    for _time in range(2):
        found = query.first([corp.pk])

        assert found is not None
        expected = Corp.objects.get(pk=corp.pk)
        assert {name: found.__dict__[name] for name in names} == {name: expected.__dict__[name] for name in names}
        assert (found.secret, found.department_root_ids) == (corp.secret, [3, 7])
        assert (found._state.adding, found._state.db) == (False, "default")


def test_further_columns_are_attributes_and_missing_ones_are_read_later(corp: Corp) -> None:
    query = WrittenQuery(Corp, "SELECT 7 AS lucky, name, id FROM integrations_corp WHERE id = %(pk)s")

    found: Any = query.first({"pk": corp.pk})

    assert (found.lucky, found.name, found.pk) == (7, corp.name, corp.pk)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert found.corpid == corp.corpid
    assert len(queries) == 1


def test_each_time_it_is_the_row_of_the_moment(corp: Corp) -> None:
    query = WrittenQuery(Corp, "SELECT id, name FROM integrations_corp WHERE id = %s")
    assert query.first([corp.pk + 1]) is None
    before = query.first([corp.pk])
    Corp.objects.filter(pk=corp.pk).update(name="南山制造")
    after = query.first([corp.pk])

    assert before is not None
    assert after is not None
    assert (before.name, after.name) == (corp.name, "南山制造")


def test_times_are_converted_where_the_database_has_none() -> None:
    beat = Heartbeat.objects.create(kind=Heartbeat.Kind.WEB, name="a:1", beat_at="2026-11-27T01:02:03Z")
    query = WrittenQuery(Heartbeat, "SELECT id, beat_at FROM integrations_heartbeat WHERE name = %s")

    found = query.first(["a:1"])

    assert found is not None
    assert found.beat_at == Heartbeat.objects.get(pk=beat.pk).beat_at
