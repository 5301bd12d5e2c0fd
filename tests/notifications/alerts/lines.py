"""Conditions for tests, one a line: `sum 销售额 < 1000 where 城市=上海|北京; 品类=酒`."""

from __future__ import annotations

import re

from notifications.alerts import conditions
from notifications.alerts.conditions import Aggregate, Comparison, Condition

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
}
_LINE = re.compile(
    rf"(?P<aggregate>[a-z]+) (?:(?P<column>\S+) )?(?P<sign>{'|'.join(SIGNS)})"
    r"(?: (?P<values>.+?))?(?: where (?P<rows>.+))?"
)


def parse(text: str) -> list[Condition]:
    return [_parsed(line) for line in text.splitlines()]


def _parsed(line: str) -> Condition:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    return Condition(
        Aggregate(found["aggregate"]),
        found["column"] or "",
        SIGNS[found["sign"]],
        tuple((found["values"] or "").split(" and ")) if found["values"] else (),
        conditions.parse_filters(found["rows"] or ""),
    )
