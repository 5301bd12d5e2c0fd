"""The picture of a table at 390 pixels: half a number reads as another one, so numbers are whole or not there."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from notifications.charts import drawing
from notifications.charts import placed_charts as columns_of
from notifications.charts.definition import Chart, ChartKind, Sort
from notifications.charts.vega import spec
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, texts

TABLE = Chart(ChartKind.TABLE, title="明细", top=3)
LARGE = Decimal("12345678.9")


def table_of(*columns: tuple[Kind, Any], row_count: int = 2) -> Table:
    return Table(
        tuple(Column(f"第{position}列", kind) for position, (kind, _value) in enumerate(columns)),
        tuple(tuple(value for _kind, value in columns) for _ in range(row_count)),
        AS_OF,
    )


def drawn(draw: Draw, table: Table) -> list[str]:
    """Its cells from left to right and its foot, without title and heads."""
    found = texts(draw(spec(TABLE, table, language="zh-hans")).svg)
    return [text for text in found if text != "明细" and not text.startswith("第")]


@pytest.mark.parametrize(
    ("sort", "days"),
    [
        (Sort.AS_IS, ["2026-11-22", "", "2026-11-24", "2026-11-23"]),
        (Sort.LARGEST, ["2026-11-24", "2026-11-23", "2026-11-22", ""]),
        (Sort.SMALLEST, ["2026-11-22", "2026-11-23", "2026-11-24", ""]),
    ],
)
def test_rows_with_days_are_ordered_by_them(draw: Draw, sort: Sort, days: list[str]) -> None:
    columns = (Column("第1列", Kind.DATE), Column("第2列", Kind.NUMBER))
    values = (date(2026, 11, 22), None, date(2026, 11, 24), date(2026, 11, 23))
    table = Table(columns, tuple((day, number) for number, day in enumerate(values)), AS_OF)
    chart = Chart(ChartKind.TABLE, x="第1列", y=("第2列",), sort=sort)

    found = texts(draw(spec(chart, table, language="zh-hans")).svg)

    assert [text for text in found if text.startswith("2026-11-2")] == [day for day in days if day]
    numbers = {str(day or ""): str(number) for number, day in enumerate(values)}
    assert [text for text in found if text in numbers.values()] == [numbers[day] for day in days]


def test_rows_of_a_plan_stand_below_the_newest_day(draw: Draw) -> None:
    columns = (Column("第1列", Kind.DATE), Column("第2列", Kind.NUMBER))
    days = (date(2026, 12, 31), date(2026, 11, 23), date(2026, 11, 25), None, date(2026, 11, 24))
    chart = Chart(ChartKind.TABLE, x="第1列", y=("第2列",), sort=Sort.LARGEST)

    found = texts(draw(spec(chart, Table(columns, tuple((day, 7) for day in days), AS_OF), language="zh-hans")).svg)

    shown = [text for text in found if text.startswith("2026-1")]
    assert shown == ["2026-11-24", "2026-11-23", "2026-12-31", "2026-11-25"]


def test_numbers_that_have_room_are_written_out(draw: Draw) -> None:
    found = drawn(draw, table_of((Kind.TEXT, "上海浦东门店"), *[(Kind.NUMBER, LARGE)] * 2, row_count=1))

    assert found == ["上海浦东门店", "12,345,678.9", "12,345,678.9", "截至 2026-11-24 09:00"]


def test_numbers_that_have_none_are_short(draw: Draw) -> None:
    found = drawn(draw, table_of((Kind.TEXT, "上海"), *[(Kind.NUMBER, LARGE)] * 4, row_count=1))

    assert found == ["上海", *["1234.6万"] * 4, "截至 2026-11-24 09:00"]


def test_short_texts_are_whole_where_numbers_fill_the_rest(draw: Draw) -> None:
    found = drawn(draw, table_of((Kind.TEXT, "上海"), *[(Kind.NUMBER, LARGE)] * 5, row_count=1))

    assert found == ["上海", *["1234.6万"] * 4, "截至 2026-11-24 09:00 · 另有 1 列"]


def test_columns_that_have_none_are_counted_in_the_foot(draw: Draw) -> None:
    moment = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)

    found = drawn(draw, table_of(*[(Kind.DATETIME, moment)] * 4, (Kind.NUMBER, LARGE), row_count=1))

    assert found == [*["2026-11-24 09:30"] * 2, "截至 2026-11-24 09:00 · 另有 3 列"]


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
    columns, cells = columns_of.fitting(table.columns[:6], [row[:6] for row in table.rows], language="zh-hans")

    places = columns_of.places(columns, cells)

    assert columns
    for position, column in enumerate(columns):
        start, width = places[position]
        assert drawing.MARGIN <= round(start) <= start + width <= drawing.WIDTH - drawing.MARGIN + 0.5
        if column.kind != Kind.TEXT:
            assert all(drawing.width_of(row[position]) <= width - columns_of.GAP + 0.11 for row in cells)


@pytest.mark.parametrize("language", ["zh-hans", "en"])
@pytest.mark.parametrize("value", [LARGE, -LARGE, 99_999_999.99, 10**15, Decimal("-0.0001"), 1e-9, 1e290])
def test_the_renderer_cuts_no_number(draw: Draw, language: str, value: Any) -> None:
    table = table_of((Kind.TEXT, "上海"), (Kind.DATE, date(2026, 11, 24)), *[(Kind.NUMBER, value)] * 4)

    found = texts(draw(spec(TABLE, table, language=language)).svg)

    assert not [text for text in found if "…" in text]
