"""Chart specs for any column names and values."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from notifications.charts import definition as charts
from notifications.charts.definition import Aggregate, Chart, ChartError, ChartKind, Sort
from notifications.charts.drawing import PAPER, SIZES, WIDTH, Shape, estimate_width
from notifications.charts.vega import (
    FIGURE_ALIGN,
    FIGURE_OFFSET,
    HOLE,
    LOW_ALIGN,
    LOW_BASELINE,
    LOW_OFFSET,
    build_spec,
    make_value_axis,
)
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, CHARTS, DAYS, SALES, SVG, make_spec, marks, parsed, texts

HOSTILE = (
    *("a\x07b", "\x00", "\ufffe", "\ud800"),
    *("a.b", "a[0]", "a['b']", 'x"y', "datum.y", "<script>alert(1)</script>", "=1+1", "\\", "{{x}}", "${x}"),
    *("__proto__", "constructor", "toString", "x\ny", "https://example.com/a.png", "javascript:alert(1)", "😀" * 20),
    *("' || 1==1 || '", "]]>", "%s%d", "\u202eabc", "a" * 500, "‮", "<img src=x onerror=alert(1)>"),
)
names = st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=30)
numbers = (
    st.integers(-(10**400), 10**400)
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.sampled_from([0, -0.0, 1e308, -1e308, 5e-324, Decimal("NaN"), Decimal("1e5000")])
)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.sampled_from(HOSTILE) | st.text(max_size=30),
    Kind.NUMBER: numbers,
    Kind.BOOLEAN: st.booleans(),
    Kind.PERCENT: st.floats(-1000, 1000),
    Kind.DATE: st.dates(),
    Kind.DATETIME: st.datetimes(timezones=st.just(UTC), allow_imaginary=False),
}


@st.composite
def drawings(draw: st.DrawFn) -> tuple[Chart, Table]:
    """Draw a table with at least one column of numbers, and a chart that may or may not fit the table."""
    chosen = draw(st.lists(names, unique=True, min_size=3, max_size=5))
    kinds = [draw(st.sampled_from(Kind)), Kind.NUMBER, *(draw(st.sampled_from(Kind)) for _ in chosen[2:])]
    columns = tuple(
        Column(name, kind, draw(st.sampled_from(["", "元", "%", *HOSTILE])))
        for name, kind in zip(chosen, kinds, strict=True)
    )
    cells = [st.none() | VALUES[column.kind] for column in columns]
    table = Table(columns, tuple(draw(st.lists(st.tuples(*cells), max_size=12))), AS_OF, draw(st.booleans()))
    chart = Chart(
        kind=draw(st.sampled_from(ChartKind)),
        x=chosen[0],
        y=(chosen[1],),
        series=draw(st.sampled_from(["", chosen[2]])),
        unit=draw(st.sampled_from(["", *HOSTILE])),
        top=draw(st.integers(1, 20)),
        sort=draw(st.sampled_from(Sort)),
        aggregate=draw(st.sampled_from(Aggregate)),
        title=draw(st.sampled_from(["", *HOSTILE])),
    )
    return chart, table


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a spec except rows of data."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name != "values":
                yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def rows(value: Any) -> Iterator[dict[str, Any]]:
    for found in objects(value):
        yield from found.get("data", {}).get("values", [])


EXPRESSIONS = {HOLE, FIGURE_ALIGN, FIGURE_OFFSET, LOW_ALIGN, LOW_OFFSET, f"-({LOW_OFFSET})", LOW_BASELINE}
FIELDS = {"x", "y", "s", "t", "c", "n", "px", "py", "pr", "pb"}


_MARKS = ("line", "area", "bar", "arc", "text", "rect")


@given(drawings(), st.sampled_from(Shape), st.sampled_from(["zh-hans", "en"]))
def test_nothing_of_the_data_is_a_field_an_expression_or_an_address(
    drawing: tuple[Chart, Table], shape: Shape, language: str
) -> None:
    try:
        with translation.override(language):
            found, again = (build_spec(*drawing, shape=shape) for _time in range(2))
            expression = make_value_axis()["axis"]["labelExpr"]
    except ChartError:
        return

    json.dumps(found, allow_nan=False)
    for each in objects(found):
        assert not {"url", "href", "signal", "transform", "params", "datasets", "tooltip"} & each.keys()
        assert each.get("expr", FIGURE_ALIGN) in EXPRESSIONS
        assert each.get("labelExpr", expression) == expression
        assert each.get("field", "x") in FIELDS
        mark = each.get("mark")
        assert (mark if isinstance(mark, str | None) else mark["type"]) in {None, *_MARKS}
    for row in rows(found):
        assert row.keys() <= FIELDS
        assert all(isinstance(value, str | int | float | None) for value in row.values())
    assert found == again
    assert len(list(rows(found))) <= 1000


@settings(max_examples=15, deadline=None)
@given(drawing=drawings())
def test_hostile_data_is_drawn_and_injects_nothing(draw: Draw, drawing: tuple[Chart, Table]) -> None:
    try:
        found = make_spec(*drawing)
    except ChartError:
        return

    drawn = draw(found)

    tags = {element.tag.removeprefix(SVG) for element in parsed(drawn.svg).iter()}
    assert tags <= {"svg", "g", "path", "text", "tspan", "rect", "line", "defs", "clipPath", "title"}
    assert not [name for element in parsed(drawn.svg).iter() for name in element.keys() if "href" in name]  # noqa: SIM118  # no dict
    assert drawn.png.startswith(b"\x89PNG")
    assert drawn.width == WIDTH


@pytest.mark.parametrize("name", ["__proto__", "toString"])
@pytest.mark.parametrize("kind", [ChartKind.AREA, ChartKind.BAR, ChartKind.STACKED])
def test_a_series_may_be_called_like_a_part_of_javascript(draw: Draw, kind: ChartKind, name: str) -> None:
    columns = (Column("x", Kind.TEXT), Column("s", Kind.TEXT), Column("y", Kind.NUMBER))
    table = Table(columns, (("a", name, 3), ("b", name, 5), ("a", "q", 1)), AS_OF)

    found = make_spec(Chart(kind, "x", ("y",), "s"), table)

    assert [text.strip() for text in texts(draw(found).svg) if text.strip() in {name, "q"}] == [name, "q"]


def test_many_rows_become_few_marks_and_the_picture_says_so() -> None:
    many = Table(
        (Column("n", Kind.TEXT), Column("v", Kind.NUMBER)), tuple((f"r{i}", 1) for i in range(10_000)), AS_OF, True
    )

    found = make_spec(Chart(ChartKind.BAR, "n", ("v",), top=5), many)

    shown = list(rows(found))
    assert [(row["x"], row["y"]) for row in shown] == [*((f"r{i}", 1.0) for i in range(5)), ("其他", 9_995.0)]
    assert found["title"]["subtitle"] == ["截至 2026-11-24 09:00 · n 中 9995 项合为“其他”", "数据超过取数上限"]


def test_times_that_have_no_room_are_counted_together() -> None:
    moments = tuple((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * i), 1) for i in range(10_000))
    table = Table((Column("t", Kind.DATETIME), Column("v", Kind.NUMBER)), moments, AS_OF)

    plot = charts.build_points(Chart(ChartKind.LINE, "t", ("v",)), table)

    assert plot.time_unit == charts.TimeUnit.WEEK
    assert sum(point.value or 0 for point in plot.points) == 10_000
    assert plot.notes == ["按周汇总"]


@pytest.mark.parametrize(
    ("aggregate", "note", "rest"),
    [
        ("sum", "按月汇总", 7.0),
        ("average", "按月平均", 3.5),
        ("maximum", "按月取最大值", 4.0),
        ("minimum", "按月取最小值", 3.0),
        ("count", "按月计行数", 2.0),
    ],
)
def test_months_and_the_rest_are_counted_as_the_others_are(aggregate: str, note: str, rest: float) -> None:
    days = tuple((date(2020, 1, 1) + timedelta(days=n), 1) for n in range(1500))
    monthly = Table((Column("d", Kind.DATE), Column("v", Kind.NUMBER)), days, AS_OF)
    table = Table((Column("n", Kind.TEXT), Column("v", Kind.NUMBER)), (("a", 9), ("b", 3), ("c", 4), ("a", 9)), AS_OF)
    counted = Aggregate(aggregate)

    plot = charts.build_points(Chart(ChartKind.BAR, "n", ("v",), top=1, aggregate=counted), table)

    assert charts.build_points(Chart(ChartKind.LINE, "d", ("v",), aggregate=counted), monthly).notes == [note]
    assert plot.places == ["a", "其他"]
    assert [point.value for point in plot.points if point.place == "其他"] == [rest]


def test_more_series_than_can_be_told_apart_become_one() -> None:
    table = Table(
        (Column("d", Kind.DATE), Column("s", Kind.TEXT), Column("v", Kind.NUMBER)),
        tuple((date(2026, 1, day), f"s{i}", i) for day in (1, 2) for i in range(10)),
        AS_OF,
    )

    plot = charts.build_points(Chart(ChartKind.AREA, "d", ("v",), series="s"), table)

    assert plot.series == ["s5", "s6", "s7", "s8", "s9", "其他"]
    assert {point.value for point in plot.points if point.series == "其他"} == {10.0}


def test_the_rest_has_another_name_where_the_data_has_that_one() -> None:
    table = Table((Column("n", Kind.TEXT), Column("v", Kind.NUMBER)), (("其他", 9), ("b", 3), ("c", 4)), AS_OF)

    assert charts.build_points(Chart(ChartKind.BAR, "n", ("v",), top=2), table).places == ["其他", "c", "其他…"]


def test_what_is_no_number_is_left_out() -> None:
    table = Table(
        (Column("n", Kind.TEXT), Column("v", Kind.NUMBER)),
        (("a", float("nan")), ("b", Decimal("Infinity")), ("c", 10**400), ("d", 5), ("e", None)),
        AS_OF,
    )

    plot = charts.build_points(Chart(ChartKind.BAR, "n", ("v",)), table)

    assert [(point.place, point.value) for point in plot.points if point.value is not None] == [("d", Decimal(5))]
    assert plot.notes == []


@pytest.mark.parametrize(
    ("chart", "sentence"),
    [
        (Chart(ChartKind.BAR, "城市"), "图表没有数值列。"),
        (Chart(ChartKind.BAR, "", ("销售额",)), "图表没有横轴列。"),
        (Chart(ChartKind.BAR, "城市", ("没有",)), "数据中没有列“没有”。"),
        (Chart(ChartKind.BAR, "城市", ("产品线",)), "列“产品线”不是数字。"),
        (Chart(ChartKind.PIE, "城市", ("销售额", "销售额")), "这种图表只能显示一个数值列。"),
    ],
)
def test_a_chart_that_does_not_fit_says_why(chart: Chart, sentence: str) -> None:
    with pytest.raises(ChartError, match=sentence):
        make_spec(chart, SALES)


@pytest.mark.parametrize("kind", list(ChartKind))
def test_nothing_to_draw_is_said(kind: ChartKind) -> None:
    empty = SALES.replace_rows([])

    with pytest.raises(ChartError, match="没有可绘制的内容"):
        make_spec(Chart(kind, "城市", ("销售额",)), empty)


# --- Golden pictures: compared by what they are made of --------------------------------------------------------------

GOLDEN: dict[str, tuple[dict[str, int], list[str]]] = {
    "line": (
        {"line": 2, "symbol": 48},
        ["11-01", "100万", "150万", "200万", "销售额", "成本", "每日销售额与成本（元）"],
    ),
    "area": ({"area": 3}, ["0", "20万", "家电", "服装", "食品", "各产品线（元）"]),
    "bar": ({"rect": 6, "text": 6}, ["天津", "其他", "3630.0万元", "8610.0万元", "各城市（元）"]),
    "bar of days": ({"rect": 24}, ["11-01", "0", "50万", "200万", "每日（元）"]),
    "bar side by side": ({"rect": 15}, ["天津", "其他", "家电", "服装", "食品"]),
    "stacked": ({"rect": 18}, ["天津", "其他", "家电", "2,000万", "8,000万"]),
    "stacked by days": ({"rect": 30}, ["11-01", "家电", "20万", "每日（元）"]),
    "pie": ({"arc": 3}, ["家电 32.8%", "服装 33.3%", "食品 33.8%"]),
    "donut": ({"arc": 6, "text": 1}, ["2.38亿", "天津 15.3%", "其他 36.2%"]),
    "table": ({"rect": 6, "text": 35}, ["城市", "产品线", "销售额 (元)", "天津", "12,200,000", "明细"]),
    "number": ({"text": 4, "line": 1}, ["今日销售额", "212.0万元", "较上一个值 ↑1.9%", "截至 2026-11-24 09:00"]),
}


@pytest.mark.parametrize("shape", [Shape.CARD, Shape.NEWS])
@pytest.mark.parametrize("name", ["bar", "donut", "table", "number"])
def test_each_shape_has_its_size(draw: Draw, name: str, shape: Shape) -> None:
    drawn = draw(make_spec(*CHARTS[name], shape=shape))

    assert (drawn.width, drawn.height) == (WIDTH, SIZES[shape].height)


@pytest.mark.parametrize("name", list(GOLDEN))
def test_each_kind_is_made_of_its_marks_and_words(draw: Draw, name: str) -> None:
    drawn = draw(make_spec(*CHARTS[name]))

    found, words = GOLDEN[name]
    assert marks(drawn.svg) == found
    assert set(words) <= set(texts(drawn.svg))
    assert parsed(drawn.svg).find(f"{SVG}rect").get("fill") == PAPER  # type: ignore[union-attr]  # else it fails
    assert drawn.width == WIDTH
    assert 200 <= drawn.height <= 400
    sizes = [float(text.get("font-size", "0px").removesuffix("px")) for text in parsed(drawn.svg).iter(f"{SVG}text")]
    assert min(sizes) >= 12


@pytest.mark.parametrize("name", ["bar of days", "stacked by days"])
def test_no_bar_lies_on_the_numbers_of_its_axis(draw: Draw, name: str) -> None:
    drawn = parsed(draw(make_spec(*CHARTS[name])).svg)

    [bars] = [group for group in drawn.iter(f"{SVG}g") if "mark-rect role-mark" in group.get("class", "")]
    lefts = [float(path.get("d", "M0,").split(",")[0].removeprefix("M")) for path in bars.iter(f"{SVG}path")]
    assert min(lefts) > 0


def test_english_counts_in_thousands_and_millions() -> None:
    with translation.override("en"):
        found = build_spec(Chart(ChartKind.BAR, "城市", ("销售额",)), SALES)
        line = build_spec(CHARTS["line"][0], DAYS)

    assert list(rows(found))[0]["t"] == "9.3M元"
    assert "亿" not in json.dumps(line["encoding"], ensure_ascii=False)


def place_of(svg: str, text: str) -> tuple[float, float]:
    """Return where a text of a horizontal bar chart begins and ends, from the plot's left edge."""
    [found] = {one.get("transform", "") for one in parsed(svg).iter(f"{SVG}text") if "".join(one.itertext()) == text}
    start = float(found.removeprefix("translate(").split(",")[0])
    return start, start + estimate_width(text)


