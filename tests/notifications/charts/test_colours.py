"""Colours that stand in one chart are told apart, also by people who see no red, no green or no blue.

How colours look to them: Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency" (IEEE TVCG 15, 2009), matrices of severity 1.0 for linear sRGB. Distances: CIELAB of the sRGB white (D65),
ΔE of 1976; 2 is about what is just seen side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing
from notifications.charts.definition import Chart, ChartKind
from notifications.charts.vega import spec
from tests.notifications.charts.tables import AS_OF, FIRST
from tests.notifications.charts.test_spec import objects, rows

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
    """From 0 to 1, as sRGB has them."""
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
    """CIELAB of an sRGB colour as it looks to people of this vision."""
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


def table(parts: int) -> Table:
    return Table(
        (Column("日期", Kind.DATE), Column("名称", Kind.TEXT), Column("v", Kind.NUMBER)),
        tuple((FIRST, f"第{part}类", 10 + part) for part in range(parts)),
        AS_OF,
    )


def charts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every kind with one colour, with as many as it has, and with a rest; with thresholds where there may be some."""
    for kind in ChartKind:
        x = "名称" if kind in {ChartKind.PIE, ChartKind.DONUT} else "日期"
        for parts in (1, 2, 6, 7, 8, 20):
            yield f"{kind} {parts}", spec(Chart(kind, x, ("v",), top=20), table(parts), language="zh-hans")
            if kind in {ChartKind.LINE, ChartKind.AREA, ChartKind.BAR, ChartKind.STACKED}:
                split = Chart(kind, x, ("v",), series="名称", thresholds=(5, 8))
                yield f"{kind} {parts} series", spec(split, table(parts), language="zh-hans")
    lying = Chart(ChartKind.BAR, "名称", ("v",), top=4, thresholds=(5, 8))
    yield "lying bars", spec(lying, table(8), language="zh-hans")


def marked(found: dict[str, Any]) -> dict[str, float]:
    """The colours of all that is drawn but words, and how much of the ground they cover."""
    colours: dict[str, float] = {}
    for layer in [each for each in objects(found) if "mark" in each]:
        mark = layer["mark"] if isinstance(layer["mark"], dict) else {"type": layer["mark"]}
        if mark["type"] == "text" or mark.get("color") == drawing.BAND:
            continue
        encoding = {**found.get("encoding", {}), **layer.get("encoding", {})}.get("color", {})
        scale = encoding.get("scale") or {}
        of_rows = [row["c"] for row in rows(found) if "c" in row]
        drawn = [*scale.get("range", ()), encoding.get("value"), mark.get("color"), *of_rows]
        colours |= {colour: mark.get("opacity", 1.0) for colour in drawn if colour}
    return colours


CHARTS = dict(charts())


@pytest.mark.parametrize("name", list(CHARTS))
@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_of_one_chart_are_told_apart(name: str, ground: str) -> None:
    shown = drawing.IN_DARK if ground == DARK else {}
    drawn = {
        colour: laid_over(shown.get(colour, colour), opacity, ground)
        for colour, opacity in marked(CHARTS[name]).items()
    }
    drawn["ground"] = red_green_blue(ground)

    found = {
        (one, other, vision): distance(drawn[one], drawn[other], vision)
        for one, other in combinations(drawn, 2)
        for vision in VISIONS
    }

    assert {pair: round(far, 1) for pair, far in found.items() if far < LEAST} == {}


def test_every_part_has_a_colour_of_its_own() -> None:
    counts = {name: len(marked(found)) for name, found in CHARTS.items()}

    assert {name: counts[name] for name in ("pie 7", "pie 8", "donut 20", "line 6 series", "stacked 20 series")} == {
        **{"pie 7": 7, "pie 8": 8, "donut 20": 8},
        **{"line 6 series": 6, "stacked 20 series": 6},
    }
    assert (counts["lying bars"], counts["table 1"], counts["number 1"]) == (3, 0, 0)
