"""Draws tables and large numbers, whose parts are placed by pixel. Pure.

Texts in a table may be cut, visibly. Numbers and dates are shown whole or not at all: half a number reads as another
one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.data.figures import Change, ChangeKind, rank_rows
from integrations.data.table import Column, Kind, Table, Value
from notifications.charts import drawing
from notifications.charts.definition import (
    COLUMNS_AT_MOST,
    Aggregate,
    Chart,
    ChartError,
    Sort,
    aggregate_places,
    find_number_format,
    is_planned,
)
from notifications.charts.drawing import FONT_SIZE

GAP = 14
# The renderer cuts a text that fits to the pixel.
_SLACK = 2.0
ROOM = drawing.WIDTH - 2 * drawing.MARGIN
# The most that a text column wants, and the least that it gets: five Chinese letters.
_WIDE = 170.0
_NARROW = 5.0 * drawing.FONT_SIZE + GAP

Cells = list[list[str]]


def fit_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Value]], *, language: str
) -> tuple[list[Column], Cells]:
    """Return as many of the first columns as fit, and their cells by row: numbers in full, or all in short (1,235万) if
    that makes room. `rows` hold a value for each column."""
    cells = [[drawing.cell_text(value, column) for value, column in zip(row, columns, strict=True)] for row in rows]
    if not _fits(columns, cells):
        cells = [
            [_shorten(value, column, language) for value, column in zip(row, columns, strict=True)] for row in rows
        ]
    count = len(columns)
    while count > 1 and not _fits(columns[:count], cells):
        count -= 1
    return list(columns[:count]), [row[:count] for row in cells]


def place_columns(columns: Sequence[Column], cells: Cells) -> list[tuple[float, float]]:
    """Return each column's beginning and width with its gap: what it needs, plus a share of the spare room."""
    bounds = _find_widths(columns, cells)
    least, wished = (sum(widths) for widths in zip(*bounds, strict=True))
    if wished > max(ROOM, least):
        share = max(0.0, ROOM - least) / (wished - least)
        widths = [low + share * (high - low) for low, high in bounds]
    else:
        widths = [high * max(1.0, ROOM / wished) for _low, high in bounds]
    found, start = [], float(drawing.MARGIN)
    for width in widths:
        found.append((round(start, 1), round(width, 1)))
        start += width
    return found


def head(column: Column) -> str:
    """Return the column's name, at most 60 characters, with its unit."""
    name, unit = drawing.one_line(column.name, 60), drawing.one_line(drawing.head_unit(column), 20)
    return f"{name} ({unit})" if unit else name


def _shorten(value: Value, column: Column, language: str) -> str:
    number = drawing.drawable(value)
    if number is None or column.kind is Kind.PERCENT:
        return drawing.cell_text(value, column)
    return drawing.short(number, decimals=column.decimals, language=language)


def _fits(columns: Sequence[Column], cells: Cells) -> bool:
    return sum(least for least, _wished in _find_widths(columns, cells)) <= ROOM


def _find_widths(columns: Sequence[Column], cells: Cells) -> list[tuple[float, float]]:
    """Return the least and the wanted width of each column. Heads may be cut, as texts may."""
    found = []
    for position, column in enumerate(columns):
        widest = max((drawing.width_of(row[position]) for row in cells), default=0.0) + _SLACK + GAP
        is_text = column.kind == Kind.TEXT
        wished = max(min(_WIDE, widest) if is_text else widest, min(_WIDE, drawing.width_of(head(column)) + GAP))
        found.append((min(wished, _NARROW) if is_text else widest, wished))
    return found


# --- The picture of a table, and one large number ---

Spec = dict[str, Any]

_ROW, _HEAD, _FOOT = 26, 34, 28
_FIGURE = 40
_NUMBER_HEIGHT = 220
# The most places of a sparkline.
_SPARKS = 60


