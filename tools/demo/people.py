"""Two invented companies and their people. Every name is made up; the same call gives the same people."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

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
    """`departments`: id, name, parent's id; the root is 1. `agentid` of its one app. `home_bi_page`: where its app
    leads in the BI; empty: home."""

    name: str
    corpid: str
    agentid: int
    app_name: str
    departments: list[tuple[int, str, int]]
    people: list[DemoPerson] = field(default_factory=list)
    home_bi_page: str = ""


def demo_companies() -> list[DemoCompany]:
    """120 people in one company, 80 in the other."""
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
        (1, "青禾数据科技", 0),
        (2, "总经理办公室", 1),
        (3, "产品研发中心", 1),
        (4, "平台研发部", 3),
        (5, "数据产品部", 3),
        (6, "设计部", 3),
        (7, "营销中心", 1),
        (8, "华东销售部", 7),
        (9, "华南销售部", 7),
        (10, "市场部", 7),
        (11, "财务部", 1),
    ]
    return DemoCompany("青禾数据科技", "ww5e1f0a2b3c4d6e71", 1000002, "观远 BI", departments)


def _factory() -> DemoCompany:
    departments = [
        (1, "云岭制造", 0),
        (2, "生产中心", 1),
        (3, "一车间", 2),
        (4, "二车间", 2),
        (5, "质量部", 1),
        (6, "采购部", 1),
        (7, "仓储物流部", 1),
    ]
    corpid, page = "ww8a7b6c5d4e3f2a10", "page/power"
    return DemoCompany("云岭制造", corpid, 1000005, "观远 BI", departments, home_bi_page=page)
