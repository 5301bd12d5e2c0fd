"""Rules, their data and their checks for tests.

A condition is a line: `sum 销售额 < 1000 where 城市=上海|北京; 品类=酒`, `sum 销售额 fell 20 % week`.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData, Corp
from integrations.models.datasources import compress_table
from notifications.alerts import conditions, evaluation
from notifications.alerts.conditions import Against, Aggregate, Comparison, Condition, Unit
from notifications.models import AlertCheck, AlertRule
from tests.notifications.factories import NOW

STEP = timedelta(minutes=10)
COLUMNS = (Column("城市", Kind.TEXT), Column("销售额", Kind.NUMBER, "元"))

SIGNS = {
    ">": Comparison.GREATER,
    ">=": Comparison.AT_LEAST,
    "<": Comparison.LESS,
    "<=": Comparison.AT_MOST,
    "=": Comparison.EQUAL,
    "!=": Comparison.UNEQUAL,
    "between": Comparison.BETWEEN,
    "outside": Comparison.OUTSIDE,
    "is null": Comparison.IS_NULL,
    "changed": Comparison.CHANGED,
    "fell": Comparison.FELL,
    "rose": Comparison.ROSE,
}
_UNITS = {"%": Unit.PERCENT, "%0": Unit.PERCENT_FROM_ZERO, "amount": Unit.AMOUNT}
_LINE = re.compile(
    rf"(?P<aggregate>[a-z]+) (?:(?P<column>\S+) )?(?P<sign>{'|'.join(SIGNS)})"
    r"(?: (?P<values>.+?))?(?: where (?P<rows>.+))?"
)


def parse(text: str) -> list[Condition]:
    return [_parse_line(line) for line in text.splitlines()]


def _parse_line(line: str) -> Condition:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    values, change = found["values"] or "", tuple[Any, ...]()
    if SIGNS[found["sign"]] in conditions.FALL_OR_RISE:
        values, unit, against = values.split()
        change = (Against(against), _UNITS[unit])
    return Condition(
        Aggregate(found["aggregate"]),
        found["column"] or "",
        SIGNS[found["sign"]],
        tuple(values.split(" and ")) if values else (),
        conditions.parse_filters(found["rows"] or ""),
        *change,
    )


def make_rule(
    card: Card, people: Iterable[User] = (), text: str = "sum 销售额 < 100", *, corp: Corp | None = None, **fields: Any
) -> AlertRule:
    rows = conditions.write_conditions(parse(text))
    defaults = {"name": "销售额过低", "crontab": "*/10 * * * *", "next_run_at": NOW}
    rule = AlertRule.objects.create(card=card, corp=corp, conditions=rows, **{**defaults, **fields})
    rule.users.set(people)
    return rule


def table(**sales: Decimal | float | None) -> Table:
    return Table(COLUMNS, tuple(sales.items()), NOW)


def check(rule: AlertRule, slot_at: datetime, data: Table | None) -> AlertCheck.Outcome | None:
    """Create a check whose data has arrived, or has failed if `data` is None, and return its outcome."""
    row = AlertCheck.objects.create(rule=rule, card=rule.card, slot_at=slot_at, requested_at=slot_at)
    state = CardData(card=rule.card, slot_at=slot_at, status="failed", problem_code="timeout")
    if data is not None:
        state = CardData(card=rule.card, slot_at=slot_at, status="ready", content=compress_table(data))
    return evaluation.decide_check(row.pk, state, now=slot_at)


def check_each(rule: AlertRule, *answers: Table | None, first: int = 0) -> list[AlertCheck.Outcome | None]:
    """Check these answers one STEP after the other, the first at NOW and `first` steps."""
    return [check(rule, NOW + number * STEP, answer) for number, answer in enumerate(answers, first)]


def watch(rule: AlertRule, text: str, **fields: Any) -> None:
    AlertRule.objects.filter(pk=rule.pk).update(conditions=conditions.write_conditions(parse(text)), **fields)


def row(
    number: int, aggregate: str, column: str, comparison: str, value: str, second: str = "", filters: str = ""
) -> dict[str, str]:
    parts = {"aggregate": aggregate, "column": column, "comparison": comparison, "value": value, "second": second}
    return {f"conditions-{number}-{name}": text for name, text in {**parts, "filters": filters}.items()}
