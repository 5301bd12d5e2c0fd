"""Builds a Vega-Lite spec from a table and a chart. Pure.

Data is only in `data.values`, in plain strings under our own field names (x, y, s). A column's name is never a field's
name, because Vega parses dots and brackets in these; and no data is an expression, an address or a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.data.figures import total
from integrations.data.table import Table, format_number
from notifications.charts import definition as charts
from notifications.charts import drawing
from notifications.charts.definition import (
    LABEL_PIXELS,
    Aggregate,
    Chart,
    ChartError,
    ChartKind,
    ChartPoints,
    Unit,
    build_points,
    find_number_format,
)
from notifications.charts.placed_charts import number_spec, table_spec

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The parts that each spec has.
_COMMON: Spec = {"$schema": SCHEMA, "background": drawing.PAPER, "config": drawing.CONFIG}
_ROW = 22
_NAME_PIXELS = 110
_FIGURE_GAP = 8
# Our own expressions, without any data.
FIGURE_ALIGN = "datum.y < 0 ? 'right' : 'left'"
FIGURE_OFFSET = "datum.y < 0 ? -4 : 4"
# The inner radius of a ring.
HOLE = "min(width, height) / 2 * 0.55"
# A smaller arc begins and ends at one point, and is not painted.
_SHARE_AT_LEAST = 1e-4
# Legends of lines show lines: filled points with a dashed edge would look like blots.
_STROKES = {"symbolType": "stroke", "symbolSize": 300, "symbolFillColor": "transparent"}
_TIME_FORMATS = {
    Unit.MOMENT: "%m-%d %H:%M",
    Unit.HOUR: "%m-%d %H:%M",
    Unit.DAY: "%m-%d",
    Unit.WEEK: "%m-%d",
    Unit.MONTH: "%Y-%m",
    Unit.YEAR: "%Y",
}


def build_spec(chart: Chart, table: Table, *, language: str, shape_of: drawing.Shape = drawing.Shape.FREE) -> Spec:
    """Return the spec of `table`, 390 pixels wide. Equal arguments give equal specs. Raises ChartError."""
    charts.check(chart, table)
    size = drawing.SIZES[shape_of]
    match chart.kind:
        case ChartKind.TABLE:
            return _COMMON | table_spec(chart, table, size, language=language)
        case ChartKind.NUMBER:
            return _COMMON | number_spec(chart, table, size, language=language)
    shaped = build_points(chart, table, top_at_most=size.row_count)
    is_round = chart.kind in charts.ROUND
    body = (_draw_parts if is_round else _draw_along_axis)(chart, shaped, language, table)
    if chart.thresholds and len(shaped.series) <= 1 and not is_round:
        body = _with_thresholds(body, chart.thresholds, is_horizontal=_is_horizontal(chart, shaped), language=language)
    height = size.height
    if not size.is_fixed and _is_horizontal(chart, shaped):
        height = max(height, 110 + _ROW * len(shaped.places or ()))
    return {
        **_COMMON,
        "width": drawing.WIDTH,
        "height": height,
        "padding": drawing.MARGIN,
        "autosize": {"type": "fit", "contains": "padding"},
        "title": _title(chart, table, _below_zero(chart, shaped, table, language), shaped.notes, size),
        **body,
    }


def _title(chart: Chart, table: Table, urgent: Sequence[str], notes: Sequence[str], size: drawing.Size) -> Spec:
    """Return the title with notes below it; without room for notes only urgent ones, against misreading."""
    unit, _decimals = find_number_format(chart, table)
    text = drawing.one_line(chart.title or ", ".join(chart.y)) + (_(" (%(unit)s)") % {"unit": unit} if unit else "")
    room = drawing.WIDTH - 2 * drawing.MARGIN
    lines = _lines([drawing.as_of_text(table), *urgent, *notes] if size.has_notes else urgent, room)
    limit = max(drawing.limit_of(text, room, 16), *(drawing.limit_of(line, room) for line in lines), 0)
    return {"text": drawing.within(text, room, 16), "limit": limit, **({"subtitle": lines} if lines else {})}


def _lines(notes: Sequence[str], room: float) -> list[str]:
    """Join notes to lines as far as there is room."""
    lines: list[str] = []
    for note in notes:
        if lines and drawing.width_of(f"{lines[-1]} · {note}") <= room:
            lines[-1] = f"{lines[-1]} · {note}"
        else:
            lines.append(note)
    return [drawing.within(line, room, 12) for line in lines]


def _below_zero(chart: Chart, shaped: ChartPoints, table: Table, language: str) -> list[str]:
    """Return a note about parts of a whole that are not drawn."""
    if not shaped.negatives:
        return []
    sentence = ngettext(
        "%(count)d part below zero, not drawn: %(sum)s",
        "%(count)d parts below zero, not drawn: %(sum)s together",
        len(shaped.negatives),
    )
    added = drawing.short(
        drawing.drawable(total(shaped.negatives)), *find_number_format(chart, table), language=language
    )
    return [sentence % {"count": len(shaped.negatives), "sum": added}]


def _is_horizontal(chart: Chart, shaped: ChartPoints) -> bool:
    """Return whether the bars are horizontal: names are read from left to right, and times go that way."""
    return chart.kind in {ChartKind.BAR, ChartKind.STACKED} and shaped.places is not None


def _data(shaped: ChartPoints) -> Spec:
    rows = [{"x": point.place, "y": drawing.as_float(point.value), "s": point.series} for point in shaped.points]
    return {"values": rows}


def _colour(shaped: ChartPoints) -> Spec:
    """Return the colours of the series; the rest is always grey."""
    if len(shaped.series) <= 1:
        return {"value": drawing.COLOURS[0]}
    colours = [
        drawing.REST if series == shaped.rest else drawing.COLOURS[i % 6] for i, series in enumerate(shaped.series)
    ]
    return {"field": "s", "type": "nominal", "scale": {"domain": shaped.series, "range": colours}, "sort": None}


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def _time_format(shaped: ChartPoints) -> str:
    """Return the format of times, with the year if it differs among them."""
    years = {(_FIRST + timedelta(milliseconds=time)).year for time in _times(shaped)}
    wanted = _TIME_FORMATS[shaped.unit or Unit.DAY]
    return f"%Y-{wanted}" if len(years) > 1 and "%Y" not in wanted else wanted


def _times(shaped: ChartPoints) -> set[int]:
    return {point.place for point in shaped.points if isinstance(point.place, int)}


def _place(shaped: ChartPoints) -> Spec:
    if shaped.unit is not None:
        axis = {"format": _time_format(shaped), "grid": False, "tickCount": 5, "labelFlush": True}
        return {"field": "x", "type": "temporal", "scale": {"type": "utc", "padding": 8}, "axis": axis}
    axis = {"grid": False, "labelLimit": 120, "labelAngle": 0}
    return {"field": "x", "type": "ordinal", "scale": {"domain": shaped.places}, "sort": None, "axis": axis}


def _values(language: str) -> Spec:
    axis = {"labelExpr": label_expression(language), "tickCount": 4, "domain": False, "ticks": False}
    return {"field": "y", "type": "quantitative", "axis": axis}


def label_expression(language: str) -> str:
    """Return the expression with which an axis writes its numbers. It holds no data."""
    text = "format(datum.value, ',~g')"
    for scale, word, _decimals in reversed(drawing.scales(language)):
        text = f"abs(datum.value) >= {scale:.0f} ? format(datum.value / {scale:.0f}, ',~g') + '{word}' : {text}"
    return text


def _draw_along_axis(chart: Chart, shaped: ChartPoints, language: str, table: Table) -> Spec:
    if _is_horizontal(chart, shaped):
        return _draw_horizontal_bars(chart, shaped, language, table)
    place, values, colour = _place(shaped), _values(language), _colour(shaped)
    several = len(shaped.series) > 1
    match chart.kind:
        case ChartKind.LINE:
            values["scale"] = {"zero": False, "nice": True}
            dashes: Spec = {"domain": shaped.series, "range": list(drawing.DASHES[: len(shaped.series)])}
            dash = {"field": "s", "type": "nominal", "scale": dashes, "sort": None, "legend": _STROKES}
            if several:
                colour["legend"] = _STROKES
            mark: Spec = {"type": "line", "strokeWidth": 2.5, "strokeJoin": "round"}
            if len({point.place for point in shaped.points}) <= 31:
                mark["point"] = {"size": 36, "filled": True}
            encoding = {"x": place, "y": values, "color": colour} | ({"strokeDash": dash} if several else {})
            return {"data": _data(shaped), "mark": mark, "encoding": encoding}
        case ChartKind.AREA:
            mark = {"type": "area", "opacity": 0.85, "line": not several}
            return {"data": _data(shaped), "mark": mark, "encoding": {"x": place, "y": values, "color": colour}}
        case _:
            return _draw_bars_over_time(chart, shaped, place, values, colour)


def _draw_bars_over_time(chart: Chart, shaped: ChartPoints, place: Spec, values: Spec, colour: Spec) -> Spec:
    """Draw bars over a time axis, as wide as their unit: side by side or stacked."""
    if chart.kind == ChartKind.BAR and len(shaped.series) > 1:
        return _draw_bars_side_by_side(shaped, values, colour)
    count = max(1, len({point.place for point in shaped.points}))
    width = max(2, min(28, round((drawing.WIDTH - 80) / count * 0.7)))
    # The middle of the first bar is at the beginning of the axis: its half must not cover the numbers.
    place = {**place, "scale": {**place["scale"], "padding": max(8, width / 2 + 4)}}
    encoding = {"x": place, "y": values, "color": colour}
    return {"data": _data(shaped), "mark": {"type": "bar", "width": width}, "encoding": encoding}


def _draw_bars_side_by_side(shaped: ChartPoints, values: Spec, colour: Spec) -> Spec:
    """Make each time a named place, because a time axis has no room for bars side by side."""
    wanted = _time_format(shaped)
    names = {time: f"{_FIRST + timedelta(milliseconds=time):{wanted}}" for time in sorted(_times(shaped))}
    points = [replace(one, place=names[one.place]) for one in shaped.points if isinstance(one.place, int)]
    named = replace(shaped, points=points, places=list(names.values()), unit=None)
    encoding = {"x": _place(named), "y": values, "color": colour, "xOffset": {"field": "s", "sort": shaped.series}}
    return {"data": _data(named), "mark": {"type": "bar"}, "encoding": encoding}


def _draw_horizontal_bars(chart: Chart, shaped: ChartPoints, language: str, table: Table) -> Spec:
    several = len(shaped.series) > 1
    axis = {"grid": False, "ticks": False, "domain": False, "labelLimit": _NAME_PIXELS, "labelColor": drawing.INK}
    axis["labelOverlap"] = False
    names = {"field": "x", "type": "nominal", "scale": {"domain": shaped.places}, "sort": None, "axis": axis}
    bars: Spec = {"y": names, "x": _values(language)}
    if several:
        bars["color"] = _colour(shaped)
        if chart.kind == ChartKind.BAR:
            bars["yOffset"] = {"field": "s", "sort": shaped.series}
        return {"data": _data(shaped), "mark": {"type": "bar"}, "encoding": bars}
    unit, decimals = find_number_format(chart, table)
    rows = [
        {
            "x": point.place,
            "y": drawing.as_float(point.value),
            "t": drawing.short(point.value, unit, decimals, language=language),
            "c": drawing.REST if point.place == shaped.rest else drawing.COLOURS[0],
        }
        for point in shaped.points
    ]
    span = _span(chart.thresholds, rows)
    bars["x"] = {"field": "y", "type": "quantitative", "scale": {"domain": span, "nice": False}, "axis": None}
    lengths = {"mark": {"type": "bar"}, "encoding": {"color": {"field": "c", "type": "nominal", "scale": None}}}
    return {"data": {"values": rows}, "encoding": bars, "layer": [lengths, _write_figures()]}


def _span(thresholds: Sequence[float], rows: Sequence[Spec]) -> list[float]:
    """Return the range of horizontal bars, with room for the figures beyond both ends and for the names."""
    values = [*thresholds, *(row["y"] for row in rows if row["y"] is not None)]
    low, high = min(0.0, *values), max(0.0, *values)
    # Without figures at an end, a threshold stays off the edge.
    left = max(
        (_FIGURE_GAP + drawing.width_of(row["t"]) for row in rows if (row["y"] or 0) < 0),
        default=_FIGURE_GAP * (low < 0),
    )
    right = max((_FIGURE_GAP + drawing.width_of(row["t"]) for row in rows if (row["y"] or 0) >= 0), default=_FIGURE_GAP)
    names = _FIGURE_GAP + max(min(_NAME_PIXELS, drawing.width_of(row["x"])) for row in rows)
    pixels = max(60.0, drawing.WIDTH - 2 * drawing.MARGIN - names - left - right)
    step = ((high - low) or 1.0) / pixels
    return [low - left * step, high + right * step]


def _write_figures() -> Spec:
    """Write the figures beyond the ends of horizontal bars: on the right, for negative bars on the left."""
    ends = {"align": {"expr": FIGURE_ALIGN}, "dx": {"expr": FIGURE_OFFSET}}
    return {
        "mark": {"type": "text", "fontSize": 12, "invalid": "show", **ends},
        "encoding": {"text": {"field": "t"}, "color": {"value": drawing.INK}},
    }


def _with_thresholds(body: Spec, thresholds: Sequence[float], *, is_horizontal: bool, language: str) -> Spec:
    """Add a dashed line with its figure for each threshold. The line is drawn between a bar and the bar's figure, so it
    never crosses the figure out. Over time the threshold's figure is at the oldest values."""
    drawn = {name: part for name, part in body.items() if name != "data"}
    axis = "x" if is_horizontal else "y"
    along = {axis: body["encoding"][axis]}
    rows = [{"y": one, "t": drawing.short(drawing.drawable(one), language=language)} for one in thresholds]
    beside: Spec = (
        {"align": "left", "dx": 3, "y": "height", "baseline": "top"}
        if is_horizontal
        else {"align": "left", "dx": 3, "dy": -3, "x": 0, "baseline": "bottom"}
    )
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
    if not is_horizontal:
        return {"data": body["data"], "layer": [drawn, lines]}
    bars, figures = drawn["layer"]
    layers = [{**drawn, "layer": [bars]}, lines, {**drawn, "layer": _outline_text(figures)}]
    return {"data": body["data"], "layer": layers}


