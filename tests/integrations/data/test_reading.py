"""Reading of values and kinds of columns: a table of examples, and what one odd cell must not change."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.data.figures import (
    fold_text,
    is_unknown,
    read_day,
    read_moment,
    read_number,
)
from integrations.data.table import Column, Kind, Misfit, Month, Table
from integrations.data.table_builder import ColumnChoices, build_table

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 12, 1, 1, 0, tzinfo=UTC)


def read(values: list[Any], displays: list[Any] | None = None, *, kind: str = "", unit: str = "") -> Table:
    choices = ColumnChoices({"x": kind} if kind else {}, {"x": unit} if unit else {}, zone=SHANGHAI)
    shown = [[one] for one in displays] if displays is not None else ()
    return build_table(["x"], [[one] for one in values], fetched_at=NOW, choices=choices, displays=shown)


def column_of(table: Table) -> tuple[Column, list[Any]]:
    return table.columns[0], [row[0] for row in table.rows]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1,204", 1204, ""),
        ("１２", 12, ""),  # full width
        ("1204.50", Decimal("1204.50"), ""),
        ("1.2e3", 1200, ""),
        ("+3", 3, ""),
        ("(3.0)", -3, ""),
        ("12.5%", Decimal("12.5"), "%"),
        ("12.5％", Decimal("12.5"), "%"),  # full width
        ("(3.0%)", -3, "%"),
        ("↑3.0%", 3, "%"),
        ("↓3.0%", -3, "%"),
        ("1,204 元", 1204, "元"),
        ("￥1,204", 1204, "元"),  # full width
        ("-¥5", -5, "元"),
        ("1.2万", 12000, ""),
        ("3亿", 300_000_000, ""),
        ("1.2万元", 12000, "元"),
        ("−2.1", Decimal("-2.1"), ""),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, value: Any, unit: str) -> None:
    number = read_number(text)

    assert number is not None
    assert (number.value, number.unit, number.is_code) == (value, unit, False)


@pytest.mark.parametrize("text", ["", "-", "1,20", "1.2.3", "(3", "abc", "3-5", "1 2"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["007", "0571", "1234567890123456", "12E3"])
def test_codes_are_seen(text: str) -> None:
    number = read_number(text)

    assert number is not None
    assert number.is_code


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "-", "—", "--", "N/A", "NaN", "null", "无", "∞", float("inf"), float("nan"), Decimal("NaN")],
)
def test_unknown_values(value: Any) -> None:
    assert is_unknown(value)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-23", date(2026, 11, 23)),
        ("2026/11/23", date(2026, 11, 23)),
        ("2026/1/3", date(2026, 1, 3)),
        ("2026.11.23", date(2026, 11, 23)),
        ("20261123", date(2026, 11, 23)),
        ("2026年11月23日", date(2026, 11, 23)),
        ("2026-11", Month(2026, 11, 1)),
        ("2026年11月", Month(2026, 11, 1)),
        ("2026-02-30", None),
        ("2026-11/23", None),
        ("12345678", None),
    ],
)
def test_a_day_is_read_in_the_usual_ways(text: str, day: date | None) -> None:
    found = read_day(text)

    assert (found, str(found)) == (day, str(day))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23 09:30", datetime(2026, 11, 23, 9, 30, tzinfo=SHANGHAI)),
        ("2026/11/23 9:30:05", datetime(2026, 11, 23, 9, 30, 5, tzinfo=SHANGHAI)),
        ("2026年11月23日 09:30", datetime(2026, 11, 23, 9, 30, tzinfo=SHANGHAI)),
        ("2026-11-23T09:30:00Z", datetime(2026, 11, 23, 17, 30, tzinfo=SHANGHAI)),
        ("2026-11-23T09:30:00+08:00", datetime(2026, 11, 23, 9, 30, tzinfo=SHANGHAI)),
        ("9999-12-31 23:59:59+00:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=SHANGHAI)),
    ],
)
def test_a_moment_is_read_in_the_zone_of_the_card(text: str, moment: datetime) -> None:
    found = read_moment(text, SHANGHAI)

    assert found == moment
    assert found.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("odd", ["-", "0", "N/A", "∞", "％", "(3.0%)", "↑3.0%", ""])  # full width
def test_one_cell_does_not_change_the_scale_of_a_percent_column(odd: str) -> None:
    raw = {"0": 0, "(3.0%)": -0.03, "↑3.0%": 0.03}.get(odd)

    column, values = column_of(read([0.125, 0.07, raw, 0.01], ["12.5%", "7.0%", odd, "1.0%"]))

    assert (column.kind, column.unit, column.scale, column.decimals) == (Kind.PERCENT, "%", 100, 1)
    assert values == [12.5, 7, None if raw is None else raw * 100, 1]


@pytest.mark.parametrize(
    ("raws", "displays", "column", "values"),
    [
        ([0.29], ["29%"], Column("x", Kind.PERCENT, "%", 0, 100), [29]),
        ([90, 80], ["90%", "80%"], Column("x", Kind.PERCENT, "%", 0, 1), [90, 80]),
        (["0.125", "-"], ["12.5%", "-"], Column("x", Kind.PERCENT, "%", 1, 100), [12.5, None]),
        ([0, 0], ["0%", "0%"], Column("x", Kind.PERCENT, "%", 0, 100), [0, 0]),
        ([1204.5], ["1,204.50 元"], Column("x", Kind.NUMBER, "元", 2), [1204.5]),
        ([12000], ["1.2万"], Column("x", Kind.NUMBER), [12000]),
        ([1204], ["1204"], Column("x", Kind.NUMBER, "", 0), [1204]),
        # Raw numbers of two scales: the displayed ones are right.
        ([0.1, 0.2, 30, 40], ["10%", "20%", "30%", "40%"], Column("x", Kind.PERCENT, "%", 0, 1), [10, 20, 30, 40]),
    ],
)
def test_what_is_displayed_says_what_the_column_is(
    raws: list[Any], displays: list[str], column: Column, values: list[Any]
) -> None:
    assert column_of(read(raws, displays)) == (column, values)


def test_a_cell_that_contradicts_the_scale_of_its_column_is_odd() -> None:
    table = read([0.1, 0.2, 30, 0.4], ["10%", "20%", "30%", "40%"])

    assert column_of(table) == (Column("x", Kind.PERCENT, "%", 0, 100), [10, 20, None, 40])
    assert table.misfits == (Misfit("x", 1, ("30%",)),)


@pytest.mark.parametrize(
    ("values", "kind", "read_values"),
    [
        (["1,204", "-", "１２"], Kind.NUMBER, [1204, None, 12]),  # full width
        (["12.5%", "0", "-"], Kind.PERCENT, [Decimal("12.5"), 0, None]),
        (["2026/11/23", "", "20261124"], Kind.DATE, [date(2026, 11, 23), None, date(2026, 11, 24)]),
        ([20261123, 20261124], Kind.DATE, [date(2026, 11, 23), date(2026, 11, 24)]),
        ([20261123, 20269999], Kind.NUMBER, [20261123, 20269999]),
        (["2026年11月", "2026年12月"], Kind.DATE, [Month(2026, 11, 1), Month(2026, 12, 1)]),
        (
            ["2026-11-23T01:00:00Z", "2026-11-23 09:00"],
            Kind.DATETIME,
            [datetime(2026, 11, 23, 9, tzinfo=SHANGHAI)] * 2,
        ),
        (
            [datetime(2026, 11, 23, 9), datetime(2026, 11, 23, 1, tzinfo=UTC)],  # noqa: DTZ001  # mixed zones
            Kind.DATETIME,
            [datetime(2026, 11, 23, 9, tzinfo=SHANGHAI)] * 2,
        ),
        (["007", "12", "13"], Kind.TEXT, ["007", "12", "13"]),
        (["3楼", "4楼"], Kind.TEXT, ["3楼", "4楼"]),
        ([" 华东 ", "-", ""], Kind.TEXT, ["华东", "-", None]),
        ([None, None], Kind.TEXT, [None, None]),
        ([True, None], Kind.BOOLEAN, [True, None]),
    ],
)
def test_what_all_known_values_agree_on(values: list[Any], kind: Kind, read_values: list[Any]) -> None:
    column, found = column_of(read(values))

    assert (column.kind, found) == (kind, read_values)
    assert [type(one) for one in found] == [type(one) for one in read_values]


@pytest.mark.parametrize(
    ("kind", "values", "expected", "read_values"),
    [
        ("number", ["007", "x", "1"], Kind.NUMBER, [7, None, 1]),
        ("percent", [12.5, "3%"], Kind.PERCENT, [12.5, 3]),
        ("ratio", [0.125, "3%", "-"], Kind.PERCENT, [12.5, 3, None]),
        ("date", [46349, "2026-11-24"], Kind.DATE, [date(2026, 11, 23), date(2026, 11, 24)]),
        ("datetime", ["1764550800", "1764550800000"], Kind.DATETIME, [datetime(2025, 12, 1, 9, tzinfo=SHANGHAI)] * 2),
        ("no-kind", [1], Kind.NUMBER, [1]),
        ("datetime", [1764550800, 1764550800000], Kind.DATETIME, [datetime(2025, 12, 1, 9, tzinfo=SHANGHAI)] * 2),
        ("boolean", ["是", 0], Kind.BOOLEAN, [True, False]),
        ("text", [12, True], Kind.TEXT, ["12", "true"]),
        ("number", ["a", "b", "1"], Kind.TEXT, ["a", "b", "1"]),
    ],
)
def test_the_administrators_choice_comes_first(
    kind: str, values: list[Any], expected: Kind, read_values: list[Any]
) -> None:
    column, found = column_of(read(values, kind=kind))

    assert (column.kind, found) == (expected, read_values)


def test_a_unit_of_percent_that_was_chosen_makes_a_column_of_percentages() -> None:
    assert read([12.5, 3], unit="%").columns == (Column("x", Kind.PERCENT, "%"),)


@pytest.mark.parametrize("values", [["2025", "2026"], [2025, 2026, None], [2025, 2026, 2024, "合计"]])
def test_years_are_texts(values: list[Any]) -> None:
    table = build_table(["年份"], [[value] for value in values], fetched_at=NOW)

    assert table.columns[0].kind is Kind.TEXT
    assert table.list_values("年份")[:2] == ["2025", "2026"]


def test_numbers_under_a_name_of_years_that_are_none_stay_numbers() -> None:
    table = build_table(["年度预算"], [[2025], [2026], [1204]], fetched_at=NOW)

    assert (table.columns[0].kind, table.list_values("年度预算")) == (Kind.NUMBER, [2025, 2026, 1204])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("工号", ["10086", "10087"]),
        ("货号", ["101", "102", "A03"]),
        ("手机", ["13800138000", "+86 139-0013-9000"]),
        ("邮编", ["518000", "100000"]),
        ("批次号", ["2026-1", "2026-2"]),
        ("版本", ["1.2", "1.10"]),
        ("order_id", ["12", "13"]),
    ],
)
def test_texts_that_name_things_are_no_numbers_and_no_days(name: str, values: list[str]) -> None:
    table = build_table([name], [[value] for value in values], fetched_at=NOW)

    assert (table.columns[0].kind, table.list_values(name)) == (Kind.TEXT, values)


@pytest.mark.parametrize(("name", "value"), [("工号", 10086), ("手机", "1,204"), ("paid", "12"), ("手机销售额", "12")])
def test_numbers_stay_numbers_under_names_that_look_like_those_of_codes(name: str, value: Any) -> None:
    assert build_table([name], [[value]], fetched_at=NOW).columns[0].kind is Kind.NUMBER


@pytest.mark.parametrize("odd", [0, 99991231, None])
@pytest.mark.parametrize("as_type", [int, float, Decimal])
def test_one_cell_does_not_make_numbers_of_days(odd: int | None, as_type: type) -> None:
    column, found = column_of(read([as_type(20261123), as_type(20261124), as_type(20261125), odd]))

    assert (column.kind, found) == (Kind.DATE, [date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25), None])


@pytest.mark.parametrize("odd", ["-", "0", "x", "007", "1" * 16, "1e5", "12.5%", "3 元", "2026-11-23", "合计", None])
@pytest.mark.parametrize(
    "values",
    [
        [f"{number},204" for number in range(1, 41)],
        [f"{number} 元" for number in range(40)],
        [f"{number}.5%" for number in range(40)],
        [f"2026-11-{day:02}" for day in range(1, 29)],
        [20261101 + day for day in range(28)],
        [number + 0.5 for number in range(40)],
        list(range(40)),
        [True, False] * 20,
    ],
)
def test_one_cell_changes_neither_the_kind_nor_the_unit_of_a_column(values: list[Any], odd: str | None) -> None:
    column, _found = column_of(read(values))
    others, found = column_of(read([*values, odd]))

    assert (others.kind, others.unit, found[:-1]) == (column.kind, column.unit, column_of(read(values))[1])


def test_numbers_of_many_digits_are_read_exactly() -> None:
    column, found = column_of(read(["-123456789012345678901234567890"], kind="number"))

    assert (column.kind, found) == (Kind.NUMBER, [-123456789012345678901234567890])


@pytest.mark.parametrize("kind", ["datetime", "date"])
def test_a_number_beyond_all_days_is_none(kind: str) -> None:
    assert column_of(read([10**400, 1764550800], kind=kind))[0].kind is Kind.TEXT


def test_a_number_beyond_what_is_displayed_contradicts_no_other() -> None:
    column, found = column_of(read([10**400, 0.125, 0.25, 0.5], ["1%", "12.5%", "25%", "50%"]))

    assert (column.kind, column.scale, found[1:]) == (Kind.PERCENT, 100, [12.5, 25, 50])


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_rows_does_not_say_what_a_column_is(backwards: bool) -> None:
    step = -1 if backwards else 1

    column, found = column_of(read([0.5, 3.0][::step], ["50%", "3"][::step]))

    assert (column.kind, sorted(found)) == (Kind.PERCENT, [50, 300])


def test_the_source_says_what_a_column_without_values_is() -> None:
    table = build_table(["x"], [[None]], fetched_at=NOW, source_kinds=[Kind.NUMBER])

    assert table.columns == (Column("x", Kind.NUMBER),)


def test_odd_values_become_unknown_and_are_counted() -> None:
    table = read([*range(38), "待定", "见附件"])

    assert table.columns[0].kind is Kind.NUMBER
    assert table.list_values("x")[-2:] == [None, None]
    assert table.misfits == (Misfit("x", 2, ("待定", "见附件")),)


def test_too_many_odd_values_make_a_text() -> None:
    table = read([*range(8), "待定", "见附件"])

    assert (table.columns[0].kind, table.list_values("x")[7:], table.misfits) == (
        Kind.TEXT,
        ["7", "待定", "见附件"],
        (),
    )


def test_texts_are_compared_without_case_width_and_spaces() -> None:
    assert fold_text(" ＡBc  d ") == fold_text("abc D")  # full width
