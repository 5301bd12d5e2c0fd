"""The demo's reports over public data sets that the package vega_datasets brings along."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

WEATHER_SOURCE = (
    "美国国家海洋和大气管理局（NOAA），西雅图逐日气象记录；公有领域数据，取自 vega_datasets 的 seattle-weather。"
)
POWER_SOURCE = (
    "美国能源信息署（EIA），艾奥瓦州年度净发电量，单位千兆瓦时；公有领域数据，取自 vega_datasets 的 iowa-electricity。"
)
HARVEST_SOURCE = "明尼苏达州六个区域 1931 与 1932 年的大麦产量（Immer 等，1934 年）；取自 vega_datasets 的 barley。"
POWER_SOURCES = {"Fossil Fuels": "化石燃料", "Nuclear Energy": "核能", "Renewables": "可再生能源"}
REGIONS = {
    **{"University Farm": "大学农场", "Waseca": "沃西卡", "Morris": "莫里斯"},
    **{"Crookston": "克鲁克斯顿", "Grand Rapids": "大急流城", "Duluth": "德卢斯"},
}


@dataclass(frozen=True)
class DemoReport:
    """A report of one card. `own_column`: whose values are the regions of people. `chart`: fields of a ReportChart."""

    card: str
    alias: str
    heading: str
    title: str
    body: str
    figures: str = ""
    own_column: str = ""
    units: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    chart: dict[str, str] = field(default_factory=dict)


WEATHER = DemoReport(
    card="西雅图逐日气象",
    alias="weather",
    heading="逐日记录",
    title="西雅图天气简报（{{ weather.latest()|date('YYYY 年 M 月') }}）",
    body=f"""{{% set month = month_of(weather.latest()) %}}
{{% set now = weather.within(month) %}}
{{% set before = weather.within(month_of(month.start - 1)) %}}
{{% set year_ago = weather.within(month_of(month.start - 365)) %}}
降水 {{{{ now.sum('降水')|round(1) }}}} 毫米，环比 {{{{ change(now.sum('降水'), before.sum('降水')) }}}}，同比 {{{{ change(now.sum('降水'), year_ago.sum('降水')) }}}}
雨天 {{{{ now.where('降水', '>', 0).count }}}} 天（上月 {{{{ before.where('降水', '>', 0).count }}}} 天，去年同月 {{{{ year_ago.where('降水', '>', 0).count }}}} 天）
平均最高气温 {{{{ now.avg('最高气温')|round(1) }}}} ℃，比上月 {{{{ (now.avg('最高气温') - before.avg('最高气温'))|signed }}}} ℃
平均最低气温 {{{{ now.avg('最低气温')|round(1) }}}} ℃，比上月 {{{{ (now.avg('最低气温') - before.avg('最低气温'))|signed }}}} ℃
最大日均风速 {{{{ now.max('风速')|round(1) }}}} 米/秒

数据来源：{WEATHER_SOURCE}""",  # noqa: E501  # a template's lines are those of the message
    figures="""{% set month = month_of(weather.latest()) %}
降水: {{ weather.within(month).sum('降水')|round(1) }} 毫米
平均最高气温: {{ weather.within(month).avg('最高气温')|round(1) }} ℃""",
    units={"降水": "毫米", "最高气温": "℃", "最低气温": "℃", "风速": "米/秒"},
    kinds={"日期": "date"},
    chart={"kind": "line", "title": "月平均气温", "x": "日期", "y": "最高气温\n最低气温", "aggregate": "average"},
)
POWER = DemoReport(
    card="艾奥瓦州年度净发电量",
    alias="power",
    heading="各类来源的年度净发电量",
    title="艾奥瓦州发电结构（{{ power.max('年份') }} 年）",
    body=f"""{{% set year = power.max('年份') %}}
{{% set last = power.where('年份', year) %}}
{{% set before = power.where('年份', power.where('年份', '!=', year).max('年份')) %}}
{{% set total = last.sum('净发电量') %}}
**总发电量** {{{{ total|千分位 }}}}，比上年 {{{{ change(total, before.sum('净发电量')) }}}}
{{% for row in last.rows %}}
> {{{{ row.来源 }}}} {{{{ row.净发电量|千分位 }}}}，占 {{{{ (row.净发电量 / total)|百分比 }}}}（{{{{ change(row.净发电量, before.where('来源', row.来源).sum('净发电量')) }}}}）
{{% endfor %}}

数据来源：{POWER_SOURCE}""",  # noqa: E501  # see above
    units={"净发电量": "千兆瓦时"},
    kinds={"年份": "text"},
    chart={"kind": "line", "title": "各类来源的年度净发电量", "x": "年份", "y": "净发电量", "series": "来源"},
)
HARVEST = DemoReport(
    card="各区域大麦产量",
    alias="harvest",
    heading="您所负责区域的产量",
    title="区域产量（{{ harvest.distinct('区域') }} 个区域）",
    body=f"""平均产量 {{{{ harvest.avg('产量')|round(1) }}}} 蒲式耳/英亩，共 {{{{ harvest.count }}}} 条记录。
{{% for row in harvest.top(3, '产量').rows %}}
{{{{ loop.index }}}}. {{{{ row.区域 }}}} · {{{{ row.品种 }}}}（{{{{ row.年份 }}}} 年）{{{{ row.产量|round(1) }}}}
{{% endfor %}}

每个人只看到自己所负责区域的数据。数据来源：{HARVEST_SOURCE}""",
    figures="平均产量: {{ harvest.avg('产量')|round(1) }}",
    own_column="区域",
    units={"产量": "蒲式耳/英亩"},
    kinds={"年份": "text"},
)
REPORTS = (WEATHER, POWER, HARVEST)


def weather_rows() -> list[dict[str, Any]]:
    """Each day with 日期, 降水, 最高气温, 最低气温 and 风速."""
    names = {"precipitation": "降水", "temp_max": "最高气温", "temp_min": "最低气温", "wind": "风速"}
    return [
        {"日期": row["date"].replace("/", "-"), **{name: float(row[key]) for key, name in names.items()}}
        for row in _csv_rows("seattle-weather.csv")
    ]


def power_rows() -> list[dict[str, Any]]:
    """Each year and source with 净发电量."""
    return [
        {"年份": row["year"][:4], "来源": POWER_SOURCES[row["source"]], "净发电量": int(row["net_generation"])}
        for row in _csv_rows("iowa-electricity.csv")
    ]


def harvest_rows() -> list[dict[str, Any]]:
    """Each region, variety and year with 产量."""
    with _opened("barley.json") as file:
        rows = json.load(file)
    return [
        {"区域": REGIONS[row["site"]], "品种": row["variety"], "年份": str(row["year"]), "产量": row["yield"]}
        for row in rows
    ]


def _csv_rows(name: str) -> list[dict[str, str]]:
    with _opened(name) as file:
        return list(csv.DictReader(file))


def _opened(name: str) -> Any:
    # Without importing vega_datasets, which would load pandas, for files that csv and json read.
    return (resources.files("vega_datasets") / "_data" / name).open(encoding="utf-8")