def _outline_text(text: Spec) -> list[Spec]:
    """Draw a text with a white edge, readable over anything."""
    mark = {**text["mark"], "color": drawing.PAPER, "stroke": drawing.PAPER, "strokeWidth": 4, "strokeJoin": "round"}
    encoding = {name: channel for name, channel in text["encoding"].items() if name != "color"}
    return [{"mark": mark, "encoding": encoding}, text]


def _draw_parts(chart: Chart, shaped: ChartPoints, language: str, table: Table) -> Spec:
    """Draw the parts of a whole, each with its share in the legend. Raises ChartError."""
    totals = {str(point.place): point.value for point in shaped.points if point.value is not None and point.value > 0}
    whole = total(list(totals.values()))
    if whole is None:
        raise ChartError(Sentence("There is nothing to draw: no value is above zero."))
    places = [place for place in shaped.places or () if place in totals]
    parts = [totals[place] / whole for place in places]
    names = [
        f"{drawing.cut_to_width(place, LABEL_PIXELS)} {format_number(part * 100, 1)}%"
        for place, part in zip(places, parts, strict=True)
    ]
    rows = [
        {"x": name, "y": max(float(part), _SHARE_AT_LEAST), "n": number}
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
    ]
    colours = [drawing.REST if place == shaped.rest else drawing.PART_COLOURS[i] for i, place in enumerate(places)]
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
    unit, decimals = find_number_format(chart, table)
    # Sums of averages or percentages mean nothing.
    if chart.kind == ChartKind.DONUT and chart.aggregate in {Aggregate.SUM, Aggregate.COUNT} and unit != "%":
        said = [{"t": drawing.short(whole, decimals=decimals, language=language)}]
        text = {"type": "text", "fontSize": 18, **drawing.BOLD, "color": drawing.INK}
        layers.append({"data": {"values": said}, "mark": text, "encoding": {"text": {"field": "t"}}})
    return {"data": {"values": rows}, "layer": layers}
