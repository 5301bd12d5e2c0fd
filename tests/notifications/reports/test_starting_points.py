"""Starting points: each is a message that its data can fill, or names what the data lacks."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Month, Table
from notifications.charts import definition
from notifications.models import MessageForm
from notifications.reports.templates import merge_fields
from notifications.reports.templates.merge_fields import StartingPoint, make_starting_points
from notifications.reports.templates.renderer import render_template
from tests.notifications.reports.tables import SLOT, given, sales

DAY, REGION, SALES = Column("日期", Kind.DATE), Column("区域", Kind.TEXT), Column("销售额", Kind.NUMBER)


def points(table: Table) -> dict[str, StartingPoint]:
    return {point.key: point for point in make_starting_points("sales", "销售日报", table)[0]}


def shown(point: StartingPoint, table: Table) -> tuple[str, str, str]:
    title, body, figures = (
        render_template(source, given(table), "text") for source in (point.title, point.body, point.figures)
    )
    return title, body, figures


def test_each_point_is_a_message_over_the_data() -> None:
    table, found = sales(), points(sales())
    chart = definition.Chart

    assert found["key_figures"].message_form == MessageForm.TEXT_NOTICE
    assert shown(found["key_figures"], table) == ("销售日报 11月23日", "较前一天 ↑33.3%", "销售额: 8,010 元")
    assert shown(found["table"], table) == ("销售日报 11月23日", "共 8 行", "销售额: 8,010 元")
    assert found["table"].charts == (
        chart(definition.ChartKind.TABLE, x="日期", y=("区域", "销售额"), sort=definition.Sort.LARGEST),
    )
    assert found["trend"].message_form == MessageForm.NEWS_NOTICE
    assert found["trend"].charts == (chart(definition.ChartKind.LINE, x="日期", y=("销售额",)),)
    assert shown(found["ranking"], table)[1] == "1. 华南 4,010\n2. 华东 4,000\n"


def test_who_has_no_number_stands_last_in_the_ranking_without_a_place() -> None:
    table = Table((REGION, SALES), (("华东", None), ("华南", 1), ("华北", 3)), SLOT)

    assert shown(points(table)["ranking"], table)[1] == "1. 华北 3\n2. 华南 1\n— 华东 —\n"


FIGURES, RATE = Column("订单数", Kind.NUMBER), Column("完成率", Kind.PERCENT, "%")
SHOP, TARGET = Column("门店", Kind.TEXT), Column("目标", Kind.NUMBER)
TODAY = date(2026, 11, 24)


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("columns", "rows", "start", "words"),
    [
        ((SALES,), ((1,), (2,), (3,)), "key_figures", ("日报", "", "销售额: 6")),
        (
            (SHOP, RATE),
            (("一店", Decimal(90)), ("二店", Decimal("95.5")), ("三店", None)),
            "ranking",
            ("日报", "1. 二店 95.5%\n2. 一店 90%\n— 三店 —\n", "平均完成率: 92.75%"),
        ),
        # Targets are not added.
        (
            (DAY, SALES, TARGET),
            ((ago(1), 10, 100), (ago(1), 20, 300)),
            "key_figures",
            ("日报 11月23日", "", "销售额: 30\n平均目标: 200"),
        ),
        (
            (DAY, SALES),
            ((ago(2), Decimal("-2.1")), (ago(1), Decimal("0.3"))),
            "key_figures",
            ("日报 11月23日", "较前一天 由 -2.1 升至 0.3", "销售额: 0.3"),
        ),
        ((DAY, FIGURES), ((ago(40), 5), (ago(1), 12)), "key_figures", ("日报 11月23日", "", "订单数: 12")),
        ((DAY, SALES), ((None, None), (None, None)), "table", ("日报", "共 2 行", "销售额: —")),
        (
            (DAY, REGION, SALES),
            ((ago(-2), "华东", 10), (ago(-1), "华东", 20)),
            "table",
            ("日报", "共 2 行", "销售额: 30"),
        ),
        (
            (DAY, SALES),
            ((ago(-1), 900), (ago(1), 30), (ago(2), 20)),
            "key_figures",
            ("日报 11月23日", "较前一天 ↑50.0%", "销售额: 30"),
        ),
        ((REGION, Column("说明", Kind.TEXT)), (("华东", "缺货"), ("华南", "到货")), "table", ("日报", "共 2 行", "")),
        (
            (DAY, RATE),
            ((ago(2), Decimal("97.8")), (ago(1), Decimal("99.0"))),
            "key_figures",
            ("日报 11月23日", "较前一天 +1.2 个百分点", "完成率: 99%"),
        ),
        (
            (Column("计划交付", Kind.DATE), DAY, FIGURES),
            ((ago(-9), ago(2), 4), (ago(-3), ago(1), 5), (ago(-5), ago(1), 1)),
            "key_figures",
            ("日报 11月23日", "较前一天 ↑50.0%", "订单数: 6"),
        ),
        (
            (Column("月份", Kind.DATE), SALES),
            ((Month(2026, 9, 1), 10), (Month(2026, 10, 1), 20)),
            "key_figures",
            ("日报 2026年10月", "较上月同日 ↑100.0%", "销售额: 20"),
        ),
        (
            (Column("门店编号", Kind.NUMBER), SHOP, SALES),
            ((7, "一店", 5), (9, "二店", 6)),
            "ranking",
            ("日报", "1. 二店 6\n2. 一店 5\n", "销售额: 11"),
        ),
    ],
)
def test_tables_of_many_shapes_begin_with_a_message(
    columns: tuple[Column, ...], rows: tuple[tuple[Any, ...], ...], start: str, words: tuple[str, str, str]
) -> None:
    table = Table(columns, rows, SLOT)
    found, begun = make_starting_points("sales", "日报", table)

    assert begun == start
    assert shown(next(point for point in found if point.key == start), table) == words


NO_NUMBERS, NO_DAYS = "这份数据没有数字列。", "这份数据没有日期列。"


@pytest.mark.parametrize(
    ("columns", "lacks"),
    [
        ((REGION,), {"key_figures": NO_NUMBERS, "trend": NO_DAYS, "ranking": NO_NUMBERS}),
        ((SALES,), {"trend": NO_DAYS, "ranking": "这份数据没有名称列。"}),
        ((DAY, REGION), dict.fromkeys(("key_figures", "trend", "ranking"), NO_NUMBERS)),
        ((), {"key_figures": NO_NUMBERS, "table": "这份数据没有列。", "trend": NO_DAYS, "ranking": NO_NUMBERS}),
    ],
)
def test_what_does_not_fit_says_what_is_missing(columns: tuple[Column, ...], lacks: dict[str, str]) -> None:
    found = points(Table(columns, (tuple("华东" for _ in columns),), SLOT))
    assert {key: point.lacks for key, point in found.items() if point.lacks} == lacks


VALUES = {
    Kind.DATE: st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    Kind.TEXT: st.text(max_size=5),
    Kind.NUMBER: st.decimals(Decimal("-1e9"), Decimal("1e9"), places=2),
    Kind.BOOLEAN: st.booleans(),
    Kind.PERCENT: st.floats(-1000, 1000),
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table with up to five columns of any names and kinds, with cells that may be empty."""
    names = draw(st.lists(st.text(min_size=1, max_size=8), max_size=5, unique=True))
    columns = tuple(Column(name, draw(st.sampled_from(list(VALUES)))) for name in names)
    row = st.tuples(*(st.none() | VALUES[column.kind] for column in columns))
    return Table(columns, tuple(draw(st.lists(row, max_size=4))), SLOT)


@examples(tables())
def test_every_point_works_with_the_data_that_it_was_made_of(table: Table) -> None:
    for point in make_starting_points("sales", "销售{{日报}}", table)[0]:
        if point.lacks:
            continue
        shown(point, table)
        for source in (point.title, point.body, point.plain_body, point.figures):
            assert merge_fields.read_parts(source, {"sales": "销售"}) is not None
        for chart in point.charts:
            definition.check_chart(chart, table)
