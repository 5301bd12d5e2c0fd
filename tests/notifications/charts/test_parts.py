"""Parts of a whole: what is below nothing has no part, and is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing
from notifications.charts.definition import Chart, ChartKind
from notifications.charts.vega import spec
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, texts

AS_OF_WORDS = "截至 2026-11-24 09:00"


def table_of(*values: Any) -> Table:
    columns = (Column("n", Kind.TEXT), Column("v", Kind.NUMBER, "元"))
    return Table(columns, tuple((f"第{place}项", value) for place, value in enumerate(values)), AS_OF)


@pytest.mark.parametrize("kind", [ChartKind.PIE, ChartKind.DONUT])
@pytest.mark.parametrize("shape", list(drawing.Shape))
def test_what_is_below_zero_is_told_with_its_sum(draw: Draw, kind: ChartKind, shape: drawing.Shape) -> None:
    found = spec(Chart(kind, "n", ("v",)), table_of(100, -40, 100, -2.5), language="zh-hans", shape_of=shape)

    words = texts(draw(found).svg)
    assert any("2 项为负，未画出，合计 -42.5元" in text for text in words)
    assert {"第0项 50.0%", "第2项 50.0%"} <= set(words)


def test_nothing_is_told_where_nothing_is_below_zero() -> None:
    found = spec(Chart(ChartKind.DONUT, "n", ("v",)), table_of(100, 0, None), language="zh-hans")

    assert [text for text in texts(found["svg"]) if AS_OF_WORDS in text] == [AS_OF_WORDS]
    assert "负" not in found["svg"]


def test_what_is_told_has_as_many_lines_as_it_needs(draw: Draw) -> None:
    table = table_of(*range(1, 20), -40, float("nan"))
    cut = Table(table.columns, table.rows, table.as_of, is_cut=True)

    found = spec(Chart(ChartKind.PIE, "n", ("v",), top=3), cut, language="zh-hans")

    assert texts(draw(found).svg)[-2:] == [
        f"{AS_OF_WORDS} · 1 项为负，未画出，合计 -40元",
        "n 中 17 项合为“其他” · 数据超过取数上限",
    ]


@pytest.mark.parametrize("rest", [1e-8, 1e-7, 3e-7, 6e-7, 1e-6, 2e-6, 5e-6, 1e-5, 1e-3])
@pytest.mark.parametrize("kind", [ChartKind.PIE, ChartKind.DONUT])
def test_a_part_that_is_nearly_the_whole_is_drawn(kind: ChartKind, rest: float) -> None:
    """An arc that begins and ends at one point would be left out."""
    svg = spec(Chart(kind, "n", ("v",)), table_of(1 - rest, rest), language="zh-hans")["svg"]

    large = next(outline for outline in re.findall(r' d="([^"]*)"', svg) if "A" in outline)
    at: list[float] = []
    for step in re.findall(r"[MLA][^MLAZ]+", large):
        point = [float(number) for number in step[1:].split(",")][-2:]
        assert step[0] != "A" or point != at
        at = point
