"""Fits a table's columns onto a phone's width, and formats its cells. Pure.

Texts may be cut, visibly. A number or a date is whole or not there: half of it reads as another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.data.table import NUMERIC, Column, Kind, Table, Value
from notifications.charts import svg, theme
from notifications.charts.aggregate import along
from notifications.charts.definition import COLUMNS_AT_MOST, Chart, ChartError, Sort
from notifications.charts.labels import FONT_SIZE, limit_of, number_of, one_line, short, text_of, width_of, within

# Between a column and the next one.
GAP = 14
# What fits to the pixel is cut by the renderer.
_SLACK = 2.0
ROOM = theme.WIDTH - 2 * theme.MARGIN
# No text wants more than this; none that is longer gets less than five Chinese letters.
_WIDE = 170.0
_NARROW = 5.0 * FONT_SIZE + GAP

Cells = list[list[str]]


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[Value]], *, language: str) -> tuple[list[Column], Cells]:
    """As many of the first columns as have room, and the words of their cells, by rows: numbers in full, or all of
    them in short (1,235万) where that makes room. `rows` hold a value for each column."""
    cells = [[text_of(value, language=language) for value in row] for row in rows]
    if not _fits(columns, cells):
        cells = [[_short(value, language) for value in row] for row in rows]
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
    found, start = [], float(theme.MARGIN)
    for width in widths:
        found.append((round(start, 1), round(width, 1)))
        start += width
    return found


def head(column: Column) -> str:
    """The column's name, at most 60 characters, with its unit."""
    name = one_line(column.name, 60)
    return f"{name} ({one_line(column.unit, 20)})" if column.unit else name


def _short(value: Value, language: str) -> str:
    number = number_of(value)
    return text_of(value, language=language) if number is None else short(number, language=language)


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
        longest, named = _longest(cells, position), min(_WIDE, width_of(head(column)) + GAP)
        found.append(max(min(_WIDE, longest) if column.kind == Kind.TEXT else longest, named))
    return found


def _longest(cells: Cells, position: int) -> float:
    return max((width_of(row[position]) for row in cells), default=0.0) + _SLACK + GAP


# --- Drawings whose parts we place ourselves, pixel by pixel: the picture of a table, and one large number. Pure ---

Spec = dict[str, Any]

_ROW, _HEAD, _FOOT = 26, 34, 28
_FIGURE = 40
_NUMBER_HEIGHT = 220
# A sparkline shows no more places than these.
_SPARKS = 60


def table_svg(chart: Chart, table: Table, size: theme.Size, *, language: str) -> str:
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
        svg.rectangle(theme.MARGIN - 6, _HEAD + _ROW * line, ROOM + 12, _ROW, theme.BAND)
        for line in range(0, len(rows) + 1, 2)
    ]
    for column, (start, width), texts in zip(columns, places(columns, cells), zip(*cells, strict=True), strict=True):
        is_number = column.is_numeric
        x, anchor = (start + width - GAP, "end") if is_number else (start, "start")
        for line, words in enumerate([head(column), *texts]):
            middle = _HEAD + _ROW * line + _ROW / 2
            parts.append(svg.text(words, x, middle, room=width - GAP, anchor=anchor, is_bold=line == 0))
    title, foot = one_line(chart.title or _("Table")), one_line(_foot(table, len(rows), len(columns)))
    parts.append(svg.text(title, theme.MARGIN, 20, room=ROOM, size=15, is_bold=True))
    parts.append(svg.text(foot, theme.MARGIN, height - 14, room=ROOM, colour=theme.FAINT))
    return svg.whole(height, parts)


