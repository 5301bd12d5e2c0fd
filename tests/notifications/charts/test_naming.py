"""Different names never look the same: along an axis, in a legend, as parts of a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from notifications.charts.definition import LABEL_PIXELS, Chart, ChartKind, shape
from notifications.charts.drawing import distinct_labels, limit_of, shown_within
from notifications.charts.vega import spec
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import AS_OF, FIRST, texts

TEAMS = ("华东大区销售一二部甲组", "华东大区销售一二部乙组")
LONG = ("门店" * 40 + "一", "门店" * 40 + "二")


def table_of(names: tuple[str, ...]) -> Table:
    columns = (Column("日期", Kind.DATE), Column("名称", Kind.TEXT), Column("v", Kind.NUMBER))
    return Table(columns, tuple((FIRST, name, 3) for name in names), AS_OF)


@pytest.mark.parametrize("kind", [ChartKind.PIE, ChartKind.DONUT])
def test_parts_whose_names_begin_alike_are_two_parts(draw: Draw, kind: ChartKind) -> None:
    found = spec(Chart(kind, "名称", ("v",)), table_of(TEAMS), language="zh-hans")

    assert {"华东大区…部甲组 50.0%", "华东大区…部乙组 50.0%"} <= set(texts(draw(found).svg))


@pytest.mark.parametrize("kind", [ChartKind.BAR, ChartKind.STACKED])
def test_bars_whose_names_begin_alike_look_different(draw: Draw, kind: ChartKind) -> None:
    found = texts(draw(spec(Chart(kind, "名称", ("v",)), table_of(TEAMS), language="zh-hans")).svg)

    assert {"华东大区…部甲组", "华东大区…部乙组"} <= set(found)


@pytest.mark.parametrize("kind", [ChartKind.LINE, ChartKind.AREA, ChartKind.BAR, ChartKind.STACKED])
def test_series_whose_names_begin_alike_look_different(draw: Draw, kind: ChartKind) -> None:
    found = texts(draw(spec(Chart(kind, "日期", ("v",), series="名称"), table_of(TEAMS), language="zh-hans")).svg)

    assert {"华东大区…部甲组", "华东大区…部乙组"} <= set(found)


@pytest.mark.parametrize("kind", [ChartKind.BAR, ChartKind.PIE, ChartKind.LINE])
def test_names_that_differ_late_are_not_counted_together(kind: ChartKind) -> None:
    shaped = shape(Chart(kind, "名称", ("v",)), table_of(LONG))

    assert [point.value for point in shaped.points] == [3, 3]
    assert len(set(shaped.places or ())) == 2


def test_names_that_only_their_middle_tells_apart_are_numbered() -> None:
    names = [f"华东大区销售一部的{middle}甲组第一小队" for middle in "一二三"]

    assert distinct_labels(names, LABEL_PIXELS) == dict(
        zip(names, ["华东大区…一小队", "华东大区销… (2)", "华东大区销… (3)"], strict=True)
    )


def test_names_that_look_different_stay_as_they_are() -> None:
    names = ["上海", "上海浦东新区张江高科技园区", "北京", ""]

    assert distinct_labels(names, LABEL_PIXELS) == {name: name for name in names}


@given(st.lists(st.text(st.sampled_from("门店一二aW😀 …()2"), max_size=40), unique=True, max_size=12))
def test_whatever_is_different_looks_different(names: list[str]) -> None:
    found = distinct_labels(names, LABEL_PIXELS)

    assert list(found) == names
    assert len({shown_within(shown, LABEL_PIXELS) for shown in found.values()}) == len(names)


def test_only_what_may_be_too_long_is_measured_and_cut() -> None:
    assert [limit_of(text, 100) for text in ("十个", "一二三四五六七", "一二三四五六七八")] == [0, 0, 100]
    assert limit_of("一二三四五六七", 100, 16) == 100
