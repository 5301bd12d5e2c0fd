"""Drawings whose parts we place ourselves, pixel by pixel: the picture of a table, and one large number. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.sources.table import Column, Kind, Table, Value
from notifications.charts import looks
from notifications.charts.chart import COLUMNS_AT_MOST, Chart, ChartError, Sort
from notifications.charts.columns import GAP, fitting, head
from notifications.charts.columns import places as places_of
from notifications.charts.figures import number_of, one_line, short, within
from notifications.charts.naming import FONT_SIZE as _TEXT
from notifications.charts.shaping import along
from notifications.sentences import Sentence

Spec = dict[str, Any]

_ROW, _HEAD, _FOOT = 26, 34, 28
_FIGURE = 40
_NUMBER_HEIGHT = 220
# A sparkline shows no more places than these.
_SPARKS = 60


def table_spec(chart: Chart, table: Table, size: looks.Size, *, language: str) -> Spec:
    """The first rows and columns of a table, with what is left out said below them."""
    chosen = _columns(chart, table)
    room = (size.height - _HEAD - _FOOT) // _ROW - 1
    top = min(chart.top, room if size.is_fixed else size.row_count)
    positions = [table.position(column.name) for column in chosen]
    rows = [[row[position] for position in positions] for row in _sorted(chart, table)[:top]]
    columns, cells = fitting(chosen, rows, language=language)
    places = places_of(columns, cells)
    height = size.height if size.is_fixed else _HEAD + _ROW * (len(rows) + 1) + _FOOT
    left: list[Spec] = []
    right: list[Spec] = []
    for line, texts in enumerate([[head(column) for column in columns], *cells]):
        for position, text in enumerate(texts):
            is_number = columns[position].kind == Kind.NUMBER
            start, width = places[position]
            cell = {
                "t": within(text, width - GAP, _TEXT),
                "px": start + width - GAP if is_number else start,
                "py": _HEAD + _ROW * line + _ROW / 2,
            }
            cell |= {"w": "bold" if line == 0 else "normal", "l": round(width - GAP, 1)}
            (right if is_number else left).append(cell)
    layers = [_bands(len(rows)), *_columns_of_text(left, "left"), *_columns_of_text(right, "right")]
    layers.append(_said(chart.title or _("Table"), y=20, size=15, colour=looks.INK, is_bold=True))
    layers.append(_said(_foot(table, len(rows), len(columns)), y=height - 14, size=_TEXT, colour=looks.FAINT))
    return _placed(layers, height)


def number_spec(chart: Chart, table: Table, size: looks.Size, *, language: str) -> Spec:
    """What the last place came to, how that differs from the one before, and the way there as a small line."""
    numbers, notes = along(chart, table)
    known = [number for number in numbers if number is not None]
    if not known:
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    unit = chart.unit or next((column.unit for column in table.columns if column.name == chart.y[0]), "")
    height = size.height if size.is_fixed else _NUMBER_HEIGHT
    layers = [
        _said(chart.title or chart.y[0], y=22, size=15, colour=looks.INK, is_bold=True),
        _said(
            short(known[-1], one_line(unit, 20), language=language),
            y=64,
            size=_FIGURE,
            colour=looks.COLOURS[0],
            is_bold=True,
        ),
    ]
    if len(known) > 1:
        layers.append(_said(_change(known[-2], known[-1]), y=98, size=13, colour=looks.INK))
        layers.append(_spark(numbers[-_SPARKS:], top=112, bottom=height - 34))
    foot = " · ".join([_as_of(table), *notes])
    layers.append(_said(foot, y=height - 14, size=_TEXT, colour=looks.FAINT))
    return _placed(layers, height)


def _placed(layers: list[Spec], height: float) -> Spec:
    return {"width": looks.WIDTH, "height": height, "padding": 0, "autosize": "none", "layer": layers}


def _said(text: str, *, y: float, size: int, colour: str, is_bold: bool = False) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": size, "color": colour}
    mark |= {"fontWeight": "bold" if is_bold else "normal", "limit": looks.WIDTH - 2 * looks.MARGIN}
    place = {"x": {"value": looks.MARGIN}, "y": {"value": y}, "text": {"field": "t"}}
    shown = within(one_line(text), looks.WIDTH - 2 * looks.MARGIN, size)
    return {"data": {"values": [{"t": shown}]}, "mark": mark, "encoding": place}


def _columns_of_text(cells: list[Spec], align: str) -> list[Spec]:
    """A layer for each width, since a text's limit is its mark's."""
    layers = []
    for limit, weight in sorted({(cell["l"], cell["w"]) for cell in cells}):
        mark = {"type": "text", "align": align, "baseline": "middle", "fontSize": _TEXT, "limit": limit}
        mark |= {"fontWeight": weight, "color": looks.INK}
        rows = [
            {key: cell[key] for key in ("t", "px", "py")} for cell in cells if (cell["l"], cell["w"]) == (limit, weight)
        ]
        place = {"x": _pixel("px"), "y": _pixel("py"), "text": {"field": "t"}}
        layers.append({"data": {"values": rows}, "mark": mark, "encoding": place})
    return layers


def _pixel(name: str) -> Spec:
    return {"field": name, "type": "quantitative", "scale": None, "axis": None}


def _bands(row_count: int) -> Spec:
    """The head and every other row on a faint ground."""
    bands = [
        {"px": looks.MARGIN - 6, "pr": looks.WIDTH - looks.MARGIN + 6, "py": y, "pb": y + _ROW}
        for y in (_HEAD + _ROW * line for line in range(0, row_count + 1, 2))
    ]
    place = {"x": _pixel("px"), "x2": {"field": "pr"}, "y": _pixel("py"), "y2": {"field": "pb"}}
    return {"data": {"values": bands}, "mark": {"type": "rect", "color": looks.BAND}, "encoding": place}


def _columns(chart: Chart, table: Table) -> list[Column]:
    chosen = [name for name in dict.fromkeys((chart.x, *chart.y)) if name] or list(table.names)
    by_name = {column.name: column for column in table.columns}
    found = [by_name[name] for name in chosen][:COLUMNS_AT_MOST]
    if not found or not table.rows:
        raise ChartError(Sentence("There is nothing to draw: the data has no rows."))
    return found


def _sorted(chart: Chart, table: Table) -> list[tuple[Value, ...]]:
    """In the order of its first column of numbers, where an order is asked for."""
    rows = list(table.rows)
    if chart.sort == Sort.NAME and chart.x:
        return sorted(rows, key=lambda row: str(row[table.position(chart.x)]))
    numbers = [name for name in chart.y if table.columns[table.position(name)].kind == Kind.NUMBER]
    if chart.sort in {Sort.LARGEST, Sort.SMALLEST} and numbers:
        at, sign = table.position(numbers[0]), -1 if chart.sort == Sort.LARGEST else 1
        return sorted(rows, key=lambda row: sign * (number_of(row[at]) or 0.0))
    return rows


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
    across = {"range": [looks.MARGIN, looks.WIDTH - looks.MARGIN], "nice": False, "zero": False}
    up = {"range": [bottom, top], "zero": False, "nice": False}
    place = {
        "x": {"field": "x", "type": "quantitative", "scale": across, "axis": None},
        "y": {"field": "y", "type": "quantitative", "scale": up, "axis": None},
    }
    mark = {"type": "line", "strokeWidth": 2, "color": looks.COLOURS[0]}
    return {"data": {"values": rows}, "mark": mark, "encoding": place}
