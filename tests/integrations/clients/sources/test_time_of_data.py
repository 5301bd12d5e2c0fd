"""Of when data is: by the column that the card names, else by the source."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.clients.sources.errors import Problem, SourceError
from integrations.clients.sources.table_builder import Wishes, table_of

NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
WISHES = Wishes(as_of_column="时间", zone=SHANGHAI)


def as_of(*values: Any, wishes: Wishes = WISHES) -> datetime:
    return table_of(["时间", "销售额"], [(value, 1) for value in values], as_of=NOW, wishes=wishes).as_of


def test_without_a_column_it_is_what_the_source_says() -> None:
    assert as_of(NOW - timedelta(days=3), wishes=Wishes()) == NOW


def test_the_latest_moment_counts() -> None:
    assert as_of(NOW - timedelta(days=3), NOW - timedelta(hours=2), None) == NOW - timedelta(hours=2)


def test_a_moment_without_a_zone_is_of_the_sites_zone() -> None:
    assert as_of("2026-11-24 08:30:00") == datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("day", [date(2026, 11, 23), "2026-11-23"])
def test_a_day_stands_for_its_end(day: Any) -> None:
    assert as_of(day, "2026-11-20" if isinstance(day, str) else date(2026, 11, 20)) == datetime(
        2026, 11, 24, tzinfo=SHANGHAI
    )


@pytest.mark.parametrize("value", ["2026-11-24", "2027-01-01 00:00", date.max])
def test_the_future_is_now(value: Any) -> None:
    assert as_of(value) == NOW


@pytest.mark.parametrize("values", [(), (None,)])
def test_nothing_in_the_column_says_nothing(values: tuple[Any, ...]) -> None:
    assert as_of(*values) == NOW


@pytest.mark.parametrize(
    ("wishes", "what"),
    [(Wishes(as_of_column="日期"), "no-time-column"), (Wishes(as_of_column="销售额"), "not-datetime")],
)
def test_a_column_that_cannot_say_it_is_no_table(wishes: Wishes, what: str) -> None:
    with pytest.raises(SourceError) as found:
        as_of(NOW, wishes=wishes)

    assert (found.value.problem, found.value.facts["what"]) == (Problem.NO_TABLE, what)
