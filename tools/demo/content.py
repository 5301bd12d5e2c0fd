"""The demo's invented companies with their people, and the reports and BI pages that they see.

A food company sells in four regions and has a second WeCom company for its warehouses. Repeated calls give the same
people; figures.py holds the figures.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from accounts.models import User
from accounts.users.bi_identity import USERNAME
from integrations import bi
from integrations.models import BiConnection, Corp
from notifications.reports.templates import merge_fields
from notifications.reports.templates.merge_fields import (
    write_aggregate,
    write_change,
    write_latest_day,
    write_output,
    write_ranking,
)
from tools.demo.figures import REGIONS, make_overdue_rows, make_sales_rows, make_stock_rows

# Pages of the stand-in BI.
SALES_PAGE, STOCK_PAGE, OVERDUE_PAGE = "sales", "stock", "overdue"
SOURCE = "演示数据：公司、人名与数字均为虚构"
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
    """An invented person. `regions`: the sales regions whose rows the person sees."""

    name: str
    userid: str
    department_ids: list[int]
    position: str = ""
    regions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DemoCompany:
    """An invented company. `departments`: id, name, parent's id; the root is 1. `agentid`: of its only app.
    `home_bi_page`: the BI page that the app opens; empty: our home page."""

    name: str
    corpid: str
    agentid: int
    departments: list[tuple[int, str, int]]
    people: list[DemoPerson] = field(default_factory=list)
    home_bi_page: str = ""


def make_demo_companies() -> list[DemoCompany]:
    """Return two companies, with 200 and 40 people."""
    generator = random.Random(20261124)  # noqa: S311  # invents names, guards nothing
    names = [(surname, given) for surname in SURNAMES for given in GIVEN_NAMES]
    generator.shuffle(names)
    departments = [
        *((1, "云岭食品", 0), (2, "总经理办公室", 1), (3, "销售中心", 1), (4, "华东区", 3), (5, "华南区", 3)),
        *((6, "华北区", 3), (7, "西南区", 3), (8, "数据与财务部", 1)),
    ]
    food = DemoCompany("云岭食品", "ww5e1f0a2b3c4d6e71", 1000002, departments)
    departments = [
        (1, "云岭物流", 0),
        (2, "华东区仓库", 1),
        (3, "华南区仓库", 1),
        (4, "华北区仓库", 1),
        (5, "西南区仓库", 1),
    ]
    page = f"page/{STOCK_PAGE}"
    logistics = DemoCompany("云岭物流", "ww8a7b6c5d4e3f2a10", 1000005, departments, home_bi_page=page)
    for company, count in ((food, 200), (logistics, 40)):
        parents = {parent for _id, _name, parent in company.departments}
        leaves = {id_: name for id_, name, _parent in company.departments if id_ not in parents}
        for number in range(count):
            surname, given = names.pop()
            department_id, department = [*leaves.items()][number % len(leaves)]
            sees_all = department == "总经理办公室"
            company.people.append(
                DemoPerson(
                    surname + given,
                    f"{GIVEN_NAMES[given]}.{SURNAMES[surname]}",
                    [department_id],
                    position="主管" if number < len(leaves) else "",
                    regions=[region for region in REGIONS if sees_all or department.startswith(region)],
                )
            )
    return [food, logistics]


@dataclass(frozen=True)
class DemoReport:
    """A report of one card. `own_column`: limits people to rows of their regions. `chart`: fields of a ReportChart."""

    card: str
    alias: str
    heading: str
    title: str
    body: str
    figures: str = ""
    own_column: str = ""
    units: dict[str, str] = field(default_factory=dict)
    chart: dict[str, str] = field(default_factory=dict)


def _write_figure(alias: str, measure: str, column: str) -> str:
    """Return the template code of a figure of the latest day, as the page of a push inserts it."""
    return write_output(write_aggregate(alias, measure, column, days="latest", day_column="日期"), "thousands")


def _write_change(alias: str, column: str, against: str, measure: str = "sum") -> str:
    return write_output(write_change(alias, column, against=against, day_column="日期", measure=measure))


def _write_title(alias: str, name: str) -> str:
    return f"{name} {merge_fields.write_date(write_latest_day(alias, '日期'), 'M月D日')}"


SALES = DemoReport(
    card="每日销售",
    alias="sales",
    heading="各区域每日销售",
    title=_write_title("sales", "销售日报"),
    body=f"""销售额 {_write_figure("sales", "sum", "销售额")} 元，比前一天 {_write_change("sales", "销售额", "day")}，比上周同日 {_write_change("sales", "销售额", "week")}
订单 {_write_figure("sales", "sum", "订单数")} 单，比前一天 {_write_change("sales", "订单数", "day")}
{write_ranking("sales", "区域", "销售额", count=4, days="latest", day_column="日期")}""",  # noqa: E501  # a template's lines are those of the message
    figures=f"""销售额: {_write_figure("sales", "sum", "销售额")} 元
