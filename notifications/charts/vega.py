"""Builds a Vega-Lite spec from a table and a chart. No I/O.

Data is only in `data.values`, as plain values under our own field names (such as x, y, s). A column's name is never a
field's name, because Vega parses dots and brackets in these; and no data is an expression, an address or a picture.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.data.figures import Change, ChangeKind, rank_rows, total
from integrations.data.table import Column, Kind, Table, Value, format_number
from notifications.charts import definition as charts
from notifications.charts import drawing
from notifications.charts.definition import Aggregate, Chart, ChartError, ChartKind, ChartPoints, Sort, TimeUnit

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The parts that each spec has.
_COMMON: Spec = {"$schema": SCHEMA, "background": drawing.PAPER, "config": drawing.CONFIG}
_BAR_HEIGHT = 22  # of a horizontal bar with its gap, in pixels
_NAME_PIXELS = 110
_FIGURE_GAP = 8
# Our own expressions, without any data.
FIGURE_ALIGN = "datum.y < 0 ? 'right' : 'left'"
FIGURE_OFFSET = "datum.y < 0 ? -4 : 4"
LOW_ALIGN, LOW_OFFSET = "datum.low ? 'right' : 'left'", "datum.low ? 3 : -3"
LOW_BASELINE = "datum.low ? 'top' : 'bottom'"
# The inner radius of a ring.
HOLE = "min(width, height) / 2 * 0.55"
# A smaller arc begins and ends at one point, and is not painted.
_SHARE_AT_LEAST = 1e-4
# Legends of lines show lines: filled points with a dashed edge would look like blots.
_STROKES = {"symbolType": "stroke", "symbolSize": 300, "symbolFillColor": "transparent"}
_TIME_FORMATS = {
    **dict.fromkeys((TimeUnit.MOMENT, TimeUnit.HOUR), "%m-%d %H:%M"),
    **dict.fromkeys((TimeUnit.DAY, TimeUnit.WEEK), "%m-%d"),
    **{TimeUnit.MONTH: "%Y-%m", TimeUnit.YEAR: "%Y"},
}


def build_spec(chart: Chart, table: Table, *, shape: drawing.Shape = drawing.Shape.FREE) -> Spec:
    """Return the spec of `table`, 390 pixels wide. Equal arguments give equal specs. Raises ChartError."""
    charts.check_chart(chart, table)
    size = drawing.SIZES[shape]
    match chart.kind:
        case ChartKind.TABLE:
            return _COMMON | build_table_spec(chart, table, size)
        case ChartKind.NUMBER:
            return _COMMON | build_number_spec(chart, table, size)
    plot = charts.build_points(chart, table, top_at_most=size.row_count)
    is_round = chart.kind in charts.ROUND
    body = (_draw_parts if is_round else _draw_along_axis)(chart, plot, table)
    if chart.thresholds and len(plot.series) <= 1 and not is_round:
        body = _add_thresholds(body, chart.thresholds, is_horizontal=_is_horizontal(chart, plot))
    height = size.height
    if not size.is_fixed and _is_horizontal(chart, plot):
        height = max(height, 110 + _BAR_HEIGHT * len(plot.places or ()))
    title = _make_title(chart, plot, table, size)
    layout = _lay_out_plot(chart, plot, body, title, height)
    if layout is None:
        fit = {"type": "fit", "contains": "padding"}
        layout = {"width": drawing.WIDTH, "height": height, "padding": drawing.MARGIN, "autosize": fit}
    return {**_COMMON, **layout, "title": title, **body}


def _lay_out_plot(chart: Chart, plot: ChartPoints, body: Spec, title: Spec, height: int) -> Spec | None:
    """Return the layout of a plot over times, and set its ticks in `body`; None to let the renderer find the layout.

    To find it, the renderer draws everything twice, which takes a third of the time of a line chart.
    """
    numbers = [float(point.value) for point in plot.points if point.value is not None]
    is_line, several = chart.kind == ChartKind.LINE, len(plot.series) > 1
    if plot.time_unit is None or (several and not is_line) or chart.thresholds or not title["text"] or not numbers:
        return None
    x, y = body["encoding"]["x"], body["encoding"]["y"]
    # The first and last place are at least 8 pixels from the ends of the axis, so that half a label fits.
    if drawing.estimate_width(f"{_EPOCH:{x['axis']['format']}}") / 2 > drawing.MARGIN + 8:
        return None
    low, high = (min(numbers), max(numbers)) if is_line else (min(0.0, *numbers), max(0.0, *numbers))
    # Nearly equal numbers have no round ones between them.
    if high - low <= 1e-9 * max(1.0, -low, high):
        return None
    # Widen the range to round numbers, again until the distance of ticks stays the same.
    before = None
    while (found := _find_step(low, high, 10)) != before:
        before, (step, is_inverse) = found, found
        if is_inverse:
            low, high = math.floor(low * step) / step, math.ceil(high * step) / step
        else:
            low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    step, is_inverse = _find_step(low, high, y["axis"].pop("tickCount"))
    first, last = (low * step, high * step) if is_inverse else (low / step, high / step)
    # A number that differs from a tick only by a rounding error is a tick.
    wholes = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    ticks = [number / step if is_inverse else number * step for number in wholes]
    y["axis"]["values"] = ticks
    y["scale"] = {"domain": [low, high], "nice": False, "zero": False}
    # The room that the renderer leaves: left for the labels; above for the title, each line below it, and the legend or
    # half a label; below for the labels.
    widths = []
    for tick in ticks:  # written as by the axis's expression
        scales = ((scale, word) for scale, word, _decimals in drawing.choose_scales() if abs(tick) >= scale)
        scale, word = next(scales, (1, ""))
        widths.append(drawing.estimate_width(f"{tick / float(scale):,g}{word}"))
    left = drawing.MARGIN + 2 + math.ceil(max(widths))
    rows = math.ceil(len(plot.series) / drawing.lay_out_legend(plot.series)[0])
    top = drawing.MARGIN + 23 + 14 * len(title.get("subtitle", ())) + (18 * rows + 2 if several else 6)
    bottom = drawing.MARGIN + 18
    padding = {"left": left, "top": top, "right": drawing.MARGIN, "bottom": bottom}
    width = drawing.WIDTH - left - drawing.MARGIN
    return {"width": width, "height": height - top - bottom, "padding": padding, "autosize": "none"}


def _make_title(chart: Chart, plot: ChartPoints, table: Table, size: drawing.Size) -> Spec:
    """Return the title with notes below it, as many on a line as fit. If there is no room for notes, only the note
    about parts that are not drawn is there, because without it the chart would mislead."""
    unit, decimals = charts.find_number_format(chart, table)
    text = drawing.to_one_line(chart.title or ", ".join(chart.y)) + (_(" (%(unit)s)") % {"unit": unit} if unit else "")
    notes, room = list[str](), drawing.WIDTH - 2 * drawing.MARGIN
    if count := len(plot.negatives):
        added = drawing.write_short(drawing.to_drawable(total(plot.negatives)), unit, decimals)
        sentence = ngettext(
            "%(count)d part below zero, not drawn: %(sum)s",
            "%(count)d parts below zero, not drawn: %(sum)s together",
            count,
        )
        notes.append(sentence % {"count": count, "sum": added})
    lines: list[str] = []
    for note in [drawing.write_as_of(table), *notes, *plot.notes] if size.has_notes else notes:
        if lines and drawing.estimate_width(f"{lines[-1]} · {note}") <= room:
            lines[-1] = f"{lines[-1]} · {note}"
        else:
            lines.append(note)
    lines = [drawing.fit_text(line, room, 12) for line in lines]
    limit = max(drawing.find_cut_width(text, room, 16), *(drawing.find_cut_width(line, room) for line in lines), 0)
    return {"text": drawing.fit_text(text, room, 16), "limit": limit, **({"subtitle": lines} if lines else {})}


def _is_horizontal(chart: Chart, plot: ChartPoints) -> bool:
    """Return whether the chart has horizontal bars: its places are names. Bars of times are vertical."""
    return chart.kind in {ChartKind.BAR, ChartKind.STACKED} and plot.places is not None


def _make_data(plot: ChartPoints) -> Spec:
    rows = [{"x": point.place, "y": drawing.to_float(point.value), "s": point.series} for point in plot.points]
    return {"values": rows}


def _make_colours(plot: ChartPoints) -> Spec:
    """Return the colours of the series; the rest is always grey."""
    if len(plot.series) <= 1:
        return {"value": drawing.COLOURS[0]}
    colours = [
        drawing.REST if series == plot.rest else drawing.COLOURS[number % 6]
        for number, series in enumerate(plot.series)
    ]
    columns, pixels = drawing.lay_out_legend(plot.series)
    scale, legend = {"domain": plot.series, "range": colours}, {"columns": columns, "labelLimit": round(pixels) + 8}
    return {"field": "s", "type": "nominal", "scale": scale, "sort": None, "legend": legend}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _choose_time_format(plot: ChartPoints) -> str:
    """Return the format of times, with the year if it differs among them."""
    years = {(_EPOCH + timedelta(milliseconds=time)).year for time in _find_times(plot)}
    wanted = _TIME_FORMATS[plot.time_unit or TimeUnit.DAY]
    return f"%Y-{wanted}" if len(years) > 1 and "%Y" not in wanted else wanted


def _find_times(plot: ChartPoints) -> set[int]:
    return {point.place for point in plot.points if isinstance(point.place, int)}


def _make_place_axis(plot: ChartPoints) -> Spec:
    if plot.time_unit is not None:
        axis = {"format": _choose_time_format(plot), "grid": False, "tickCount": 5, "labelFlush": True}
        return {"field": "x", "type": "temporal", "scale": {"type": "utc", "padding": 8}, "axis": axis}
    axis = {"grid": False, "labelLimit": 120, "labelAngle": 0}
    return {"field": "x", "type": "ordinal", "scale": {"domain": plot.places}, "sort": None, "axis": axis}


def make_value_axis() -> Spec:
    """Return the axis of the values. The expression with which it writes its numbers holds no data."""
    text = "format(datum.value, ',~g')"
    for scale, word, _decimals in reversed(drawing.choose_scales()):
        text = f"abs(datum.value) >= {scale:.0f} ? format(datum.value / {scale:.0f}, ',~g') + '{word}' : {text}"
    axis = {"labelExpr": text, "tickCount": 4, "domain": False, "ticks": False}
    return {"field": "y", "type": "quantitative", "axis": axis}


def _find_step(low: float, high: float, count: int) -> tuple[float, bool]:
    """Return the distance of about `count` round ticks, 1, 2 or 5 times a power of ten, and False. For a distance below
    1, return its inverse, a whole number, and True. Source: d3-array, ticks.js, which the renderer uses."""
    step = (high - low) / count
    power = math.floor(math.log10(step))
    error = step / 10.0**power
    factor = 10 if error >= math.sqrt(50) else 5 if error >= math.sqrt(10) else 2 if error >= math.sqrt(2) else 1
    return (10.0**-power / factor, True) if power < 0 else (10.0**power * factor, False)


def _draw_along_axis(chart: Chart, plot: ChartPoints, table: Table) -> Spec:
    if _is_horizontal(chart, plot):
        return _draw_horizontal_bars(chart, plot, table)
    place, values, colour = _make_place_axis(plot), make_value_axis(), _make_colours(plot)
    several = len(plot.series) > 1
    match chart.kind:
        case ChartKind.LINE:
            # Two thresholds: room for the figure below the lower one.
            values["scale"] = {"zero": False, "nice": True, "padding": 18 * (len(chart.thresholds) > 1)}
            dashes: Spec = {"domain": plot.series, "range": list(drawing.DASHES[: len(plot.series)])}
            if several:
                colour["legend"] |= _STROKES
            dash = {**colour, "scale": dashes}
            mark: Spec = {"type": "line", "strokeWidth": 2.5, "strokeJoin": "round"}
            if len({point.place for point in plot.points}) <= 31:
                mark["point"] = {"size": 36, "filled": True}
            encoding = {"x": place, "y": values, "color": colour} | ({"strokeDash": dash} if several else {})
            return {"data": _make_data(plot), "mark": mark, "encoding": encoding}
        case ChartKind.AREA:
            mark = {"type": "area", "opacity": 0.85, "line": not several}
            return {"data": _make_data(plot), "mark": mark, "encoding": {"x": place, "y": values, "color": colour}}
        case ChartKind.BAR if several:
            # Each time is a named place, because a time axis has no room for bars side by side.
            wanted = _choose_time_format(plot)
            names = {time: f"{_EPOCH + timedelta(milliseconds=time):{wanted}}" for time in sorted(_find_times(plot))}
            points = [replace(one, place=names[one.place]) for one in plot.points if isinstance(one.place, int)]
            named = replace(plot, points=points, places=list(names.values()), time_unit=None)
            offset = {"field": "s", "sort": plot.series}
            encoding = {"x": _make_place_axis(named), "y": values, "color": colour, "xOffset": offset}
            return {"data": _make_data(named), "mark": {"type": "bar"}, "encoding": encoding}
        case _:  # bars over a time axis, as wide as their unit
            count = max(1, len({point.place for point in plot.points}))
            width = max(2, min(28, round((drawing.WIDTH - 80) / count * 0.7)))
            # The middle of the first bar is at the beginning of the axis: its half must not cover the numbers.
            place["scale"] = {**place["scale"], "padding": max(8, width / 2 + 4)}
            encoding = {"x": place, "y": values, "color": colour}
            return {"data": _make_data(plot), "mark": {"type": "bar", "width": width}, "encoding": encoding}


def _draw_horizontal_bars(chart: Chart, plot: ChartPoints, table: Table) -> Spec:
    several = len(plot.series) > 1
    axis = {"grid": False, "ticks": False, "domain": False, "labelLimit": _NAME_PIXELS, "labelColor": drawing.INK}
    axis["labelOverlap"] = False
    names = {"field": "x", "type": "nominal", "scale": {"domain": plot.places}, "sort": None, "axis": axis}
    bars: Spec = {"y": names, "x": make_value_axis()}
    if several:
        bars["color"] = _make_colours(plot)
        if chart.kind == ChartKind.BAR:
            bars["yOffset"] = {"field": "s", "sort": plot.series}
        return {"data": _make_data(plot), "mark": {"type": "bar"}, "encoding": bars}
    unit, decimals = charts.find_number_format(chart, table)
    rows: list[Spec] = [
        {
            "x": point.place,
            "y": drawing.to_float(point.value),
            "t": drawing.write_short(point.value, unit, decimals),
            "c": drawing.REST if point.place == plot.rest else drawing.COLOURS[0],
        }
        for point in plot.points
    ]
    # The range of the bars has room for the figures beyond both ends and for the names.
    values = [*chart.thresholds, *(row["y"] for row in rows if row["y"] is not None)]
    low, high = min(0.0, *values), max(0.0, *values)
    widths = [(row["y"] or 0, _FIGURE_GAP + drawing.estimate_width(row["t"])) for row in rows]
    # At an end without figures, a threshold keeps this distance from the edge.
    left = max((width for value, width in widths if value < 0), default=_FIGURE_GAP * (low < 0))
    right = max((width for value, width in widths if value >= 0), default=_FIGURE_GAP)
    name_width = _FIGURE_GAP + max(min(_NAME_PIXELS, drawing.estimate_width(row["x"])) for row in rows)
    pixels = max(60.0, drawing.WIDTH - 2 * drawing.MARGIN - name_width - left - right)
    step = ((high - low) or 1.0) / pixels
    span = [low - left * step, high + right * step]
    bars["x"] = {"field": "y", "type": "quantitative", "scale": {"domain": span, "nice": False}, "axis": None}
    # A figure that a threshold would cross begins beyond that line.
    for row, (value, width) in zip(rows, widths, strict=True):
        sign, row["f"] = -1 if value < 0 else 1, value
        for line in sorted(chart.thresholds, key=lambda one: sign * one):
            row["f"] = line if 0 <= sign * (line - row["f"]) < width * step else row["f"]
    lengths = {"mark": {"type": "bar"}, "encoding": {"color": {"field": "c", "type": "nominal", "scale": None}}}
    # A figure is beyond the end of its bar: on the right, for a negative bar on the left.
    ends = {"align": {"expr": FIGURE_ALIGN}, "dx": {"expr": FIGURE_OFFSET}}
    figures = {
        "mark": {"type": "text", "fontSize": 12, "invalid": "show", **ends},
        "encoding": {"x": {**bars["x"], "field": "f"}, "text": {"field": "t"}, "color": {"value": drawing.INK}},
    }
    return {"data": {"values": rows}, "encoding": bars, "layer": [lengths, figures]}


def _add_thresholds(body: Spec, thresholds: Sequence[float], *, is_horizontal: bool) -> Spec:
    """Add a dashed line with its figure for each threshold. The lower one has its figure on the outer side, so that no
    line crosses a figure. On a time axis they are at the oldest values, with an edge that stands out from the data."""
    drawn = {name: part for name, part in body.items() if name != "data"}
    axis = "x" if is_horizontal else "y"
    along = {axis: body["encoding"][axis]}
    rows = [
        {"y": one, "t": drawing.write_short(drawing.to_drawable(one)), "low": one < max(thresholds)}
        for one in thresholds
    ]
    beside: Spec = {"align": "left", "dx": 3, "x": 0, "dy": {"expr": LOW_OFFSET}, "baseline": {"expr": LOW_BASELINE}}
    if is_horizontal:
        beside = {"align": {"expr": LOW_ALIGN}, "dx": {"expr": f"-({LOW_OFFSET})"}, "y": "height", "baseline": "top"}
    mark = {"type": "text", "color": drawing.THRESHOLD, "fontSize": 12, **drawing.BOLD, **beside}
    figure = {"mark": mark, "encoding": {"text": {"field": "t"}}}
    lines: Spec = {
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "rule", "color": drawing.THRESHOLD, "strokeWidth": 1.5, "strokeDash": [6, 4]}},
            *([figure] if is_horizontal else _outline_text(figure)),
        ],
        "encoding": along,
    }
    return {"data": body["data"], "layer": [drawn, lines]}


def _outline_text(text: Spec) -> list[Spec]:
    """Draw a text with a white edge, readable over anything."""
    mark = {**text["mark"], "color": drawing.PAPER, "stroke": drawing.PAPER, "strokeWidth": 4, "strokeJoin": "round"}
    encoding = {name: channel for name, channel in text["encoding"].items() if name != "color"}
    return [{"mark": mark, "encoding": encoding}, text]


def _draw_parts(chart: Chart, plot: ChartPoints, table: Table) -> Spec:
    """Draw the parts of a whole, each with its share in the legend. Raises ChartError."""
    totals = {str(point.place): point.value for point in plot.points if point.value is not None and point.value > 0}
    whole = total(list(totals.values()))
    if whole is None:
        raise ChartError(Sentence("There is nothing to draw: no value is above zero."))
    places = [place for place in plot.places or () if place in totals]
    parts = [totals[place] / whole for place in places]
    names = [
        f"{drawing.cut_to_width(place, charts.LABEL_PIXELS)} {format_number(part * 100, 1)}%"
        for place, part in zip(places, parts, strict=True)
    ]
    rows = [
        {"x": name, "y": max(float(part), _SHARE_AT_LEAST), "n": number}
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
    ]
    colours = [
        drawing.REST if place == plot.rest else drawing.PART_COLOURS[number] for number, place in enumerate(places)
    ]
    legend = {"orient": "right", "direction": "vertical", "columns": 1, "labelLimit": 150, "symbolType": "square"}
    colour = {"field": "x", "type": "nominal", "scale": {"domain": names, "range": colours}, "sort": None}
    arc: Spec = {"type": "arc", "stroke": drawing.PAPER, "strokeWidth": 1.5}
    encoding = {
        "theta": {"field": "y", "type": "quantitative", "stack": True},
        "order": {"field": "n", "type": "quantitative"},
        "color": {**colour, "legend": legend},
    }
    if chart.kind == ChartKind.DONUT:
        arc["innerRadius"] = {"expr": HOLE}
    layers: list[Spec] = [{"mark": arc, "encoding": encoding}]
    unit, decimals = charts.find_number_format(chart, table)
    # Sums of averages or percentages mean nothing.
    if chart.kind == ChartKind.DONUT and chart.aggregate in {Aggregate.SUM, Aggregate.COUNT} and unit != "%":
        words = [{"t": drawing.write_short(whole, decimals=decimals)}]
        text = {"type": "text", "fontSize": 18, **drawing.BOLD, "color": drawing.INK}
        layers.append({"data": {"values": words}, "mark": text, "encoding": {"text": {"field": "t"}}})
    return {"data": {"values": rows}, "layer": layers}


# --- Tables and one large number, whose parts are placed by pixel -----------------------------------------------------
# Texts in a table may be cut, visibly. Numbers and dates are shown whole or not at all: half a number reads as another.

GAP = 14
# The renderer also cuts a text that only just fits.
_SLACK = 2.0
ROOM = drawing.WIDTH - 2 * drawing.MARGIN
# The greatest width that a column of texts wants, and the least that it gets: five Chinese letters.
_WIDE = 170.0
_NARROW = 5.0 * drawing.FONT_SIZE + GAP

Cells = list[list[str]]


def lay_out_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Value]]
) -> tuple[list[tuple[Column, float, float]], Cells]:
    """Return as many of the first columns as fit, each with its left edge and its width including the gap; and their
    cells by row: numbers in full, or all in short (1,235万) if that makes room. `rows` hold a value for each column."""
    cells = [[drawing.write_cell(value, column) for value, column in zip(row, columns, strict=True)] for row in rows]
    if not _do_columns_fit(columns, cells):
        for row, texts in zip(rows, cells, strict=True):
            for position, column in enumerate(columns):
                number = drawing.to_drawable(row[position])
                if number is not None and column.kind is not Kind.PERCENT:
                    texts[position] = drawing.write_short(number, decimals=column.decimals)
    count = len(columns)
    while count > 1 and not _do_columns_fit(columns[:count], cells):
        count -= 1
    # Each column gets what it needs, plus a share of the spare room.
    kept = columns[:count]
    bounds = _find_widths(kept, cells)
    least, wished = (sum(widths) for widths in zip(*bounds, strict=True))
    if wished > max(ROOM, least):
        share = max(0.0, ROOM - least) / (wished - least)
        widths = [low + share * (high - low) for low, high in bounds]
    else:
        widths = [high * max(1.0, ROOM / wished) for _low, high in bounds]
    placed, start = [], float(drawing.MARGIN)
    for column, width in zip(kept, widths, strict=True):
        placed.append((column, round(start, 1), round(width, 1)))
        start += width
    return placed, [row[:count] for row in cells]


def write_head(column: Column) -> str:
    """Return the column's name, at most 60 characters, with its unit."""
    name, unit = drawing.to_one_line(column.name, 60), drawing.to_one_line(drawing.find_head_unit(column), 20)
    return f"{name} ({unit})" if unit else name


