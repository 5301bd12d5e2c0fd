"""Makes a column's cells and a value of a template comparable: 7 with the text 7, a day with the moments in it. Pure.

What can never be equal is refused: a condition that silently fits no row looks like a day without sales.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from integrations.sources.table import Column, Kind
from notifications.reports.errors import ExpressionError
from notifications.reports.values import Nothing, to_day, to_number
from notifications.sentences import Sentence

# A cell as it is compared; None for one that cannot be, such as an empty one.
Like = Callable[[Any], Any]


def alike(column: Column, wanted: Any, zone: ZoneInfo) -> tuple[Like, Any]:
    """How each cell of the column is read, and the value, so that Python can tell which is the larger.

    Raises ExpressionError where no cell of such a column can be compared with such a value.
    """
    if isinstance(wanted, Nothing):
        return (lambda cell: cell if isinstance(cell, Nothing) else None), wanted
    like, value = _pair(column.kind, wanted, zone)
    if value is None:
        sentence = Sentence("The values of the column “%(column)s” cannot be compared with this one.")
        raise ExpressionError(sentence % {"column": column.name})
    return like, value


def _pair(kind: Kind, wanted: Any, zone: ZoneInfo) -> tuple[Like, Any]:
    """The value is None where it is of no use."""
    if isinstance(wanted, datetime) and kind == Kind.DATETIME:
        return (lambda cell: _moment(cell, zone)), _moment(wanted, zone)
    if isinstance(wanted, date) or kind in {Kind.DATE, Kind.DATETIME}:
        fits = kind in {Kind.DATE, Kind.DATETIME, Kind.TEXT}
        return (lambda cell: to_day(cell, zone)), to_day(wanted, zone) if fits else None
    if isinstance(wanted, bool) or kind == Kind.BOOLEAN:
        fits = isinstance(wanted, bool) and kind == Kind.BOOLEAN
        return (lambda cell: cell if isinstance(cell, bool) else None), wanted if fits else None
    if isinstance(wanted, int | float | Decimal) or kind == Kind.NUMBER:
        return to_number, to_number(wanted)
    return (lambda cell: cell if isinstance(cell, str) else None), wanted if isinstance(wanted, str) else None


def _moment(value: Any, zone: ZoneInfo) -> datetime | None:
    """With a zone: one that the source wrote without is a moment of the report's."""
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)
