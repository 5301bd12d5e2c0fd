"""Colours, sizes and labels that all charts share. No I/O.

A drawing is dark on white; `recolour_for_dark` recolours it for pages in dark mode.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

from integrations.data import table
from integrations.data.figures import ARITHMETIC, Change, ChangeKind, in_zone, is_unknown, to_decimal
from integrations.data.table import DASH, Column, Kind, Table, Value, format_number

USUAL_FONT = "Noto Sans CJK SC"
# The packaged font under a name that no system has. It is as long as the usual one, which it replaces in the font's
# file (notifications.charts.renderer).
OWN_FONT = "Guan Sans CJK SC"
_OTHER_FONTS = "PingFang SC, Microsoft YaHei, sans-serif"
FONTS = f"{OWN_FONT}, {USUAL_FONT}, {_OTHER_FONTS}"
# The packaged font has no bold letters; a system may have them under its usual name.
BOLD_FONTS = f"{USUAL_FONT}, {OWN_FONT}, {_OTHER_FONTS}"
BOLD: dict[str, Any] = {"font": BOLD_FONTS, "fontWeight": "bold"}
PAPER = "#ffffff"
INK = "#1f2329"
FAINT = "#5f6670"
RULE = "#dfe2e6"
BAND = "#f4f6f8"
# Okabe and Ito's colours, which colour-blind people can tell apart; those that stand out on white come first. Source:
# jfly.uni-koeln.de/color (Color Universal Design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# One more for the parts of a whole, and a grey. Both differ from the others as much as possible, also for people who do
# not see red, green or blue (tests/notifications/charts/test_colours.py).
PART_COLOURS = (*COLOURS, "#5A2D00")
REST = "#54595e"
THRESHOLD = COLOURS[1]
# Dashes tell lines apart without colours.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4])

# Replacements of these colours on a dark page; test_colours.py checks that the others stand out on both.
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
# Device pixels per pixel of the drawing: 1072 wide, as WeCom wants a news picture (1068 x 455).
SCALE = 2.75


class Shape(StrEnum):
    """The shape of a drawing: as high as needed, a card's picture (WeCom's narrowest ratio 1.3), or 1068 by 455."""

    FREE = "free"
    CARD = "card"
    NEWS = "news"


@dataclass(frozen=True, slots=True)
class Size:
    """A size in pixels of a phone's page. `is_fixed`: the height never grows, even for many bars. `row_count`: how many
    bars or rows fit. `has_notes`: whether a line below the title fits."""

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
    "font": FONTS,
    "view": {"stroke": None},
    "axis": {
        "labelColor": FAINT,
        "labelFontSize": 12,
        "labelOverlap": "greedy",
        # Names have their own limits.
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
        "font": BOLD_FONTS,
        "subtitleFont": FONTS,
        "color": INK,
        "fontSize": 15,
        "subtitleColor": FAINT,
        "subtitleFontSize": 12,
        "offset": 8,
    },
    "range": {"category": list(COLOURS)},
}


def recolour_for_dark(svg: str) -> str:
    """Return one of our drawings in the colours of a dark page."""
    colours = {light.lower(): dark for light, dark in IN_DARK.items()}
    colours |= {name: colours.get(colour.lower(), colour) for name, colour in _NAMED.items()}
    return _PAINT.sub(lambda paint: colours.get(paint[0].lower(), paint[0]), svg)


# Larger numbers are mistakes; the difference of two numbers up to this one can still be written.
LARGEST = Decimal(10) ** 29

# XML cannot hold these, and one of them crashes the renderer. Marks of reading direction would reverse our words, too.
_UNDRAWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def to_one_line(text: str, characters: int = 200) -> str:
    """Return the text on one line without undrawable characters, cut visibly."""
    tidy = " ".join(_UNDRAWABLE.sub(" ", text).split())
    return tidy if len(tidy) <= characters else tidy[: characters - 1] + "…"


def fit_text(text: str, pixels: float, font_size: float) -> str:
    """Return `text`, cut to `pixels` if it holds letters beyond the first 65,536, inside which the renderer's own cut
    fails. The widths are estimates on the safe side."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    return cut_to_width(text, _SAFETY_FACTOR * pixels * FONT_SIZE / font_size)


def to_drawable(value: Value) -> Decimal | None:
    """Return the number to draw; None for other values, unknown ones, and ones too large to be meant."""
    number = to_decimal(value)
    return number if number is not None and -LARGEST < number < LARGEST else None


def to_float(number: Decimal | None) -> float | None:
    """Return the number for the drawing's JSON."""
    return None if number is None else float(number)


def choose_scales() -> table.Scales:
    """Return the units in which large numbers are counted in the active language."""
    return table.CHINESE_SCALES if (get_language() or "").startswith("zh") else table.ENGLISH_SCALES


def write_short(number: Decimal | None, unit: str = "", decimals: int | None = None) -> str:
    """Write a drawable number in a large unit, such as 1.2万元; a small one, or a percentage, as in a table."""
    if number is None:
        return DASH
    text = "" if unit == "%" else table.format_short(number, scales=choose_scales())
    return f"{text if text[-1:].isalpha() else format_number(number, decimals)}{unit}"


def write_cell(value: Value, column: Column) -> str:
    """Write a table's value in full: moments in the active time zone, texts on one line."""
    if isinstance(value, bool):
        return pgettext("value", "yes") if value else pgettext("value", "no")
    if isinstance(value, datetime):
        return write_moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and not is_unknown(value):
        return to_one_line(value)
    number = to_decimal(value)
    if number is None:
        return DASH
    text = f"{number:.4g}" if to_drawable(number) is None else format_number(number, column.decimals)
    return f"{text}%" if column.kind is Kind.PERCENT else text


