"""The demo's two invented companies with their people, and the figures and BI pages that they see.

All names are invented; repeated calls give the same people. The figures are real public data.
"""

from __future__ import annotations

import csv
import json
import random
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from typing import Any

from accounts.models import User
from accounts.users.bi_identity import USERNAME
from integrations import bi
from integrations.models import BiConnection, Corp
from notifications.reports.templates.merge_fields import aggregate, change, date, latest_day, output, ranking, row_count

SURNAMES = {
    **{"李": "Li", "王": "Wang", "张": "Zhang", "刘": "Liu", "陈": "Chen", "杨": "Yang", "黄": "Huang", "赵": "Zhao"},
    **{"周": "Zhou", "吴": "Wu", "徐": "Xu", "孙": "Sun", "马": "Ma", "朱": "Zhu", "胡": "Hu", "林": "Lin", "何": "He"},
}
GIVEN_NAMES = {
    **{"雨晴": "YuQing", "子轩": "ZiXuan", "思远": "SiYuan", "佳宁": "JiaNing", "浩然": "HaoRan", "若溪": "RuoXi"},
    **{"明哲": "MingZhe", "梦洁": "MengJie", "志强": "ZhiQiang", "晓雯": "XiaoWen", "建国": "JianGuo", "欣怡": "XinYi"},
    **{"天宇": "TianYu", "雅婷": "YaTing", "俊杰": "JunJie", "诗涵": "ShiHan", "文博": "WenBo", "静怡": "JingYi"},
}


@dataclass(frozen=True)
class DemoPerson:
    name: str
    userid: str
    department_ids: list[int]
    position: str = ""


@dataclass(frozen=True)
class DemoCompany:
    """An invented company. `departments`: id, name, parent's id; the root is 1. `agentid`: of its only app.
    `home_bi_page`: the BI page to which the app leads; empty: home."""

    name: str
    corpid: str
    agentid: int
    app_name: str
    departments: list[tuple[int, str, int]]
    people: list[DemoPerson] = field(default_factory=list)
    home_bi_page: str = ""


def demo_companies() -> list[DemoCompany]:
    """Return two companies, with 120 and 80 people."""
    numbers = random.Random(20261124)  # noqa: S311  # invents names, guards nothing
    names = [(surname, given) for surname in SURNAMES for given in GIVEN_NAMES]
    numbers.shuffle(names)
    companies = [_data_company(), _factory()]
    for company, count in zip(companies, (120, 80), strict=True):
        leaves = [id_ for id_, _name, _parent in company.departments if not _has_children(company, id_)]
        for number in range(count):
            surname, given = names.pop()
            department_ids = [leaves[number % len(leaves)]]
            position = "主管" if number < len(leaves) else ""
            userid = f"{GIVEN_NAMES[given]}.{SURNAMES[surname]}"
            company.people.append(DemoPerson(surname + given, userid, department_ids, position))
    return companies


def _has_children(company: DemoCompany, department_id: int) -> bool:
    return any(parent == department_id for _id, _name, parent in company.departments)


def _data_company() -> DemoCompany:
    departments = [
        *((1, "青禾数据科技", 0), (2, "总经理办公室", 1), (3, "产品研发中心", 1), (4, "平台研发部", 3)),
        *((5, "数据产品部", 3), (6, "设计部", 3), (7, "营销中心", 1), (8, "华东销售部", 7), (9, "华南销售部", 7)),
        *((10, "市场部", 7), (11, "财务部", 1)),
    ]
    return DemoCompany("青禾数据科技", "ww5e1f0a2b3c4d6e71", 1000002, "观远 BI", departments)


def _factory() -> DemoCompany:
    departments = [
        *((1, "云岭制造", 0), (2, "生产中心", 1), (3, "一车间", 2), (4, "二车间", 2)),
        *((5, "质量部", 1), (6, "采购部", 1), (7, "仓储物流部", 1)),
    ]
    corpid, page = "ww8a7b6c5d4e3f2a10", "page/power"
    return DemoCompany("云岭制造", corpid, 1000005, "观远 BI", departments, home_bi_page=page)


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
    """A report of one card. `own_column`: the column with people's regions. `chart`: fields of a ReportChart."""

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
    """Return a figure of the latest day, as the page of a push inserts it."""
    return output(aggregate(alias, measure, column, days="latest", day_column=day), "thousands")


WEATHER = DemoReport(
    card="西雅图逐日气象",
    alias="weather",
    heading="逐日记录",
    title=f"西雅图天气简报 {date(latest_day('weather', '日期'), 'YYYY年M月D日')}",
    body=f"""最高气温 {_of_day("weather", "日期", "max", "最高气温")} ℃，最低气温 {_of_day("weather", "日期", "min", "最低气温")} ℃
最高气温比前一天 {output(change("weather", "最高气温", against="day", day_column="日期", measure="max"))}，比上年同日 {output(change("weather", "最高气温", against="year", day_column="日期", measure="max"))}
降水 {_of_day("weather", "日期", "sum", "降水")} 毫米，最大风速 {_of_day("weather", "日期", "max", "风速")} 米/秒
全部 {output(row_count("weather"), "thousands")} 天：平均最高气温 {output(aggregate("weather", "avg", "最高气温"), "thousands")} ℃，共降水 {output(aggregate("weather", "sum", "降水"), "thousands")} 毫米

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
    body=f"""**总发电量** {_of_day("power", "截至", "sum", "净发电量")} 千兆瓦时，比上年 {output(change("power", "净发电量", against="year", day_column="截至"))}
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
    title=f"区域产量（{output(row_count('harvest'), 'thousands')} 条记录）",
    body=f"""平均产量 {output(aggregate("harvest", "avg", "产量"), "thousands")} 蒲式耳/英亩。产量最高的品种：
{ranking("harvest", "品种", "产量", count=3)}
每个人只看到自己所负责区域的数据。数据来源：{HARVEST_SOURCE}""",
    figures=f"平均产量: {output(aggregate('harvest', 'avg', '产量'), 'thousands')}",
    own_column="区域",
    units={"产量": "蒲式耳/英亩"},
    kinds={"年份": "text"},
)