@pytest.mark.parametrize("threshold", [2.0, 2.4, 3.0])
def test_no_threshold_crosses_a_figure(draw: Draw, threshold: float) -> None:
    """The figure of a short bar, which the line would cross, begins beyond the line."""
    table = Table((Column("仓库", Kind.TEXT), Column("可售天数", Kind.NUMBER, "天")), (("a", 2), ("b", 12)), AS_OF)

    svg = draw(make_spec(Chart(ChartKind.BAR, "仓库", ("可售天数",), thresholds=(threshold,)), table)).svg

    assert svg.count("stroke-dasharray") == 1
    line = next(one for one in parsed(svg).iter(f"{SVG}line") if one.get("stroke-dasharray"))
    at = float(line.get("transform", "").removeprefix("translate(").split(",")[0])
    (short, _end), (long, end) = place_of(svg, "2天"), place_of(svg, "12天")
    assert short > at
    assert short - at < 8
    assert (long > at, end < WIDTH) == (True, True)


def test_two_thresholds_have_their_figures_on_their_outer_sides(draw: Draw) -> None:
    chart = Chart(ChartKind.LINE, "日期", ("销售额",), thresholds=(1_500_000.0, 1_550_000.0))

    found = make_spec(chart, DAYS)

    assert [(row["t"], row["low"]) for row in found["layer"][1]["data"]["values"]] == [
        ("150.0万", True),
        ("155.0万", False),
    ]
    drawn = parsed(draw(found).svg)
    lines = [one.get("transform", "") for one in drawn.iter(f"{SVG}line") if one.get("stroke-dasharray")]
    texts_at = {"".join(one.itertext()): one.get("transform", "") for one in drawn.iter(f"{SVG}text")}
    low, high = sorted((float(one.split(",")[1].rstrip(")")) for one in lines), reverse=True)
    below, above = (float(texts_at[text].split(",")[1].rstrip(")")) for text in ("150.0万", "155.0万"))
    assert below > low > high > above


def test_the_figure_of_a_threshold_stands_out_from_a_line(draw: Draw) -> None:
    chart = Chart(ChartKind.LINE, "日期", ("销售额",), thresholds=(1_550_000.0,))

    svg = draw(make_spec(chart, DAYS)).svg

    assert texts(svg).count("155.0万") == 2  # its edge, and its letters
    assert f'stroke="{PAPER}" stroke-width="4"' in svg