订单: {_write_figure("sales", "sum", "订单数")} 单""",
    units={"销售额": "元", "订单数": "单"},
    chart={"kind": "line", "title": "近两个月的销售额", "x": "日期", "y": "销售额", "series": "区域"},
)
STOCK = DemoReport(
    card="每日库存",
    alias="stock",
    heading="各仓库存与可售天数",
    title=_write_title("stock", "库存周报"),
    body=f"""**库存** {_write_figure("stock", "sum", "库存箱数")} 箱，比上周同日 {_write_change("stock", "库存箱数", "week")}
最短可售 {_write_figure("stock", "min", "可售天数")} 天
{write_ranking("stock", "仓库", "可售天数", order="bottom", count=3, days="latest", day_column="日期")}""",  # noqa: E501  # see above
    units={"库存箱数": "箱", "可售天数": "天"},
    chart={"kind": "line", "title": "各仓库存", "x": "日期", "y": "库存箱数", "series": "仓库"},
)
OVERDUE = DemoReport(
    card="逾期应收",
    alias="overdue",
    heading="您所负责区域的逾期应收",
    title=_write_title("overdue", "逾期应收提醒"),
    body=f"""逾期金额 {_write_figure("overdue", "sum", "逾期金额")} 元，最长逾期 {_write_figure("overdue", "max", "逾期天数")} 天
{write_ranking("overdue", "客户", "逾期金额", count=3, days="latest", day_column="日期")}每个人只看到自己所负责区域的客户。""",  # noqa: E501  # see above
    figures=f"逾期金额: {_write_figure('overdue', 'sum', '逾期金额')} 元",
    own_column="区域",
    units={"逾期金额": "元", "逾期天数": "天"},
)


# The path of the sandbox's stand-in BI.
BI_PATH = "/guandata"
# Page and id of each report's card in the stand-in BI.
PLACES = {
    SALES.alias: (SALES_PAGE, "sales-daily"),
    STOCK.alias: (STOCK_PAGE, "stock-daily"),
    OVERDUE.alias: (OVERDUE_PAGE, "overdue-daily"),
}
API_USER = "api"


def connect_bi(*, sandbox_address: str, now: datetime) -> BiConnection:
    """Connect the stand-in BI, or update its address. A BI that a person has connected is left as it is."""
    connection = bi.ensure_connection()
    if connection.base_url and not connection.base_url.endswith(BI_PATH):
        return connection
    if not connection.has_key:
        bi.generate_key(now=now)
        connection = bi.ensure_connection()
        connection.api_login, connection.api_password = API_USER, secrets.token_urlsafe(16)
        connection.app_token, connection.is_enabled = secrets.token_urlsafe(16), True
        connection.external_id_source = USERNAME  # the demo has no administrators of single companies
    connection.base_url = f"{sandbox_address}{BI_PATH}"
    bi.save_connection(
        connection=connection,
        changed_fields={"base_url", "is_enabled", "external_id_source", "api_login", "api_password", "app_token"},
    )
    return connection


def make_bi_seed(connection: BiConnection, corps: list[Corp], *, today: date) -> dict[str, Any]:
    """Return the stand-in BI's data: the public key, an account for each person, pages up to the day before `today`."""
    people = User.objects.filter(wecom_accounts__corp__in=corps).order_by("username").distinct()
    public = bi.format_public_keys(connection)
    sales = _make_page("销售总览", SALES, make_sales_rows(today))
    stock = _make_page("库存总览", STOCK, make_stock_rows(today))
    # Pivots of the same figures.
    _add_pivot(sales, {"rows": ["日期"], "columns": ["区域"], "values": ["销售额"]})
    _add_pivot(stock, {"rows": ["仓库", "品类"], "columns": ["日期"], "values": ["库存箱数"]})
    return {
        "provider": connection.provider,
        "public_key": public[0] if public else "",
        "app_token": connection.app_token,
        "users": [
            {"login_id": API_USER, "name": "API", "password": connection.api_password},
            *({"login_id": person.username, "name": person.name, "email": person.email} for person in people),
        ],
        "pages": [sales, stock, _make_page("逾期应收", OVERDUE, make_overdue_rows(today))],
    }


def _add_pivot(page: dict[str, Any], pivot: dict[str, list[str]]) -> None:
    card = page["cards"][0]
    second = {"card_id": f"{card['card_id']}-pivot", "name": f"{card['name']}（透视表）", "pivot": pivot}
    page["cards"].append(card | second)


def _make_page(name: str, report: DemoReport, rows: list[dict[str, Any]]) -> dict[str, Any]:
    page_id, card_id = PLACES[report.alias]
    card = {"card_id": card_id, "name": report.card, "source": SOURCE, "columns": [*rows[0]], "rows": rows}
    return {"page_id": page_id, "name": name, "cards": [card]}
