"""Recipes of pictures and files as bytes: equal recipes are made once. Pure."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone, translation

from integrations.clients.snapshots import Kind, Options, Theme, Width
from integrations.core.sentences import Sentence, SentenceError
from integrations.data.table import Table, from_document, to_document
from notifications.charts import definition as charts
from notifications.charts import drawing, renderer
from notifications.charts.definition import Chart, ChartError
from notifications.charts.vega import spec
from notifications.delivery.attachments import spreadsheets

# Moved on where the same recipe gives another picture than before.
VERSION = 3


class MediumError(SentenceError):
    """It cannot be made, however often it is tried."""


@dataclass(frozen=True, slots=True)
class Made:
    """`svg`, `width` and `height` belong to pictures alone, `cover` to those of pages."""

    content: bytes
    svg: str = ""
    width: int = 0
    height: int = 0
    cover: bytes = b""


def picture(chart: Chart, table: Table, *, shape: drawing.Shape, language: str, time_zone: str = "") -> bytes:
    """The recipe of a chart of `table`. `time_zone`: of the times in it; the site's where it is not given."""
    return _packed(
        {
            "version": VERSION,
            "chart": charts.to_document(chart),
            "table": to_document(table),
            "shape": shape.value,
            "language": language,
            "time_zone": time_zone,
        }
    )


def file(tables: Sequence[tuple[str, Table]], *, language: str, time_zone: str = "") -> bytes:
    """The recipe of a file that holds these tables by their titles, as far as a file has room: of a csv the first."""
    parts = spreadsheets.parts(tables)
    document = {
        "version": VERSION,
        "tables": [[part.title, to_document(part.table)] for part in parts],
        "row_counts": [part.row_count for part in parts],
        "language": language,
        "time_zone": time_zone,
    }
    return _packed(document)


def page(path: str, identity: str, options: Options) -> bytes:
    """The recipe of a picture or PDF of a page of the BI as this account there sees it. `path`: without its first
    slash."""
    return _packed({"version": VERSION, "path": path, "identity": identity, **asdict(options)})


def page_of(recipe: bytes) -> tuple[str, str, Options]:
    """What `page` was given."""
    document = json.loads(zlib.decompress(recipe))
    options = Options(
        Width(document["width"]),
        Theme(document["theme"]),
        Kind(document["kind"]),
        document["is_cropped"],
        document["cover_ratio"],
    )
    return document["path"], document["identity"], options


def digest(kind: str, recipe: bytes) -> str:
    """What is equal has the same."""
    return hashlib.sha256(kind.encode() + b"\0" + recipe).hexdigest()


def make(kind: str, recipe: bytes) -> Made:
    """Raises MediumError. Pictures are drawn in a worker of their own only (notifications.charts.renderer)."""
    document = json.loads(zlib.decompress(recipe))
    zone = ZoneInfo(document["time_zone"]) if document.get("time_zone") else timezone.get_default_timezone()
    with translation.override(document["language"]), timezone.override(zone):
        if kind == "picture":
            return _drawn(document)
        parts = _parts(document)
        return Made(spreadsheets.xlsx(parts) if kind == "xlsx" else spreadsheets.csv_text(parts[0]))


def _parts(document: dict[str, Any]) -> list[spreadsheets.Part]:
    tables = [(title, from_document(table)) for title, table in document["tables"]]
    if "row_counts" not in document:
        # Of a version before, which cut nothing before its file was made.
        return spreadsheets.parts(tables)
    return [
        spreadsheets.Part(title, table, row_count)
        for (title, table), row_count in zip(tables, document["row_counts"], strict=True)
    ]


def _drawn(document: dict[str, Any]) -> Made:
    chart, table = charts.from_document(document["chart"]), from_document(document["table"])
    try:
        found = spec(chart, table, language=document["language"], shape_of=drawing.Shape(document["shape"]))
        drawn = renderer.draw(found, scale=drawing.SCALE)
    except ChartError as error:
        raise MediumError(error.sentence) from error
    except renderer.DrawingError as error:
        raise MediumError(Sentence("The picture could not be drawn (%(reason)s).") % {"reason": error}) from error
    return Made(drawn.png, drawn.svg, drawn.width, drawn.height)


def _packed(document: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
