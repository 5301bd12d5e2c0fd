"""Draws a spec (notifications.charts.vega) as PNG and SVG with vl-convert.

It runs only in workers of the queue "charts": it holds Python's lock while it draws, hangs for ever if it was used
before a fork, and may need much memory. It is imported on first use, after the fork.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

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
    """Draw the spec. It takes 0.1 s, the first time 0.5 s more. Raises DrawingError."""
    renderer = _load_renderer()
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
def _load_renderer() -> ModuleType:
    import vl_convert  # noqa: PLC0415  # only workers of charts need it, and a process that has it must not be forked

    vl_convert.register_font_directory(str(resources.files("noto_cjk_sans_otc")))
    return vl_convert
