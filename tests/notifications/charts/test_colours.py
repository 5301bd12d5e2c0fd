"""Colours of one chart can be told apart, also by people who see no red, no green or no blue.

Vision: Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (IEEE
TVCG 15, 2009), matrices of severity 1.0 for linear sRGB. Distances: CIELAB with the white of sRGB (D65), ΔE of 1976;
two colours side by side are just distinguishable at 2.
"""

from itertools import combinations
from typing import Any

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing
from notifications.charts.definition import Chart, ChartKind
from tests.notifications.charts.tables import AS_OF, FIRST, make_spec

LEAST = 13.0
# A chart stands on white paper, and on dark paper on pages in dark mode.
DARK = drawing.IN_DARK[drawing.PAPER]
GROUNDS = (drawing.PAPER, DARK)
VISIONS = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)

Colour = tuple[float, float, float]
Matrix = tuple[Colour, Colour, Colour]


def red_green_blue(colour: str) -> Colour:
    """Return the sRGB values of a colour, from 0 to 1."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def laid_over(colour: str, opacity: float, ground: str) -> Colour:
    red, green, blue = (
        opacity * above + (1 - opacity) * below
        for above, below in zip(red_green_blue(colour), red_green_blue(ground), strict=True)
    )
    return red, green, blue


def times(matrix: Any, colour: Colour) -> Colour:
    red, green, blue = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return red, green, blue


def lightness_and_hue(colour: Colour, vision: str) -> Colour:
    """Return the CIELAB values of an sRGB colour as people with this vision see it."""
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour)
    seen = times(VISIONS[vision], (red, green, blue))
    drawn = (min(1.0, max(0.0, seen[0])), min(1.0, max(0.0, seen[1])), min(1.0, max(0.0, seen[2])))
    x, y, z = (
        ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116
        for ratio in (one / white for one, white in zip(times(TO_XYZ, drawn), WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: Colour, other: Colour, vision: str) -> float:
    pairs = zip(lightness_and_hue(one, vision), lightness_and_hue(other, vision), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


PARTS = (*drawing.PART_COLOURS, drawing.REST)
# Areas are translucent.
AREAS = (drawing.COLOURS, (*drawing.COLOURS[:5], drawing.REST))


@pytest.mark.parametrize(("palette", "opacity"), [(PARTS, 1.0), *((colours, 0.85) for colours in AREAS)])
@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_of_one_chart_are_told_apart(palette: tuple[str, ...], opacity: float, ground: str) -> None:
    shown = drawing.IN_DARK if ground == DARK else {}
    drawn = {colour: laid_over(shown.get(colour, colour), opacity, ground) for colour in palette}
    drawn["ground"] = red_green_blue(ground)

    found = {
        (one, other, vision): distance(drawn[one], drawn[other], vision)
        for one, other in combinations(drawn, 2)
        for vision in VISIONS
    }

    assert {pair: round(far, 1) for pair, far in found.items() if far < LEAST} == {}


@pytest.mark.parametrize(("kind", "count"), [(ChartKind.PIE, 8), (ChartKind.DONUT, 8), (ChartKind.LINE, 6)])
def test_every_part_has_a_colour_of_its_own(kind: ChartKind, count: int) -> None:
    columns = (Column("日期", Kind.DATE), Column("名称", Kind.TEXT), Column("v", Kind.NUMBER))
    table = Table(columns, tuple((FIRST, f"第{part}类", 10 + part) for part in range(20)), AS_OF)
    chart = (
        Chart(kind, "日期", ("v",), series="名称") if kind == ChartKind.LINE else Chart(kind, "名称", ("v",), top=20)
    )

    found = make_spec(chart, table)

    colours = found.get("layer", [found])[0]["encoding"]["color"]["scale"]["range"]
    assert len(set(colours)) == len(colours) == count
    assert set(colours) <= set(PARTS)
