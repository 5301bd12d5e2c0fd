"""Charts that we lay out ourselves: tables with whole or omitted numbers, parts of a whole, one large number."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing, vega
from notifications.charts.definition import Aggregate, Chart, ChartKind, Sort
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, make_spec, texts

TABLE = Chart(ChartKind.TABLE, title="明细", top=3)
LARGE = Decimal("12345678.9")
MOMENT = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)


def table_of(*columns: tuple[Kind, Any], row_count: int = 2) -> Table:
    return Table(
        tuple(Column(f"第{position}列", kind) for position, (kind, _value) in enumerate(columns)),
        tuple(tuple(value for _kind, value in columns) for _ in range(row_count)),
        AS_OF,
    )


def drawn(draw: Draw, table: Table) -> list[str]:
    """Return the cells from left to right and the footer, without title and headers."""
    found = texts(draw(make_spec(TABLE, table)).svg)
    return [text for text in found if text != "明细" and not text.startswith("第")]


def words_of(chart: Chart, table: Table) -> list[str]:
    layers = make_spec(chart, table)["layer"]
    return [row["t"] for layer in layers for row in layer["data"]["values"] if "t" in row]


@pytest.mark.parametrize(
    ("sort", "days"),
    [
        (Sort.AS_IS, ["2026-11-22", "", "2026-11-24", "2026-11-23"]),
        (Sort.LARGEST, ["2026-11-24", "2026-11-23", "2026-11-22", ""]),
        (Sort.SMALLEST, ["2026-11-22", "2026-11-23", "2026-11-24", ""]),
    ],
)
def test_rows_with_days_are_ordered_by_them(sort: Sort, days: list[str]) -> None:
    columns = (Column("第1列", Kind.DATE), Column("第2列", Kind.NUMBER))
    values = (date(2026, 11, 22), None, date(2026, 11, 24), date(2026, 11, 23))
    table = Table(columns, tuple((day, number) for number, day in enumerate(values)), AS_OF)
    chart = Chart(ChartKind.TABLE, x="第1列", y=("第2列",), sort=sort)

    found = words_of(chart, table)

    assert [text for text in found if text.startswith("2026-11-2")] == [day for day in days if day]
    numbers = {str(day or ""): str(number) for number, day in enumerate(values)}
    assert [text for text in found if text in numbers.values()] == [numbers[day] for day in days]


def test_rows_of_a_plan_stand_below_the_newest_day() -> None:
    days = (date(2026, 12, 31), date(2026, 11, 23), date(2026, 11, 25), None, date(2026, 11, 24))
    table = Table((Column("第1列", Kind.DATE),), tuple((day,) for day in days), AS_OF)

    found = words_of(Chart(ChartKind.TABLE, x="第1列", sort=Sort.LARGEST), table)

    shown = [text for text in found if text.startswith("2026-1")]
    assert shown == ["2026-11-24", "2026-11-23", "2026-12-31", "2026-11-25"]


@pytest.mark.parametrize(
    ("columns", "cells", "foot"),
    [
        ([(Kind.TEXT, "上海浦东门店"), *[(Kind.NUMBER, LARGE)] * 2], ["上海浦东门店", *["12,345,678.9"] * 2], ""),
        ([(Kind.TEXT, "上海"), *[(Kind.NUMBER, LARGE)] * 4], ["上海", *["1234.6万"] * 4], ""),
        ([(Kind.TEXT, "上海"), *[(Kind.NUMBER, LARGE)] * 5], ["上海", *["1234.6万"] * 4], " · 另有 1 列"),
        ([*[(Kind.DATETIME, MOMENT)] * 4, (Kind.NUMBER, LARGE)], ["2026-11-24 09:30"] * 2, " · 另有 3 列"),
    ],
    ids=["written out", "short", "short and fewer", "fewer"],
)
def test_numbers_are_short_and_columns_fewer_where_there_is_no_room(
    draw: Draw, columns: list[tuple[Kind, Any]], cells: list[str], foot: str
) -> None:
    assert drawn(draw, table_of(*columns, row_count=1)) == [*cells, f"截至 2026-11-24 09:00{foot}"]


def test_a_long_text_leaves_room_for_the_numbers_beside_it(draw: Draw) -> None:
    found = drawn(draw, table_of((Kind.TEXT, "上海市浦东新区" * 5), *[(Kind.NUMBER, 1_234_567)] * 3, row_count=1))

    assert found[1:] == [*["1,234,567"] * 3, "截至 2026-11-24 09:00"]
    assert found[0].endswith("…")
    assert len(found[0]) >= 4


VALUES = {
    Kind.TEXT: st.text(max_size=30),
    Kind.NUMBER: st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20),
    Kind.DATE: st.dates(),
    Kind.DATETIME: st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2)),  # noqa: DTZ001  # its zone is above
    Kind.BOOLEAN: st.booleans(),
    Kind.PERCENT: st.floats(-1000, 1000),
}


@st.composite
def tables(draw_: st.DrawFn) -> Table:
    kinds = draw_(st.lists(st.sampled_from(Kind), min_size=1, max_size=10))
    columns = tuple(Column(draw_(st.text(min_size=1, max_size=20)) + str(n), kind) for n, kind in enumerate(kinds))
    rows = draw_(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), min_size=1, max_size=3))
    return Table(columns, tuple(rows), AS_OF)


@given(tables())
def test_whatever_is_no_text_has_room_for_all_of_it(table: Table) -> None:
    placed, cells = vega.lay_out_columns(table.columns[:6], [row[:6] for row in table.rows])

    assert placed
    for position, (column, start, width) in enumerate(placed):
        assert drawing.MARGIN <= round(start) <= start + width <= drawing.WIDTH - drawing.MARGIN + 0.5
        if column.kind != Kind.TEXT:
            assert all(drawing.estimate_width(row[position]) <= width - vega.GAP + 0.11 for row in cells)


@pytest.mark.parametrize("value", [-LARGE, 10**15, Decimal("-0.0001"), 1e290])
def test_the_renderer_cuts_no_number(draw: Draw, value: Any) -> None:
    table = table_of((Kind.TEXT, "上海"), (Kind.DATE, date(2026, 11, 24)), *[(Kind.NUMBER, value)] * 4)

    found = texts(draw(make_spec(TABLE, table)).svg)

    assert not [text for text in found if "…" in text]


AS_OF_WORDS = "截至 2026-11-24 09:00"


def parts_of(*values: Any) -> Table:
    columns = (Column("n", Kind.TEXT), Column("v", Kind.NUMBER, "元"))
    return Table(columns, tuple((f"第{place}项", value) for place, value in enumerate(values)), AS_OF)


@pytest.mark.parametrize("shape", list(drawing.Shape))
def test_what_is_below_zero_is_told_with_its_sum(draw: Draw, shape: drawing.Shape) -> None:
    found = make_spec(Chart(ChartKind.PIE, "n", ("v",)), parts_of(100, -40, 100, -2.5), shape=shape)

    words = texts(draw(found).svg)
    assert any("2 项为负，未画出，合计 -42.5元" in text for text in words)
    assert {"第0项 50.0%", "第2项 50.0%"} <= set(words)


def test_what_is_told_has_as_many_lines_as_it_needs() -> None:
    table = parts_of(*range(1, 20), -40, float("nan"))
    cut = Table(table.columns, table.rows, table.as_of, is_cut=True)

    found = make_spec(Chart(ChartKind.PIE, "n", ("v",), top=3), cut)

    whole = make_spec(Chart(ChartKind.DONUT, "n", ("v",)), parts_of(100, 0, None))
    assert whole["title"]["subtitle"] == [AS_OF_WORDS]
    assert found["title"]["subtitle"] == [
        f"{AS_OF_WORDS} · 1 项为负，未画出，合计 -40元",
        "n 中 17 项合为“其他” · 数据超过取数上限",
    ]


@pytest.mark.parametrize("rest", [1e-8, 6e-7, 1e-5])
@pytest.mark.parametrize("kind", [ChartKind.PIE, ChartKind.DONUT])
def test_a_part_that_is_nearly_the_whole_is_drawn(draw: Draw, kind: ChartKind, rest: float) -> None:
    """Arcs that begin and end at one point would be left out."""
    svg = draw(make_spec(Chart(kind, "n", ("v",)), parts_of(1 - rest, rest))).svg

    large = next(outline for outline in re.findall(r' d="([^"]*)"', svg) if "A" in outline)
    at: list[float] = []
    for step in re.findall(r"[MLA][^MLAZ]+", large):
        point = [float(number) for number in step[1:].split(",")][-2:]
        assert step[0] != "A" or point != at
        at = point


FETCHED = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
DAY_BEFORE, DAY = date(2026, 11, 25), date(2026, 11, 26)
OF_REGIONS = Table(
    (Column("日期", Kind.DATE), Column("大区", Kind.TEXT), Column("销售额", Kind.NUMBER)),
    ((DAY_BEFORE, "E", 100), (DAY_BEFORE, "W", 900), (DAY, "E", 110), (DAY, "W", 990)),
    FETCHED,
)
TOKYO = timezone(timedelta(hours=9))


def said(chart: Chart, table: Table) -> list[str]:
    """Return the number and, if there is one, its difference from the number before."""
    return words_of(chart, table)[1:-1]


def line(chart: Chart, table: Table) -> list[float | None]:
    layers = make_spec(chart, table)["layer"]
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

    cut = Table(OF_REGIONS.columns, OF_REGIONS.rows, FETCHED, is_cut=True)
    assert said(chart, OF_REGIONS) == [number, change]
    assert words_of(chart, cut)[-1] == "截至 2026-11-28 09:00 · 数据超过取数上限"


def test_the_line_goes_from_margin_to_margin(draw: Draw) -> None:
    days = Table(
        (Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)),
        tuple((DAY - timedelta(days=ago), 100) for ago in range(24)),
        FETCHED,
    )

    svg = draw(make_spec(Chart(ChartKind.NUMBER, "日期", ("销售额",)), days)).svg

    [path] = re.findall(r'aria-roledescription="line mark"[^>]* d="M([^"]*)"', svg)
    places = [float(point.partition(",")[0]) for point in path.split("L")]
    assert (places[0], places[-1]) == (drawing.MARGIN, drawing.WIDTH - drawing.MARGIN)


def test_the_line_has_one_place_for_each_day_or_moment_in_the_order_of_time() -> None:
    backwards = OF_REGIONS.replace_rows(OF_REGIONS.rows[::-1])
    rows = ((datetime(2026, 11, 26, 1, tzinfo=UTC), 2), (datetime(2026, 11, 26, 9, tzinfo=TOKYO), 1))
    moments = Table((Column("时间", Kind.DATETIME), Column("v", Kind.NUMBER)), rows, FETCHED)

    assert line(Chart(ChartKind.NUMBER, "日期", ("销售额",)), backwards) == [1000.0, 1100.0]
    assert line(Chart(ChartKind.NUMBER, "时间", ("v",)), moments) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("x", "more", "words"),
    [
        ("", (), ["2,100"]),
        ("日期", ((date(2026, 11, 27), "E", None), (None, "E", 5)), ["1,100", "较上一个值 ↑10.0%"]),
        ("日期", ((date(2026, 11, 29), "E", 5000),), ["1,100", "较上一个值 ↑10.0%"]),  # days to come are a plan
    ],
    ids=["all rows", "the last place with a value", "days to come"],
)
def test_the_number_is_that_of_the_last_place_or_of_all_rows(
    x: str, more: tuple[tuple[Any, ...], ...], words: list[str]
) -> None:
    assert said(Chart(ChartKind.NUMBER, x, ("销售额",)), OF_REGIONS.replace_rows([*OF_REGIONS.rows, *more])) == words


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
    table = Table(columns, ((DAY_BEFORE, values[0]), (DAY, values[1])), FETCHED)

    assert said(Chart(ChartKind.NUMBER, "日期", ("v",)), table) == words
