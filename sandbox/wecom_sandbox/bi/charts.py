"""Data of a card (chartMain) in two layouts: one title per column, or several header rows over merged cells.

`v` is a cell's raw value, `d` its text. In the second layout each line begins with its dimensions, whose names are in
`row.meta` only. A merged cell below the first has only `t_idx`: the "row:col" of the first one in the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wecom_sandbox.state.bi import BiCard, BiPivot

Row = Mapping[str, Any]


class ChartError(ValueError):
    """A call with an unknown name or a wrong value. The text explains it to the caller's developer."""


def select_rows(card: BiCard, filters: object, parameters: object) -> list[dict[str, Any]]:
    """Return the rows that pass all filters and parameters. Columns have their original names. Raise ChartError."""
    tests = [_read_filter(card, one) for one in _read_objects(filters, "filters")] + _read_parameters(card, parameters)
    return [row for row in card.rows if all(test(row) for test in tests)]


def _read_filter(card: BiCard, one: Mapping[str, Any]) -> Callable[[Row], bool]:
    if set(one) - {"name", "filterType", "filterValue"}:
        raise ChartError("a filter has name, filterType and filterValue")
    return _make_test(card, one.get("name"), one.get("filterType"), one.get("filterValue") or [])


def _read_parameters(card: BiCard, sent: object) -> list[Callable[[Row], bool]]:
    """Return a test for each parameter that has values: those sent, else the parameter's default. The
    form [{"name", "value"}] is this stand-in's own: no public source says what the BI takes."""
    values = {one.get("name"): one.get("value") for one in _read_objects(sent, "dynamicParams")}
    unknown = set(values) - {parameter.name for parameter in card.parameters}
    if unknown:
        raise ChartError(f"the card has no dynamic parameter {sorted(map(str, unknown))[0]}")
    found = []
    for parameter in card.parameters:
        value = values.get(parameter.name, parameter.values)
        sent_values = value if isinstance(value, list) else [value]
        if sent_values:
            found.append(_make_test(card, parameter.column, parameter.filter_type, sent_values))
    return found


def _read_objects(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ChartError(f"{name} must be a list of objects")
    return value


def _make_test(card: BiCard, name: object, kind: object, values: object) -> Callable[[Row], bool]:
    if name not in card.columns:
        raise ChartError(f"the card has no column {name}")
    if kind not in _TESTS:
        raise ChartError(f"there is no filterType {kind}")
    if not isinstance(values, list) or not all(isinstance(one, str | int | float) for one in values):
        raise ChartError("filterValue must be a list of values")
    fewest, most, holds = _TESTS[kind]
    if not fewest <= len(values) <= most:
        raise ChartError(f"{kind} takes {fewest} values" if fewest == most else f"{kind} takes a value or more")
    return lambda row: holds(row.get(str(name)), values)


def _ignore_empty_cells(holds: Callable[[Any, Sequence[Any]], bool]) -> Callable[[Any, Sequence[Any]], bool]:
    """Make a test that an empty cell never fulfils, as in SQL, also for negated comparisons."""
    return lambda cell, values: cell is not None and holds(cell, values)


def _compare(cell: Any, value: Any) -> int:
    """Return -1, 0 or 1, comparing as numbers if both are numbers, else as texts."""
    try:
        left, right = (float(cell), float(value)) if isinstance(cell, int | float) else (str(cell), str(value))
    except ValueError:
        left, right = str(cell), str(value)
    return (left > right) - (left < right)  # type: ignore[operator]  # both of one type


_IN_MOST = 10_000
_Test = tuple[int, int, Callable[[Any, Sequence[Any]], bool]]
_TESTS: dict[Any, _Test] = {
    "EQ": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) == 0)),
    "NE": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) != 0)),
    "GT": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) > 0)),
    "GE": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) >= 0)),
    "LT": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) < 0)),
    "LE": (1, 1, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) <= 0)),
    "BT": (2, 2, _ignore_empty_cells(lambda cell, values: _compare(cell, values[0]) >= 0 >= _compare(cell, values[1]))),
    "IN": (1, _IN_MOST, _ignore_empty_cells(lambda cell, values: any(_compare(cell, value) == 0 for value in values))),
    "NI": (1, _IN_MOST, _ignore_empty_cells(lambda cell, values: all(_compare(cell, value) != 0 for value in values))),
    "STARTSWITH": (1, 1, _ignore_empty_cells(lambda cell, values: str(cell).startswith(str(values[0])))),
    "ENDSWITH": (1, 1, _ignore_empty_cells(lambda cell, values: str(cell).endswith(str(values[0])))),
    "CONTAINS": (1, 1, _ignore_empty_cells(lambda cell, values: str(values[0]) in str(cell))),
    "IS_NULL": (0, 0, lambda cell, _values: cell is None),
    "NOT_NULL": (0, 0, lambda cell, _values: cell is not None),
}