def write_moment(moment: datetime) -> str:
    """Write a moment in the active time zone, to the minute."""
    local = in_zone(moment, timezone.get_current_timezone())
    return local.replace(tzinfo=None).isoformat(" ", "minutes")


def find_head_unit(column: Column) -> str:
    """Return the unit for a column's heading; a column of percentages has its % in each cell."""
    return "" if column.kind is Kind.PERCENT else column.unit


def write_as_of(table: Table) -> str:
    """Say when the data was true or, if that is not known, when it was fetched."""
    sentence = _("fetched %(time)s") if table.is_fetch_time else _("as of %(time)s")
    return sentence % {"time": table.as_of_day or write_moment(table.as_of)}


def describe_change(change: Change, *, decimals: int | None = None, unit: str = "") -> str:
    """Describe a change in the active language: ↑5.0%, "+1.2 points" for percentages, "from 0 up to 12" if a percentage
    of the old value would mislead; a dash if unknown.

    `decimals`, `unit`: of the two values in words. Raises OverflowError from 1e30 on.
    """
    if change.new is None or change.old is None or change.difference is None:
        return DASH
    if change.kind is ChangeKind.POINTS:
        rounded = table.round_number(change.difference, 1)
        return _("%(points)s points") % {"points": f"{'+' if rounded > 0 else ''}{format_number(rounded, 1)}"}
    if change.ratio is not None:
        arrow = table.SAME if not change.ratio else table.UP if change.ratio > 0 else table.DOWN
        percent = format_number(abs(ARITHMETIC.multiply(change.ratio, Decimal(100))), 1, grouped=False)
        return f"{arrow}{percent}%"
    old, new = (f"{format_number(value, decimals)}{unit}" for value in (change.old, change.new))
    if change.difference < 0:
        return _("from %(old)s down to %(new)s") % {"old": old, "new": new}
    if change.old == 0:
        return _("from 0 up to %(new)s") % {"new": new}
    return _("from %(old)s up to %(new)s") % {"old": old, "new": new}


# --- Names in a legend or along an axis: different names never look the same ------------------------------------------

FONT_SIZE = 12
LABEL_CHARACTERS = 60
# The width of a legend, which begins beside the numbers of the axis, and of a symbol in it with the gaps beside it.
_LEGEND_PIXELS, _SYMBOL = WIDTH - 2 * MARGIN - 45, 31
_BROAD_LETTERS = frozenset("MWmw@%&")
# Bold letters of a system's font are wider than estimated.
_SAFETY_FACTOR = 0.9
# Properties of every JavaScript object: Object.getOwnPropertyNames(Object.prototype).
JAVASCRIPT_NAMES = frozenset(
    [
        *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor"),
        *("hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"),
    ]
)


def estimate_width(text: str) -> float:
    """Estimate the width in pixels, rather too large than too small."""
    return FONT_SIZE * sum(map(_estimate_letter_width, text))


def find_cut_width(text: str, pixels: float, font_size: float = FONT_SIZE) -> float:
    """Return the width at which the renderer cuts the text. Return 0 if it fits: the renderer then does not measure the
    letters, which is most of a drawing's cost."""
    return 0 if estimate_width(text) * font_size / FONT_SIZE <= _SAFETY_FACTOR * pixels else round(pixels, 1)


def cut_to_width(text: str, pixels: float) -> str:
    """Return the beginning of the text that fits into `pixels`."""
    if estimate_width(text) <= pixels:
        return text
    return _find_beginning(text, pixels - estimate_width("…")) + "…"


def lay_out_legend(names: Sequence[str]) -> tuple[int, float]:
    """Return the number of columns of a legend and the pixels of a name. Long names get fewer columns, in two rows."""
    widest = max(map(estimate_width, names), default=0.0)
    rooms = {count: _LEGEND_PIXELS / count - _SYMBOL for count in (3, 2, 1) if len(names) <= 2 * count}
    return next(((count, room) for count, room in rooms.items() if widest <= room), min(rooms.items()))


def make_distinct_labels(names: Sequence[str], pixels: float, *, keeps_ends: bool = False) -> dict[str, str]:
    """Map the names to their labels. Names that would look the same also show their end, or a number; with `keeps_ends`
    all that are too long do."""
    labels = {name: fit_text(to_one_line(name, LABEL_CHARACTERS), pixels, FONT_SIZE) for name in names}
    seen = Counter(cut_to_width(label, pixels) for label in labels.values())
    used = {shown for shown, count in seen.items() if count == 1}
    for name, label in labels.items():
        if seen[cut_to_width(label, pixels)] > 1 or (keeps_ends and estimate_width(label) > pixels):
            found, number, room = name, 1, pixels - estimate_width("…")
            if estimate_width(name) > pixels:  # without its middle
                end = _find_beginning(name[::-1], room / 2)[::-1]
                found = f"{_find_beginning(name, room - estimate_width(end))}…{end}"
            while found in used:
                number += 1
                mark = f" ({number})"
                found = cut_to_width(name, pixels - estimate_width(mark)) + mark
            labels[name] = found
            used.add(found)
    return labels


def _find_beginning(text: str, pixels: float) -> str:
    for position, letter in enumerate(text):
        pixels -= FONT_SIZE * _estimate_letter_width(letter)
        if pixels < 0:
            return text[:position]
    return text


def _estimate_letter_width(letter: str) -> float:
    """Return the width in parts of the font's size."""
    if letter > "\uffff":
        return 1.4
    # This includes letters that are wide only among Chinese ones, such as “…”.
    if unicodedata.east_asian_width(letter) in "WFA":
        return 1.0
    return 0.95 if letter in _BROAD_LETTERS else 0.75 if letter.isupper() else 0.58
