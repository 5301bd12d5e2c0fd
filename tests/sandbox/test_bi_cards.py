"""The stand-in BI's cards over invented rows: layouts, filters, parameters and pages, as our reader sees them.

Expected values are computed anew from the rows, by neither the stand-in nor the reader.
"""

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import requests

from integrations.clients.errors import UnexpectedResponseError
from integrations.clients.sources.guandata_card import read_card
from integrations.data import Problem, SourceError
from integrations.data.table import Kind, Table
from tests.integrations.clients.sources.place import NOW
from tests.sandbox.test_bi import SEED, client
from tests.sandbox_process import SandboxHandle, start_sandbox

CHANCE = random.Random(20261202)  # noqa: S311  # invents rows, guards nothing
YEARS = [str(year) for year in range(2001, 2018)]
KINDS = ["化石燃料", "核能", "可再生能源"]
REGIONS = ("东岭", "南塘", "西汇", "北桥", "长汀", "白渡")
POWER: list[dict[str, Any]] = [
    {"年份": year, "来源": kind, "净发电量": CHANCE.randint(1_000, 40_000)} for year in YEARS for kind in KINDS
]
HARVEST: list[dict[str, Any]] = [
    {"区域": region, "品种": f"{number}号", "年份": year, "产量": round(CHANCE.uniform(15, 65), 3)}
    for region in REGIONS
    for number in range(1, 11)
    for year in ("1931", "1932")
]
WEATHER: list[dict[str, Any]] = [
    {
        "日期": (date(2012, 1, 1) + timedelta(days=number)).isoformat(),
        "降水": round(max(0.0, CHANCE.gauss(1, 7)), 1),
        "最高气温": round(CHANCE.uniform(0, 36), 1),
        "最低气温": round(CHANCE.uniform(-8, 18), 1),
        "风速": CHANCE.choice((2.1, 4.5, 4.7, 6.0)),
    }
    for number in range(1461)
]
CARDS: list[dict[str, Any]] = [
    {"card_id": "weather", "name": "逐日气象", "columns": [*WEATHER[0]], "rows": WEATHER,
     "aliases": {"降水": "降水量"},
     "parameters": [{"name": "起始日", "column": "日期", "filter_type": "GE"},
                    {"name": "雨天", "column": "降水", "filter_type": "GT", "values": []}]},
    {"card_id": "power", "name": "发电量透视表", "columns": [*POWER[0]], "rows": POWER,
     "parameters": [{"name": "年份", "column": "年份", "values": ["2017"]}],
     "pivot": {"rows": ["年份"], "columns": ["来源"], "values": ["净发电量"]}},
    {"card_id": "harvest", "name": "产量透视表", "columns": [*HARVEST[0]], "rows": HARVEST,
     "aliases": {"产量": "产量（蒲式耳/英亩）"},
     "pivot": {"rows": ["区域", "品种"], "columns": ["年份"], "values": ["产量"]}},
    {"card_id": "sum", "name": "合计", "columns": [*HARVEST[0]], "rows": HARVEST,
     "pivot": {"rows": [], "columns": ["年份", "区域"], "values": ["产量", "产量"]}},
    {"card_id": "gaps", "name": "缺值", "columns": ["n", "text"],
     "rows": [{"n": 1, "text": "甲一"}, {"n": None, "text": None}, {"n": 2, "text": "乙二"}]},
    {"card_id": "broken", "name": "坏", "columns": ["n"], "rows": [{"n": 1}],
     "pivot": {"rows": ["x"], "columns": [], "values": ["n"]}},
]  # fmt: skip


@pytest.fixture(scope="module")
def bi() -> Iterator[SandboxHandle]:
    pages = [{"page_id": "p1", "name": "虚构数据", "cards": CARDS}]
    with start_sandbox(seed={"companies": [], "bi": {**SEED, "pages": pages}}) as handle:
        yield handle


@pytest.fixture
def read(bi: SandboxHandle) -> Callable[..., Table]:
    def act(card_id: str, rows_at_most: int = 10_000, **values: Any) -> Table:
        return read_card(client(bi).card_data(card_id, **values), rows_at_most=rows_at_most, seconds=20, now=NOW)

    return act


def only(name: str, kind: str, *values: Any) -> dict[str, Any]:
    return {"name": name, "filterType": kind, "filterValue": list(values)}


