"""Errors of report templates, in sentences for their author."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from integrations.core.sentences import Sentence, SentenceError
from integrations.data.figures import comparison_key, day_of, fold_text, in_zone, is_unknown, read_number, to_decimal
from integrations.data.table import DASH, NUMERIC, TEMPORAL, Column, Kind, Value


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
    """Return a cell as templates see it: a float as the decimal number that it shows, a moment by the clocks of
    `zone`."""
    if value is None or (isinstance(value, float | Decimal) and is_unknown(value)):
        return NOTHING
    if isinstance(value, datetime) and zone is not None:
        return in_zone(value, zone)
    return Decimal(repr(value)) if isinstance(value, float) else value


def to_number(value: Any) -> Decimal | None:
    """Return a number, also of a text that is one; None of anything else."""
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, str):
        number = read_number(value)
        return None if number is None else Decimal(number.value)
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return to_decimal(value) if isinstance(value, int | float) else None


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
    """Return how a cell is read, and the value that it is compared with; None for a value that is of no use."""
    if isinstance(wanted, datetime) and kind == Kind.DATETIME:
        return (lambda cell: comparison_key(cell, zone) if isinstance(cell, datetime) else None), comparison_key(
            wanted, zone
        )
    if isinstance(wanted, date) or kind in TEMPORAL:
        fits = kind in TEMPORAL or kind == Kind.TEXT
        return (lambda cell: day_of(cell, zone)), day_of(wanted, zone) if fits else None
    if isinstance(wanted, bool) or kind == Kind.BOOLEAN:
        fits = isinstance(wanted, bool) and kind == Kind.BOOLEAN
        return (lambda cell: cell if isinstance(cell, bool) else None), wanted if fits else None
    if isinstance(wanted, int | float | Decimal) or kind in NUMERIC:
        return to_number, to_number(wanted)
    return (lambda cell: fold_text(cell) if isinstance(cell, str) else None), (
        fold_text(wanted) if isinstance(wanted, str) else None
    )
