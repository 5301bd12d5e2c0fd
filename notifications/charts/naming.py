"""Names as they have room in a legend or along an axis: different ones never look the same. Pure."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from notifications.charts.figures import one_line, within

FONT_SIZE = 12
LABEL_CHARACTERS = 60
_BROAD = frozenset("MWmw@%&")


def width_of(text: str) -> float:
    """About how wide, in pixels: rather too much."""
    return FONT_SIZE * sum(map(_letter_width, text))


def shown_within(text: str, pixels: float) -> str:
    """What is seen of it where there is room for `pixels`: its beginning."""
    if width_of(text) <= pixels:
        return text
    return _beginning(text, pixels - width_of("…")) + "…"


def told_apart(names: Sequence[str], pixels: float) -> dict[str, str]:
    """How each of these names is written. Those that would look like another one show their end as well, or a number
    where that tells nothing either."""
    labels = {name: within(one_line(name, LABEL_CHARACTERS), pixels, FONT_SIZE) for name in names}
    seen = Counter(shown_within(label, pixels) for label in labels.values())
    taken = {shown for shown, count in seen.items() if count == 1}
    for name, label in labels.items():
        if seen[shown_within(label, pixels)] > 1:
            labels[name] = _unique(name, pixels, taken)
            taken.add(labels[name])
    return labels


def _unique(name: str, pixels: float, taken: set[str]) -> str:
    found, number = _without_middle(name, pixels), 1
    while found in taken:
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
