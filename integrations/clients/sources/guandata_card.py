"""Read a Guandata card as a Table. The shape of the header shows the card's layout.

Single columns (GRAPH): `column.values[i][0].title`. Levels (a pivot in GRID): each of `column.values` is a row of
the header whose cells span `colSpan` columns. Leading columns without a cell in the header are dimensions, which
`row.meta` names. docs/en/data-sources.md says what is known of the format, and how certain that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.clients.errors import ConfigurationError, IntegrationError, RateLimitedError, TransientError
from integrations.clients.guandata import SIGN_IN, TokenRefusedError
from integrations.clients.transport import ANSWER_BYTES_AT_MOST, total_deadline
from integrations.data import Problem, SourceError
from integrations.data.table import Table
from integrations.data.table_builder import CHARACTERS_AT_MOST, ColumnChoices, build_table

# Separates the levels of a header.
LEVEL_SEPARATOR = " / "
_POINTER = re.compile(r"(\d{1,9}):(\d{1,9})")
_NOT_FOUND = 404


@dataclass(slots=True)
class _CardContent:
    """The content read so far. `row_headers`: for each row, the dimensions that came separately from `rows`.

    There are two grids, because a merged cell's pointer counts the columns of its own grid.
    """

    names: list[str] = field(default_factory=list)
    row_headers: list[list[Mapping[str, Any]]] = field(default_factory=list)
    rows: list[list[Mapping[str, Any]]] = field(default_factory=list)
    characters: int = 0


def read_card(
    charts: Iterator[Mapping[str, Any]],
    *,
    rows_at_most: int,
    seconds: float,
    now: datetime,
    choices: ColumnChoices | None = None,
) -> Table:
    """Return the first `rows_at_most` rows, within `seconds` for all calls together. Raises SourceError.

    `charts`: from GuandataClient.card_data. The displayed texts of the cells give a column's unit, decimals and the
    scale of percentages.
    """
    failure: IntegrationError | None = None
    content, is_cut = _CardContent(), False
    try:
        with total_deadline(seconds):
            is_cut = _read_charts(charts, rows_at_most, content)
    except IntegrationError as error:
        failure = error
    if failure is not None:
        # Raised outside the block: inside, its __context__ would be the first error, with the BI's text.
        raise explain_call_failure(failure, seconds)
    cells = [[*headers, *row] for headers, row in zip(content.row_headers, content.rows, strict=True)][:rows_at_most]
    return build_table(
        content.names,
        [[cell.get("v") for cell in row] for row in cells],
        fetched_at=now,
        is_cut=is_cut,
        choices=choices or ColumnChoices(),
        displays=[[cell.get("d") for cell in row] for row in cells],
    )


def _read_charts(charts: Iterator[Mapping[str, Any]], rows_at_most: int, content: _CardContent) -> bool:
    """Read the charts into `content`. Return whether the card has more rows than requested."""
    for chart in charts:
        if not all(isinstance(row, list) for row in chart["data"]):
            raise SourceError(Problem.NOT_UNDERSTOOD, what="rows")
        rows: list[list[Mapping[str, Any]]] = [
            [cell if isinstance(cell, dict) else {"v": cell} for cell in row] for row in chart["data"]
        ]
        row_headers = _read_row_headers(chart, len(rows)) or [[] for _row in rows]
        if not content.rows:
            header_count = len(row_headers[0]) if row_headers else 0
            width = max((len(headers) + len(row) for headers, row in zip(row_headers, rows, strict=True)), default=0)
            content.names = _find_column_names(chart, width, header_count)
        cells = (cell for grid in (row_headers, rows) for row in grid for cell in row)
        content.characters += sum(len(value) for cell in cells for value in cell.values() if isinstance(value, str))
        if content.characters > CHARACTERS_AT_MOST:
            raise SourceError(Problem.TOO_BIG, megabytes=CHARACTERS_AT_MOST // 2**20)
        before = len(content.rows)
        content.row_headers += row_headers
        content.rows += rows
        for grid in (content.row_headers, content.rows):
            for row in grid[before:]:
                row[:] = [_resolve_merged_cell(cell, grid, before) for cell in row]
        if len(content.rows) >= rows_at_most:
            return chart.get("hasMoreData") is True or len(content.rows) > rows_at_most
    return False


# --- Header -----------------------------------------------------------------------------------------------------------


def _find_column_names(chart: Mapping[str, Any], width: int, header_count: int) -> list[str]:
    """Return all columns' names. `width`: how many columns the data has; `header_count`: how many are row headers."""
    column, row = chart.get("column"), chart.get("row")
    dimensions = row.get("meta") if isinstance(row, dict) else None
    meta = [
        next((str(one[key]) for key in ("alias", "title", "originTitle") if one.get(key)), "")
        for one in dimensions or []
        if isinstance(one, dict)
    ]
    values = column.get("values") if isinstance(column, dict) else None
    header = [one if isinstance(one, list) else [one] for one in values] if isinstance(values, list) else []
    if width == 0:
        if not any(header):
            return meta
        return [*meta, *_read_level_names(header)] if _has_levels(header) else _read_single_names(header)
    if header_count:
        meta = [*meta[:header_count], *([""] * (header_count - len(meta)))]
    single, levels = _read_single_names(header), _read_level_names(header)
    for names in (levels, single) if _has_levels(header) else (single, levels):  # first the layout that is more likely
        if len(names) == width and not header_count:
            return names
        if meta and len(meta) + len(names) == width:
            return [*meta, *names]
    raise SourceError(Problem.NOT_UNDERSTOOD, what="header")


