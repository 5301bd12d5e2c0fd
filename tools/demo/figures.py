"""The demo's reports over public data sets that the package vega_datasets brings along."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from notifications.reports.templates.merge_fields import (
    aggregate,
    change,
    date,
    latest_day,
    ranking,
    row_count,
    shown,
)

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


def _of_day(alias: str, day: str, measure: str, column: str) -> str:
    """A figure of the latest day, as the page of a push inserts it."""
    return shown(aggregate(alias, measure, column, days="latest", day_column=day), "thousands")


WEATHER = DemoReport(
    card="西雅图逐日气象",
    alias="weather",
    heading="逐日记录",
    title=f"西雅图天气简报 {date(latest_day('weather', '日期'), 'YYYY年M月D日')}",
    body=f"""最高气温 {_of_day("weather", "日期", "max", "最高气温")} ℃，最低气温 {_of_day("weather", "日期", "min", "最低气温")} ℃
最高气温比前一天 {shown(change("weather", "最高气温", against="day", day_column="日期", measure="max"))}，比上年同日 {shown(change("weather", "最高气温", against="year", day_column="日期", measure="max"))}
降水 {_of_day("weather", "日期", "sum", "降水")} 毫米，最大风速 {_of_day("weather", "日期", "max", "风速")} 米/秒
全部 {shown(row_count("weather"), "thousands")} 天：平均最高气温 {shown(aggregate("weather", "avg", "最高气温"), "thousands")} ℃，共降水 {shown(aggregate("weather", "sum", "降水"), "thousands")} 毫米

数据来源：{WEATHER_SOURCE}""",  # noqa: E501  # a template's lines are those of the message
    figures=f"""最高气温: {_of_day("weather", "日期", "max", "最高气温")} ℃
降水: {_of_day("weather", "日期", "sum", "降水")} 毫米""",
    units={"降水": "毫米", "最高气温": "℃", "最低气温": "℃", "风速": "米/秒"},
    kinds={"日期": "date"},
    chart={"kind": "line", "title": "月平均气温", "x": "日期", "y": "最高气温\n最低气温", "aggregate": "average"},
)
POWER = DemoReport(
    card="艾奥瓦州年度净发电量",
    alias="power",
    heading="各类来源的年度净发电量",
    title=f"艾奥瓦州发电结构（{date(latest_day('power', '截至'), 'YYYY年')}）",
    body=f"""**总发电量** {_of_day("power", "截至", "sum", "净发电量")} 千兆瓦时，比上年 {shown(change("power", "净发电量", against="year", day_column="截至"))}
{ranking("power", "来源", "净发电量", count=3, days="latest", day_column="截至")}
数据来源：{POWER_SOURCE}""",  # noqa: E501  # see above
    units={"净发电量": "千兆瓦时"},
    kinds={"年份": "text", "截至": "date"},
    chart={"kind": "line", "title": "各类来源的年度净发电量", "x": "年份", "y": "净发电量", "series": "来源"},
)
HARVEST = DemoReport(
    card="各区域大麦产量",
    alias="harvest",
    heading="您所负责区域的产量",
    title=f"区域产量（{shown(row_count('harvest'), 'thousands')} 条记录）",
    body=f"""平均产量 {shown(aggregate("harvest", "avg", "产量"), "thousands")} 蒲式耳/英亩。产量最高的品种：
{ranking("harvest", "品种", "产量", count=3)}
每个人只看到自己所负责区域的数据。数据来源：{HARVEST_SOURCE}""",
    figures=f"平均产量: {shown(aggregate('harvest', 'avg', '产量'), 'thousands')}",
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
    """Each year, with its last day, and source with 净发电量."""
    return [
        {
            "年份": row["year"][:4],
            "截至": f"{row['year'][:4]}-12-31",
            "来源": POWER_SOURCES[row["source"]],
            "净发电量": int(row["net_generation"]),
        }
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
