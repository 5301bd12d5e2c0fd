"""Converts contents of reports to and from the bytes stored with a delivery, and to tables of a page."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

from integrations.data.figures import is_unknown, sort_newest_first
from integrations.data.table import Kind, from_document, to_document
from notifications.charts.drawing import find_head_unit, write_cell
from notifications.sources import CardContent, Content, Figure


def dump_content(content: Content) -> bytes:
    """Return the bytes of the content to store with its deliveries; `load_content` reads them."""
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


def load_content(dumped: bytes) -> Content:
    """Return the content of bytes that `dump_content` wrote."""
    document: dict[str, Any] = json.loads(zlib.decompress(dumped))
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


# Texts up to this length are not wrapped.
SHORT_CHARACTERS = 12


def paginate_tables(content: Content, rows_at_most: int, page: int = 1, *, at: datetime) -> list[dict[str, Any]]:
    """Return one page of each card's rows: the newest of the days up to `at` first, then planned ones.

    `at`: in the time zone of the message. `page` counts from 1. Cells have a CSS class: "number", "short" (not wrapped)
    or none. `columns`: names, units, and whether they are numbers. `is_cut`: the source had more rows than it gave.
    """
    pages = []
    for card in content.cards:
        table = sort_newest_first(card.table, today=at.date(), zone=at.tzinfo or UTC)
        rows = []
        for row in table.rows[(page - 1) * rows_at_most : page * rows_at_most]:
            cells = []
            for value, column in zip(row, table.columns, strict=True):
                # A page has room for all lines of a text.
                text = value if isinstance(value, str) and not is_unknown(value) else write_cell(value, column)
                is_short = column.kind != Kind.TEXT or len(text) <= SHORT_CHARACTERS
                cells.append((text, "number" if column.is_numeric else "short" if is_short else ""))
            rows.append(cells)
        columns = [(one.name, find_head_unit(one), one.is_numeric) for one in table.columns]
        shown = {"title": card.title, "columns": columns, "rows": rows, "is_cut": table.is_cut}
        pages.append({**shown, "row_count": len(table.rows), "left_out_count": len(table.rows) - len(rows)})
    return pages
