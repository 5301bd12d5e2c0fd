"""Formats a content's tables for a page."""

from __future__ import annotations

from dataclasses import dataclass

from integrations.data.figures import is_unknown
from integrations.data.table import Column, Kind, Table, Value
from notifications.charts.labels import cell_text, head_unit
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
    columns = [ShownColumn(one.name, head_unit(one), one.is_numeric) for one in table.columns]
    rows = [
        [_classed(value, column) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows[(page - 1) * rows_at_most : page * rows_at_most]
    ]
    return ShownTable(title, columns, rows, len(table.rows), table.is_cut)


def _classed(value: Value, column: Column) -> tuple[str, str]:
    # A page has room for all lines of a text.
    text = value if isinstance(value, str) and not is_unknown(value) else cell_text(value, column)
    if column.is_numeric:
        return text, "number"
    return text, "short" if column.kind != Kind.TEXT or len(text) <= SHORT_CHARACTERS else ""
