"""Formats numbers and dates for charts: 1.2万, 3.4亿 in Chinese, 1.2K, 3.4M in English. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from integrations.data.figures import ARITHMETIC, Change, ChangeKind
from integrations.data.formats import DASH, DOWN, SAME, UP, format_number, round_number
from integrations.data.table import Value

# Beyond this a double no longer tells numbers from one another, and no axis is worth drawing.
LARGEST = 1e300

# No XML can hold these, and the renderer ends its process over a single one; what turns the direction of a text would
# turn that of our own words, too.
_UNDRAWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


def one_line(text: str, characters: int = 200) -> str:
    """A text as it can be drawn, cut visibly."""
    tidy = " ".join(_UNDRAWABLE.sub(" ", text).split())
    return tidy if len(tidy) <= characters else tidy[: characters - 1] + "…"


def within(text: str, pixels: float, font_size: float) -> str:
    """`text` as it may be given to the renderer where it has room for `pixels`.

    The renderer cuts by itself, but between the halves of a letter beyond the first 65,536 as well, and fails then.
    So texts with such letters are cut here, by an estimate on the safe side.
    """
    if text.isascii() or max(text) <= "\uffff":
        return text
    room = pixels
    for position, letter in enumerate(text):
        room -= font_size * (1.4 if letter > "\uffff" else 1)
        if room < font_size:
            return text[:position] + "…"
    return text


def number_of(value: Value) -> float | None:
    """A number to draw with; None for what is none: text, emptiness, NaN, infinity, and what is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) and abs(number) < LARGEST else None


def scales(language: str) -> tuple[tuple[float, str], ...]:
    """From which number on which word stands behind it, the largest first."""
    if language.startswith("zh"):
        return ((1e12, "万亿"), (1e8, "亿"), (1e4, "万"))
    return ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def short(number: float, unit: str = "", *, language: str) -> str:
    """Three or four figures and what they are counted in: `12,345.6` becomes `1.23万`."""
    size = abs(number)
    for scale, word in scales(language):
        # A bit less: 9,999.99 would be rounded to 10,000 without its unit.
        if size >= scale * 0.99995:
            return f"{_figures(number / scale)}{word}{unit}"
    return f"{_figures(number)}{unit}"


def _figures(number: float) -> str:
    size = abs(number)
    if size >= 1e6:
        return f"{number:.3g}"
    digits = 0 if size >= 1000 or number == int(number) else 1 if size >= 100 else 2 if size >= 0.01 else 4
    text = f"{number:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def text_of(value: Value, unit: str = "", *, language: str) -> str:
    """One value in a table: numbers with all that matters of them, dates without a time where there is none."""
    if value is None:
        return "–"  # noqa: RUF001  # the dash that stands for nothing
    if isinstance(value, bool):
        return pgettext("value", "yes") if value else pgettext("value", "no")
    if isinstance(value, datetime):
        return f"{timezone.localtime(value) if timezone.is_aware(value) else value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, str):
        return one_line(value)
    return _long(value, unit, language)


def _long(value: float | Decimal, unit: str, language: str) -> str:
    number = number_of(value)
    if number is None:
        return _("no number")
    if abs(number) >= 1e8:
        return short(number, unit, language=language)
    try:
        exact = Decimal(str(value)).quantize(Decimal("0.01"))
    except InvalidOperation:
        return short(number, unit, language=language)
    text = f"{exact:,f}".rstrip("0").rstrip(".")
    return f"{'0' if text in {'-0', ''} else text}{unit}"


