"""Sizes and colours of charts: dark on white, and the same drawing for pages in dark mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# The packaged font has no bold letters; a system may have them, under its usual name.
BOLD_FONT = "Noto Sans CJK SC, PingFang SC, Microsoft YaHei, sans-serif"
# Of our own, in drawings alone (notifications.charts.font).
PREPARED_FONT = "Guanwecom Sans CJK SC"
FONT = f"{PREPARED_FONT}, {BOLD_FONT}"
BOLD: dict[str, Any] = {"font": BOLD_FONT, "fontWeight": "bold"}
PAPER = "#ffffff"
INK = "#1f2329"
FAINT = "#5f6670"
RULE = "#dfe2e6"
BAND = "#f4f6f8"
# Okabe and Ito's colours, told apart by colour-blind people; those that stand out on white come first.
# Source: jfly.uni-koeln.de/color (Color Universal Design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# One more for the parts of a whole, and a grey: both as far from all others as colours of their kind can be, for people
# who see no red, no green or no blue, too (tests/notifications/charts/test_colours.py).
PART_COLOURS = (*COLOURS, "#5A2D00")
REST = "#54595e"
THRESHOLD = COLOURS[1]
# What tells lines apart also without colours.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4])

# What a drawing has in place of these colours on a dark page; test_colours.py sees that the others stand out on both.
IN_DARK = {
    PAPER: "#1c1e21",
    INK: "#e8eaed",
    FAINT: "#a6adb8",
    RULE: "#3a3f45",
    BAND: "#26292d",
    PART_COLOURS[-1]: "#f0e442",
}
_PAINT = re.compile(r'(?<=")(#[0-9a-fA-F]{6}|white|black)(?=")')
_NAMED = {"white": PAPER, "black": INK}

WIDTH = 390
MARGIN = 12
# Device pixels for each of the drawing's: 1072 wide, as WeCom wants a news picture (1068 x 455).
SCALE = 2.75


class Shape(StrEnum):
    """FREE: as high as it must be. CARD: the picture of a card, at WeCom's narrowest ratio 1.3. NEWS: 1068 by 455."""

    FREE = "free"
    CARD = "card"
    NEWS = "news"


@dataclass(frozen=True, slots=True)
class Size:
    """In pixels of a phone's page. `is_fixed`: else it is the usual height, and many bars need more. `row_count`: how
    many bars or rows have room. `has_notes`: whether there is room for a line below the title."""

    height: int
    is_fixed: bool
    row_count: int
    has_notes: bool = True


SIZES = {
    Shape.FREE: Size(300, is_fixed=False, row_count=20),
    Shape.CARD: Size(300, is_fixed=True, row_count=8),
    Shape.NEWS: Size(166, is_fixed=True, row_count=4, has_notes=False),
}
CARD_RATIO = WIDTH / SIZES[Shape.CARD].height

CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": FAINT,
        "labelFontSize": 12,
        "labelOverlap": "greedy",
        # Names have limits of their own.
        "labelLimit": 0,
        "labelSeparation": 8,
        "tickColor": RULE,
        "domainColor": RULE,
        "gridColor": RULE,
        "title": None,
    },
    "legend": {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 12,
        "labelLimit": 110,
        "columns": 3,
        "symbolSize": 90,
        "offset": 4,
    },
    "title": {
        "anchor": "start",
        "font": BOLD_FONT,
        "subtitleFont": FONT,
        "color": INK,
        "fontSize": 15,
        "subtitleColor": FAINT,
        "subtitleFontSize": 12,
        "offset": 8,
    },
    "range": {"category": list(COLOURS)},
}


def in_dark(svg: str) -> str:
    """A drawing of ours in the colours for a dark page."""
    colours = {light.lower(): dark for light, dark in IN_DARK.items()}

    def dark(paint: re.Match[str]) -> str:
        colour = _NAMED.get(paint[0], paint[0])
        return colours.get(colour.lower(), colour)

    return _PAINT.sub(dark, svg)
