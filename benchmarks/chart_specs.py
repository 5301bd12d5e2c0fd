"""The charts that benchmarks draw: of each kind one, from rows that differ by person."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from integrations.data.table import Column, Kind

DAYS = 30
COLUMNS = (Column("门店", Kind.TEXT), Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"))
# As fields of a report's chart. A table has as many rows as have room on a page, a donut its largest days and the rest.
CHARTS: dict[str, dict[str, Any]] = {
    kind: {"kind": kind, "x": "日期", "y": "销售额", "title": "日销售额", "top": 20 if kind == "table" else 10}
    for kind in ("line", "table", "number", "donut")
}


def rows_of(person: int) -> list[tuple[Any, ...]]:
    """A row for each day."""
    first = date(2026, 10, 1)
    return [
        (f"门店{person}", first + timedelta(days=day), (person * 37 + day * day * 11) % 9973) for day in range(DAYS)
    ]