GRID, GRAPH = "GRID", "GRAPH"  # views of a card's data, see state.bi.BiCard


@dataclass(slots=True)
class Chart:
    """A drawn card. `header`: column.values; `meta`: row.meta. Equal cells of the first `merged` columns are merged."""

    kind: str
    lines: list[list[Any]]
    header: list[list[dict[str, Any]]]
    meta: list[dict[str, Any]] = field(default_factory=list)
    merged: int = 0


def draw_chart(card: BiCard, rows: Sequence[dict[str, Any]], view: str) -> Chart:
    """Draw the card's rows. Raise ChartError if the card's pivot names an unknown column."""
    if card.pivot is None or view == GRAPH:
        header = [[_make_title(card, name)] for name in card.columns]
        return Chart("TABLE", [[row.get(name) for name in card.columns] for row in rows], header)
    return _draw_pivot(card, card.pivot, rows)


def make_chart_part(chart: Chart, offset: int, limit: int) -> dict[str, Any]:
    """Return at most `limit` lines from `offset` on, with the number of all lines."""
    shown = chart.lines[offset : offset + limit]
    return {
        "data": [[_make_cell(chart, shown, line, at) for at in range(len(row))] for line, row in enumerate(shown)],
        "column": {"values": chart.header},
        "row": {"meta": chart.meta},
        "count": len(chart.lines),
        "hasMoreData": offset + limit < len(chart.lines),
    }


def _make_cell(chart: Chart, shown: list[list[Any]], line: int, place: int) -> dict[str, Any]:
    value = shown[line][place]
    first = line
    while place < chart.merged and first and shown[first - 1][: place + 1] == shown[line][: place + 1]:
        first -= 1
    if first < line:
        return {"t_idx": f"{first}:{place}"}
    return {"v": value, "d": "" if value is None else str(value)}


def _make_title(card: BiCard, name: str) -> dict[str, Any]:
    return {"title": card.aliases[name], "originTitle": name} if name in card.aliases else {"title": name}


def _draw_pivot(card: BiCard, pivot: BiPivot, rows: Sequence[dict[str, Any]]) -> Chart:
    unknown = {*pivot.rows, *pivot.columns, *pivot.values} - set(card.columns)
    if unknown or not pivot.values:
        raise ChartError(f"the card's pivot has no values, or unknown columns: {', '.join(sorted(unknown))}")
    cells_by_line: dict[tuple[Any, ...], dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    seen_columns: dict[tuple[Any, ...], None] = {}
    for row in rows:
        line, column = (tuple(row.get(name) for name in names) for names in (pivot.rows, pivot.columns))
        seen_columns[column] = None
        cells_by_line.setdefault(line, {}).setdefault(column, []).append(row)
    columns = _group_keys(list(seen_columns))
    lines = [
        [*line, *(_sum_column(cells.get(column, []), name) for column in columns for name in pivot.values)]
        for line, cells in ((line, cells_by_line[line]) for line in _group_keys(list(cells_by_line)))
    ]
    meta = [{"alias": card.aliases.get(name, name), "originTitle": name} for name in pivot.rows]
    return Chart("PIVOT_TABLE", lines, _make_levels(card, pivot, columns), meta, merged=max(0, len(pivot.rows) - 1))


def _group_keys(keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort the keys so that those with the same first values are neighbours, in the order of the data."""
    ranks: list[dict[Any, int]] = [{} for _each in keys[0]] if keys else []
    for key in keys:
        for rank, value in zip(ranks, key, strict=True):
            rank.setdefault(value, len(rank))
    return sorted(keys, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])


def _make_levels(card: BiCard, pivot: BiPivot, columns: list[tuple[Any, ...]]) -> list[list[dict[str, Any]]]:
    """Return one header row for each of `pivot.columns`, with equal neighbours merged, and one for the values."""
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
    return [*levels, [_make_title(card, name) for _column in columns for name in pivot.values]]


def _sum_column(rows: Sequence[dict[str, Any]], name: str) -> Any:
    numbers = [row[name] for row in rows if isinstance(row.get(name), int | float)]
    if not numbers:
        return None
    return sum(numbers) if all(isinstance(one, int) for one in numbers) else round(math.fsum(numbers), 10)
