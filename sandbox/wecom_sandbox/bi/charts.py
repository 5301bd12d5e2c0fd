"""chartMain of a card in its two layouts: one title a column, and a header of levels over merged cells.

`v` is a cell's raw value, `d` its text. In the second layout the dimensions of the lines stand in front, named by
`row.meta` alone; a cell merged with the one above has only `t_idx`, which points at it by "row:col" of its answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wecom_sandbox.bi.conditions import NotUnderstood
from wecom_sandbox.state.bi import BiCard, BiPivot

GRID, GRAPH = "GRID", "GRAPH"


@dataclass(slots=True)
class Chart:
    """`lines`: of plain values. `header`, `meta`: column.values and row.meta. `merged`: columns with merged cells."""

    kind: str
    lines: list[list[Any]]
    header: list[list[dict[str, Any]]]
    meta: list[dict[str, Any]] = field(default_factory=list)
    merged: int = 0


def drawn(card: BiCard, rows: Sequence[dict[str, Any]], view: str) -> Chart:
    """Raises NotUnderstood where the card's own pivot names a column that it does not have."""
    if card.pivot is None or view == GRAPH:
        header = [[_titled(card, name)] for name in card.columns]
        return Chart("TABLE", [[row.get(name) for name in card.columns] for row in rows], header)
    return _pivoted(card, card.pivot, rows)


def part(chart: Chart, offset: int, limit: int) -> dict[str, Any]:
    """The lines from `offset` on, at most `limit`, with what the BI says of the whole."""
    shown = chart.lines[offset : offset + limit]
    return {
        "data": [[_cell(chart, shown, line, place) for place in range(len(shown[line]))] for line in range(len(shown))],
        "column": {"values": chart.header},
        "row": {"meta": chart.meta},
        "count": len(chart.lines),
        "hasMoreData": offset + limit < len(chart.lines),
    }


def _cell(chart: Chart, shown: list[list[Any]], line: int, place: int) -> dict[str, Any]:
    value = shown[line][place]
    first = line
    while place < chart.merged and first and shown[first - 1][: place + 1] == shown[line][: place + 1]:
        first -= 1
    if first < line:
        return {"t_idx": f"{first}:{place}"}
    return {"v": value, "d": "" if value is None else str(value)}


def _titled(card: BiCard, name: str) -> dict[str, Any]:
    return {"title": card.aliases[name], "originTitle": name} if name in card.aliases else {"title": name}


def _pivoted(card: BiCard, pivot: BiPivot, rows: Sequence[dict[str, Any]]) -> Chart:
    unknown = {*pivot.rows, *pivot.columns, *pivot.values} - set(card.columns)
    if unknown or not pivot.values:
        raise NotUnderstood(f"the card's pivot is of no use: {', '.join(sorted(unknown))}")
    found: dict[tuple[Any, ...], dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    across: dict[tuple[Any, ...], None] = {}
    for row in rows:
        line, column = (tuple(row.get(name) for name in names) for names in (pivot.rows, pivot.columns))
        across[column] = None
        found.setdefault(line, {}).setdefault(column, []).append(row)
    columns = _side_by_side(list(across))
    lines = [
        [*line, *(_total(cells.get(column, []), name) for column in columns for name in pivot.values)]
        for line, cells in ((line, found[line]) for line in _side_by_side(list(found)))
    ]
    meta = [{"alias": card.aliases.get(name, name), "originTitle": name} for name in pivot.rows]
    return Chart("PIVOT_TABLE", lines, _levels(card, pivot, columns), meta, merged=max(0, len(pivot.rows) - 1))


def _side_by_side(keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those that share their first values stand together, in the order in which the data brought these."""
    ranks: list[dict[Any, int]] = [{} for _each in keys[0]] if keys else []
    for key in keys:
        for rank, value in zip(ranks, key, strict=True):
            rank.setdefault(value, len(rank))
    return sorted(keys, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])


def _levels(card: BiCard, pivot: BiPivot, columns: list[tuple[Any, ...]]) -> list[list[dict[str, Any]]]:
    """One row of the header for each of `pivot.columns`, equal neighbours as one cell, and one for the values."""
    levels: list[list[dict[str, Any]]] = []
    for depth in range(len(pivot.columns)):
        level: list[dict[str, Any]] = []
        before: tuple[Any, ...] | None = None
        for column in columns:
            if column[: depth + 1] != before:
                level.append({"title": "" if column[depth] is None else str(column[depth]), "colSpan": 0})
            level[-1]["colSpan"] += len(pivot.values)
            before = column[: depth + 1]
        levels.append(level)
    return [*levels, [_titled(card, name) for _column in columns for name in pivot.values]]


def _total(rows: Sequence[dict[str, Any]], name: str) -> Any:
    numbers = [row[name] for row in rows if isinstance(row.get(name), int | float)]
    if not numbers:
        return None
    return sum(numbers) if all(isinstance(one, int) for one in numbers) else round(math.fsum(numbers), 10)
