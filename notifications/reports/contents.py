"""Serialises the content of a delivery, and reads it back. Pure."""

from __future__ import annotations

import json
import zlib
from datetime import datetime
from typing import Any

from integrations.data.table import from_document, to_document
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