def table_spec(chart: Chart, table: Table, size: drawing.Size, *, language: str) -> Spec:
    """Return the spec of a table's first rows and columns, with a note below about what is left out."""
    chosen = _choose_columns(chart, table)
    room = (size.height - _HEAD - _FOOT) // _ROW - 1
    top = min(chart.top, room if size.is_fixed else size.row_count)
    positions = [table.position(column.name) for column in chosen]
    rows = [[row[position] for position in positions] for row in _order_rows(chart, table)[:top]]
    columns, cells = fit_columns(chosen, rows, language=language)
    height = size.height if size.is_fixed else _HEAD + _ROW * (len(rows) + 1) + _FOOT
    # The head and every other row have a faint ground.
    bands = [
        {"px": drawing.MARGIN - 6, "pr": drawing.WIDTH - drawing.MARGIN + 6, "py": y, "pb": y + _ROW}
        for y in (_HEAD + _ROW * line for line in range(0, len(rows) + 1, 2))
    ]
    place = {"x": _pixel("px"), "x2": {"field": "pr"}, "y": _pixel("py"), "y2": {"field": "pb"}}
    ground = {"data": {"values": bands}, "mark": {"type": "rect", "color": drawing.BAND}, "encoding": place}
    # A layer for each alignment, limit and weight, because these belong to the mark.
    texts: dict[tuple[str, float, bool], list[Spec]] = defaultdict(list)
    placed = list(zip(columns, place_columns(columns, cells), strict=True))
    for line, words in enumerate([[head(column) for column in columns], *cells]):
        for (column, (start, width)), text in zip(placed, words, strict=True):
            x, align = (start + width - GAP, "right") if column.is_numeric else (start, "left")
            cell = {"t": drawing.within(text, width - GAP, FONT_SIZE), "px": x, "py": _HEAD + _ROW * (line + 0.5)}
            texts[align, drawing.limit_of(text, width - GAP), line == 0].append(cell)
    layers = [ground]
    for (align, limit, is_head), values in sorted(texts.items(), key=lambda layer: layer[0]):
        mark = {"type": "text", "align": align, "baseline": "middle", "fontSize": FONT_SIZE, "limit": limit}
        mark |= {**(drawing.BOLD if is_head else {}), "color": drawing.INK}
        place = {"x": _pixel("px"), "y": _pixel("py"), "text": {"field": "t"}}
        layers.append({"data": {"values": values}, "mark": mark, "encoding": place})
    layers.append(_text_layer(chart.title or _("Table"), y=20, size=15, colour=drawing.INK, is_bold=True))
    foot = _write_foot(table, len(rows), len(columns))
    layers.append(_text_layer(foot, y=height - 14, size=FONT_SIZE, colour=drawing.FAINT))
    return _fixed_layout(layers, height)


def _pixel(name: str) -> Spec:
    return {"field": name, "type": "quantitative", "scale": None, "axis": None}


def number_spec(chart: Chart, table: Table, size: drawing.Size, *, language: str) -> Spec:
    """Return the spec of the last place's value, its change from the one before, and a sparkline."""
    numbers, notes = aggregate_places(chart, table)
    known = [number for number in numbers if number is not None]
    if not known:
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    unit, decimals = find_number_format(chart, table)
    height = size.height if size.is_fixed else _NUMBER_HEIGHT
    number = drawing.short(known[-1], unit, decimals, language=language)
    layers = [
        _text_layer(chart.title or chart.y[0], y=22, size=15, colour=drawing.INK, is_bold=True),
        _text_layer(number, y=64, size=_FIGURE, colour=drawing.COLOURS[0], is_bold=True),
    ]
    if len(known) > 1:
        is_percent = table.column(chart.y[0]).kind is Kind.PERCENT and chart.aggregate != Aggregate.COUNT
        change = Change(known[-1], known[-2], is_percent)
        layers.append(_text_layer(_change_text(change, unit, decimals), y=98, size=13, colour=drawing.INK))
        layers.append(_draw_sparkline(numbers[-_SPARKS:], top=112, bottom=height - 34))
    foot = " · ".join([drawing.as_of_text(table), *notes])
    layers.append(_text_layer(foot, y=height - 14, size=drawing.FONT_SIZE, colour=drawing.FAINT))
    return _fixed_layout(layers, height)


