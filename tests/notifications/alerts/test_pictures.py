"""The picture of what a condition compares: which chart, over which rows, with which lines."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from integrations.data.table import Column, Kind, Table
from notifications.alerts import charts
from notifications.charts.definition import Chart
from notifications.charts.vega import spec
from tests.notifications.alerts.lines import parse
from tests.notifications.charts.tables import AS_OF, DAYS, SALES

AT = datetime(2026, 11, 24, 9, tzinfo=ZoneInfo("Asia/Shanghai"))

CITIES = Table(
    (Column("城市", Kind.TEXT), Column("销售额", Kind.NUMBER, "元"), Column("备注", Kind.TEXT)),
    (("上海", 120, "a"), ("北京", 80, "b"), ("广州", None, "c")),
    AS_OF,
)


def pictured(text: str, table: Table = CITIES, split_column: str = "") -> tuple[Chart, Table] | None:
    [condition] = parse(text)
    return charts.chart_of(condition, table, at=AT, split_column=split_column)


def chart_of(text: str, table: Table = CITIES, split_column: str = "") -> Chart:
    found = pictured(text, table, split_column)
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("text", "together", "lines"),
    [
        ("any 销售额 > 1,000,000", "maximum", (1_000_000.0,)),
        ("any 销售额 <= 5", "minimum", (5.0,)),
        ("all 销售额 > 5", "minimum", (5.0,)),
        ("all 销售额 < 5", "maximum", (5.0,)),
        ("avg 销售额 outside 1 and 2", "average", (1.0, 2.0)),
        ("min 销售额 between 1 and 2", "minimum", (1.0, 2.0)),
        ("max 销售额 = 7", "maximum", (7.0,)),
        ("max 销售额 changed", "maximum", ()),
        ("sum 销售额 < 100", "sum", ()),
        ("change 销售额 < -30", "sum", ()),
    ],
)
def test_several_rows_at_a_place_are_on_the_side_of_the_line_that_the_condition_means(
    text: str, together: str, lines: tuple[float, ...]
) -> None:
    chart = chart_of(text, SALES)

    assert (chart.kind, chart.x, chart.y) == ("bar", "城市", ("销售额",))
    assert (chart.aggregate, chart.thresholds) == (together, lines)


def test_times_make_a_line_and_a_single_time_does_not() -> None:
    over_time = chart_of("any 销售额 < 5", DAYS)
    today = Table(
        (Column("日期", Kind.DATE), *SALES.columns),
        tuple((DAYS.rows[0][0], *row) for row in SALES.rows),
        AS_OF,
    )

    assert (over_time.kind, over_time.x) == ("line", "日期")
    assert (chart_of("any 销售额 < 5", today).kind, chart_of("any 销售额 < 5", today).x) == ("bar", "城市")
    assert chart_of("any 销售额 < 5", today, "城市").x == "产品线"


def test_names_that_tell_rows_apart_and_have_room_stand_along_the_axis() -> None:
    columns = (*(Column(name, Kind.TEXT) for name in ("区域", "门店", "订单")), Column("销售额", Kind.NUMBER))
    orders = Table(columns, tuple((f"区{n % 2}", f"店{n % 9}", f"单{n}", n) for n in range(50)), AS_OF)

    assert chart_of("any 销售额 < 5", orders).x == "门店"
    assert chart_of("any 销售额 < 5", Table(columns[2:], tuple(row[2:] for row in orders.rows), AS_OF)).x == "订单"


def test_only_rows_that_count_are_drawn() -> None:
    found = pictured("any 销售额 < 5 where 城市=上海|北京")

    assert found is not None
    assert found[1].rows == (("上海", 120), ("北京", 80))
    assert found[1].names == ("城市", "销售额")  # 备注 is nothing that a drawing needs


NOTHING: tuple[tuple[str, Table], ...] = (
    ("count = 0", CITIES),
    ("count 城市 > 3", CITIES),
    ("any 备注 = a", CITIES),
    ("any 销售额 < 5 where 城市=重庆", CITIES),
    ("any 销售额 = 没有 where 城市=广州", CITIES),  # not one value, so that nobody asked whether this is a number
    ("any 销售额 = 5", SALES),  # several rows of a city, and neither the largest nor the smallest says it
    ("any 成本 > 5", Table(DAYS.columns[1:], tuple(row[1:] for row in DAYS.rows), AS_OF)),  # nothing along the axis
)


@pytest.mark.parametrize(("text", "table"), NOTHING)
def test_there_is_none_that_would_say_nothing_or_something_wrong(text: str, table: Table) -> None:
    assert pictured(text, table) is None


@pytest.mark.parametrize("language", ["zh-hans", "en"])
@pytest.mark.parametrize(
    ("text", "table", "axis"),
    [("any 销售额 > 2000000", DAYS, "y"), ("any 销售额 outside -5 and 20000000", CITIES, "x")],
)
def test_lines_cross_the_drawing_at_their_values(text: str, table: Table, axis: str, language: str) -> None:
    chart = chart_of(text, table)

    layers = spec(chart, table, language=language)["layer"]

    lines = layers[1]
    assert [row["y"] for row in lines["data"]["values"]] == list(chart.thresholds)
    assert (
        lines["data"]["values"][-1]["t"]
        == {
            ("zh-hans", "y"): "200.0万",
            ("zh-hans", "x"): "2000.0万",
            ("en", "y"): "2.0M",
            ("en", "x"): "20.0M",
        }[language, axis]
    )
    assert lines["encoding"][axis]["field"] == "y"
    if axis == "x":
        low, high = lines["encoding"][axis]["scale"]["domain"]
        assert low < -5
        assert high > 20_000_000


@pytest.mark.parametrize(("against", "count"), [("day", 31), ("week", 31), ("year", 400)])
def test_a_fall_is_drawn_over_the_days_in_which_it_can_be_seen(against: str, count: int) -> None:
    days = [date(2026, 11, 28) - timedelta(days=number) for number in range(500)]
    table = Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), tuple((day, 1) for day in days), AS_OF)
    found = pictured(f"sum 销售额 fell 20 % {against}", table)
    assert found is not None
    assert set(found[1].values("日期")) == set(days[:count])
