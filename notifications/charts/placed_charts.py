"""Draws tables, large numbers, pies and rings, whose parts we place ourselves. Pure.

Texts in a table may be cut, visibly. A number or a date is whole or not there: half of it reads as another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.data.figures import Change, ChangeKind, rank_rows, total
from integrations.data.table import Column, Kind, Table, Value, format_number
from notifications.charts import drawing
from notifications.charts.definition import (
    COLUMNS_AT_MOST,
    LABEL_PIXELS,
    Aggregate,
    Chart,
    ChartError,
    ChartKind,
    Shaped,
    Sort,
    along,
    is_planned,
    shown_as,
)
from notifications.charts.drawing import FONT_SIZE, short, shown_within

# Between a column and the next one.
GAP = 14
# What fits to the pixel is cut by the renderer.
_SLACK = 2.0
ROOM = drawing.WIDTH - 2 * drawing.MARGIN
# No text wants more than this; none that is longer gets less than five Chinese letters.
_WIDE = 170.0
_NARROW = 5.0 * drawing.FONT_SIZE + GAP

Cells = list[list[str]]


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[Value]], *, language: str) -> tuple[list[Column], Cells]:
    """As many of the first columns as have room, and the words of their cells, by rows: numbers in full, or all of
    them in short (1,235万) where that makes room. `rows` hold a value for each column."""
    cells = [[drawing.cell_text(value, column) for value, column in zip(row, columns, strict=True)] for row in rows]
    if not _fits(columns, cells):
        cells = [[_short(value, column, language) for value, column in zip(row, columns, strict=True)] for row in rows]
    count = len(columns)
    while count > 1 and not _fits(columns[:count], cells):
        count -= 1
    return list(columns[:count]), [row[:count] for row in cells]


def places(columns: Sequence[Column], cells: Cells) -> list[tuple[float, float]]:
    """Where each column begins and how wide it is, its gap included: what it needs, and of the rest what it wishes."""
    least, wished = _least(columns, cells), _wished(columns, cells)
    spare, lacking = max(0.0, ROOM - sum(least)), sum(wished) - sum(least)
    if lacking > spare:
        share = spare / lacking
        widths = [low + share * (high - low) for low, high in zip(least, wished, strict=True)]
    else:
        widths = [width * max(1.0, ROOM / sum(wished)) for width in wished]
    found, start = [], float(drawing.MARGIN)
    for width in widths:
        found.append((round(start, 1), round(width, 1)))
        start += width
    return found


def head(column: Column) -> str:
    """The column's name, at most 60 characters, with its unit."""
    name, unit = drawing.one_line(column.name, 60), drawing.one_line(drawing.head_unit(column), 20)
    return f"{name} ({unit})" if unit else name


def _short(value: Value, column: Column, language: str) -> str:
    number = drawing.drawable(value)
    if number is None or column.kind is Kind.PERCENT:
        return drawing.cell_text(value, column)
    return drawing.short(number, decimals=column.decimals, language=language)


def _fits(columns: Sequence[Column], cells: Cells) -> bool:
    return sum(_least(columns, cells)) <= ROOM


def _least(columns: Sequence[Column], cells: Cells) -> list[float]:
    wished = _wished(columns, cells)
    return [
        min(wish, _NARROW) if column.kind == Kind.TEXT else _longest(cells, position)
        for position, (column, wish) in enumerate(zip(columns, wished, strict=True))
    ]


def _wished(columns: Sequence[Column], cells: Cells) -> list[float]:
    """Heads may be cut, as texts may."""
    found = []
    for position, column in enumerate(columns):
        longest, named = _longest(cells, position), min(_WIDE, drawing.width_of(head(column)) + GAP)
        found.append(max(min(_WIDE, longest) if column.kind == Kind.TEXT else longest, named))
    return found


def _longest(cells: Cells, position: int) -> float:
    return max((drawing.width_of(row[position]) for row in cells), default=0.0) + _SLACK + GAP


# --- Drawings whose parts we place ourselves, pixel by pixel: the picture of a table, and one large number. Pure ---

Spec = dict[str, Any]

_ROW, _HEAD, _FOOT = 26, 34, 28
_FIGURE = 40
_NUMBER_HEIGHT = 220
# A sparkline shows no more places than these.
_SPARKS = 60