def _fixed_layout(layers: list[Spec], height: float) -> Spec:
    return {"width": drawing.WIDTH, "height": height, "padding": 0, "autosize": "none", "layer": layers}


def _text_layer(text: str, *, y: float, size: int, colour: str, is_bold: bool = False) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": size, "color": colour}
    shown = drawing.within(drawing.one_line(text), ROOM, size)
    mark |= {**(drawing.BOLD if is_bold else {}), "limit": drawing.limit_of(shown, ROOM, size)}
    place = {"x": {"value": drawing.MARGIN}, "y": {"value": y}, "text": {"field": "t"}}
    return {"data": {"values": [{"t": shown}]}, "mark": mark, "encoding": place}


def _choose_columns(chart: Chart, table: Table) -> list[Column]:
    chosen = [name for name in dict.fromkeys((chart.x, *chart.y)) if name] or list(table.names)
    by_name = {column.name: column for column in table.columns}
    found = [by_name[name] for name in chosen][:COLUMNS_AT_MOST]
    if not found or not table.rows:
        raise ChartError(Sentence("There is nothing to draw: the data has no rows."))
    return found


def _order_rows(chart: Chart, table: Table) -> list[tuple[Value, ...]]:
    """Return the rows in the chart's order. If the first column holds days, they rank: for the largest the newest
    first, planned rows last. Otherwise the first column of numbers ranks."""
    if chart.sort == Sort.NAME and chart.x:
        return sorted(table.rows, key=lambda row: str(row[table.position(chart.x)]))
    columns = [table.column(name) for name in (chart.x, *chart.y) if name]
    ranking = next((one for one in columns[:1] if one.is_temporal), None)
    ranking = ranking or next((one for one in columns if one.is_numeric and one.name in chart.y), None)
    if chart.sort == Sort.AS_IS or ranking is None:
        return list(table.rows)
    ranked = rank_rows(table, ranking.name, is_descending=chart.sort == Sort.LARGEST)
    rows = [table.rows[row] for row in ranked]
    if ranking.is_temporal and chart.sort == Sort.LARGEST:
        rows.sort(key=lambda row: is_planned(row[table.position(ranking.name)], table))
    return rows


def _write_foot(table: Table, row_count: int, column_count: int) -> str:
    said = [drawing.as_of_text(table)]
    rows = len(table.rows) - row_count
    columns = len(table.columns) - column_count
    if rows or table.is_cut:
        total = f"{len(table.rows)}+" if table.is_cut else len(table.rows)
        said.append(_("%(count)d of %(total)s rows") % {"count": row_count, "total": total})
    if columns:
        said.append(ngettext("%(count)d more column", "%(count)d more columns", columns) % {"count": columns})
    return " · ".join(said)


def _change_text(change: Change, unit: str, decimals: int | None) -> str:
    if change.ratio is not None and abs(change.ratio) >= 100:
        return _("much more than before")
    said = drawing.describe_change(change, decimals=decimals, unit=unit)
    return said if change.kind is ChangeKind.WORDS else _("%(change)s against the value before") % {"change": said}


def _draw_sparkline(numbers: Sequence[Decimal | None], *, top: int, bottom: int) -> Spec:
    rows = [{"x": place, "y": drawing.as_float(number)} for place, number in enumerate(numbers)]
    across = {"range": [drawing.MARGIN, drawing.WIDTH - drawing.MARGIN], "nice": False, "zero": False}
    up = {"range": [bottom, top], "zero": False, "nice": False}
    place = {
        "x": {"field": "x", "type": "quantitative", "scale": across, "axis": None},
        "y": {"field": "y", "type": "quantitative", "scale": up, "axis": None},
    }
    mark = {"type": "line", "strokeWidth": 2, "color": drawing.COLOURS[0]}
    return {"data": {"values": rows}, "mark": mark, "encoding": place}
