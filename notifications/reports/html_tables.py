"""Formats a content's tables for a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.utils import timezone

from integrations.data.formats import DASH
from integrations.data.table import Column, Kind, Table, Value
from notifications.reports.templates import dates, numbers
from notifications.reports.templates.values import ExpressionError, from_cell
from notifications.sources import Content

# A text up to this length stays on one line.
SHORT_CHARACTERS = 12


@dataclass(frozen=True)
class ShownColumn:
    """`unit`: below the name; `is_number`: to the right."""

    name: str
    unit: str
    is_number: bool


@dataclass(frozen=True)
class ShownTable:
    """Some rows of a table, each cell with its class: a number, something short that is not broken, or neither.

    `is_cut`: the source had more rows than it gave.
    """

    title: str
    columns: list[ShownColumn]
    rows: list[list[tuple[str, str]]]
    row_count: int
    is_cut: bool

    @property
    def left_out_count(self) -> int:
        return self.row_count - len(self.rows)


def shown_tables(content: Content, rows_at_most: int, page: int = 1) -> list[ShownTable]:
    """Of each card the rows of one page, counted from 1."""
    return [shown_table(card.title, card.table, rows_at_most, page) for card in content.cards]


def page_count(content: Content, rows_at_most: int) -> int:
    """How many pages the longest table has; 1 at least."""
    longest = max((len(card.table.rows) for card in content.cards), default=0)
    return max(1, -(-longest // rows_at_most))


def shown_table(title: str, table: Table, rows_at_most: int, page: int = 1) -> ShownTable:
    """The rows of `page`, from 1 on, with `rows_at_most` on each."""
    columns = [ShownColumn(one.name, one.unit, one.is_numeric) for one in table.columns]
    rows = [
        [_classed(cell(value, column), column) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows[(page - 1) * rows_at_most : page * rows_at_most]
    ]
    return ShownTable(title, columns, rows, len(table.rows), table.is_cut)


def _classed(text: str, column: Column) -> tuple[str, str]:
    if column.is_numeric:
        return text, "number"
    return text, "short" if column.kind != Kind.TEXT or len(text) <= SHORT_CHARACTERS else ""


def cell(value: Value, column: Column) -> str:
    """Numbers with commas, as in messages; times in the zone that is active.

    Never fails: a page of ten thousand cells is not lost to one of them. A number too large for templates stands as
    the source wrote it.
    """
    if value is None:
        return DASH
    if column.is_numeric and isinstance(value, int | float | Decimal):
        try:
            return numbers.thousands(from_cell(value))
        except ExpressionError:
            return str(value)
    if isinstance(value, datetime):
        return dates.written(from_cell(value, timezone.get_current_timezone()))
    if isinstance(value, date):
        return dates.written(value)
    return str(value)