def table_svg(chart: Chart, table: Table, size: drawing.Size, *, language: str) -> str:
    """The first rows and columns of a table, with what is left out said below them."""
    chosen = _columns(chart, table)
    room = (size.height - _HEAD - _FOOT) // _ROW - 1
    top = min(chart.top, room if size.is_fixed else size.row_count)
    positions = [table.position(column.name) for column in chosen]
    rows = [[row[position] for position in positions] for row in _sorted(chart, table)[:top]]
    columns, cells = fitting(chosen, rows, language=language)
    height = size.height if size.is_fixed else _HEAD + _ROW * (len(rows) + 1) + _FOOT
    # The head and every other row on a faint ground.
    parts = [
        drawing.rectangle(drawing.MARGIN - 6, _HEAD + _ROW * line, ROOM + 12, _ROW, drawing.BAND)
        for line in range(0, len(rows) + 1, 2)
    ]
    for column, (start, width), texts in zip(columns, places(columns, cells), zip(*cells, strict=True), strict=True):
        is_number = column.is_numeric
        x, anchor = (start + width - GAP, "end") if is_number else (start, "start")
        for line, words in enumerate([head(column), *texts]):
            middle = _HEAD + _ROW * line + _ROW / 2
            parts.append(drawing.text(words, x, middle, room=width - GAP, anchor=anchor, is_bold=line == 0))
    title, foot = drawing.one_line(chart.title or _("Table")), drawing.one_line(_foot(table, len(rows), len(columns)))
    parts.append(drawing.text(title, drawing.MARGIN, 20, room=ROOM, size=15, is_bold=True))
    parts.append(drawing.text(foot, drawing.MARGIN, height - 14, room=ROOM, colour=drawing.FAINT))
    return drawing.whole(height, parts)


def number_spec(chart: Chart, table: Table, size: drawing.Size, *, language: str) -> Spec:
    """What the last place came to, how that differs from the one before, and the way there as a small line."""
    numbers, notes = along(chart, table)
    known = [number for number in numbers if number is not None]
    if not known:
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    unit, decimals = shown_as(chart, table)
    height = size.height if size.is_fixed else _NUMBER_HEIGHT
    number = drawing.short(known[-1], unit, decimals, language=language)
    layers = [
        _said(chart.title or chart.y[0], y=22, size=15, colour=drawing.INK, is_bold=True),
        _said(number, y=64, size=_FIGURE, colour=drawing.COLOURS[0], is_bold=True),
    ]
    if len(known) > 1:
        is_percent = table.column(chart.y[0]).kind is Kind.PERCENT and chart.aggregate != Aggregate.COUNT
        change = Change(known[-1], known[-2], is_percent)
        layers.append(_said(_change_text(change, unit, decimals), y=98, size=13, colour=drawing.INK))
        layers.append(_spark(numbers[-_SPARKS:], top=112, bottom=height - 34))
    foot = " · ".join([drawing.as_of_text(table), *notes])
    layers.append(_said(foot, y=height - 14, size=drawing.FONT_SIZE, colour=drawing.FAINT))
    return _placed(layers, height)


def _placed(layers: list[Spec], height: float) -> Spec:
    return {"width": drawing.WIDTH, "height": height, "padding": 0, "autosize": "none", "layer": layers}


def _said(text: str, *, y: float, size: int, colour: str, is_bold: bool = False) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": size, "color": colour}
    shown = drawing.within(drawing.one_line(text), ROOM, size)
    mark |= {**(drawing.BOLD if is_bold else {}), "limit": drawing.limit_of(shown, ROOM, size)}
    place = {"x": {"value": drawing.MARGIN}, "y": {"value": y}, "text": {"field": "t"}}
    return {"data": {"values": [{"t": shown}]}, "mark": mark, "encoding": place}


def _columns(chart: Chart, table: Table) -> list[Column]:
    chosen = [name for name in dict.fromkeys((chart.x, *chart.y)) if name] or list(table.names)
    by_name = {column.name: column for column in table.columns}
    found = [by_name[name] for name in chosen][:COLUMNS_AT_MOST]
    if not found or not table.rows:
        raise ChartError(Sentence("There is nothing to draw: the data has no rows."))
    return found


def _sorted(chart: Chart, table: Table) -> list[tuple[Value, ...]]:
    """Where an order is asked for, in that of its column along the axis if it holds days, which is the newest first for
    the largest, with the rows of a plan at the end; else of its first column of numbers."""
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


def _foot(table: Table, row_count: int, column_count: int) -> str:
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
    said = drawing.describe_change(change, value_decimals=decimals, unit=unit)
    return said if change.kind is ChangeKind.WORDS else _("%(change)s against the value before") % {"change": said}


def _spark(numbers: Sequence[Decimal | None], *, top: int, bottom: int) -> Spec:
    rows = [{"x": place, "y": drawing.as_float(number)} for place, number in enumerate(numbers)]
    across = {"range": [drawing.MARGIN, drawing.WIDTH - drawing.MARGIN], "nice": False, "zero": False}
    up = {"range": [bottom, top], "zero": False, "nice": False}
    place = {
        "x": {"field": "x", "type": "quantitative", "scale": across, "axis": None},
        "y": {"field": "y", "type": "quantitative", "scale": up, "axis": None},
    }
    mark = {"type": "line", "strokeWidth": 2, "color": drawing.COLOURS[0]}
    return {"data": {"values": rows}, "mark": mark, "encoding": place}