def number_spec(chart: Chart, table: Table, size: theme.Size, *, language: str) -> Spec:
    """What the last place came to, how that differs from the one before, and the way there as a small line."""
    numbers, notes = along(chart, table)
    known = [number for number in numbers if number is not None]
    if not known:
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    unit = chart.unit or next((column.unit for column in table.columns if column.name == chart.y[0]), "")
    height = size.height if size.is_fixed else _NUMBER_HEIGHT
    layers = [
        _said(chart.title or chart.y[0], y=22, size=15, colour=theme.INK, is_bold=True),
        _said(
            short(known[-1], one_line(unit, 20), language=language),
            y=64,
            size=_FIGURE,
            colour=theme.COLOURS[0],
            is_bold=True,
        ),
    ]
    if len(known) > 1:
        layers.append(_said(_change(known[-2], known[-1]), y=98, size=13, colour=theme.INK))
        layers.append(_spark(numbers[-_SPARKS:], top=112, bottom=height - 34))
    foot = " · ".join([_as_of(table), *notes])
    layers.append(_said(foot, y=height - 14, size=FONT_SIZE, colour=theme.FAINT))
    return _placed(layers, height)


def _placed(layers: list[Spec], height: float) -> Spec:
    return {"width": theme.WIDTH, "height": height, "padding": 0, "autosize": "none", "layer": layers}


def _said(text: str, *, y: float, size: int, colour: str, is_bold: bool = False) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": size, "color": colour}
    shown = within(one_line(text), ROOM, size)
    mark |= {**(theme.BOLD if is_bold else {}), "limit": limit_of(shown, ROOM, size)}
    place = {"x": {"value": theme.MARGIN}, "y": {"value": y}, "text": {"field": "t"}}
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
    the largest; else of its first column of numbers."""
    rows = list(table.rows)
    kinds = {column.name: column.kind for column in table.columns}
    if chart.sort == Sort.NAME and chart.x:
        return sorted(rows, key=lambda row: str(row[table.position(chart.x)]))
    if chart.sort not in {Sort.LARGEST, Sort.SMALLEST}:
        return rows
    is_largest_first = chart.sort == Sort.LARGEST
    if kinds.get(chart.x) in {Kind.DATE, Kind.DATETIME}:
        at = table.position(chart.x)
        dated = [row for row in rows if row[at] is not None]
        undated = [row for row in rows if row[at] is None]
        return [*sorted(dated, key=itemgetter(at), reverse=is_largest_first), *undated]
    numbers = [name for name in chart.y if kinds[name] in NUMERIC]
    if not numbers:
        return rows
    at, sign = table.position(numbers[0]), -1 if is_largest_first else 1
    return sorted(rows, key=lambda row: sign * (number_of(row[at]) or 0.0))


def _foot(table: Table, row_count: int, column_count: int) -> str:
    said = [_as_of(table)]
    rows = len(table.rows) - row_count
    columns = len(table.columns) - column_count
    if rows or table.is_cut:
        total = f"{len(table.rows)}+" if table.is_cut else len(table.rows)
        said.append(_("%(count)d of %(total)s rows") % {"count": row_count, "total": total})
    if columns:
        said.append(ngettext("%(count)d more column", "%(count)d more columns", columns) % {"count": columns})
    return " · ".join(said)


def _as_of(table: Table) -> str:
    return _("as of %(time)s") % {"time": f"{timezone.localtime(table.as_of):%Y-%m-%d %H:%M}"}


def _change(before: float, now: float) -> str:
    if not before:
        return _("before: 0")
    percent = 100 * (now - before) / abs(before)
    if abs(percent) >= 10_000:
        return _("much more than before") if percent > 0 else _("much less than before")
    sign = "↑" if percent > 0 else "↓" if percent < 0 else "→"
    return _("%(sign)s %(percent)s%% against the value before") % {"sign": sign, "percent": f"{abs(percent):.1f}"}


def _spark(numbers: Sequence[float | None], *, top: int, bottom: int) -> Spec:
    rows = [{"x": place, "y": number} for place, number in enumerate(numbers)]
    across = {"range": [theme.MARGIN, theme.WIDTH - theme.MARGIN], "nice": False, "zero": False}
    up = {"range": [bottom, top], "zero": False, "nice": False}
    place = {
        "x": {"field": "x", "type": "quantitative", "scale": across, "axis": None},
        "y": {"field": "y", "type": "quantitative", "scale": up, "axis": None},
    }
    mark = {"type": "line", "strokeWidth": 2, "color": theme.COLOURS[0]}
    return {"data": {"values": rows}, "mark": mark, "encoding": place}