def _do_columns_fit(columns: Sequence[Column], cells: Cells) -> bool:
    return sum(least for least, _wished in _find_widths(columns, cells)) <= ROOM


def _find_widths(columns: Sequence[Column], cells: Cells) -> list[tuple[float, float]]:
    """Return the least and the wanted width of each column. Heads may be cut, as texts may."""
    found = []
    for position, column in enumerate(columns):
        widest = max((drawing.estimate_width(row[position]) for row in cells), default=0.0) + _SLACK + GAP
        is_text = column.kind == Kind.TEXT
        wished = max(
            min(_WIDE, widest) if is_text else widest, min(_WIDE, drawing.estimate_width(write_head(column)) + GAP)
        )
        found.append((min(wished, _NARROW) if is_text else widest, wished))
    return found


_LINE, _HEAD, _FOOT = 26, 34, 28  # heights in pixels
_FIGURE = 40  # font size
_NUMBER_HEIGHT = 220
# The most places of a sparkline.
_SPARKS = 60


def build_table_spec(chart: Chart, table: Table, size: drawing.Size) -> Spec:
    """Return the spec of a table's first rows and columns, with a note below about what is left out."""
    names = [name for name in dict.fromkeys((chart.x, *chart.y)) if name] or list(table.names)
    by_name = {column.name: column for column in table.columns}
    chosen = [by_name[name] for name in names][: charts.COLUMNS_AT_MOST]
    if not chosen or not table.rows:
        raise ChartError(Sentence("There is nothing to draw: the data has no rows."))
    room = (size.height - _HEAD - _FOOT) // _LINE - 1
    top = min(chart.top, room if size.is_fixed else size.row_count)
    positions = [table.find_position(column.name) for column in chosen]
    rows = [[row[position] for position in positions] for row in _order_rows(chart, table)[:top]]
    placed, cells = lay_out_columns(chosen, rows)
    height = size.height if size.is_fixed else _HEAD + _LINE * (len(rows) + 1) + _FOOT
    # The head and every other row have a faint ground.
    bands = [
        {"px": drawing.MARGIN - 6, "pr": drawing.WIDTH - drawing.MARGIN + 6, "py": y, "pb": y + _LINE}
        for y in (_HEAD + _LINE * line for line in range(0, len(rows) + 1, 2))
    ]
    place = {"x": _make_pixel_scale("px"), "x2": {"field": "pr"}, "y": _make_pixel_scale("py"), "y2": {"field": "pb"}}
    ground = {"data": {"values": bands}, "mark": {"type": "rect", "color": drawing.BAND}, "encoding": place}
    # A layer for each alignment, limit and weight, because these belong to the mark.
    texts: dict[tuple[str, float, bool], list[Spec]] = defaultdict(list)
    for line, words in enumerate([[write_head(column) for column, _start, _width in placed], *cells]):
        for (column, start, width), text in zip(placed, words, strict=True):
            x, align = (start + width - GAP, "right") if column.is_numeric else (start, "left")
            shown = drawing.fit_text(text, width - GAP, drawing.FONT_SIZE)
            cell = {"t": shown, "px": x, "py": _HEAD + _LINE * (line + 0.5)}
            texts[align, drawing.find_cut_width(text, width - GAP), line == 0].append(cell)
    layers = [ground]
    for (align, limit, is_head), values in sorted(texts.items(), key=lambda layer: layer[0]):
        mark = {"type": "text", "align": align, "baseline": "middle", "fontSize": drawing.FONT_SIZE, "limit": limit}
        mark |= {**(drawing.BOLD if is_head else {}), "color": drawing.INK}
        place = {"x": _make_pixel_scale("px"), "y": _make_pixel_scale("py"), "text": {"field": "t"}}
        layers.append({"data": {"values": values}, "mark": mark, "encoding": place})
    layers.append(_make_text_layer(chart.title or _("Table"), y=20, size=15, colour=drawing.INK, is_bold=True))
    notes = [drawing.write_as_of(table)]
    if len(rows) < len(table.rows) or table.is_cut:
        row_count = f"{len(table.rows)}+" if table.is_cut else len(table.rows)
        notes.append(_("%(count)d of %(total)s rows") % {"count": len(rows), "total": row_count})
    if more := len(table.columns) - len(placed):
        notes.append(ngettext("%(count)d more column", "%(count)d more columns", more) % {"count": more})
    layers.append(_make_text_layer(" · ".join(notes), y=height - 14, size=drawing.FONT_SIZE, colour=drawing.FAINT))
    return _make_fixed_layout(layers, height)


