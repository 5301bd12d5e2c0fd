"""Queries whose SQL is written once answer as Django's would, each time anew."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import Value
from django.utils import timezone

from integrations.core.kept_queries import AnyRow, KeptQuery, kept_sql
from integrations.models import Heartbeat

pytestmark = pytest.mark.django_db


def hear(name: str, *, seconds_ago: int = 0) -> Heartbeat:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Heartbeat.objects.create(kind=Heartbeat.Kind.WEB, name=name, beat_at=at)


def test_rows_are_those_of_the_moment() -> None:
    query = KeptQuery(lambda: Heartbeat.objects.order_by("name").values_list("name", "beat_at"))
    assert query.rows() == []

    first, second = hear("a:1"), hear("b:2")

    assert query.rows() == [("a:1", first.beat_at), ("b:2", second.beat_at)]


def test_what_stands_in_the_text_is_quoted() -> None:
    hear("it's 100 % %s:1")

    query = KeptQuery(lambda: Heartbeat.objects.filter(name="it's 100 % %s:1").values_list("name", Value("a'b%")))

    assert query.rows() == [("it's 100 % %s:1", "a'b%")]


def test_any_row_goes_by_the_clock_of_the_database_and_is_written_once() -> None:
    old = AnyRow(
        lambda now: [
            Heartbeat.objects.filter(beat_at__lt=now - timedelta(seconds=60)),
            Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL),
        ]
    )
    hear("a:1", seconds_ago=50)
    assert not old.exists()

    hear("b:2", seconds_ago=70)

    assert old.exists()
    assert kept_sql.cache_info().misses == 1