def posted(bi: SandboxHandle, card_id: str, query: dict[str, Any]) -> Any:
    """Return the answer to a call that our client would not make."""
    api = f"{bi.base_url}/guandata/public-api"
    login = {"domain": "guanbi", "loginId": "lilei", "password": "cGFzcyB3b3JkIOWvhg=="}
    token = requests.post(f"{api}/sign-in", json=login, timeout=60).json()["response"]["token"]
    answer = requests.post(f"{api}/card/{card_id}/data", json=query, headers={"X-Auth-Token": token}, timeout=60)
    return answer.json()["response"]


def test_a_pivot_s_header_is_merged_and_its_lines_have_their_dimensions_in_front(
    bi: SandboxHandle, read: Callable[..., Table]
) -> None:
    part = next(client(bi).card_data("power", parameters=[{"name": "年份", "value": []}]))
    table = read("power", parameters=[{"name": "年份", "value": []}])  # of all years

    assert [cell["colSpan"] for cell in part["column"]["values"][0]] == [1, 1, 1]
    assert table.names == ("年份", *(f"{kind} / 净发电量" for kind in KINDS))
    expected = {(row["年份"], row["来源"]): row["净发电量"] for row in POWER}
    assert [row[0] for row in table.rows] == YEARS
    assert [list(row[1:]) for row in table.rows] == [[expected[year, kind] for kind in KINDS] for year in YEARS]


def test_merged_cells_of_two_dimensions_have_their_value_in_every_row(
    bi: SandboxHandle, read: Callable[..., Table]
) -> None:
    part = next(client(bi).card_data("harvest"))
    table = read("harvest")

    assert part["data"][1][0] == {"t_idx": "0:0"}
    assert "v" in part["data"][1][1]
    assert table.names == ("区域", "品种", "1931 / 产量（蒲式耳/英亩）", "1932 / 产量（蒲式耳/英亩）")
    found = {(row[0], row[1], year): row[place] for row in table.rows for place, year in ((2, "1931"), (3, "1932"))}
    assert found == {(row["区域"], row["品种"], row["年份"]): row["产量"] for row in HARVEST}


def test_levels_span_the_columns_below_them(bi: SandboxHandle) -> None:
    header = next(client(bi).card_data("sum"))["column"]["values"]

    regions = len({row["区域"] for row in HARVEST})
    assert [(one["title"], one["colSpan"]) for one in header[0]] == [("1931", 2 * regions), ("1932", 2 * regions)]
    assert [len(level) for level in header] == [2, 2 * regions, 4 * regions]


def test_a_chart_has_one_title_a_column_and_long_cards_are_read_to_the_end(read: Callable[..., Table]) -> None:
    drawn, whole, cut = read("harvest", view="GRAPH"), read("weather"), read("weather", rows_at_most=250)

    assert drawn.names == ("区域", "品种", "年份", "产量（蒲式耳/英亩）")
    assert [row[3] for row in drawn.rows] == [row["产量"] for row in HARVEST]
    assert len(whole.rows) == len(WEATHER) == 1461
    assert [(one.name, one.kind) for one in whole.columns][:2] == [("日期", Kind.DATE), ("降水量", Kind.NUMBER)]
    assert (len(cut.rows), cut.is_cut) == (250, True)
    assert cut.rows == whole.rows[:250]


