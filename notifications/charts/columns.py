"""Which columns of a table have room side by side on a phone, and how their cells are written there. Pure.

Texts may be cut, visibly. A number or a date is whole or not there: half of it reads as another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from integrations.sources.table import Column, Kind, Value
from notifications.charts import looks
from notifications.charts.figures import number_of, one_line, short, text_of
from notifications.charts.naming import FONT_SIZE, width_of

# Between a column and the next one.
GAP = 14
# What fits to the pixel is cut by the renderer.
_SLACK = 2.0
ROOM = looks.WIDTH - 2 * looks.MARGIN
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
    found, start = [], float(looks.MARGIN)
    for width in widths:
        found.append((round(start, 1), round(width, 1)))
        start += width
    return found


def head(column: Column) -> str:
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
