"""Geometry of the overview's bar chart, in SVG coordinates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from notifications.delivery.runs.statistics import Counts, Day

# In units of the drawing, which the page scales.
LEFT, RIGHT, TOP, PLOT, FOOT = 44, 4, 14, 120, 24
STEP, BAR = 30, 18
# A part of a bar is never drawn lower than this: three refused among thousands of accepted must be seen.
LOWEST = 3


@dataclass(frozen=True)
class Part:
    """A part of a bar. `name`: accepted, unknown or refused."""

    name: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Bar:
    date: date
    counts: Counts
    label: str
    middle: int
    parts: list[Part]


@dataclass(frozen=True)
class Line:
    """A line of the scale with its number."""

    value: int
    y: int


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    left: int
    base: int
    bars: list[Bar]
    lines: list[Line]
    total: Counts


def draw(days: Sequence[Day]) -> Picture:
    """`days`: the oldest first."""
    top = _round_up(max((day.counts.settled for day in days), default=0))
    total = Counts()
    for day in days:
        total += day.counts
    base = TOP + PLOT
    return Picture(
        width=LEFT + STEP * len(days) + RIGHT,
        height=base + FOOT,
        left=LEFT,
        base=base,
        bars=[_bar(number, day, top) for number, day in enumerate(days)],
        lines=[Line(value, base - PLOT * value // top) for value in sorted({0, top // 2, top})],
        total=total,
    )


def _bar(number: int, day: Day, top: int) -> Bar:
    x = LEFT + STEP * number + (STEP - BAR) // 2
    parts: list[Part] = []
    y = TOP + PLOT
    for name in ("accepted", "unknown", "refused"):
        value = getattr(day.counts, name)
        if value:
            height = max(LOWEST, round(PLOT * value / top))
            y -= height
            parts.append(Part(name, x, y, BAR, height))
    is_month_named = number == 0 or day.date.day == 1
    label = f"{day.date.month}/{day.date.day}" if is_month_named else str(day.date.day)
    return Bar(day.date, day.counts, label, x + BAR // 2, parts)


def _round_up(value: int) -> int:
    """The next number of the form 2, 4, 6, 8 or 10 times a power of ten, so that half of it is a whole number."""
    power = 1
    while power * 10 < value:
        power *= 10
    return next(power * factor for factor in (2, 4, 6, 8, 10) if power * factor >= value)
