"""Texts of the demo's reports, computed from public data sets that the package vega_datasets brings along."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

WEATHER_SOURCE = (
    "美国国家海洋和大气管理局（NOAA），西雅图逐日气象记录；公有领域数据，取自 vega_datasets 的 seattle-weather。"
)
POWER_SOURCE = (
    "美国能源信息署（EIA），艾奥瓦州年度净发电量，单位千兆瓦时；公有领域数据，取自 vega_datasets 的 iowa-electricity。"
)
POWER_SOURCES = {"Fossil Fuels": "化石燃料", "Nuclear Energy": "核能", "Renewables": "可再生能源"}


@dataclass(frozen=True)
class DemoText:
    title: str
    body: str


def weather_report() -> DemoText:
    """The last month of the series against the month before and the same month a year before."""
    days_by_month: dict[str, list[dict[str, str]]] = {}
    for row in weather_rows():
        days_by_month.setdefault(row["date"][:7], []).append(row)
    months = sorted(days_by_month)
    last, before, year_ago = (_month(days_by_month[months[position]]) for position in (-1, -2, -13))
    year, month = months[-1].split("/")
    lines = [
        f"降水 {last.rain_mm:.1f} 毫米，环比 {_percent(last.rain_mm / before.rain_mm - 1)}"
        f"，同比 {_percent(last.rain_mm / year_ago.rain_mm - 1)}",
        f"雨天 {last.wet_days} 天（上月 {before.wet_days} 天，去年同月 {year_ago.wet_days} 天）",
        f"平均最高气温 {last.high_celsius:.1f} ℃，比上月 {last.high_celsius - before.high_celsius:+.1f} ℃"
        f"，比去年同月 {last.high_celsius - year_ago.high_celsius:+.1f} ℃",
        f"平均最低气温 {last.low_celsius:.1f} ℃，比上月 {last.low_celsius - before.low_celsius:+.1f} ℃"
        f"，比去年同月 {last.low_celsius - year_ago.low_celsius:+.1f} ℃",
        f"最大日均风速 {last.wind:.1f} 米/秒",
        "",
        f"数据来源：{WEATHER_SOURCE}",
    ]
    return DemoText(f"西雅图天气简报（{year} 年 {int(month)} 月）", "\n".join(lines))


@dataclass(frozen=True)
class _Month:
    rain_mm: float
    wet_days: int
    high_celsius: float
    low_celsius: float
    wind: float


def _month(days: list[dict[str, str]]) -> _Month:
    rain = [float(day["precipitation"]) for day in days]
    return _Month(
        rain_mm=sum(rain),
        wet_days=sum(1 for amount in rain if amount > 0),
        high_celsius=sum(float(day["temp_max"]) for day in days) / len(days),
        low_celsius=sum(float(day["temp_min"]) for day in days) / len(days),
        wind=max(float(day["wind"]) for day in days),
    )


def power_report() -> DemoText:
    """The mix of the last year against the year before."""
    generation: dict[str, dict[str, float]] = {}
    for row in power_rows():
        generation.setdefault(row["year"][:4], {})[row["source"]] = float(row["net_generation"])
    (year_before, before), (year, last) = sorted(generation.items())[-2:]
    total, total_before = sum(last.values()), sum(before.values())
    lines = [f"**总发电量** {total:,.0f}，比 {year_before} 年 {_percent(total / total_before - 1)}", ""]
    for source, name in POWER_SOURCES.items():
        share, share_before = last[source] / total, before[source] / total_before
        points = (share - share_before) * 100
        lines.append(f"> {name} {last[source]:,.0f}，占 {share:.1%}（{points:+.1f} 个百分点）")
    lines += ["", f"数据来源：{POWER_SOURCE}"]
    return DemoText(f"艾奥瓦州发电结构（{year} 年）", "\n".join(lines))


def weather_rows() -> list[dict[str, str]]:
    """Each day with its date, precipitation, temp_max, temp_min, wind and weather."""
    return _rows("seattle-weather.csv")


def power_rows() -> list[dict[str, str]]:
    """Each year and source with its net_generation."""
    return _rows("iowa-electricity.csv")


def _rows(name: str) -> list[dict[str, str]]:
    # Why not import vega_datasets? It would load pandas, for two files that csv reads.
    path = resources.files("vega_datasets") / "_data" / name
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _percent(share: float) -> str:
    return f"{share:+.1%}"
