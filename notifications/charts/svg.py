"""Writes the SVG of a drawing whose parts we place ourselves: texts, rectangles and paths. Pure.

Vega takes as long to measure the letters of such a drawing as painting it takes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from django.utils.html import escape

from notifications.charts import theme
from notifications.charts.labels import FONT_SIZE, width_of

# How wide the packaged font's letters are from the space to the tilde, in thousandths of the font's size.
_WIDTHS = (
    *(224, 323, 474, 555, 555, 921, 680, 278, 338, 338, 467, 555, 278, 347, 278, 392, 555, 555, 555, 555, 555, 555),
    *(555, 555, 555, 555, 278, 278, 555, 555, 555, 474, 946, 608, 657, 638, 688, 589, 552, 689, 728, 293, 535, 646),
    *(543, 812, 723, 742, 633, 742, 635, 596, 599, 721, 575, 878, 573, 531, 603, 338, 392, 338, 555, 559, 606, 563),
    *(618, 510, 620, 554, 325, 564, 607, 275, 275, 552, 284, 926, 610, 606, 620, 620, 388, 468, 377, 607, 521, 802),
    *(498, 521, 475, 338, 270, 338, 555),
)
# A system's font may have bold ones, which are so much wider.
_BOLD = 1.08


def whole(height: float, parts: Iterable[str]) -> str:
    """A drawing of the usual width, on paper."""
    size = f'width="{theme.WIDTH}" height="{height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {theme.WIDTH} {height:g}"'
    ground = f'<rect {size} fill="{theme.PAPER}"/>'
    return "".join([head, f' font-family="{theme.FONT}">', ground, *parts, "</svg>"])


def rectangle(left: float, top: float, width: float, height: float, colour: str) -> str:
    place = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} fill="{colour}"/>'


def path(outline: str, x: float, y: float, colour: str) -> str:
    """With an edge of paper. `outline`: around the point 0,0, which is drawn at `x`, `y`."""
    edge = f'stroke="{theme.PAPER}" stroke-width="1.5" stroke-miterlimit="10"'
    return f'<path transform="translate({x:g},{y:g})" d="{outline}" fill="{colour}" {edge}/>'


def text(  # noqa: PLR0913  # a text has as many sides
    words: str,
    x: float,
    middle: float,
    *,
    room: float,
    size: int = FONT_SIZE,
    colour: str = theme.INK,
    anchor: str = "start",
    is_bold: bool = False,
) -> str:
    """One line, cut visibly where it is wider than `room`. `middle`: of its height. `anchor`: which end of it stands at
    `x`: start, middle, end."""
    bold = f' font-family="{theme.BOLD_FONT}" font-weight="bold"' if is_bold else ""
    look = f'text-anchor="{anchor}" font-size="{size}px" fill="{colour}"{bold}'
    place = f"translate({x:g},{middle + round(0.3 * size + 0.01):g})"
    return f'<text transform="{place}" {look}>{escape(cut(words, room, size, is_bold=is_bold))}</text>'


def cut(words: str, room: float, size: int, *, is_bold: bool = False) -> str:
    """What is seen of it where there is room for so many pixels."""
    ends = list(accumulate(width(letter, size, is_bold=is_bold) for letter in words))
    if not ends or ends[-1] < room:
        return words
    return f"{words[: bisect_left(ends, room - size)]}…"


def width(words: str, size: int, *, is_bold: bool = False) -> float:
    """In pixels. Letters beyond ASCII are estimated, rather too wide; Chinese ones have this width."""
    share = size / 1000 * (_BOLD if is_bold else 1)
    return sum(
        share * _WIDTHS[ord(letter) - 32] if " " <= letter <= "~" else size / FONT_SIZE * width_of(letter)
        for letter in words
    )