def test_merged_cells_begin_anew_on_each_page(bi: SandboxHandle, read: Callable[..., Table]) -> None:
    """Read 60 rows in pages of 7: the first row of each page repeats its values."""
    lines: list[Any] = []
    for offset in range(0, 60, 7):
        query = {"view": "GRID", "offset": offset, "limit": 7, "filters": [], "dynamicParams": []}
        part = posted(bi, "harvest", query)["chartMain"]
        assert ("v" in part["data"][0][0], part["offset"], part["limit"]) == (True, offset, 7)
        assert part["hasMoreData"] is (offset + 7 < 60)
        lines += part["data"]

    assert len(lines) == len(read("harvest").rows) == 60


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (only("降水", "GT", 10), lambda row: row["降水"] > 10),
        (only("降水", "GE", "10.9"), lambda row: row["降水"] >= 10.9),
        (only("降水", "LT", 0.5), lambda row: row["降水"] < 0.5),
        (only("最低气温", "LE", -5), lambda row: row["最低气温"] <= -5),
        (only("日期", "BT", "2014-12-01", "2014-12-31"), lambda row: row["日期"][:7] == "2014-12"),
        (only("日期", "EQ", "2012-02-29"), lambda row: row["日期"] == "2012-02-29"),
        (only("风速", "NE", 4.7), lambda row: row["风速"] != 4.7),
        (only("日期", "IN", "2012-01-01", "2013-01-01", "x"), lambda row: row["日期"] in ("2012-01-01", "2013-01-01")),
        (only("风速", "NI", 4.7, 4.5), lambda row: row["风速"] not in (4.7, 4.5)),
        (only("日期", "STARTSWITH", "2013-07"), lambda row: row["日期"].startswith("2013-07")),
        (only("日期", "ENDSWITH", "-29"), lambda row: row["日期"].endswith("-29")),
        (only("日期", "CONTAINS", "-02-"), lambda row: "-02-" in row["日期"]),
        (only("降水", "IS_NULL"), lambda row: False),
        (only("降水", "NOT_NULL"), lambda row: True),
    ],
    ids=lambda value: value["filterType"] if isinstance(value, dict) else "",
)
def test_each_filter_leaves_the_rows_that_fulfil_it_and_of_several_all_must_hold(
    read: Callable[..., Table], condition: dict[str, Any], holds: Callable[[Any], bool]
) -> None:
    table = read("weather", filters=[condition, only("日期", "STARTSWITH", "201")])

    assert [row[0] and str(row[0]) for row in table.rows] == [row["日期"] for row in WEATHER if holds(row)]


@pytest.mark.parametrize(("kind", "rows"), [("IS_NULL", 1), ("NOT_NULL", 2), ("NE", 1), ("NI", 1)])
def test_an_empty_cell_fulfils_no_comparison(read: Callable[..., Table], kind: str, rows: int) -> None:
    values = [1] if kind in ("NE", "NI") else []

    assert len(read("gaps", filters=[only("n", kind, *values)]).rows) == rows


def test_filters_come_before_the_sums_of_a_pivot_which_keeps_its_dimensions(read: Callable[..., Table]) -> None:
    table = read("harvest", filters=[only("区域", "EQ", "白渡"), only("年份", "EQ", "1932")])
    empty = read("harvest", filters=[only("区域", "EQ", "无此区域")])

    assert table.names[2:] == ("1932 / 产量（蒲式耳/英亩）",)
    assert {row[0] for row in table.rows} == {"白渡"}
    assert (empty.names, empty.rows) == (("区域", "品种"), ())


def test_a_parameter_has_a_value_of_its_own_until_another_is_sent(read: Callable[..., Table]) -> None:
    """Ignore a parameter without a value, and combine others."""
    usual, sent = read("power"), read("power", parameters=[{"name": "年份", "value": "2001"}])
    both = read("weather", parameters=[{"name": "起始日", "value": "2015-12-01"}, {"name": "雨天", "value": 5}])

    assert [row[0] for table in (usual, sent) for row in table.rows] == ["2017", "2001"]
    wet = [row["日期"] for row in WEATHER if row["日期"] >= "2015-12-01" and row["降水"] > 5]
    assert [str(row[0]) for row in both.rows] == wet


@pytest.mark.parametrize(
    ("card_id", "values"),
    [
        ("weather", {"filters": [only("降水量", "GT", 1)]}),  # the alias
        ("weather", {"filters": [only("降水", "LIKE", 1)]}),
        ("weather", {"filters": [only("降水", "BT", 1)]}),
        ("weather", {"filters": [only("降水", "IS_NULL", 1)]}),
        ("weather", {"filters": [only("降水", "EQ", None)]}),
        ("weather", {"parameters": [{"name": "无", "value": 1}]}),
        ("weather", {"parameters": ["x"]}),
        ("broken", {}),
    ],
)
def test_what_it_does_not_understand_is_refused_and_said_by_our_reader(
    bi: SandboxHandle, read: Callable[..., Table], card_id: str, values: dict[str, Any]
) -> None:
    with pytest.raises(SourceError) as found:
        read(card_id, **values)

    assert (found.value.problem, found.value.facts) == (Problem.REFUSED, {"code": 400})
    with pytest.raises(UnexpectedResponseError):
        list(client(bi).card_data(card_id, **values))
