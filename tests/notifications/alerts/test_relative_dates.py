"""Conditions and filters with dates that move with the day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.alerts import relative_dates, verdicts
from notifications.alerts.conditions import Condition, ConditionError, Join, check
from notifications.alerts.relative_dates import RelativeDate
from notifications.alerts.verdicts import Memory
from tests.notifications.alerts.lines import parse

TODAY = date(2026, 11, 24)
DAYS = [date(2026, 10, 1), date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 18), date(2026, 11, 23), TODAY]


def table(kind: Kind) -> Table:
    """Sales of 1, 2, 4, 8, 16 and 32, a day each; with times, in the evening."""
    evening = time(23, 30)
    days = DAYS if kind is Kind.DATE else [datetime.combine(day, evening) for day in DAYS]
    columns = (Column("日期", kind), Column("销售额", Kind.NUMBER), Column("说明", Kind.TEXT))
    rows = tuple((day, 2**number, "昨天") for number, day in enumerate(days))
    return Table(columns, rows, datetime(2026, 11, 24, 8, tzinfo=UTC))


def verdict(line: str, data: Table) -> verdicts.Verdict:
    fixed = [verdicts.at_day(one, data, TODAY) for one in parse(line)]
    return verdicts.evaluate(fixed, Join.ALL, data, Memory())


@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("name", "sales"),
    [("今天", 32), ("昨天", 16), ("最近7天", 56), ("本月", 60), ("上月", 3), ("yesterday", 16), ("Last 7 days", 56)],
)
def test_narrow_the_rows_of_a_date_column(kind: Kind, name: str, sales: int) -> None:
    [found] = verdict(f"sum 销售额 > 0 where 日期={name}", table(kind)).found
    assert found.value == sales


@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("comparison", "rows"),
    [
        ("= 上月", (0, 1)),
        ("!= 上月", (2, 3, 4, 5)),
        ("< 昨天", (0, 1, 2, 3)),
        ("<= 昨天", (0, 1, 2, 3, 4)),
        ("> 昨天", (5,)),
        (">= 昨天", (4, 5)),
        ("between 上月 and 昨天", (0, 1, 2, 3, 4)),
        ("between 2026-10-31 and 昨天", (1, 2, 3, 4)),
    ],
)
def test_are_compared_with_a_date_column(kind: Kind, comparison: str, rows: tuple[int, ...]) -> None:
    assert verdict(f"any 日期 {comparison}", table(kind)).rows == rows


def test_in_a_text_column_they_are_words() -> None:
    [found] = verdict("sum 销售额 > 0 where 说明=昨天", table(Kind.DATE)).found
    assert found.value == 63
    assert verdict("any 说明 = 昨天", table(Kind.DATE)).rows == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("line", ["any 日期 = 昨日吧", "sum 销售额 > 0 where 日期=华东", "any 日期 > 150"])
def test_what_cannot_be_a_date_is_refused_on_a_date_column(line: str) -> None:
    [condition] = parse(line)
    with pytest.raises(ConditionError, match="no_date"):
        check(condition, table(Kind.DATE))


def test_of_january_the_month_before_is_in_the_year_before() -> None:
    first, last = relative_dates.span(RelativeDate.LAST_MONTH, date(2027, 1, 31))
    assert (first, last) == (date(2026, 12, 1), date(2026, 12, 31))
    assert last - first == timedelta(days=30)


def test_what_is_no_relative_date_stays_as_it_is() -> None:
    [condition] = parse("any 日期 >= 2026-11-01 where 说明=x")
    assert isinstance(condition, Condition)
    assert verdicts.at_day(condition, table(Kind.DATE), TODAY) == condition
