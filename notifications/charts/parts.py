"""Draws parts of a whole, a pie or a ring, each with its share in the legend. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from integrations.core.sentences import Sentence
from integrations.data.figures import total
from integrations.data.table import Table, format_number
from notifications.charts import svg, theme
from notifications.charts.aggregate import LABEL_PIXELS, Shaped, shown_as
from notifications.charts.definition import Aggregate, Chart, ChartError, ChartKind
from notifications.charts.labels import FONT_SIZE, short, shown_within

# How much of a ring is empty.
_HOLE = 0.55
# An arc whose ends are nearer, in pixels, begins and ends at one point, and is left out by whoever draws it.
_DRAWN_APART = 0.002
_LINE, _LEGEND_ROW = 14, 16
_SQUARE = "M-4.743,-4.743h9.487v9.487h-9.487Z"
_LABEL_LEFT, _LABEL_ROOM, _LEGEND_GAP = 16, 150, 4


def parts_svg(
    chart: Chart, table: Table, shaped: Shaped, title: str, notes: Sequence[str], size: theme.Size, *, language: str
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
    colours = [theme.REST if place == shaped.rest else theme.PART_COLOURS[i] for i, place in enumerate(names)]
    room, top = theme.WIDTH - 2 * theme.MARGIN, 37 + _LINE * len(notes)
    labels = [svg.cut(share, _LABEL_ROOM, FONT_SIZE) for share in shares]
    left = theme.WIDTH - theme.MARGIN - math.ceil(_LABEL_LEFT + max(svg.width(label, FONT_SIZE) for label in labels))
    wide, high = left - _LEGEND_GAP - theme.MARGIN, size.height - theme.MARGIN - top - 2
    x, y, radius = theme.MARGIN + wide / 2, top + high / 2, min(wide, high) / 2
    hole = _HOLE * radius if chart.kind == ChartKind.DONUT else 0.0
    drawn, start = [], 0.0
    for part, colour in zip(parts, colours, strict=True):
        drawn.append(svg.path(_sector(start, start + float(part), radius, hole), x, y, colour))
        start += float(part)
    unit, decimals = shown_as(chart, table)
    # Averages and percentages add up to nothing.
    if hole and chart.aggregate in {Aggregate.SUM, Aggregate.COUNT} and unit != "%":
        said = short(whole, decimals=decimals, language=language)
        drawn.append(svg.text(said, x, y, room=room, size=18, anchor="middle", is_bold=True))
    for line, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        middle = top + _LEGEND_ROW * line + 6
        drawn.append(svg.path(_SQUARE, left + 6, middle, colour))
        drawn.append(svg.text(label, left + _LABEL_LEFT, middle, room=_LABEL_ROOM))
    drawn.append(svg.text(title, theme.MARGIN, 19.5, room=room, size=15, is_bold=True))
    for line, note in enumerate(notes):
        drawn.append(svg.text(note, theme.MARGIN, 35.5 + _LINE * line, room=room, colour=theme.FAINT))
    return svg.whole(size.height, drawn)


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
