"""One distinct content of a run: what all people with the same slice of the data get. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from integrations.sources.table import Table, from_document, to_document


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in words, with what it is: "昨日降水", "12.3 毫米 ↑5.0%". The first of a content stands out in cards."""

    caption: str
    words: str


@dataclass(frozen=True, slots=True)
class CardContent:
    """The table of one card of the report, cut down to the slice. `alias`: its name in templates; `title`: as people
    read it."""

    alias: str
    title: str
    table: Table


@dataclass(frozen=True, slots=True)
class Content:
    """What a message is made of, before it has a form's bytes: nothing in it depends on who of the slice gets it.

    `title` is one line of plain text. `text` is for the message form for which it was rendered: what came out of
    cells is escaped for that form already. `cards` are in the report's order; a report without cards has none.
    `as_of`: of the oldest table; `note`: that the data is stale or cut, in words, or empty; it begins `text` already.
    `link`: where the message leads, a page of the BI where the report names no other; empty: nowhere. `time_zone`: of
    all of its times, by name; empty for what was frozen before it was kept: the site's.
    """

    title: str
    text: str
    cards: tuple[CardContent, ...] = ()
    figures: tuple[Figure, ...] = ()
    as_of: datetime | None = None
    note: str = ""
    link: str = ""
    time_zone: str = ""

    @property
    def tables(self) -> dict[str, Table]:
        """By the cards' aliases, in the report's order."""
        return {card.alias: card.table for card in self.cards}


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
