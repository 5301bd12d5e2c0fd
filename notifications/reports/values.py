"""The values that templates compute with: primitives, and what stands for "no value". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from integrations.sources.table import Value
from notifications.reports.errors import ExpressionError
from notifications.sentences import Sentence

# What is shown where there is no value.
DASH = "—"
_DAY = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")


class Nothing:
    """No value: shown as a dash, smaller and greater than nothing, and whatever is computed with it is nothing, too.

    Why not None? A template that compares or adds would fail on the first empty cell, at nine in the morning.
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
