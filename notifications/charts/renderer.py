"""Draws a spec (notifications.charts.vega) as PNG and SVG with vl-convert.

It runs only in workers of the queue "charts": it holds Python's lock while it draws, hangs for ever if it was used
before a fork, and may need much memory. It is imported on first use, after the fork.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notifications.charts.drawing import PREPARED_FONT

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)

_SVG_SIZE = re.compile(r'<svg[^>]*?width="([\d.]+)"[^>]*?height="([\d.]+)"')


class DrawingError(Exception):
    """The renderer refused the spec."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing. `width`, `height`: of the SVG, in pixels of a phone's page; the PNG has `scale` times as many."""

    svg: str
    png: bytes
    width: int
    height: int


def draw(spec: dict[str, Any], *, scale: float) -> Drawing:
    """Draw the spec. It takes 0.05 s, the first time 0.5 s more. Raises DrawingError."""
    renderer = _renderer(str(folder()))
    try:
        svg: str = renderer.vegalite_to_svg(spec, allowed_base_urls=[], show_warnings=False)
        png: bytes = renderer.svg_to_png(svg, scale=scale)
    except ValueError as error:
        raise DrawingError(str(error)[:500]) from error
    size = _SVG_SIZE.search(svg)
    if size is None:
        raise DrawingError("the drawing has no size")
    return Drawing(svg, png, round(float(size[1])), round(float(size[2])))


@cache
def _renderer(font_folder: str) -> ModuleType:
    import vl_convert  # noqa: PLC0415  # only workers of charts need it, and a process that has it must not be forked

    vl_convert.register_font_directory(font_folder)
    return vl_convert


# --- The font: one face of the packaged collection, as a file that the renderer reads quickly ---
#
# The renderer maps the file into memory and looks through its tables four times for each letter. Of a file with one
# face, whose small tables come first, it maps fewer parts. Letters and their places are the same.

COLLECTION = "NotoSansCJK-Regular.ttc"
# Increased when the file's contents change, because an existing file is not written again.
_VERSION = 3
# Simplified Chinese is the third face of the collection.
_FACE = 2
# The second is its usual name, by which bold letters are requested.
FAMILIES = (PREPARED_FONT, "Noto Sans CJK SC")
_ENGLISH, _CHINESE = 0x409, 0x804
# Tables for vertical text.
_UNUSED = ("vhea", "vmtx", "VORG")
_ORDER = ("head", "hhea", "maxp", "OS/2", "name", "post", "GDEF", "BASE", "GPOS", "cmap", "GSUB", "hmtx", "CFF ")


def folder() -> Path:
    """Return the folder of the font, which the first process of this user prepares. If that fails, return the packaged
    one's: drawings look the same and take longer.

    Call it before each drawing: if a cleanup has deleted the file, the renderer draws no letters.
    """
    packaged = Path(str(resources.files("noto_cjk_sans_otc")))
    try:
        found = Path(tempfile.gettempdir()) / f"guanwecom-font-{_VERSION}-{os.geteuid()}"
        found.mkdir(mode=0o700, exist_ok=True)
        if found.is_symlink() or found.stat().st_uid != os.geteuid():
            # Another user's folder, whose font is not trusted.
            return packaged
        font = found / "drawings.otf"
        if not font.exists():
            _write(font, prepared(packaged / COLLECTION))
    except OSError as error:
        _warn(str(error))
        return packaged
    return found


def _write(font: Path, content: bytes) -> None:
    """Write the file atomically: another process sees all of it or none."""
    with tempfile.NamedTemporaryFile(dir=font.parent, delete=False) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.flush()
            # Otherwise a power loss may keep the name without the content: no letters would be drawn any more.
            os.fsync(file.fileno())
            part.replace(font)
        finally:
            part.unlink(missing_ok=True)


@cache
def _warn(reason: str) -> None:
    """Log the warning once per process."""
    logger.warning("drawings take longer: the font cannot be prepared (%s)", reason)


def prepared(collection: Path) -> bytes:
    """Return the face of simplified Chinese as a font of its own."""
    from fontTools.ttLib import TTFont, reorderFontTables  # noqa: PLC0415  # only workers of charts draw

    english, chinese = FAMILIES
    whole, found = io.BytesIO(), io.BytesIO()
    with TTFont(collection, fontNumber=_FACE, lazy=True, recalcTimestamp=False) as font:
        for tag in _UNUSED:
            del font[tag]
        # A family may have one name per language.
        names = font["name"]
        names.names = []
        names.setName(english, 1, 3, 1, _ENGLISH)
        names.setName("Regular", 2, 3, 1, _ENGLISH)
        names.setName(english.replace(" ", ""), 6, 3, 1, _ENGLISH)
        names.setName(chinese, 1, 3, 1, _CHINESE)
        font.save(whole, reorderTables=False)
    reorderFontTables(whole, found, tableOrder=_ORDER)
    return found.getvalue()
