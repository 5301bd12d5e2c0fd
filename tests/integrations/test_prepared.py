"""Queries that are written once: they answer what the plain queryset answers, whatever they were asked before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.models import Corp, SiteAddress
from integrations.prepared import Prepared, PreparedExists
from tests.accounts.conftest import make_corp

NAMES = ("北山制造", '100%\'s "%s"', "prepared value 3")


def with_everything(pk: int, name: str) -> QuerySet[Corp]:
    default = SiteAddress.objects.filter(is_default=True).values("changed_at")[:1]
    is_named = ExpressionWrapper(Q(name=name), BooleanField())
    found = Corp.objects.filter(pk=pk).filter(Q(name=name) | Q(pk=pk)).only("name", "secret", "department_root_ids")
    return found.annotate(is_named=is_named, own=F("site_address__url"), at=Subquery(default))


@pytest.fixture
def query() -> Prepared[Corp]:
    return Prepared(with_everything, int, str)


@pytest.fixture
def corps(db: None) -> list[Corp]:
    return [
        make_corp(name, place, secret=f"secret {place}", department_root_ids=[place])
        for place, name in enumerate(NAMES)
    ]


def known(corp: Corp | None) -> dict[str, Any] | None:
    return {name: value for name, value in vars(corp).items() if name != "_state"} if corp else None


def test_answers_as_the_plain_queryset_for_ever_other_values(corps: list[Corp], query: Prepared[Corp]) -> None:
    asked = [(corp.pk, name) for corp in corps for name in NAMES]

    for values in asked:
        found = query.first(*values)

        assert known(found) == known(with_everything(*values).get())
        assert found is not None
        assert found.pk == values[0]
        assert found.is_named is (found.name == values[1])  # type: ignore[attr-defined]  # annotated


def test_what_was_left_out_is_read_when_it_is_needed(corps: list[Corp], query: Prepared[Corp]) -> None:
    found = query.first(corps[0].pk, "")

    assert found is not None
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert found.agentid == corps[0].agentid
    assert len(asked) == 1


def test_a_row_can_be_saved(corps: list[Corp], query: Prepared[Corp]) -> None:
    found = query.first(corps[1].pk, "")
    assert found is not None
    found.name = "改名"

    found.save(update_fields=["name"])

    assert Corp.objects.get(pk=corps[1].pk).name == "改名"


@pytest.mark.parametrize("pk", [0, 2**62, 2**63 - 1, 2**63, 10**30])
def test_there_is_nothing_under_a_number_of_nobody(corps: list[Corp], query: Prepared[Corp], pk: int) -> None:
    assert query.first(pk, "北山制造") is None


def test_each_question_is_one_query(corps: list[Corp], query: Prepared[Corp]) -> None:
    with CaptureQueriesContext(connection) as asked:
        query.first(corps[0].pk, "x")
        query.first(corps[1].pk, "y")

    assert len(asked) == 2


def test_all_values_are_named(query: Prepared[Corp]) -> None:
    with pytest.raises(ValueError, match="zip"):
        query.first(1)


def test_whether_there_are_any_is_written_once(corps: list[Corp]) -> None:
    written = []

    def build() -> QuerySet[Corp]:
        written.append(1)
        return Corp.objects.filter(Q(name=NAMES[1]) | Q(created_at__gt=Now() + timedelta(days=1)))

    is_there = PreparedExists(build)
    assert is_there()
    Corp.objects.filter(name=NAMES[1]).update(name="another")
    assert not is_there()
    Corp.objects.filter(name=NAMES[0]).update(created_at=timezone.now() + timedelta(days=2))
    assert is_there()
    assert len(written) == 1

    is_there.forget()
    assert is_there()
    assert len(written) == 2