def describe_change(change: Change, decimals: int = 1, *, value_decimals: int | None = None, unit: str = "") -> str:
    """Say a change in the active language: ↑5.0%, "+1.2 points" for percentages, "from 0 up to 12" where a percentage
    of the old value would mislead. A dash where it is unknown.

    `decimals`: of the percentage or the points. `value_decimals`, `unit`: how the two values are written in words.
    Raises OverflowError from 1e30 on.
    """
    if change.new is None or change.old is None or change.difference is None:
        return DASH
    if change.kind is ChangeKind.POINTS:
        rounded = round_number(change.difference, decimals)
        return _("%(points)s points") % {"points": f"{'+' if rounded > 0 else ''}{format_number(rounded, decimals)}"}
    if change.ratio is not None:
        arrow = SAME if not change.ratio else UP if change.ratio > 0 else DOWN
        percent = format_number(abs(ARITHMETIC.multiply(change.ratio, Decimal(100))), decimals, grouped=False)
        return f"{arrow}{percent}%"
    old, new = (f"{format_number(value, value_decimals)}{unit}" for value in (change.old, change.new))
    if change.difference < 0:
        return _("from %(old)s down to %(new)s") % {"old": old, "new": new}
    if change.old == 0:
        return _("from 0 up to %(new)s") % {"new": new}
    return _("from %(old)s up to %(new)s") % {"old": old, "new": new}


# --- Names as they have room in a legend or along an axis: different ones never look the same. Pure ---

FONT_SIZE = 12
LABEL_CHARACTERS = 60
_BROAD = frozenset("MWmw@%&")
# Bold letters of a system's font are wider than those that are estimated.
_SURELY = 0.9
# What every object of JavaScript has: Object.getOwnPropertyNames(Object.prototype).
_TAKEN = frozenset(
    [
        *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor"),
        *("hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"),
    ]
)


def width_of(text: str) -> float:
    """About how wide, in pixels: rather too much."""
    return FONT_SIZE * sum(map(_letter_width, text))


def limit_of(text: str, pixels: float, font_size: float = FONT_SIZE) -> float:
    """What the renderer is told to cut it at: 0, as for no limit, where it is shorter in any case. Measuring letters is
    most of what a drawing costs."""
    return 0 if width_of(text) * font_size / FONT_SIZE <= _SURELY * pixels else round(pixels, 1)


def shown_within(text: str, pixels: float) -> str:
    """What is seen of it where there is room for `pixels`: its beginning."""
    if width_of(text) <= pixels:
        return text
    return _beginning(text, pixels - width_of("…")) + "…"


def distinct_labels(names: Sequence[str], pixels: float) -> dict[str, str]:
    """How each of these names is written. Those that would look like another one show their end as well, or a number
    where that tells nothing either."""
    labels = {name: within(one_line(name, LABEL_CHARACTERS), pixels, FONT_SIZE) for name in names}
    seen = Counter(shown_within(label, pixels) for label in labels.values())
    used = {shown for shown, count in seen.items() if count == 1}
    for name, label in labels.items():
        if seen[shown_within(label, pixels)] > 1:
            labels[name] = _unique(name, pixels, used)
            used.add(labels[name])
    return labels


def series_label(label: str) -> str:
    """A label that the renderer can group by. It keeps groups in an object of JavaScript, where some names are taken:
    these get a space behind them, which nobody sees."""
    return f"{label} " if label in _TAKEN else label


def _unique(name: str, pixels: float, used: set[str]) -> str:
    found, number = _without_middle(name, pixels), 1
    while found in used:
        number += 1
        mark = f" ({number})"
        found = shown_within(name, pixels - width_of(mark)) + mark
    return found


def _without_middle(name: str, pixels: float) -> str:
    if width_of(name) <= pixels:
        return name
    room = pixels - width_of("…")
    end = _beginning(name[::-1], room / 2)[::-1]
    return f"{_beginning(name, room - width_of(end))}…{end}"


def _beginning(text: str, pixels: float) -> str:
    for position, letter in enumerate(text):
        pixels -= FONT_SIZE * _letter_width(letter)
        if pixels < 0:
            return text[:position]
    return text


def _letter_width(letter: str) -> float:
    """In parts of the font's size."""
    if letter > "\uffff":
        return 1.4
    # Also what is wide beside Chinese letters alone, as “…” is.
    if unicodedata.east_asian_width(letter) in "WFA":
        return 1.0
    return 0.95 if letter in _BROAD else 0.75 if letter.isupper() else 0.58