def _has_levels(header: list[list[Any]]) -> bool:
    return any(_read_span(cell) > 1 for level in header for cell in level) or any(len(level) > 1 for level in header)


def _read_single_names(header: list[list[Any]]) -> list[str]:
    return [_read_title(one[0]) if one else "" for one in header]


def _read_level_names(header: list[list[Any]]) -> list[str]:
    spread = [[_read_title(cell) for cell in level for _each in range(_read_span(cell))] for level in header]
    width = max((len(level) for level in spread), default=0)
    padded = [[*([""] * (width - len(level))), *level] for level in spread]
    return [LEVEL_SEPARATOR.join(dict.fromkeys(filter(None, titles))) for titles in zip(*padded, strict=True)]


def _read_span(cell: Any) -> int:
    span = cell.get("colSpan", 1) if isinstance(cell, dict) else 1
    return span if isinstance(span, int) and 1 <= span <= 1000 else 1


def _read_title(cell: Any) -> str:
    if not isinstance(cell, dict):
        return str(cell)
    return next((str(cell[key]) for key in ("title", "alias", "originTitle", "d", "v") if cell.get(key)), "")


def _read_row_headers(chart: Mapping[str, Any], row_count: int) -> list[list[Mapping[str, Any]]]:
    """Return the dimensions of each row if they came separately from the data; else an empty list."""
    row = chart.get("row")
    values = row.get("values") if isinstance(row, dict) else None
    if not isinstance(values, list) or not values or len(values) != row_count:
        return []
    headers: list[list[Mapping[str, Any]]] = []
    for entry in values:
        cells = entry if isinstance(entry, list) else [entry]
        named = [cell if isinstance(cell, dict) else {"v": cell} for cell in cells]
        headers.append([cell if "v" in cell or "t_idx" in cell else {"v": _read_title(cell)} for cell in named])
    return headers


# --- Cells ------------------------------------------------------------------------------------------------------------


def _resolve_merged_cell(cell: Mapping[str, Any], rows: list[list[Mapping[str, Any]]], first: int) -> Mapping[str, Any]:
    """Return the cell to which a merged cell points; any other cell itself.

    `first`: where the rows of the cell's own answer begin. `t_idx` counts rows from there; a number that is too large
    for that counts from the card's first row.
    """
    seen: set[tuple[int, int]] = set()
    while isinstance(pointer := cell.get("t_idx"), str) and (found := _POINTER.fullmatch(pointer)):
        row, column = int(found[1]), int(found[2])
        row = first + row if first + row < len(rows) else row
        if (row, column) in seen or row >= len(rows) or column >= len(rows[row]) or rows[row][column] is cell:
            return cell
        seen.add((row, column))
        cell = rows[row][column]
    return cell


# --- Failures ---------------------------------------------------------------------------------------------------------


def explain_call_failure(error: IntegrationError, seconds: float) -> SourceError:
    """Return the error for a card's owner after a failed call of the BI. `seconds`: the time limit that was set."""
    if isinstance(error, RateLimitedError):
        return SourceError(Problem.BUSY)
    if isinstance(error, TransientError):
        if error.message.startswith("HTTP status"):
            return SourceError(Problem.BROKEN, status=error.message.removeprefix("HTTP status "))
        if "imeout" in error.message:  # Timeout or timeout
            return SourceError(Problem.TOO_SLOW, seconds=round(seconds))
        return SourceError(Problem.UNREACHABLE, reason=error.message)
    if error.code == _NOT_FOUND:
        return SourceError(Problem.NOT_FOUND)
    if isinstance(error, TokenRefusedError) or (isinstance(error, ConfigurationError) and error.operation == SIGN_IN):
        return SourceError(Problem.CREDENTIALS_REFUSED)
    if isinstance(error, ConfigurationError):
        return SourceError(Problem.CERTIFICATE if "certificate" in error.message else Problem.CREDENTIALS_REFUSED)
    if error.code is not None:
        return SourceError(Problem.REFUSED, code=error.code)
    if error.message.startswith("the answer is longer than"):
        return SourceError(Problem.TOO_BIG, megabytes=ANSWER_BYTES_AT_MOST // 2**20)
    return SourceError(Problem.NOT_UNDERSTOOD, what="answer")
