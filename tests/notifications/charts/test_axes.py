"""Labels along an axis and in a legend: days with their years, figures at the ends of bars, distinct names."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table, Value
from notifications.charts import drawing
from notifications.charts.definition import LABEL_PIXELS, Chart, ChartKind, TimeUnit, build_points
from notifications.charts.drawing import cut_to_width, find_cut_width, lay_out_legend, make_distinct_labels
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, FIRST, SVG, make_spec, parsed, texts

# In Shanghai, the time zone of these tests.
MIDNIGHT = datetime(2026, 10, 31, 16, tzinfo=UTC)


def table_of(kind: Kind, *places: Value, series: str = "甲") -> Table:
    columns = (Column("x", kind), Column("s", Kind.TEXT), Column("v", Kind.NUMBER))
    return Table(columns, tuple((place, series, 1 + n) for n, place in enumerate(places)), AS_OF)


def labels(draw: Draw, chart: Chart, table: Table) -> list[str]:
    return [text for text in texts(draw(make_spec(chart, table)).svg) if "-" in text and ":" not in text]


@pytest.mark.parametrize(
    ("kind", "names", "numbers"),
    [
        (ChartKind.LINE, ["销售额"], [1_200_000 + 40_000 * day for day in range(24)]),
        (ChartKind.LINE, ["销售额", "成本", "利润", "税"], [-90_000, 30, 12_345]),
        (ChartKind.LINE, ["比率"], [0.0123, 0.0456, -0.0004]),
        (ChartKind.LINE, ["总额"], [1e12 * day * day for day in range(60)]),
        (ChartKind.AREA, ["销售额"], [3.5, -2, 41]),
        (ChartKind.BAR, ["销售额"], [-7, -70, -63]),
        (ChartKind.BAR, ["销售额"], [999_999.5, 5e-324]),
    ],
)
@pytest.mark.parametrize("shape", [drawing.Shape.CARD, drawing.Shape.NEWS])
def test_a_placed_plot_looks_as_the_renderer_would_place_it(
    draw: Draw, kind: ChartKind, names: list[str], numbers: list[float], shape: drawing.Shape
) -> None:
    columns = (Column("日期", Kind.DATE), *(Column(name, Kind.NUMBER) for name in names))
    rows: Any = tuple((FIRST + timedelta(days=day), *[number] * len(names)) for day, number in enumerate(numbers))
    found = make_spec(Chart(kind, "日期", tuple(names)), Table(columns, rows, AS_OF), shape=shape)
    y = found["encoding"]["y"]
    axis = {name: part for name, part in y["axis"].items() if name != "values"} | {"tickCount": 4}
    scale = {"zero": kind != ChartKind.LINE, "nice": True}
    whole = {"width": drawing.WIDTH, "height": drawing.SIZES[shape].height, "padding": drawing.MARGIN}
    fitted = found | whole | {"autosize": {"type": "fit", "contains": "padding"}}
    fitted |= {"encoding": found["encoding"] | {"y": y | {"axis": axis, "scale": scale}}}

    ours, theirs = draw(found), draw(fitted)

    assert found["autosize"] == "none"
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    assert texts(ours.svg) == texts(theirs.svg)
    (left, top, width, height), (other_left, other_top, *_size) = (plot_of(one.svg) for one in (ours, theirs))
    assert 0 <= left - other_left <= 10
    assert 0 <= top - other_top <= 6
    assert left + width == drawing.WIDTH - drawing.MARGIN
    assert top + height == drawing.SIZES[shape].height - 30


def plot_of(svg: str) -> tuple[float, ...]:
    """Return left, top, width and height of a drawing's plot."""
    found = re.search(r'translate\((\d+),(\d+)\).*?class="background"[^>]* d="M[\d.]+,[\d.]+h([\d.]+)v([\d.]+)', svg)
    assert found
    return tuple(map(float, found.groups()))


@pytest.mark.parametrize("kind", [ChartKind.LINE, ChartKind.BAR])
def test_days_of_several_years_have_their_year(draw: Draw, kind: ChartKind) -> None:
    table = table_of(Kind.DATE, *[date(year, 1, 1) for year in range(2020, 2026)])

    found = labels(draw, Chart(kind, "x", ("v",)), table)

    assert len(found) >= 3
    assert len(set(found)) == len(found)
    assert set(found) <= {f"{year}-01-01" for year in range(2020, 2027)}


def test_days_of_several_years_side_by_side_have_their_year(draw: Draw) -> None:
    days = [date(2025, 12, 31), date(2026, 1, 1)]
    one, other = table_of(Kind.DATE, *days), table_of(Kind.DATE, *days, series="乙")

    found = labels(draw, Chart(ChartKind.BAR, "x", ("v",), series="s"), one.replace_rows([*one.rows, *other.rows]))

    assert found == ["2025-12-31", "2026-01-01"]