def weather_rows() -> list[dict[str, Any]]:
    """Return a row for each day with 日期, 降水, 最高气温, 最低气温 and 风速."""
    names = {"precipitation": "降水", "temp_max": "最高气温", "temp_min": "最低气温", "wind": "风速"}
    return [
        {"日期": row["date"].replace("/", "-"), **{name: float(row[key]) for key, name in names.items()}}
        for row in _csv_rows("seattle-weather.csv")
    ]


def power_rows() -> list[dict[str, Any]]:
    """Return a row for each year and source with the year's last day and 净发电量."""
    rows = [(one["year"][:4], one["source"], int(one["net_generation"])) for one in _csv_rows("iowa-electricity.csv")]
    return [
        {"年份": year, "截至": f"{year}-12-31", "来源": POWER_SOURCES[source], "净发电量": count}
        for year, source, count in rows
    ]


def harvest_rows() -> list[dict[str, Any]]:
    """Return a row for each region, variety and year with 产量."""
    with _open_data("barley.json") as file:
        return [
            {"区域": REGIONS[row["site"]], "品种": row["variety"], "年份": str(row["year"]), "产量": row["yield"]}
            for row in json.load(file)
        ]


def _csv_rows(name: str) -> list[dict[str, str]]:
    with _open_data(name) as file:
        return list(csv.DictReader(file))


def _open_data(name: str) -> Any:
    # Do not import vega_datasets, which would load pandas.
    return (resources.files("vega_datasets") / "_data" / name).open(encoding="utf-8")


# The path of the sandbox's stand-in BI.
PATH = "/guandata"
WEATHER_PAGE, POWER_PAGE, HARVEST_PAGE = "weather", "power", "harvest"
# Page and id of each report's card in the stand-in BI.
PLACES = {
    WEATHER.alias: (WEATHER_PAGE, "weather-daily"),
    POWER.alias: (POWER_PAGE, "power-yearly"),
    HARVEST.alias: (HARVEST_PAGE, "harvest-regions"),
}
API_USER = "api"


def connect(*, sandbox_address: str, now: datetime) -> BiConnection:
    """Connect the stand-in BI. A BI that a person has connected stays; the sandbox's address is updated."""
    connection = bi.ensure_connection()
    if connection.base_url and not connection.base_url.endswith(PATH):
        return connection
    if not connection.has_key:
        bi.generate_key(now=now)
        connection = bi.ensure_connection()
        connection.api_login, connection.api_password = API_USER, secrets.token_urlsafe(16)
        connection.app_token, connection.is_enabled = secrets.token_urlsafe(16), True
        connection.external_id_source = USERNAME  # the demo has no administrators of single companies
    connection.base_url = f"{sandbox_address}{PATH}"
    bi.save_connection(
        connection=connection,
        changed_fields={"base_url", "is_enabled", "external_id_source", "api_login", "api_password", "app_token"},
    )
    return connection


def sandbox_seed(connection: BiConnection, corps: list[Corp]) -> dict[str, Any]:
    """Return the stand-in BI's data: the public key, an account for each person, pages."""
    people = User.objects.filter(wecom_accounts__corp__in=corps).order_by("username").distinct()
    public = bi.format_public_keys(connection)
    return {
        "provider": connection.provider,
        "public_key": public[0] if public else "",
        "app_token": connection.app_token,
        "users": [
            {"login_id": API_USER, "name": "API", "password": connection.api_password},
            *({"login_id": person.username, "name": person.name, "email": person.email} for person in people),
        ],
        "pages": _pages(),
    }


def _pages() -> list[dict[str, Any]]:
    """Return a page with a card for each report; two of them also have a pivot of the same figures."""
    weather = _page("天气总览", WEATHER, WEATHER_SOURCE, weather_rows())
    power = _page("发电结构", POWER, POWER_SOURCE, power_rows())
    harvest = _page("区域产量", HARVEST, HARVEST_SOURCE, harvest_rows())
    _add_pivot(power, {"rows": ["年份"], "columns": ["来源"], "values": ["净发电量"]})
    _add_pivot(harvest, {"rows": ["区域", "品种"], "columns": ["年份"], "values": ["产量"]})
    return [weather, power, harvest]


def _add_pivot(page: dict[str, Any], pivot: dict[str, list[str]]) -> None:
    card = page["cards"][0]
    second = {"card_id": f"{card['card_id']}-pivot", "name": f"{card['name']}（透视表）", "pivot": pivot}
    page["cards"].append(card | second)


def _page(name: str, report: DemoReport, source: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    page_id, card_id = PLACES[report.alias]
    card = {"card_id": card_id, "name": report.card, "source": source, "columns": [*rows[0]], "rows": rows}
    return {"page_id": page_id, "name": name, "cards": [card]}
