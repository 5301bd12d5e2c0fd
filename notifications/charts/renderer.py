"""Draws a spec (notifications.charts.vega) as PNG and SVG with vl-convert.

It runs only in workers of the queue "charts": it holds Python's lock while it draws, hangs for ever if it was used
before a fork, and may need much memory. It is imported on first use, after the fork.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notifications.charts.drawing import OWN_FONT, USUAL_FONT

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
    """Draw the spec. It takes 0.08 s, the first time 0.5 s more. Raises DrawingError."""
    renderer = _load_renderer(prepare_font())
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
def _load_renderer(font_folder: Path) -> ModuleType:
    import vl_convert  # noqa: PLC0415  # only workers of charts need it, and a process that has it must not be forked

    vl_convert.register_font_directory(str(font_folder))
    return vl_convert


def prepare_font() -> Path:
    """Return a folder with one face of the packaged font, copied under our own name, else the package's own folder.

    The renderer prefers a system's font of the same name. With Debian's, or with all ten faces, drawing takes half as
    long again. Call this before each drawing: if a cleanup of temporary files deletes the copy, no letters are drawn.
    """
    packaged = Path(str(resources.files("noto_cjk_sans_otc")))
    folder = Path(tempfile.gettempdir()) / f"guanwecom-font-{os.geteuid()}"
    font = folder / f"{OWN_FONT}.otf"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to somebody else")
        if not font.exists():
            usual, own = (name.encode("utf-16-be") for name in (USUAL_FONT, OWN_FONT))
            face = _extract_face((packaged / "NotoSansCJK-Regular.ttc").read_bytes(), usual)
            with tempfile.NamedTemporaryFile(dir=folder) as part:
                part.write(face.replace(usual, own))
                part.flush()
                os.fsync(part.fileno())  # a power loss must not leave an empty font under the name
                with suppress(FileExistsError):  # another process wrote it meanwhile
                    os.link(part.name, font)
    except OSError as error:
        logger.warning("drawings take longer, as the font could not be copied: %s", error)
        return packaged
    return folder


def _extract_face(collection: bytes, name: bytes) -> bytes:
    """Return the face whose tables hold `name` as a font of its own (OpenType, "Font collections"): its header, then
    for each table a record of tag, checksum, place and length, then the tables."""
    for (start,) in struct.iter_unpack(">I", collection[12 : 12 + 4 * int.from_bytes(collection[8:12])]):
        head_end = start + 12 + 16 * int.from_bytes(collection[start + 4 : start + 6])
        records, tables = collection[start : start + 12], b""
        for tag, checksum, place, length in struct.iter_unpack(">4sIII", collection[start + 12 : head_end]):
            records += struct.pack(">4sIII", tag, checksum, head_end - start + len(tables), length)
            tables += collection[place : place + length] + bytes(-length % 4)
        if name in tables:
            return records + tables
    raise OSError(f"the packaged font has no face {name.decode('utf-16-be')}")