# How much of a ring is empty.
_HOLE = 0.55
# An arc whose ends are nearer, in pixels, begins and ends at one point, and is left out by whoever draws it.
_DRAWN_APART = 0.002
_LINE, _LEGEND_ROW = 14, 16
_SQUARE = "M-4.743,-4.743h9.487v9.487h-9.487Z"
_LABEL_LEFT, _LABEL_ROOM, _LEGEND_GAP = 16, 150, 4


def parts_svg(
    chart: Chart, table: Table, shaped: Shaped, title: str, notes: Sequence[str], size: drawing.Size, *, language: str
) -> str:
    """`notes`: the lines below the title. Raises ChartError."""
    totals = {str(point.place): point.value for point in shaped.points if point.value is not None and point.value > 0}
    whole = total(list(totals.values()))
    if whole is None:
        raise ChartError(Sentence("There is nothing to draw: no value is above zero."))
    names = [place for place in shaped.places or () if place in totals]
    parts = [totals[place] / whole for place in names]
    shares = [
        f"{shown_within(place, LABEL_PIXELS)} {format_number(part * 100, 1)}%"
        for place, part in zip(names, parts, strict=True)
    ]
    colours = [drawing.REST if place == shaped.rest else drawing.PART_COLOURS[i] for i, place in enumerate(names)]
    room, top = drawing.WIDTH - 2 * drawing.MARGIN, 37 + _LINE * len(notes)
    labels = [drawing.cut(share, _LABEL_ROOM, FONT_SIZE) for share in shares]
    left = (
        drawing.WIDTH
        - drawing.MARGIN
        - math.ceil(_LABEL_LEFT + max(drawing.width(label, FONT_SIZE) for label in labels))
    )
    wide, high = left - _LEGEND_GAP - drawing.MARGIN, size.height - drawing.MARGIN - top - 2
    x, y, radius = drawing.MARGIN + wide / 2, top + high / 2, min(wide, high) / 2
    hole = _HOLE * radius if chart.kind == ChartKind.DONUT else 0.0
    drawn, start = [], 0.0
    for part, colour in zip(parts, colours, strict=True):
        drawn.append(drawing.path(_sector(start, start + float(part), radius, hole), x, y, colour))
        start += float(part)
    unit, decimals = shown_as(chart, table)
    # Averages and percentages add up to nothing.
    if hole and chart.aggregate in {Aggregate.SUM, Aggregate.COUNT} and unit != "%":
        said = short(whole, decimals=decimals, language=language)
        drawn.append(drawing.text(said, x, y, room=room, size=18, anchor="middle", is_bold=True))
    for line, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        middle = top + _LEGEND_ROW * line + 6
        drawn.append(drawing.path(_SQUARE, left + 6, middle, colour))
        drawn.append(drawing.text(label, left + _LABEL_LEFT, middle, room=_LABEL_ROOM))
    drawn.append(drawing.text(title, drawing.MARGIN, 19.5, room=room, size=15, is_bold=True))
    for line, note in enumerate(notes):
        drawn.append(drawing.text(note, drawing.MARGIN, 35.5 + _LINE * line, room=room, colour=drawing.FAINT))
    return drawing.whole(size.height, drawn)


def _sector(start: float, end: float, radius: float, hole: float) -> str:
    """From one share of the circle to another one, clockwise from above, around the point 0,0."""
    if 2 * math.pi * (hole or radius) * (1 - (end - start)) < _DRAWN_APART:
        return _circle(radius, 0) + (_circle(hole, 1) if hole else "") + "Z"
    large = int(end - start > 0.5)
    back = f"A{_at(hole)},{_at(hole)},0,{large},1,{_point(end, hole)}" if hole else ""
    arc = f"M{_point(end, radius)}A{_at(radius)},{_at(radius)},0,{large},0,{_point(start, radius)}"
    return f"{arc}L{_point(start, hole)}{back}Z"


def _circle(radius: float, sweep: int) -> str:
    half = f"A{_at(radius)},{_at(radius)},0,1,{sweep},0,"
    return f"M0,{_at(-radius)}{half}{_at(radius)}{half}{_at(-radius)}"


def _point(share: float, radius: float) -> str:
    angle = 2 * math.pi * share
    return f"{_at(radius * math.sin(angle))},{_at(-radius * math.cos(angle))}"


def _at(number: float) -> str:
    return f"{round(number, 3) + 0.0:g}"
