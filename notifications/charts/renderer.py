"""Draws a spec (notifications.charts.vega): PNG and SVG, by vl-convert.

Only in the workers of the queue "charts": it holds Python's lock for as long as it draws, hangs for ever where it was
used before a fork, and may need much memory. It is imported when it is first used, thus after the fork.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from notifications.charts import font

if TYPE_CHECKING:
    from types import ModuleType

_SVG_SIZE = re.compile(r'<svg[^>]*?width="([\d.]+)"[^>]*?height="([\d.]+)"')


class DrawingError(Exception):
    """The renderer refused the spec."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """`width`, `height`: of the SVG, in pixels of a phone's page; the PNG has `scale` times as many."""

    svg: str
    png: bytes
    width: int
    height: int


def draw(spec: dict[str, Any], *, scale: float) -> Drawing:
    """Raises DrawingError. Takes 0.05 s, and 0.5 s more for the first."""
    renderer = _renderer(str(font.folder()))
    try:
        svg: str = spec.get("svg") or renderer.vegalite_to_svg(spec, allowed_base_urls=[], show_warnings=False)
        png: bytes = renderer.svg_to_png(svg, scale=scale)
    except ValueError as error:
        raise DrawingError(str(error)[:500]) from error
    size = _SVG_SIZE.search(svg)
    if size is None:
        raise DrawingError("the drawing has no size")
    return Drawing(svg, png, round(float(size[1])), round(float(size[2])))


@cache
def _renderer(font_folder: str) -> ModuleType:
    import vl_convert  # optional package: only workers of charts need it, and a process that has it must not be forked

    vl_convert.register_font_directory(font_folder)
    return vl_convert
