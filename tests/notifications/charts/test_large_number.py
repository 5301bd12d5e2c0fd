"""One large number: what all rows of its last place come to, against what those of the place before came to."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing
from notifications.charts.definition import Aggregate, Chart, ChartError, ChartKind
from notifications.charts.vega import spec
from tests.notifications.charts.conftest import Draw

AS_OF = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
DAY_BEFORE, DAY = date(2026, 11, 25), date(2026, 11, 26)
OF_REGIONS = Table(
    (Column("日期", Kind.DATE), Column("大区", Kind.TEXT), Column("销售额", Kind.NUMBER)),
    ((DAY_BEFORE, "E", 100), (DAY_BEFORE, "W", 900), (DAY, "E", 110), (DAY, "W", 990)),
    AS_OF,
)
TOKYO = timezone(timedelta(hours=9))


def said(chart: Chart, table: Table) -> list[str]:
    """Its number, and how that differs from the one before where there is one."""
    layers = spec(chart, table, language="zh-hans")["layer"]
    return [row["t"] for layer in layers for row in layer["data"]["values"] if "t" in row][1:-1]


def line(chart: Chart, table: Table) -> list[float | None]:
    layers = spec(chart, table, language="zh-hans")["layer"]
    return [row["y"] for layer in layers for row in layer["data"]["values"] if "x" in row]


@pytest.mark.parametrize(
    ("aggregate", "number", "change"),
    [
        (Aggregate.SUM, "1,100", "较上一个值 ↑10.0%"),
        (Aggregate.AVERAGE, "550", "较上一个值 ↑10.0%"),
        (Aggregate.MAXIMUM, "990", "较上一个值 ↑10.0%"),
        (Aggregate.MINIMUM, "110", "较上一个值 ↑10.0%"),
        (Aggregate.COUNT, "2", "较上一个值 →0.0%"),
    ],
)
def test_all_rows_of_a_day_are_counted_together(aggregate: Aggregate, number: str, change: str) -> None:
    chart = Chart(ChartKind.NUMBER, "日期", ("销售额",), aggregate=aggregate)

    assert said(chart, OF_REGIONS) == [number, change]


def test_rows_of_a_column_of_text_can_be_counted() -> None:
    chart = Chart(ChartKind.NUMBER, "日期", ("大区",), aggregate=Aggregate.COUNT)

    assert said(chart, OF_REGIONS) == ["2", "较上一个值 →0.0%"]


def test_the_line_goes_from_margin_to_margin(draw: Draw) -> None:
    days = Table(
        (Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)),
        tuple((DAY - timedelta(days=ago), 100) for ago in range(24)),
        AS_OF,
    )

    svg = draw(spec(Chart(ChartKind.NUMBER, "日期", ("销售额",)), days, language="zh-hans")).svg

    [path] = re.findall(r'aria-roledescription="line mark"[^>]* d="M([^"]*)"', svg)
    places = [float(point.partition(",")[0]) for point in path.split("L")]
    assert (places[0], places[-1]) == (drawing.MARGIN, drawing.WIDTH - drawing.MARGIN)


def test_the_line_has_one_place_for_each_day_in_the_order_of_days() -> None:
    backwards = OF_REGIONS.with_rows(OF_REGIONS.rows[::-1])

    assert line(Chart(ChartKind.NUMBER, "日期", ("销售额",)), backwards) == [1000.0, 1100.0]


def test_moments_of_several_zones_are_in_the_order_of_time() -> None:
    rows = ((datetime(2026, 11, 26, 1, tzinfo=UTC), 2), (datetime(2026, 11, 26, 9, tzinfo=TOKYO), 1))
    table = Table((Column("时间", Kind.DATETIME), Column("v", Kind.NUMBER)), rows, AS_OF)

    assert line(Chart(ChartKind.NUMBER, "时间", ("v",)), table) == [1.0, 2.0]


def test_names_stand_in_the_order_of_the_data() -> None:
    chart = Chart(ChartKind.NUMBER, "大区", ("销售额",))

    assert line(chart, OF_REGIONS) == [210.0, 1890.0]


def test_without_a_column_along_the_axis_all_rows_are_one_number() -> None:
    chart = Chart(ChartKind.NUMBER, "", ("销售额",))

    assert (said(chart, OF_REGIONS), line(chart, OF_REGIONS)) == (["2,100"], [])


def test_the_last_place_with_a_value_is_the_number() -> None:
    rows: tuple[tuple[Any, ...], ...] = (*OF_REGIONS.rows, (date(2026, 11, 27), "E", None), (None, "E", 5))

    assert said(Chart(ChartKind.NUMBER, "日期", ("销售额",)), OF_REGIONS.with_rows(rows))[0] == "1,100"


def foot(table: Table) -> Any:
    layers = spec(Chart(ChartKind.NUMBER, "日期", ("销售额",)), table, language="zh-hans")["layer"]
    return [row["t"] for layer in layers for row in layer["data"]["values"] if "t" in row][-1]


def test_data_that_was_cut_is_said() -> None:
    table = Table(OF_REGIONS.columns, OF_REGIONS.rows, AS_OF, is_cut=True)

    assert foot(table) == "截至 2026-11-28 09:00 · 数据超过取数上限"


def test_the_time_of_fetching_is_called_so() -> None:
    assert foot(Table(OF_REGIONS.columns, OF_REGIONS.rows, AS_OF, is_fetch_time=True)) == "取数时间 2026-11-28 09:00"


def test_days_to_come_are_a_plan() -> None:
    planned = OF_REGIONS.with_rows([*OF_REGIONS.rows, (date(2026, 11, 29), "E", 5000)])

    assert said(Chart(ChartKind.NUMBER, "日期", ("销售额",)), planned) == ["1,100", "较上一个值 ↑10.0%"]


@pytest.mark.parametrize(
    ("kind", "unit", "values", "words"),
    [
        (Kind.PERCENT, "%", (Decimal("12.5"), Decimal("13.7")), ["13.7%", "较上一个值 +1.2 个百分点"]),
        (Kind.NUMBER, "元", (0, 12), ["12元", "由 0 增至 12元"]),
        (Kind.NUMBER, "", (-2.1, 0.3), ["0.3", "由 -2.1 升至 0.3"]),
        (Kind.NUMBER, "", (1, 101), ["101", "远高于上一个值"]),
        (Kind.NUMBER, "", (0, 99_999_999), ["1.00亿", "由 0 增至 99,999,999"]),
    ],
)
def test_a_change_is_said_by_the_kind_of_its_column(
    kind: Kind, unit: str, values: tuple[Any, Any], words: list[str]
) -> None:
    columns = (Column("日期", Kind.DATE), Column("v", kind, unit))
    table = Table(columns, ((DAY_BEFORE, values[0]), (DAY, values[1])), AS_OF)

    assert said(Chart(ChartKind.NUMBER, "日期", ("v",)), table) == words


def test_no_value_anywhere_is_nothing_to_draw() -> None:
    empty = OF_REGIONS.with_rows([(DAY, "E", None)])

    with pytest.raises(ChartError, match="没有可绘制的内容"):
        spec(Chart(ChartKind.NUMBER, "日期", ("销售额",)), empty, language="zh-hans")
