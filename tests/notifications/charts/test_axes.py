"""What stands along an axis: days with their year where years differ, without a time where none has one; and the
figures at the ends of bars."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from integrations.data.table import Column, Kind, Table, Value
from notifications.charts import drawing
from notifications.charts.definition import Chart, ChartKind, Unit, shape
from notifications.charts.vega import spec
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, SVG, parsed, texts

# In Shanghai, where these tests are at home.
MIDNIGHT = datetime(2026, 10, 31, 16, tzinfo=UTC)


def table_of(kind: Kind, *places: Value, series: str = "甲") -> Table:
    columns = (Column("x", kind), Column("s", Kind.TEXT), Column("v", Kind.NUMBER))
    return Table(columns, tuple((place, series, 1 + n) for n, place in enumerate(places)), AS_OF)


def labels(draw: Draw, chart: Chart, table: Table) -> list[str]:
    return [text for text in texts(draw(spec(chart, table, language="zh-hans")).svg) if "-" in text and ":" not in text]


@pytest.mark.parametrize("kind", [ChartKind.LINE, ChartKind.AREA, ChartKind.BAR, ChartKind.STACKED])
def test_days_of_several_years_have_their_year(draw: Draw, kind: ChartKind) -> None:
    table = table_of(Kind.DATE, *[date(year, 1, 1) for year in range(2020, 2026)])

    found = labels(draw, Chart(kind, "x", ("v",)), table)

    assert len(found) >= 3
    assert len(set(found)) == len(found)
    assert set(found) <= {f"{year}-01-01" for year in range(2020, 2027)}


def test_days_of_several_years_side_by_side_have_their_year(draw: Draw) -> None:
    days = [date(2025, 12, 31), date(2026, 1, 1)]
    one, other = table_of(Kind.DATE, *days), table_of(Kind.DATE, *days, series="乙")

    found = labels(draw, Chart(ChartKind.BAR, "x", ("v",), series="s"), one.with_rows([*one.rows, *other.rows]))

    assert found == ["2025-12-31", "2026-01-01"]


def test_days_of_one_year_have_none(draw: Draw) -> None:
    table = table_of(Kind.DATE, *[date(2026, 11, day) for day in range(1, 25)])

    assert "11-01" in labels(draw, Chart(ChartKind.LINE, "x", ("v",)), table)


def test_moments_that_are_all_midnights_are_days(draw: Draw) -> None:
    table = table_of(Kind.DATETIME, *[MIDNIGHT + timedelta(days=n) for n in range(24)])
    chart = Chart(ChartKind.LINE, "x", ("v",))

    assert shape(chart, table).unit == Unit.DAY
    assert shape(chart, table).notes == []
    assert "11-01" in labels(draw, chart, table)
    assert not [text for text in texts(draw(spec(chart, table, language="zh-hans")).svg) if text.endswith("00:00")]


def test_one_moment_that_is_no_midnight_keeps_the_times_of_all() -> None:
    table = table_of(Kind.DATETIME, MIDNIGHT, MIDNIGHT + timedelta(hours=30))

    assert shape(Chart(ChartKind.LINE, "x", ("v",)), table).unit == Unit.MOMENT


def test_moments_of_several_years_have_year_and_time(draw: Draw) -> None:
    table = table_of(Kind.DATETIME, *[datetime(2025, 12, 31, 3, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(9)])

    found = texts(draw(spec(Chart(ChartKind.LINE, "x", ("v",)), table, language="zh-hans")).svg)

    assert "2026-01-01 00:00" in found


def test_figures_of_lying_bars_stand_beyond_their_ends(draw: Draw) -> None:
    columns = (Column("x", Kind.TEXT), Column("v", Kind.NUMBER, "元"))
    table = Table(columns, (("华东", 120), ("华北", -90), ("华南", -5), ("西南", 0)), AS_OF)

    drawn = parsed(draw(spec(Chart(ChartKind.BAR, "x", ("v",)), table, language="zh-hans")).svg)

    figures = {
        text.text: text.get("text-anchor") for text in drawn.iter(f"{SVG}text") if (text.text or "").endswith("元")
    }
    assert figures == {"120元": "start", "0元": "start", "-90元": "end", "-5元": "end"}
    assert all(float(text.get("font-size", "0px")[:-2]) >= 12 for text in drawn.iter(f"{SVG}text"))
    assert drawing.WIDTH == 390


def test_a_threshold_leaves_the_figures_of_both_sides(draw: Draw) -> None:
    columns = (Column("x", Kind.TEXT), Column("v", Kind.NUMBER, "元"))
    table = Table(columns, (("华东", 120), ("华北", -90)), AS_OF)

    found = spec(Chart(ChartKind.BAR, "x", ("v",), thresholds=(-50,)), table, language="zh-hans")

    drawn = [text for text in texts(draw(found).svg) if text.endswith("元")]
    assert set(drawn) == {"-90元", "120元"}
