"""Figures: what values come to, and how two of them compare. Pure.

A figure is a value, or None: unknown. Unknown values are left out, and a figure of nothing but unknown values is
unknown, never 0. Numbers are computed as decimals, in the digits that they show.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum

from integrations.data.reading import day_of, fold_text, is_unknown
from integrations.data.table import Column, Kind, Table, Value

# Digits enough for whatever a BI adds up.
ARITHMETIC = Context(prec=40, rounding=ROUND_HALF_UP)
# Holds every sum of floats exactly, so that the order of rows changes none; short numbers cost no more in it.
_EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


class NotNumericError(ValueError):
    """A number is asked of a column that holds none. `column`: its name."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def to_decimal(value: Value) -> Decimal | None:
    """Return a number in the digits that it shows; None for what is no number, or unknown."""
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if math.isfinite(value) else None
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def numbers_of(table: Table, name: str, rows: Iterable[int] | None = None) -> list[Decimal]:
    """Return the known numbers of a column. `rows`: the positions of those that count; None: all.

    Yes and no count as 1 and 0. Raises NotNumericError for a known value that is something else, KeyError where there
    is no such column.
    """
    position = table.position(name)
    chosen = table.rows if rows is None else [table.rows[row] for row in rows]
    numbers: list[Decimal] = []
    for row in chosen:
        value = row[position]
        number = Decimal(int(value)) if isinstance(value, bool) else to_decimal(value)
        if number is not None:
            numbers.append(number)
        elif not is_unknown(value):
            raise NotNumericError(name)
    return numbers


def total(numbers: Sequence[Decimal]) -> Decimal | None:
    """Add up numbers, exactly; None of none."""
    if not numbers:
        return None
    with localcontext(_EXACT):
        added = sum(numbers, Decimal(0))
    return ARITHMETIC.plus(added)


def average(numbers: Sequence[Decimal]) -> Decimal | None:
    """Return the mean; None of none."""
    added = total(numbers)
    return None if added is None else ARITHMETIC.divide(added, Decimal(len(numbers)))


_NEVER_ADDED = re.compile(
    r"率|占比|比例|百分|价|均|温|余额|rate|ratio|percent|price|average|\bavg|temp|balance", re.IGNORECASE
)


def adds_up(column: Column) -> bool:
    """Return whether a total of the column means something: not of a percentage, rate, price, temperature or balance,
    by its kind, unit and name. For what is proposed; an editor may total any column of numbers.
    """
    if column.kind is Kind.PERCENT or column.unit in ("%", "℃", "°C"):
        return False
    return column.is_numeric and not _NEVER_ADDED.search(column.name)


def share(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    """Return `part` as a ratio of `whole`; None where either is unknown, or the whole is 0."""
    return None if part is None or not whole else ARITHMETIC.divide(part, whole)


def count_known(values: Iterable[Value]) -> int:
    """Count the values that are known and not empty."""
    return sum(not is_unknown(value) for value in values)


def count_distinct(values: Iterable[Value]) -> int:
    """Count the different known values; texts are compared folded."""
    return len({fold_text(value) if isinstance(value, str) else value for value in values if not is_unknown(value)})


def newest_day(values: Iterable[Value], *, until: date, zone: tzinfo) -> date | None:
    """Return the latest day that is not after `until`, the slot's day: days to come are a plan. None where there is
    none."""
    return max((day for value in values if (day := day_of(value, zone)) is not None and day <= until), default=None)


def rank_rows(table: Table, name: str, *, is_descending: bool = True) -> list[int]:
    """Return the positions of all rows, the largest (or smallest) known value first and unknown ones last; equal ones
    stay in the source's order. Raises KeyError."""
    position = table.position(name)
    is_numeric = table.columns[position].is_numeric
    values = [to_decimal(row[position]) if is_numeric else row[position] for row in table.rows]
    keys = [(row, value) for row, value in enumerate(values) if not is_unknown(value)]
    keys.sort(key=lambda one: one[1], reverse=is_descending)  # type: ignore[arg-type,return-value]  # of one kind
    return [row for row, _key in keys] + [row for row, value in enumerate(values) if is_unknown(value)]


# --- Changes ----------------------------------------------------------------------------------------------------------


class ChangeKind(StrEnum):
    """How a change can be said."""

    UNKNOWN = "unknown"
    RATIO = "ratio"  # as a percentage of the old value
    POINTS = "points"  # of two percentages: in percentage points
    WORDS = "words"  # from 0, from a negative value or over 0: by naming both values


@dataclass(frozen=True, slots=True)
class Change:
    """A change from `old` to `new`, either of which may be unknown. `is_percent`: both are percentages."""

    new: Decimal | None
    old: Decimal | None
    is_percent: bool = False

    @property
    def kind(self) -> ChangeKind:
        if self.new is None or self.old is None:
            return ChangeKind.UNKNOWN
        if self.is_percent:
            return ChangeKind.POINTS
        if self.new == self.old or (self.old > 0 and self.new >= 0):
            return ChangeKind.RATIO
        return ChangeKind.WORDS

    @property
    def difference(self) -> Decimal | None:
        """The new value less the old one."""
        return None if self.new is None or self.old is None else ARITHMETIC.subtract(self.new, self.old)

    @property
    def relative(self) -> Decimal | None:
        """The difference by the size of the old value, also of a negative one; None from 0 and of unknown values."""
        return ARITHMETIC.divide(self.difference, abs(self.old)) if self.difference is not None and self.old else None

    @property
    def ratio(self) -> Decimal | None:
        """The difference as a ratio of the old value; None where it cannot be said so."""
        if self.kind is not ChangeKind.RATIO or self.difference is None or self.old is None:
            return None
        return ARITHMETIC.divide(self.difference, self.old) if self.old else Decimal(0)


# --- Values that are compared -----------------------------------------------------------------------------------------


def comparison_key(value: Value, zone: tzinfo) -> Decimal | str | bool | date | datetime | None:
    """Return a value as it is compared and grouped with others: numbers in their digits, texts folded, moments by the
    clocks of `zone`. None for an unknown one."""
    if is_unknown(value):
        return None
    if isinstance(value, str):
        return fold_text(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=zone) if value.tzinfo is None else value
    return value if isinstance(value, bool | date) else to_decimal(value)