def _make_pixel_scale(name: str) -> Spec:
    return {"field": name, "type": "quantitative", "scale": None, "axis": None}


def build_number_spec(chart: Chart, table: Table, size: drawing.Size) -> Spec:
    """Return the spec of the last place's value, its change from the one before, and a sparkline."""
    numbers, notes = charts.aggregate_places(chart, table)
    known = [number for number in numbers if number is not None]
    if not known:
        raise ChartError(Sentence("There is nothing to draw: the data has no row with a value."))
    unit, decimals = charts.find_number_format(chart, table)
    height = size.height if size.is_fixed else _NUMBER_HEIGHT
    number = drawing.write_short(known[-1], unit, decimals)
    layers = [
        _make_text_layer(chart.title or chart.y[0], y=22, size=15, colour=drawing.INK, is_bold=True),
        _make_text_layer(number, y=64, size=_FIGURE, colour=drawing.COLOURS[0], is_bold=True),
    ]
    if len(known) > 1:
        is_percent = table.find_column(chart.y[0]).kind is Kind.PERCENT and chart.aggregate != Aggregate.COUNT
        change = Change(known[-1], known[-2], is_percent)
        if change.ratio is not None and abs(change.ratio) >= 100:
            words = _("much more than before")
        else:
            words = drawing.describe_change(change, decimals=decimals, unit=unit)
            if change.kind is not ChangeKind.WORDS:
                words = _("%(change)s against the value before") % {"change": words}
        layers.append(_make_text_layer(words, y=98, size=13, colour=drawing.INK))
        # A line of the last places, without axes.
        rows = [{"x": place, "y": drawing.to_float(one)} for place, one in enumerate(numbers[-_SPARKS:])]
        across = {"range": [drawing.MARGIN, drawing.WIDTH - drawing.MARGIN], "nice": False, "zero": False}
        up = {"range": [height - 34, 112], "zero": False, "nice": False}
        place = {
            "x": {"field": "x", "type": "quantitative", "scale": across, "axis": None},
            "y": {"field": "y", "type": "quantitative", "scale": up, "axis": None},
        }
        mark = {"type": "line", "strokeWidth": 2, "color": drawing.COLOURS[0]}
        layers.append({"data": {"values": rows}, "mark": mark, "encoding": place})
    foot = " · ".join([drawing.write_as_of(table), *notes])
    layers.append(_make_text_layer(foot, y=height - 14, size=drawing.FONT_SIZE, colour=drawing.FAINT))
    return _make_fixed_layout(layers, height)


