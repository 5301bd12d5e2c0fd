"""What a report shows of its cards, serialised for a delivery, and as tables of a page. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from integrations.data.figures import is_unknown
from integrations.data.table import Column, Kind, Table, Value, from_document, to_document
from notifications.charts.drawing import cell_text, head_unit
from notifications.sources import CardContent, Content, Figure


def frozen(content: Content) -> bytes:
    """The content as it is kept with its deliveries; `thawed` gives it back equal."""
    document = {
        "title": content.title,
        "text": content.text,
        "cards": [[card.alias, card.title, to_document(card.table)] for card in content.cards],
        "figures": [[figure.caption, figure.words] for figure in content.figures],
        "as_of": None if content.as_of is None else content.as_of.isoformat(),
        "note": content.note,
        "link": content.link,
        "time_zone": content.time_zone,
    }
    return zlib.compress(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def thawed(kept: bytes) -> Content:
    """A content that `frozen` wrote."""
    document: dict[str, Any] = json.loads(zlib.decompress(kept))
    return Content(
        title=document["title"],
        text=document["text"],
        cards=tuple(CardContent(alias, title, from_document(table)) for alias, title, table in document["cards"]),
        figures=tuple(Figure(caption, words) for caption, words in document["figures"]),
        as_of=None if document["as_of"] is None else datetime.fromisoformat(document["as_of"]),
        note=document["note"],
        link=document["link"],
        time_zone=document.get("time_zone", ""),
    )


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
