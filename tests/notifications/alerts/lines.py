"""Conditions for tests, one a line: `sum 销售额 < 1000 where 城市=上海|北京; 品类=酒`, `sum 销售额 fell 20 % week`."""

from __future__ import annotations

import re
from typing import Any

from notifications.alerts import conditions
from notifications.alerts.conditions import Against, Aggregate, Comparison, Condition, Unit

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
    return [_parsed(line) for line in text.splitlines()]


def _parsed(line: str) -> Condition:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    values, change = found["values"] or "", tuple[Any, ...]()
    if SIGNS[found["sign"]] in conditions.BY_CHANGE:
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