def test_moments_that_are_all_midnights_are_days(draw: Draw) -> None:
    table = table_of(Kind.DATETIME, *[MIDNIGHT + timedelta(days=n) for n in range(24)])
    chart = Chart(ChartKind.LINE, "x", ("v",))

    assert build_points(chart, table).time_unit == TimeUnit.DAY
    assert build_points(chart, table).notes == []
    assert "11-01" in labels(draw, chart, table)
    # One moment that is no midnight keeps the times of all.
    later = MIDNIGHT + timedelta(hours=30)
    assert build_points(chart, table_of(Kind.DATETIME, MIDNIGHT, later)).time_unit == TimeUnit.MOMENT
    assert not [text for text in texts(draw(make_spec(chart, table)).svg) if text.endswith("00:00")]


def test_moments_of_several_years_have_year_and_time(draw: Draw) -> None:
    table = table_of(Kind.DATETIME, *[datetime(2025, 12, 31, 3, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(9)])

    found = texts(draw(make_spec(Chart(ChartKind.LINE, "x", ("v",)), table)).svg)

    assert "2026-01-01 00:00" in found


def test_figures_of_lying_bars_stand_beyond_their_ends(draw: Draw) -> None:
    columns = (Column("x", Kind.TEXT), Column("v", Kind.NUMBER, "元"))
    table = Table(columns, (("华东", 120), ("华北", -90), ("华南", -5), ("西南", 0)), AS_OF)

    drawn = parsed(draw(make_spec(Chart(ChartKind.BAR, "x", ("v",)), table)).svg)

    figures = {
        text.text: text.get("text-anchor") for text in drawn.iter(f"{SVG}text") if (text.text or "").endswith("元")
    }
    assert figures == {"120元": "start", "0元": "start", "-90元": "end", "-5元": "end"}
    assert all(float(text.get("font-size", "0px")[:-2]) >= 12 for text in drawn.iter(f"{SVG}text"))
    assert drawing.WIDTH == 390


TEAMS = ("华东大区销售一二部甲组", "华东大区销售一二部乙组")
LATE = ("门店" * 40 + "一", "门店" * 40 + "二")


def named_table(names: tuple[str, ...]) -> Table:
    columns = (Column("日期", Kind.DATE), Column("名称", Kind.TEXT), Column("v", Kind.NUMBER))
    return Table(columns, tuple((FIRST, name, 3) for name in names), AS_OF)


@pytest.mark.parametrize(
    ("x", "series", "kind", "share"),
    [
        ("名称", "", ChartKind.PIE, " 50.0%"),
        ("名称", "", ChartKind.BAR, ""),
        *(("日期", "名称", kind, "") for kind in (ChartKind.LINE, ChartKind.BAR)),
    ],
)
def test_names_that_begin_alike_look_different(draw: Draw, x: str, series: str, kind: ChartKind, share: str) -> None:
    found = texts(draw(make_spec(Chart(kind, x, ("v",), series=series), named_table(TEAMS))).svg)

    # A legend of two has room for both names.
    assert set(TEAMS if series else (f"华东大区…部甲组{share}", f"华东大区…部乙组{share}")) <= set(found)
    late = build_points(Chart(kind, "名称", ("v",)), named_table(LATE))
    assert [point.value for point in late.points] == [3, 3]
    assert len(set(late.places or ())) == 2


@pytest.mark.parametrize(
    ("names", "columns"),
    [(("家电", "服装", "食品"), 3), (TEAMS, 1), ((*TEAMS, "其他"), 2), ((*TEAMS, *"一二三"), 3), (LATE, 1)],
)
def test_a_legend_keeps_both_ends_of_long_names_and_stays_in_the_picture(names: tuple[str, ...], columns: int) -> None:
    found, pixels = lay_out_legend(names)

    shown = make_distinct_labels(names, pixels, keeps_ends=True)

    assert found == columns
    assert columns * (pixels + 31) <= drawing.WIDTH - 2 * drawing.MARGIN
    assert all(drawing.estimate_width(label) <= pixels for label in shown.values())
    assert [label[-1] for label in shown.values()] == [name[-1] for name in names]


def test_names_that_only_their_middle_tells_apart_are_numbered() -> None:
    names = [f"华东大区销售一部的{middle}甲组第一小队" for middle in "一二三"]

    assert make_distinct_labels(names, LABEL_PIXELS) == dict(
        zip(names, ["华东大区…一小队", "华东大区销… (2)", "华东大区销… (3)"], strict=True)
    )


@given(st.lists(st.text(st.sampled_from("门店一二aW😀 …()2"), max_size=40), unique=True, max_size=12))
def test_whatever_is_different_looks_different(names: list[str]) -> None:
    found = make_distinct_labels(names, LABEL_PIXELS)

    assert list(found) == names
    assert len({cut_to_width(shown, LABEL_PIXELS) for shown in found.values()}) == len(names)


def test_only_what_may_be_too_long_is_measured_and_cut() -> None:
    assert [find_cut_width(text, 100) for text in ("十个", "一二三四五六七", "一二三四五六七八")] == [0, 0, 100]
    assert find_cut_width("一二三四五六七", 100, 16) == 100
