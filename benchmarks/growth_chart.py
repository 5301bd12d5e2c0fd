"""Draws how the cost of a message grows with the number of messages: `python -m benchmarks.growth_chart`.

From the newest round of each measurement and size in results/*.jsonl, into growth.svg beside this file. The
measurements call it themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS, CHART = FOLDER / "results", FOLDER / "growth.svg"
# Measurement, colour, what it is called.
SERIES = (
    ("memory", "#1f6feb", "personal messages, a call each: 20 companies, no latency, limits off"),
    ("broadcast", "#b35900", "one content, a call for 1000 people: one company, no latency"),
    ("own_rows", "#1a7f37", "a text card with one's own rows: processor time of all programs but the sandbox"),
    ("chart_push", "#8250df", "a line chart of one's own, drawn and uploaded: the same"),
)
# Trials of other sizes are left out.
SIZES = (1000, 10_000, 100_000, 1_000_000)
# Of what is not ours.
_OTHERS = {"sandbox", "this"}
TITLE = "microseconds for each person, by the number of people: time that passed, or of processors"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 720, 480, 84, 126, 50, 30
_STYLE = "font-family:sans-serif;font-size:13px"


def draw() -> None:
    """Write the chart. What was never measured is left out."""
    costs: dict[str, dict[int, float]] = {}
    for found in _lines("push_engine"):
        if "seconds_by_size" in found:
            sizes = {int(size): seconds for size, seconds in found["seconds_by_size"].items()}
            each = {size: seconds / size * 1e6 for size, seconds in sizes.items()}
            costs.setdefault(found["name"], {}).update(each)
    for found in _lines("own_rows"):
        costs.setdefault("own_rows", {})[found["people"]] = _processor(found["processor_ms_of_each_person"])
    for found in _lines("chart_push"):
        if found.get("kind") == "line":
            costs.setdefault("chart_push", {})[found["charts"]] = _processor(found["processor_milliseconds_of_each"])
    costs = {name: {size: value for size, value in of.items() if size in SIZES} for name, of in costs.items()}
    if costs:
        CHART.write_text(_svg(costs), encoding="utf-8")


def _lines(name: str) -> Iterator[dict[str, Any]]:
    """Oldest first; nothing of what was never measured."""
    path = RESULTS / f"{name}.jsonl"
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _processor(milliseconds: dict[str, float]) -> float:
    """In microseconds."""
    return 1000 * sum(value for name, value in milliseconds.items() if name not in _OTHERS)


def _svg(costs: dict[str, dict[int, float]]) -> str:
    sizes = sorted({size for series in costs.values() for size in series})
    values = [value for series in costs.values() for value in series.values()]
    lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(size: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT - 60) * (sizes.index(size) / max(1, len(sizes) - 1)) + 30

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - lowest) / max(1, highest - lowest)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" style="{_STYLE}">',
        "<title>Time for each message by the number of messages</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="20" y="20" fill="#1f2328">{TITLE}</text>',
    ]
    for power in range(lowest, highest + 1):
        height = y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end" fill="#57606a">{10**power:,}</text>')
    for size in sizes:
        parts.append(
            f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 24}" text-anchor="middle" fill="#57606a">{size:,}</text>'
        )
    for number, (name, colour, title) in enumerate(each for each in SERIES if each[0] in costs):
        points = [(x(size), y(value), value) for size, value in sorted(costs[name].items())]
        path = " ".join(f"{left:.1f},{height:.1f}" for left, height, _value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for left, height, value in points:
            parts.append(f'<circle cx="{left:.1f}" cy="{height:.1f}" r="4" fill="{colour}"/>')
            parts.append(
                f'<text x="{left:.1f}" y="{height - 10:.1f}" text-anchor="middle" fill="{colour}">{value:,.0f}</text>'
            )
        parts.append(f'<text x="20" y="{40 + 18 * number}" fill="{colour}">● {title}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    draw()
