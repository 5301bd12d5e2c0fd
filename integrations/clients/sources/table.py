"""Table: the one shape of data, whatever its source. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

Value = str | int | float | Decimal | bool | date | datetime | None


class Kind(StrEnum):
    """What the values of a column are; any of them may be None. BOOLEAN comes before NUMBER: in Python True is 1."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is unique in its table and what people see. `unit`: as it stands behind a number ("元", "%"), or empty."""

    name: str
    kind: Kind
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a card. Each row has a value for each column, of its kind or None.

    `as_of`: when the data was true, as the source says; else when it was fetched. Aware. `is_cut`: there were more rows
    than were asked for.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    as_of: datetime
    is_cut: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in their order."""
        return tuple(column.name for column in self.columns)

    def position(self, name: str) -> int:
        """Of the column in each row. Raises KeyError where there is none of this name."""
        for position, column in enumerate(self.columns):
            if column.name == name:
                return position
        raise KeyError(name)

    def values(self, name: str) -> list[Value]:
        """A column from top to bottom. Raises KeyError."""
        position = self.position(name)
        return [row[position] for row in self.rows]

    def records(self) -> Iterator[dict[str, Value]]:
        """Each row by the names of the columns."""
        names = self.names
        return (dict(zip(names, row, strict=True)) for row in self.rows)

    def with_rows(self, rows: Sequence[tuple[Value, ...]]) -> Table:
        """The same columns over other rows: a slice of this table."""
        return Table(self.columns, tuple(rows), self.as_of, self.is_cut)


def to_document(table: Table) -> dict[str, Any]:
    """The table as JSON can hold it; `from_document` gives it back equal. Numbers keep all their digits."""
    return {
        "columns": [[column.name, column.kind.value, column.unit] for column in table.columns],
        "rows": [[_plain(value) for value in row] for row in table.rows],
        "as_of": table.as_of.isoformat(),
        "is_cut": table.is_cut,
    }


def from_document(document: Mapping[str, Any]) -> Table:
    """A table that `to_document` wrote, and nothing else: it is not checked again."""
    columns = tuple(Column(name, Kind(kind), unit) for name, kind, unit in document["columns"])
    kinds = [column.kind for column in columns]
    rows = tuple(
        tuple(_revived(value, kind) for value, kind in zip(row, kinds, strict=True)) for row in document["rows"]
    )
    return Table(columns, rows, datetime.fromisoformat(document["as_of"]), document["is_cut"])


def _plain(value: Value) -> str | int | float | bool | None:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def _revived(value: Any, kind: Kind) -> Value:
    if value is None:
        return None
    if kind is Kind.NUMBER and isinstance(value, str):
        return Decimal(value)
    if kind is Kind.DATE:
        return date.fromisoformat(value)
    if kind is Kind.DATETIME:
        return datetime.fromisoformat(value)
    revived: Value = value
    return revived
