"""Errors of report templates, in sentences for their author."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from integrations.core.sentences import Sentence, SentenceError
from integrations.data.table import NUMERIC, Column, Kind, Value


class TemplateError(SentenceError):
    """`line` counts from 1; 0 where no line is to blame."""

    def __init__(self, line: int, reason: Sentence) -> None:
        at_line = Sentence("Line %(line)d: %(reason)s") % {"line": line, "reason": reason}
        super().__init__(at_line if line else reason)
        self.line = line


class ExpressionError(SentenceError):
    """What an expression of a template asked for cannot be had. The engine adds the line."""


class ColumnGoneError(ExpressionError):
    """The data has no column of this name (any more)."""


# --- The values that templates compute with: primitives, and what stands for "no value". Pure ---

# What is shown where there is no value.
DASH = "—"
_DAY = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")


class Nothing:
    """No value: shown as a dash, smaller and greater than nothing, and whatever is computed with it is nothing, too.

    Not None: a template that compares or adds would fail on the first empty cell, at nine in the morning.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nothing)

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__

    def __neg__(self) -> Nothing:
        return self

    __pos__ = __neg__

    def __str__(self) -> str:
        return DASH


NOTHING = Nothing()


class Exposed:
    """An object that a template sees: of it nothing but what `exposed` names, and items by `item`."""

    __slots__ = ()

    def exposed(self, name: str) -> Any:
        """The attribute of this name. Raises ExpressionError for all others."""
        raise ExpressionError(Sentence("There is nothing called “%(name)s” here.") % {"name": name})

    def item(self, key: object) -> Any:
        raise ExpressionError(Sentence("This has no parts in square brackets."))

    def shown(self) -> str:
        """As it stands in a text."""
        raise ExpressionError(Sentence("This is not a value that can be shown; name what is meant of it."))


class Function:
    """Something that a template may call; what is not one, it may not."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


def exposed_of(found: Mapping[str, Any], name: str) -> Any:
    """`found[name]`. Raises ExpressionError naming what there is."""
    if name in found:
        return found[name]
    known = ", ".join(sorted(found))
    sentence = Sentence("There is nothing called “%(name)s” here. There is: %(known)s.")
    raise ExpressionError(sentence % {"name": name, "known": known})


def from_cell(value: Value, zone: tzinfo | None = None) -> Any:
    """A cell as templates see it: a float as the decimal number that it shows, a moment as clocks show it in `zone`.

    A moment without a zone of its own stays as the source wrote it.
    """
    if value is None:
        return NOTHING
    if isinstance(value, datetime) and value.tzinfo is not None and zone is not None:
        return _moment_in(value, zone)
    if isinstance(value, float):
        return NOTHING if value != value or value in {float("inf"), float("-inf")} else Decimal(repr(value))  # noqa: PLR0124
    return value


def _moment_in(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:  # in the first or last hours that Python knows
        return moment


def to_number(value: Any) -> Decimal | None:
    """None where it is no number. Text that is one counts: some sources know nothing else."""
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return to_number(from_cell(value))
    if isinstance(value, str):
        try:
            number = Decimal(value.strip().replace(",", ""))
        except InvalidOperation:
            return None
        return number if number.is_finite() else None
    return None


def to_day(value: Any, zone: ZoneInfo) -> date | None:
    """The day of a cell: of a moment the day in `zone`, of text one written 2026-11-24, 2026/11/24 or 20261124."""
    if isinstance(value, datetime):
        return _moment_in(value, zone).date() if value.tzinfo else value.date()
    if isinstance(value, date):
        return value
    found = _DAY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (not found[2] and len(found[3] + found[4]) != 4):
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        return None


# --- Makes a column's cells and a value of a template comparable: 7 with the text 7, a day with the moments in it. Pure

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
    if isinstance(wanted, int | float | Decimal) or kind in NUMERIC:
        return to_number, to_number(wanted)
    return (lambda cell: cell if isinstance(cell, str) else None), wanted if isinstance(wanted, str) else None


def _moment(value: Any, zone: ZoneInfo) -> datetime | None:
    """With a zone: one that the source wrote without is a moment of the report's."""
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)
