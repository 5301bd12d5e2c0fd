"""Tables to draw, and readers of the drawn SVG."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from integrations.data.table import Column, Kind, Table
from notifications.charts.definition import Chart, ChartKind, Sort
from notifications.charts.vega import build_spec

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
FIRST = date(2026, 11, 1)
SVG = "{http://www.w3.org/2000/svg}"
CITIES = ["上海", "北京", "广州", "深圳", "杭州", "成都", "重庆", "武汉", "西安", "苏州", "南京", "天津"]
LINES = ["家电", "服装", "食品"]

DAYS = Table(
    (Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"), Column("成本", Kind.NUMBER, "元")),
    tuple((FIRST + timedelta(days=day), 1_200_000 + 40_000 * day, 800_000 + 10_000 * day) for day in range(24)),
    AS_OF,
)
SALES = Table(
    (Column("城市", Kind.TEXT), Column("产品线", Kind.TEXT), Column("销售额", Kind.NUMBER, "元")),
    tuple(
        (city, line, 1_000_000 * (i + 1) + 100_000 * j) for i, city in enumerate(CITIES) for j, line in enumerate(LINES)
    ),
    AS_OF,
)
DAYS_BY_LINE = Table(
    (Column("日期", Kind.DATE), Column("产品线", Kind.TEXT), Column("销售额", Kind.NUMBER, "元")),
    tuple(
        (FIRST + timedelta(days=day), line, 100_000 * (j + 1) + 5_000 * day)
        for day in range(10)
        for j, line in enumerate(LINES)
    ),
    AS_OF,
)

CHARTS: dict[str, tuple[Chart, Table]] = {
    "line": (Chart(ChartKind.LINE, "日期", ("销售额", "成本"), title="每日销售额与成本"), DAYS),
    "area": (Chart(ChartKind.AREA, "日期", ("销售额",), series="产品线", title="各产品线"), DAYS_BY_LINE),
    "bar": (Chart(ChartKind.BAR, "城市", ("销售额",), sort=Sort.LARGEST, top=5, title="各城市"), SALES),
    "bar of days": (Chart(ChartKind.BAR, "日期", ("销售额",), title="每日"), DAYS),
    "bar side by side": (Chart(ChartKind.BAR, "城市", ("销售额",), series="产品线", top=4, title="各城市"), SALES),
    "stacked": (Chart(ChartKind.STACKED, "城市", ("销售额",), series="产品线", top=5, title="各城市"), SALES),
    "stacked by days": (Chart(ChartKind.STACKED, "日期", ("销售额",), series="产品线", title="每日"), DAYS_BY_LINE),
    "pie": (Chart(ChartKind.PIE, "产品线", ("销售额",), title="占比"), SALES),
    "donut": (Chart(ChartKind.DONUT, "城市", ("销售额",), top=5, title="占比"), SALES),
    "table": (Chart(ChartKind.TABLE, "城市", ("产品线", "销售额"), sort=Sort.LARGEST, title="明细"), SALES),
    "number": (Chart(ChartKind.NUMBER, "日期", ("销售额",), title="今日销售额"), DAYS),
}


def make_spec(chart: Chart, table: Table, **options: Any) -> dict[str, Any]:
    return build_spec(chart, table, **options)


def parsed(svg: str) -> Element:
    found: Element = ElementTree.fromstring(svg)
    return found


def marks(svg: str) -> Counter[str]:
    """Count the marks by name. Vega calls its groups mark-line, mark-rect and so on."""
    found: Counter[str] = Counter()
    for group in parsed(svg).iter(f"{SVG}g"):
        for name in group.get("class", "").split():
            if name.startswith("mark-") and "role-mark" in group.get("class", ""):
                found[name.removeprefix("mark-")] += len([child for child in group if child.tag != f"{SVG}g"])
    return found


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]
