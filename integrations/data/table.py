"""Table: rows under typed columns, the one form of data for every source. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import Any, cast

# None is an unknown value. Sums, averages and other figures leave it out; they do not count it as 0.
Value = str | int | float | Decimal | bool | date | datetime | None


class Kind(StrEnum):
    """The kind of a column's values; any of them may be unknown. A PERCENT of 12.5 is shown as 12.5%."""

    TEXT = "text"
    NUMBER = "number"
    PERCENT = "percent"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


NUMERIC = frozenset({Kind.NUMBER, Kind.PERCENT})
TEMPORAL = frozenset({Kind.DATE, Kind.DATETIME})


class Month(date):
    """A month: the date of its first day, written 2026-11."""

    def __str__(self) -> str:
        return self.isoformat()

    def isoformat(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `name`: unique in its table and shown to people; `source_name`: the source's name, if different. `unit`: shown
    behind a number ("元", "%"). `decimals`: how many the source shows; None if it does not say. `scale`: the factor
    applied to the source's raw numbers (100 if 0.125 is shown as 12.5%).
    """

    name: str
    kind: Kind
    unit: str = ""
    decimals: int | None = None
    scale: int = 1
    source_name: str = ""

    @property
    def is_numeric(self) -> bool:
        return self.kind in NUMERIC

    @property
    def is_temporal(self) -> bool:
        return self.kind in TEMPORAL


@dataclass(frozen=True, slots=True)
class Misfit:
    """The values of a column that do not fit its kind and count as unknown. `examples`: up to three of them."""

    column: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows from a data source. Each row has a value for each column, which fits the column's kind or is None.

    `as_of`: the time of the data; aware. `is_fetch_time`: the time of the data is not known, so `as_of` is the time of
    fetching. `is_cut`: the source had more rows than requested.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    as_of: datetime
    is_cut: bool = False
    is_fetch_time: bool = False
    misfits: tuple[Misfit, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def as_of_day(self) -> date | None:
        """The last day that the data covers: the day before `as_of`, if `as_of` is a midnight. None if `as_of` has a
        time of day or is the time of fetching, or if a column has times."""
        has_times = any(column.kind is Kind.DATETIME for column in self.columns)
        is_moment = self.is_fetch_time or has_times or self.as_of.time() != time()
        return None if is_moment else (self.as_of - timedelta(days=1)).date()

    def find_position(self, name: str) -> int:
        """Return the index of a column in each row. Raises KeyError if there is none of this name."""
        for position, column in enumerate(self.columns):
            if column.name == name:
                return position
        raise KeyError(name)

    def find_column(self, name: str) -> Column:
        """Return the column of this name. Raises KeyError."""
        return self.columns[self.find_position(name)]

    def list_values(self, name: str) -> list[Value]:
        """Return a column from top to bottom. Raises KeyError."""
        position = self.find_position(name)
        return [row[position] for row in self.rows]

    def is_kind_known(self, name: str) -> bool:
        """Return whether the values, the source or the administrator determine the column's kind. A text column
        without a known value may be of any kind. Raises KeyError."""
        return self.find_column(name).kind is not Kind.TEXT or any(one is not None for one in self.list_values(name))

    def replace_rows(self, rows: Sequence[tuple[Value, ...]]) -> Table:
        """Return this table with other rows, such as a slice."""
        return Table(self.columns, tuple(rows), self.as_of, self.is_cut, self.is_fetch_time, self.misfits)


def to_document(table: Table) -> dict[str, Any]:
    """Return the table as JSON values, which `from_document` restores. Numbers keep all their digits."""
    return {
        "columns": [
            [column.name, column.kind.value, column.unit, column.decimals, column.scale, column.source_name]
            for column in table.columns
        ],
        "rows": [[_to_json(value) for value in row] for row in table.rows],
        "as_of": table.as_of.isoformat(),
        "is_cut": table.is_cut,
        "is_fetch_time": table.is_fetch_time,
        "misfits": [[misfit.column, misfit.count, list(misfit.examples)] for misfit in table.misfits],
    }


def from_document(document: Mapping[str, Any]) -> Table:
    """Return the table that `to_document` wrote, without checking it again."""
    columns = tuple(Column(name, Kind(kind), *further) for name, kind, *further in document["columns"])
    rows = tuple(
        tuple(_from_json(value, column.kind) for value, column in zip(row, columns, strict=True))
        for row in document["rows"]
    )
    misfits = tuple(Misfit(column, count, tuple(examples)) for column, count, examples in document.get("misfits", ()))
    as_of = datetime.fromisoformat(document["as_of"])
    return Table(columns, rows, as_of, document["is_cut"], document.get("is_fetch_time", False), misfits)


def _to_json(value: Value) -> str | int | float | bool | None:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def _from_json(value: Any, kind: Kind) -> Value:
    if value is None:
        return None
    if kind in NUMERIC and isinstance(value, str):
        return Decimal(value)
    if kind is Kind.DATE:
        return Month.fromisoformat(f"{value}-01") if len(value) == len("2026-11") else date.fromisoformat(value)
    if kind is Kind.DATETIME:
        return datetime.fromisoformat(value)
    return cast("Value", value)


DASH = "—"
UP, DOWN, SAME = "↑", "↓", "→"
USUAL_DECIMALS = 2
# Larger numbers are considered a mistake.
LARGEST = Decimal(10) ** 30
_ROUNDING = Context(prec=80, rounding=ROUND_HALF_UP)
# The size of a unit, its word, and the usual decimals; the largest first.
Scales = tuple[tuple[Decimal, str, int], ...]
CHINESE_SCALES: Scales = ((Decimal(10) ** 12, "万亿", 2), (Decimal(10) ** 8, "亿", 2), (Decimal(10) ** 4, "万", 1))
ENGLISH_SCALES: Scales = tuple(
    (Decimal(10) ** power, word, 1) for power, word in ((12, "T"), (9, "B"), (6, "M"), (3, "K"))
)


def round_number(number: Decimal, decimals: int) -> Decimal:
    """Round half up; −0 becomes 0. Raises OverflowError from 1e30 on."""
    if abs(number) >= LARGEST:
        raise OverflowError("number too large")
    rounded = number.quantize(Decimal(1).scaleb(-decimals), context=_ROUNDING)
    return abs(rounded) if rounded == 0 else rounded


def format_number(number: Decimal | None, decimals: int | None = None, *, grouped: bool = True) -> str:
    """Return a text like 1,234.5. `decimals`: the exact number of decimals; None: up to two, without trailing zeros.
    `number` None becomes a dash."""
    if number is None:
        return DASH
    text = format(round_number(number, USUAL_DECIMALS if decimals is None else decimals), ",f" if grouped else "f")
    return text.rstrip("0").rstrip(".") if decimals is None and "." in text else text


def list_cells(table: Table, rows_at_most: int) -> list[list[tuple[Value, bool]]]:
    """List the first rows for a page that shows what a source gives: each value, and whether its column holds numbers.
    Numbers are written in full, with their thousands separated."""
    rows = []
    for row in table.rows[:rows_at_most]:
        cells: list[tuple[Value, bool]] = []
        for value, column in zip(row, table.columns, strict=True):
            if column.is_numeric and value is not None:
                value = f"{value:,}%" if column.kind is Kind.PERCENT else f"{value:,}"
            cells.append((value, column.is_numeric))
        rows.append(cells)
    return rows


def format_short(number: Decimal | None, decimals: int | None = None, *, scales: Scales = CHINESE_SCALES) -> str:
    """Return a text like 1.2万 or 3.45亿; a smaller number is written in full. `number` None becomes a dash.

    The unit is chosen by the rounded number: 99,999,999 is 1.00亿, not 10000.0万.
    """
    if number is None:
        return DASH
    smaller = [*scales[1:], (Decimal(1), "", USUAL_DECIMALS)]
    for (size, word, usual), (next_size, _next_word, next_usual) in zip(scales, smaller, strict=True):
        next_decimals = next_usual if decimals is None or next_size == 1 else decimals
        if abs(round_number(number / next_size, next_decimals)) * next_size >= size:
            return f"{round_number(number / size, usual if decimals is None else decimals)}{word}"
    return format_number(number, grouped=False)
