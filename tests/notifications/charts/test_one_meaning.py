"""A figure is the same in charts, tables, pages and files."""

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.data import figures
from integrations.data.figures import read_number
from integrations.data.table import Column, Kind, Month, Table, format_number
from notifications.charts import drawing
from notifications.charts.definition import Aggregate, Chart, ChartKind, Sort, build_points
from notifications.charts.vega import lay_out_columns
from notifications.delivery.spreadsheets import cut_parts, write_file
from notifications.reports.contents import paginate_tables
from notifications.sources import CardContent, Content
from tests.notifications.charts.tables import AS_OF, make_spec
from tests.notifications.charts.test_spec import rows

NUMBERS = st.decimals(-(10**7), 10**7, places=2) | st.integers(-(10**7), 10**7) | st.none()
ROWS = st.lists(st.tuples(st.sampled_from(["华东", "华北", "华南"]), NUMBERS), min_size=1, max_size=8)
BARS = Chart(ChartKind.BAR, "n", ("v",), sort=Sort.LARGEST)


def table_of(rows: list[tuple[str, Decimal | int | None]], kind: Kind = Kind.NUMBER) -> Table:
    return Table((Column("n", Kind.TEXT), Column("v", kind)), tuple(rows), AS_OF)


def bars(table: Table) -> dict[str | int, Decimal | None]:
    return {point.place: point.value for point in build_points(BARS, table).points}


def cells_of(content: bytes) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in openpyxl.load_workbook(io.BytesIO(content)).worksheets[0].rows]


@settings(max_examples=15, deadline=None)
@given(ROWS.filter(lambda rows: any(value is not None for _name, value in rows)))
def test_labels_of_bars_are_the_totals_of_their_known_values(rows: list[tuple[str, Decimal | int | None]]) -> None:
    table = table_of(rows)

    found = {row["x"]: row["t"] for row in make_spec(BARS, table)["data"]["values"]}

    for name in {name for name, _value in rows}:
        known = figures.read_column_numbers(table, "v", [place for place, row in enumerate(rows) if row[0] == name])
        assert found[name] == drawing.write_short(figures.total(known))
    assert bars(table_of([*rows, ("华东", None)])) == {**bars(table), "华东": bars(table).get("华东")}
    assert bars(table_of(rows[::-1])) == bars(table)


@settings(max_examples=15, deadline=None)
@given(ROWS, st.sampled_from([Kind.NUMBER, Kind.PERCENT]))
def test_cells_of_pictures_pages_and_files_are_the_value(
    rows: list[tuple[str, Decimal | int | None]], kind: Kind
) -> None:
    table = table_of(rows, kind)
    sign, share = ("%", 100) if kind is Kind.PERCENT else ("", 1)
    [part] = cut_parts([("x", table)])

    pictured = [row[1] for row in lay_out_columns(table.columns, table.rows)[1]]
    [page] = paginate_tables(Content("x", "", (CardContent("x", "x", table),)), 100, at=AS_OF)
    paged = [row[1][0] for row in page["rows"]]
    sheet = [row[1] for row in cells_of(write_file("xlsx", [part]))[1:]]
    separated = [row[1] for row in csv.reader(io.StringIO(write_file("csv", [part]).decode("utf-8-sig")))][1:]

    exact = [figures.to_decimal(value) for _name, value in rows]
    written = [format_number(value) if value is None else f"{format_number(value)}{sign}" for value in exact]
    assert pictured == paged == written
    held = [None if cell.value is None else round(Decimal(repr(cell.value)) * share, 9) for cell in sheet]
    assert held == exact
    assert all(cell.number_format.endswith(sign) for cell in sheet if cell.value is not None)
    read = [read_number(text) for text in separated]
    assert [one and one.value for one in read] == exact


def test_names_that_are_written_differently_are_one_group() -> None:
    table = table_of([("East", 1), ("ＥＡＳＴ", 2), (" east ", 4), ("West", None)])

    assert bars(table) == {"East": 7, "West": None}
    assert [row["t"] for row in make_spec(BARS, table)["data"]["values"]] == ["7", "—"]


def test_unknown_values_are_left_out_of_each_aggregate() -> None:
    table = table_of([("华东", None), ("华东", 4), ("华东", None), ("华东", 2)])

    found = {
        one: build_points(Chart(ChartKind.BAR, "n", ("v",), aggregate=one), table).points[0].value for one in Aggregate
    }
    assert found == {"sum": 6, "average": 3, "maximum": 4, "minimum": 2, "count": 2}


def test_bars_are_ranked_by_known_values_and_ties_stay() -> None:
    table = table_of([("a", None), ("b", -9), ("c", 3), ("d", 5), ("e", 3)])

    assert build_points(BARS, table).places == ["d", "c", "e", "b", "a"]


def test_a_stack_of_one_series_says_no_zero_for_an_unknown() -> None:
    rows = make_spec(Chart(ChartKind.STACKED, "n", ("v",)), table_of([("a", None), ("b", 2)]))["data"]

    assert [(row["y"], row["t"]) for row in rows["values"]] == [(None, "—"), (2.0, "2")]


def test_percentages_of_a_donut_are_not_added_up() -> None:
    chart = Chart(ChartKind.DONUT, "n", ("v",))

    drawn = [make_spec(chart, table_of([("a", 50), ("b", 25)], kind)) for kind in (Kind.NUMBER, Kind.PERCENT)]

    assert [[row["t"] for row in rows(found) if "t" in row] for found in drawn] == [["75"], []]


def test_months_stay_months() -> None:
    columns = (Column("月", Kind.DATE), Column("v", Kind.NUMBER))
    table = Table(columns, ((Month(2026, 10, 1), 1), (Month(2026, 11, 1), 2)), AS_OF)

    drawn = make_spec(Chart(ChartKind.LINE, "月", ("v",)), table)

    assert drawn["encoding"]["x"]["axis"]["format"] == "%Y-%m"
    assert drawn["title"]["subtitle"] == ["截至 2026-11-24 09:00"]
    assert cells_of(write_file("xlsx", cut_parts([("x", table)])))[1][0].number_format == "yyyy-mm"


@pytest.mark.parametrize(
    ("column", "cell", "at", "is_fetch_time", "words"),
    [
        (Column("n", Kind.TEXT), "a", AS_OF, False, "截至 2026-11-24 09:00"),
        (Column("n", Kind.TEXT), "a", AS_OF, True, "取数时间 2026-11-24 09:00"),
        (
            Column("日期", Kind.DATE),
            date(2026, 11, 23),
            datetime(2026, 11, 24, tzinfo=ZoneInfo("Asia/Shanghai")),
            False,
            "截至 2026-11-23",
        ),
    ],
)
def test_the_foot_says_what_its_time_is(
    column: Column, cell: Any, at: datetime, is_fetch_time: bool, words: str
) -> None:
    table = Table((column,), ((cell,),), at, is_fetch_time=is_fetch_time)

    *_cells, foot = rows(make_spec(Chart(ChartKind.TABLE), table))
    assert foot["t"] == words