def _make_fixed_layout(layers: list[Spec], height: float) -> Spec:
    return {"width": drawing.WIDTH, "height": height, "padding": 0, "autosize": "none", "layer": layers}


def _make_text_layer(text: str, *, y: float, size: int, colour: str, is_bold: bool = False) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": size, "color": colour}
    shown = drawing.fit_text(drawing.to_one_line(text), ROOM, size)
    mark |= {**(drawing.BOLD if is_bold else {}), "limit": drawing.find_cut_width(shown, ROOM, size)}
    place = {"x": {"value": drawing.MARGIN}, "y": {"value": y}, "text": {"field": "t"}}
    return {"data": {"values": [{"t": shown}]}, "mark": mark, "encoding": place}


def _order_rows(chart: Chart, table: Table) -> list[tuple[Value, ...]]:
    """Return the rows in the chart's order: as in the data, by name, else by the first column if it has days, or by the
    first column of numbers. With days, “the largest first” means the newest first, and planned rows last."""
    if chart.sort == Sort.NAME and chart.x:
        return sorted(table.rows, key=lambda row: str(row[table.find_position(chart.x)]))
    columns = [table.find_column(name) for name in (chart.x, *chart.y) if name]
    ranking = next((one for one in columns[:1] if one.is_temporal), None)
    ranking = ranking or next((one for one in columns if one.is_numeric and one.name in chart.y), None)
    if chart.sort == Sort.AS_IS or ranking is None:
        return list(table.rows)
    ranked = rank_rows(table, ranking.name, is_descending=chart.sort == Sort.LARGEST)
    rows = [table.rows[row] for row in ranked]
    if ranking.is_temporal and chart.sort == Sort.LARGEST:
        rows.sort(key=lambda row: charts.is_planned(row[table.find_position(ranking.name)], table))
    return rows
