"""Conditions over tables and relative dates: examples that people would write, and properties of all tables."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from integrations.data.table_builder import ColumnChoices, build_table
from notifications.alerts import conditions, verdicts
from notifications.alerts.conditions import (
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Filters,
    check_columns,
    parse_filters,
    read_conditions,
    write_conditions,
    write_filters,
)
from notifications.alerts.verdicts import ROWS_MARKED, Join, evaluate_conditions
from notifications.models import AlertRule, WorkdayCalendar
from tests.notifications.alerts.rules import parse

AS_OF = datetime(2026, 11, 24, 1, tzinfo=UTC)
COLUMNS = (Column("城市", Kind.TEXT), Column("销售额", Kind.NUMBER, "元"), Column("日期", Kind.DATE))
SALES = Table(
    COLUMNS,
    (
        ("上海", 100, date(2026, 11, 22)),
        ("上海", Decimal("20.5"), date(2026, 11, 23)),
        ("北京", None, date(2026, 11, 23)),
        ("北京", -5.0, date(2026, 11, 24)),
    ),
    AS_OF,
)
EMPTY = Table(COLUMNS, (), AS_OF)


def of(aggregate: str, comparison: str, *values: str, column: str = "销售额", **filters: str) -> Condition:
    chosen = tuple((name, (value,)) for name, value in filters.items())
    return Condition(Aggregate(aggregate), column, Comparison(comparison), values, chosen)


def holds(condition: Condition, table: Table = SALES, memory: Any = MappingProxyType({})) -> bool | None:
    return evaluate_conditions([condition], Join.ALL, table, memory).holds


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (of("any", "lt", "0"), True),
        (of("all", "lt", "0"), False),
        (of("sum", "eq", "115.5"), True),
        (of("sum", "eq", "120.5", 城市="上海"), True),
        (of("avg", "between", "38", "39"), True),
        (of("avg", "between", "39", "38"), True),
        (of("avg", "outside", "38", "39"), False),
        (of("min", "le", "-5"), True),
        (of("max", "ne", "100"), False),
        (of("count", "eq", "3"), True),
        (of("count", "eq", "4", column=""), True),
        (of("count", "eq", "0", 城市="广州"), True),
        (of("any", "null"), True),
        (of("all", "null"), False),
        (of("sum", "null", 城市="广州"), True),
        (of("sum", "lt", "1", 城市="广州"), None),
        (of("all", "lt", "1", 城市="广州"), None),
        (of("any", "lt", "1", 城市="广州"), False),
        (of("any", "lt", "1", 日期="2026-11-23", 城市="北京"), None),
        (of("all", "lt", "1", 日期="2026-11-23", 城市="北京"), None),
        (of("any", "eq", "北京", column="城市"), True),
        (of("any", "ne", "北京", column="城市"), True),
        (of("any", "gt", "2026-11-23", column="日期"), True),
        (of("any", "lt", "2026-11-22", column="日期"), False),
        (of("any", "gt", "2026-11-23 23:59", column="日期"), True),
        (of("all", "between", "2026-11-22", "2026-11-24", column="日期"), True),
        (of("any", "lt", "2026-11-3", column="日期"), False),
        (of("all", "ge", "-5"), True),
        (of("count", "eq", "1", 销售额="20.50"), True),
        (of("count", "eq", "2", column="", 城市=" 上海"), True),
        (of("any", "gt", "1,000"), False),
    ],
)
def test_says_what_a_person_would(condition: Condition, expected: bool | None) -> None:
    assert holds(condition) is expected


NOTES = Table(
    (Column("备注", Kind.TEXT), Column("占比", Kind.PERCENT, "%")),
    (("好", 12.5), (" ok ", Decimal("6.5")), ("-", None), ("", 20), (None, 11), ("无", None)),
    AS_OF,
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (of("count", "eq", "2", column="备注"), True),
        (of("count", "eq", "4", column="占比"), True),
        (of("all", "gt", "6", column="占比"), True),
        (of("any", "eq", "　ＯＫ", column="备注"), True),
        (of("all", "ne", "张三", column="备注"), True),
        (of("any", "ne", "OK", column="备注", 备注="ok"), False),
        (of("any", "eq", "无", column="备注"), True),
        (of("any", "null", column="备注", 占比="20"), True),
        (of("all", "null", column="占比", 备注="-"), True),
        (of("avg", "eq", "12.5%", column="占比"), True),
        (of("sum", "gt", "0", column="占比", 备注="无"), None),
        (of("any", "gt", "0", column="占比", 备注="无"), None),
        (of("count", "eq", "1", column="", 占比="12.50%"), True),
    ],
)
def test_what_is_unknown_is_left_out_and_texts_are_compared_folded(condition: Condition, expected: bool | None) -> None:
    assert holds(condition, NOTES) is expected


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        (20, 15, "change 占比 <= -5", True),
        (20, 15, "change 占比 <= -5.1", False),  # 25 %, but 5 points
        (0, 3, "change 占比 >= 3", True),
        (-2, -5, "change 销售额 <= -150", True),
        (-2, -5, "change 销售额 < -150", False),
        (-2, 3, "change 销售额 >= 250", True),
        (0, 3, "change 销售额 > 0", False),
    ],
)
def test_a_change_is_by_the_size_of_the_old_value_and_of_percentages_in_points(
    old: int, new: int, line: str, expected: bool
) -> None:
    columns = (Column("占比", Kind.PERCENT, "%"), Column("销售额", Kind.NUMBER))
    first = evaluate_conditions(parse(line), Join.ALL, Table(columns, ((old, old),), AS_OF))

    assert holds(parse(line)[0], Table(columns, ((new, new),), AS_OF), first.memory) is expected


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (of("sum", "gt", "1", column="利润"), "no_such_column"),
        (of("sum", "gt", "1", 省="x"), "no_such_column"),
        (of("sum", "gt", "1", column="城市"), "no_number_column"),
        (of("any", "gt", "1", column="城市"), "no_order"),
        (of("sum", "gt", "many"), "no_number"),
        (of("any", "gt", "NaN"), "no_number_or_date"),
        (of("any", "lt", "2026-11-33", column="日期"), "no_number_or_date"),
        (of("any", "eq", "2026-11-23T00:00", column="日期"), "no_times"),
        (of("any", "between", "2026-11-03", "later", column="日期"), "no_number_or_date"),
        (of("any", "eq", "soon", column="日期"), "no_date"),
        (of("any", "gt", "2026-11-03"), "no_number"),
        (of("sum", "gt", "1,5"), "no_number"),
        (of("sum", "gt", "1,0000"), "no_number"),
        (of("count", "null"), "never_empty"),
        (of("change", "null"), "never_empty"),
        (of("sum", "gt", "1e999999999"), "no_number"),
        (of("sum", "gt"), "values"),
        (of("sum", "between", "1"), "values"),
        (of("sum", "null", "1"), "values"),
        (of("any", "changed"), "changed_of_rows"),
        (of("sum", "gt", "1", column=""), "no_column"),
    ],
)
def test_what_cannot_be_answered_is_no_answer(condition: Condition, reason: str) -> None:
    with pytest.raises(ConditionError) as caught:
        holds(condition)

    assert caught.value.reason == reason


@pytest.mark.parametrize("condition", [of("change", "le", "-50"), of("sum", "changed")])
def test_a_change_is_against_the_check_before_also_over_a_gap(condition: Condition) -> None:
    other = SALES.replace_rows([("上海", 10, None)])
    first = evaluate_conditions([condition], Join.ALL, SALES)
    gap = evaluate_conditions([condition], Join.ALL, EMPTY, first.memory)
    changed = evaluate_conditions([condition], Join.ALL, other, gap.memory)

    assert (first.holds, gap.holds, changed.holds) == (False, None, True)
    assert holds(condition, SALES, first.memory) is False
    assert holds(condition, other, changed.memory) is False


UNKNOWN, HOLDS, HOLDS_NOT = of("sum", "gt", "0", 城市="广州"), of("sum", "gt", "0"), of("sum", "lt", "0")


@pytest.mark.parametrize(
    ("found", "every", "some"),
    [
        ([UNKNOWN, HOLDS], None, True),
        ([UNKNOWN, HOLDS_NOT], False, None),
        ([UNKNOWN], None, None),
        ([HOLDS, HOLDS_NOT], False, True),
    ],
)
def test_what_is_unknown_is_joined_as_in_sql(found: list[Condition], every: bool | None, some: bool | None) -> None:
    assert evaluate_conditions(found, Join.ALL, SALES).holds is every
    assert evaluate_conditions(found, Join.ANY, SALES).holds is some


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (of("any", "lt", "0"), True),
        (of("any", "gt", "1000"), None),
        (of("all", "lt", "1000"), None),
        (of("sum", "gt", "0"), None),
        (of("sum", "null", 城市="广州"), None),
        (of("count", "eq", "0", 城市="广州"), None),
        (of("sum", "changed"), None),
    ],
)
def test_of_a_table_that_was_cut_only_a_row_that_is_there_is_known(condition: Condition, expected: bool | None) -> None:
    verdict = evaluate_conditions([condition], Join.ALL, replace(SALES, is_cut=True))

    assert verdict.holds is expected
    assert verdict.memory == {}


values = st.one_of(
    st.none(),
    st.integers(-(10**12), 10**12),
    st.floats(-1e15, 1e15),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9),
)
tables = st.lists(st.tuples(st.sampled_from(["上海", "北京", ""]), values), max_size=25).map(
    lambda rows: Table(COLUMNS[:2], tuple(rows), AS_OF)
)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6).map(str)


@given(table=tables, low=numbers, high=numbers, aggregate=st.sampled_from(["sum", "avg", "min", "max", "count"]))
def test_between_and_outside_are_opposites_wherever_there_is_a_value(
    table: Table, low: str, high: str, aggregate: str
) -> None:
    inside, outside = (
        evaluate_conditions([of(aggregate, name, low, high)], Join.ALL, table) for name in ("between", "outside")
    )
    assert inside.results[0].value == outside.results[0].value
    is_known = inside.results[0].value is not None
    assert {inside.holds, outside.holds} == ({True, False} if is_known else {None})


@given(table=tables, value=numbers, comparison=st.sampled_from(["gt", "ge", "lt", "le", "eq", "ne"]))
def test_all_implies_any_and_marked_rows_are_rows(table: Table, value: str, comparison: str) -> None:
    every, some = (evaluate_conditions([of(name, comparison, value)], Join.ALL, table) for name in ("all", "any"))
    assert some.holds or not every.holds
    assert bool(some.holds) is bool(some.rows)
    assert all(0 <= row < len(table.rows) for row in some.rows)


@given(table=tables, value=numbers)
def test_parts_of_a_split_add_up(table: Table, value: str) -> None:
    parts = verdicts.split_for_rule(AlertRule(split_column="城市"), table)

    assert sum(len(part.rows) for part in parts.values()) == len(table.rows)
    by_part = [evaluate_conditions([of("any", "gt", value)], Join.ALL, part).holds for part in parts.values()]
    assert any(by_part) is bool(evaluate_conditions([of("any", "gt", value)], Join.ALL, table).holds)
    for key, part in parts.items():
        filtered = of("sum", "gt", value, 城市=key)
        assert holds(filtered, table) is holds(of("sum", "gt", value), part)


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
)


@given(document=documents)
def test_rows_that_nobody_wrote_are_refused_not_crashed_on(document: Any) -> None:
    try:
        found = read_conditions(document)
    except ConditionError:
        return
    assert read_conditions(write_conditions(found)) == found


words = st.text(alphabet='ab|;；=\\" 华', min_size=1, max_size=8).map(str.strip).filter(bool)


@given(filters=st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3).map(tuple)), max_size=3).map(tuple))
def test_filters_come_back_as_they_were_whatever_signs_are_in_them(filters: Filters) -> None:
    assert parse_filters(write_filters(filters)) == filters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"城市=A\|B|C; 类=x=y", (("城市", ("A|B", "C")), ("类", ("x=y",)))),
        (r"a\=b=c\;d；路径=C:\dir", (("a=b", ("c;d",)), ("路径", (r"C:\dir",)))),
    ],
)
def test_a_backslash_makes_a_sign_part_of_a_value(text: str, expected: Filters) -> None:
    assert parse_filters(text) == expected


@pytest.mark.parametrize(
    ("line", "chinese", "english"),
    [
        ("any 销售额 > 150", "至少一行 销售额 大于 150", "at least one row with 销售额 greater than 150"),
        ("all 销售额 > 150", "每一行 销售额 大于 150", "every row with 销售额 greater than 150"),
        ("sum 销售额 < 9 where 城市=上海", "销售额 合计 小于 9（城市：上海）", "销售额 sum less than 9 (城市: 上海)"),
        ("count = 0", "行数 等于 0", "count equal to 0"),
        ("sum 销售额 < 1150000.5", "销售额 合计 小于 1,150,000.5", "销售额 sum less than 1,150,000.5"),
        ("any 门店 = 20260101", "至少一行 门店 等于 20260101", "at least one row with 门店 equal to 20260101"),
        (
            r"count > 1 where 城市=a\|b|c\;d; 线\=路=1",
            "行数 大于 1（城市：a|b、c;d; 线=路：1）",
            "count greater than 1 (城市: a|b, c;d; 线=路: 1)",
        ),
        (
            "any 销售额 between 1 and 2",
            "至少一行 销售额 介于 1 和 2 之间",
            "at least one row with 销售额 between 1 and 2",
        ),
    ],
)
def test_are_described_in_words(line: str, chinese: str, english: str) -> None:
    [condition] = parse(line)
    for language, words in (("zh-hans", chinese), ("en", english)):
        with override(language):
            assert conditions.describe_condition(condition) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [("any 销售额 > 0", "有 250 行 销售额 大于 0"), ("any 销售额 > 1000000", "没有一行 销售额 大于 1,000,000")],
)
def test_what_was_found_is_said_in_words(line: str, words: str) -> None:
    table = SALES.replace_rows([("上海", number, None) for number in range(1, ROWS_MARKED + 51)])
    verdict = evaluate_conditions(parse(line), Join.ALL, table)
    assert len(verdict.rows) in {0, ROWS_MARKED}
    with override("zh-hans"):
        assert conditions.describe_results(AlertRule(conditions=write_conditions(parse(line))), verdict) == words


TODAY = date(2026, 11, 24)
CHINA = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 11, 24, 9, tzinfo=CHINA)
DAYS = [date(2026, 10, 1), date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 18), date(2026, 11, 23), TODAY]


def table(kind: Kind) -> Table:
    """Return sales of 1, 2, 4, 8, 16 and 32 on consecutive days, at 23:30 if they are of kind DATETIME."""
    evening = time(23, 30)
    days = DAYS if kind is Kind.DATE else [datetime.combine(day, evening, CHINA) for day in DAYS]
    columns = (Column("日期", kind), Column("销售额", Kind.NUMBER), Column("说明", Kind.TEXT))
    rows = tuple((day, 2**number, "昨天") for number, day in enumerate(days))
    return Table(columns, rows, datetime(2026, 11, 24, 8, tzinfo=UTC))


def verdict(line: str, data: Table, at: datetime = AT) -> verdicts.Verdict:
    data = verdicts.localize_moments(data, at.tzinfo or UTC)
    fixed = [verdicts.resolve_dates(one, data, at) for one in parse(line)]
    return verdicts.evaluate_conditions(fixed, Join.ALL, data)


def sales_of(rows: str, kind: Kind, at: datetime = AT) -> Any:
    return verdict(f"sum 销售额 > 0 where {rows}", table(kind), at).results[0].value


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("name", "sales"),
    [
        *[("今天", 32), ("昨天", 16), ("最近7天", 24), ("近7天", 24), ("本月", 60), ("上月", 3), ("上一工作日", 16)],
        *[("yesterday", 16), ("Last 7 days", 24), ("this_week", 48), ("2026年10月", 3), ("20261123", 16)],
        *[("2026/11/1", 4), ("2026年11月23日", 16)],
    ],
)
def test_narrow_the_rows_of_a_date_column(kind: Kind, name: str, sales: int) -> None:
    assert sales_of(f"日期={name}", kind) == sales
    if name == "上一工作日":
        WorkdayCalendar.objects.create(days="2026-11-19 至 2026-11-23 休")
        assert sales_of(f"日期={name}", kind) == 8  # of the 18th


@pytest.mark.parametrize("kind", [Kind.DATE, Kind.DATETIME])
@pytest.mark.parametrize(
    ("comparison", "rows"),
    [
        ("= 上月", (0, 1)),
        ("!= 上月", (2, 3, 4, 5)),
        ("< 昨天", (0, 1, 2, 3)),
        ("<= 昨天", (0, 1, 2, 3, 4)),
        ("> 昨天", (5,)),
        (">= 昨天", (4, 5)),
        ("between 上月 and 昨天", (0, 1, 2, 3, 4)),
        ("between 2026-10-31 and 昨天", (1, 2, 3, 4)),
        ("> 2026年10月", (2, 3, 4, 5)),
        ("= 2026-11-23", (4,)),
        ("!= 20261123", (0, 1, 2, 3, 5)),
        ("between 2026-11-23 and 2026-11-24", (4, 5)),
    ],
)
def test_are_compared_with_a_date_column(kind: Kind, comparison: str, rows: tuple[int, ...]) -> None:
    assert verdict(f"any 日期 {comparison}", table(kind)).rows == rows


def test_in_a_text_column_they_are_words() -> None:
    assert sales_of("说明=昨天", Kind.DATE) == 63
    assert verdict("any 说明 = 昨天", table(Kind.DATE)).rows == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("any 日期 = 昨日吧", "no_date"),
        ("sum 销售额 > 0 where 日期=华东", "no_date"),
        ("any 日期 > 150", "no_date"),
        ("any 日期 = 2026-11-24 09:30", "no_times"),
        ("sum 销售额 > 0 where 日期=2026-11-24T09:30", "no_times"),
    ],
)
def test_what_no_day_can_be_is_refused_on_a_column_of_days(line: str, reason: str) -> None:
    [condition] = parse(line)
    with pytest.raises(ConditionError, match=reason):
        check_columns(condition, table(Kind.DATE))
    if reason == "no_times":
        check_columns(condition, table(Kind.DATETIME))


def test_the_day_is_that_of_the_slot_by_the_clock_of_the_rule() -> None:
    midnight = datetime(2026, 11, 23, 16, tzinfo=UTC)
    for at, sales in ((midnight - timedelta(minutes=5), 16), (midnight, 32)):
        assert sales_of("日期=今天", Kind.DATE, at.astimezone(CHINA)) == sales
    # 23:30 in China is 16:30 in Berlin, and 05:30 of the next day in Auckland
    for zone, day in (("Europe/Berlin", "昨天"), ("Pacific/Auckland", "今天")):
        assert sales_of(f"日期={day}", Kind.DATETIME, datetime(2026, 11, 24, 1, tzinfo=ZoneInfo(zone))) == 16


@pytest.mark.parametrize(
    ("yesterday", "today"),
    [
        ("2026/11/23", "2026/11/24"),
        (20261123, 20261124),
        ("2026年11月23日", "2026年11月24日"),
        ("2026-11-22T23:00:00-02:00", "2026-11-24T09:00:00+08:00"),
    ],
)
def test_a_day_that_is_there_is_found_however_it_is_written(yesterday: Any, today: Any) -> None:
    rows = [(today, 1), (yesterday, 2), (yesterday, "-")]
    data = build_table(["日期", "销售额"], rows, fetched_at=AT, choices=ColumnChoices(zone=CHINA))

    assert verdict("count = 0 where 日期=昨天", data).holds is False
    assert verdict("sum 销售额 = 2 where 日期=2026-11-23", data).holds is True
    assert verdict("sum 销售额 rose 0 amount day where 日期=昨天", data).results[0].problem is not None
    assert verdict("sum 销售额 fell 0 amount day", data).results[0].before == 2


def test_a_day_at_the_end_of_the_calendar_is_a_day() -> None:
    until = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    data = Table((Column("有效期", Kind.DATETIME), Column("销售额", Kind.NUMBER)), ((until, 1),), AT)

    assert verdict("count = 1 where 有效期=9999-12-31", data).holds is True
    assert verdict("any 有效期 > 今天", data).holds is True
    with pytest.raises(ConditionError, match="no_earlier"):
        verdict("count fell 1 amount day where 有效期=0001-01-01", data)


@given(
    table=tables,
    value=numbers,
    aggregate=st.sampled_from(["any", "all", "sum", "avg", "min", "max", "count"]),
    comparison=st.sampled_from(["gt", "le", "eq", "ne"]),
    at=st.integers(0, 25),
)
def test_a_row_of_unknown_changes_no_answer(table: Table, value: str, aggregate: str, comparison: str, at: int) -> None:
    rows = [*table.rows[:at], ("上海", None), *table.rows[at:]]
    condition, more = of(aggregate, comparison, value), table.replace_rows(rows)

    before, after = (evaluate_conditions([condition], Join.ALL, one).results[0] for one in (table, more))

    assert before.value == after.value
    assert before.holds is after.holds or (aggregate == "any" and not table.rows)
