"""A rule tried over the past: on which of the last days its conditions would have held."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.alerts import past
from notifications.alerts.conditions import to_rows
from notifications.alerts.past import Past
from notifications.models import AlertRule
from tests.notifications.alerts.rules import parse
from tests.notifications.factories import NOW

TODAY = date(2026, 11, 24)


def day(number: int) -> date:
    """So many days before today."""
    return TODAY - timedelta(days=number)


def table(*sales: tuple[date | None, int], is_cut: bool = False) -> Table:
    return Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), sales, NOW, is_cut)


SALES = table((day(40), 1), (day(3), 1), (day(2), 60), (day(2), 60), (day(1), 5), (None, 0))


@pytest.mark.parametrize(
    ("line", "count", "held"),
    [
        ("sum 销售额 < 100", 3, [3, 1]),
        ("any 销售额 > 50", 3, [2]),
        ("sum 销售额 < 100 where 日期=昨天", 3, [2, 0]),
        ("change 销售额 <= -50", 3, [1]),
    ],
)
def test_says_on_which_days_it_would_have_fired(line: str, count: int, held: list[int]) -> None:
    rule = AlertRule(conditions=to_rows(parse(line)))
    assert past.tried(rule, SALES, today=TODAY) == Past(count, [day(number) for number in held])


def test_has_no_answer_for_what_has_no_days_or_is_cut_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = AlertRule(conditions=to_rows(parse("sum 销售额 < 100")))
    without = Table((Column("销售额", Kind.NUMBER),), ((1,),), NOW)
    assert past.tried(rule, without, today=TODAY) is None
    assert past.tried(rule, table((day(1), 1), is_cut=True), today=TODAY) is None
    monkeypatch.setattr(past, "ROWS_AT_MOST", 1)
    assert past.tried(rule, SALES, today=TODAY) is None
