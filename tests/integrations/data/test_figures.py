"""Tables, their form as JSON, and figures: unknown is never a number, and the order of rows is irrelevant."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data import figures, table
from integrations.data.figures import Change, ChangeKind, read_number
from integrations.data.table import Column, Kind, Misfit, Month, Table, from_document, to_document

AS_OF = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.text(),
    Kind.NUMBER: st.one_of(
        st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False)
    ),
    Kind.PERCENT: st.integers(),
    Kind.BOOLEAN: st.booleans(),
    Kind.DATE: st.dates() | st.just(Month(2026, 11, 1)),
    Kind.DATETIME: st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = draw(st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=5))
    columns = tuple(
        Column(
            name,
            draw(st.sampled_from(Kind)),
            draw(st.sampled_from(["", "元", "%"])),
            draw(st.sampled_from([None, 0, 2])),
            draw(st.sampled_from([1, 100])),
            draw(st.sampled_from(["", "原名"])),
        )
        for name in names
    )
    misfits = tuple(Misfit(name, 2, ("-", "x")) for name in names[:1])
    cells = [st.none() | VALUES[column.kind] for column in columns]
    return Table(
        columns,
        tuple(draw(st.lists(st.tuples(*cells), max_size=5))),
        AS_OF,
        draw(st.booleans()),
        draw(st.booleans()),
        misfits,
    )


@given(tables())
def test_a_table_comes_back_from_json_as_it_was(table: Table) -> None:
    revived = from_document(json.loads(json.dumps(to_document(table))))

    assert revived == table
    assert [[type(value) for value in row] for row in revived.rows] == [
        [type(value) for value in row] for row in table.rows
    ]


NOW = datetime(2026, 12, 1, 1, 0, tzinfo=UTC)
CELLS = st.lists(
    st.one_of(st.none(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.decimals(-(10**9), 10**9, places=4)),
    max_size=30,
)


def table_of(values: list[Any], kind: Kind = Kind.NUMBER) -> Table:
    return Table((Column("x", kind),), tuple((value,) for value in values), NOW)


def all_figures(values: list[Any]) -> tuple[Any, ...]:
    numbers = figures.read_column_numbers(table_of(values), "x")
    return (
        figures.total(numbers),
        figures.average(numbers),
        min(numbers, default=None),
        max(numbers, default=None),
        figures.count_known(values),
        figures.count_distinct(values),
    )


@given(CELLS)
def test_a_row_of_unknown_changes_no_figure(values: list[Any]) -> None:
    for unknown in (None, float("nan"), float("inf")):
        assert all_figures([*values, unknown]) == all_figures(values)


@given(CELLS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_figure(values: list[Any], random: Any) -> None:
    mixed = random.sample(values, len(values))

    assert all_figures(mixed) == all_figures(values)


def test_nothing_but_unknown_values_is_unknown_and_a_text_is_no_number() -> None:
    assert all_figures([None, float("nan")]) == (None, None, None, None, 0, 0)
    assert figures.read_column_numbers(table_of(["-", ""], Kind.TEXT), "x") == []
    with pytest.raises(figures.NotNumericError) as found:
        figures.read_column_numbers(table_of(["a"], Kind.TEXT), "x")
    assert found.value.column == "x"
    assert figures.total(figures.read_column_numbers(table_of([0.1, 0.2]), "x")) == Decimal("0.3")


@given(st.decimals(-(10**15), 10**15, places=2))
def test_what_is_shown_gives_the_number_back(number: Decimal) -> None:
    shown = read_number(table.format_number(number))

    assert shown is not None
    assert shown.value == number


@pytest.mark.parametrize(
    ("number", "short"),
    [
        ("99999999", "1.00亿"),
        ("9999.996", "1.0万"),
        ("12345", "1.2万"),
        ("9999", "9999"),
        ("-99999999", "-1.00亿"),
        ("999999999999", "1.00万亿"),
        ("-0.001", "0"),
    ],
)
def test_the_unit_follows_the_rounded_number(number: str, short: str) -> None:
    assert table.format_short(Decimal(number)) == short


@pytest.mark.parametrize(
    ("number", "decimals", "shown"),
    [("1234.565", None, "1,234.57"), ("-0.004", 2, "0.00"), ("0.5", 0, "1"), ("12.50", None, "12.5"), (None, 1, "—")],
)
def test_numbers_round_half_up_and_zero_has_no_sign(number: str | None, decimals: int | None, shown: str) -> None:
    assert table.format_number(None if number is None else Decimal(number), decimals) == shown


@pytest.mark.parametrize(
    ("old", "new", "kind", "ratio"),
    [
        (100, 105, ChangeKind.RATIO, "0.05"),
        (100, 0, ChangeKind.RATIO, "-1"),
        (0, 0, ChangeKind.RATIO, "0"),
        (0, 12, ChangeKind.WORDS, None),
        ("-2.1", "0.3", ChangeKind.WORDS, None),
        (5, -1, ChangeKind.WORDS, None),
        (-5, -1, ChangeKind.WORDS, None),
        (None, 5, ChangeKind.UNKNOWN, None),
        (5, None, ChangeKind.UNKNOWN, None),
    ],
)
def test_a_change_is_said_as_its_base_allows(old: Any, new: Any, kind: ChangeKind, ratio: str | None) -> None:
    change = Change(None if new is None else Decimal(new), None if old is None else Decimal(old))

    assert (change.kind, change.ratio) == (kind, None if ratio is None else Decimal(ratio))


def test_percentages_change_in_points() -> None:
    change = Change(Decimal("12.5"), Decimal(11), is_percent=True)

    assert (change.kind, change.difference, change.ratio) == (ChangeKind.POINTS, Decimal("1.5"), None)


def test_the_newest_day_is_not_of_a_plan_and_unknown_rows_are_last() -> None:
    days = [date(2026, 11, 30), None, date(2026, 12, 31), "2026/12/01"]

    assert figures.find_newest_day(days, until=date(2026, 12, 1), zone=UTC) == date(2026, 12, 1)
    assert figures.find_newest_day([date(2027, 1, 1)], until=date(2026, 12, 1), zone=UTC) is None
    assert figures.rank_rows(table_of([3, None, 5, 3, float("nan")]), "x") == [2, 0, 3, 1, 4]
    assert figures.rank_rows(table_of([3, None, 5, 3]), "x", is_descending=False) == [0, 3, 2, 1]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("近7天", date(2026, 11, 24), date(2026, 11, 30)),
        ("last_30_days", date(2026, 11, 1), date(2026, 11, 30)),
        ("本周", date(2026, 11, 30), date(2026, 12, 1)),
        ("this_month", date(2026, 12, 1), date(2026, 12, 1)),
        ("上月", date(2026, 11, 1), date(2026, 11, 30)),
        ("last_quarter", date(2026, 7, 1), date(2026, 9, 30)),
    ],
)
def test_periods_are_reckoned_from_the_day_of_the_slot(name: str, first: date, last: date) -> None:
    named = figures.find_named_days(date(2026, 12, 1))

    assert named[name] == figures.Period(first, last)


def test_the_last_workday_is_before_the_weekend() -> None:
    assert figures.find_last_workday(date(2026, 11, 30), lambda day: day.weekday() < 5) == date(2026, 11, 27)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(21, 5), (22, 9), (23, 7)], [23, 22, 21]),
        ([(22, 9), (23, 7), (21, 8)], [23, 22, 21]),
        (
            [(25, 1), (22, 5), (26, 3), (23, 2), (None, 4)],
            [23, 22, 25, 26, None],
        ),  # a plan: after the rest, soonest first
        ([(26, 1), (25, 3), (27, 2)], [25, 26, 27]),
        ([(22, 9), (24, 8), (21, 7)], [22, 24, 21]),  # as its source has ranked it
        ([(22, 9), (22, 7), (22, 8)], [22, 22, 22]),
    ],
)
def test_the_newest_rows_stand_first(rows: list[tuple[int | None, int]], expected: list[int | None]) -> None:
    cells = [(None if day is None else date(2026, 11, day), number) for day, number in rows]
    table = Table((Column("日期", Kind.DATE), Column("值", Kind.NUMBER)), tuple(cells), AS_OF)

    found = figures.sort_newest_first(table, today=date(2026, 11, 24), zone=UTC)

    assert [row[0] and row[0].day for row in found.rows] == expected  # type: ignore[union-attr]  # all are dates
    assert figures.sort_newest_first(Table((), (), AS_OF), today=date(2026, 11, 24), zone=UTC).rows == ()
