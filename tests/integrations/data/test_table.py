"""Tables of typed columns, and their form as JSON."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_column_is_found_by_its_name() -> None:
    table = Table(
        (Column("日期", Kind.DATE), Column("金额", Kind.NUMBER, "元")),
        ((date(2026, 11, 23), Decimal("12.50")), (date(2026, 11, 24), None)),
        AS_OF,
    )

    assert table.values("金额") == [Decimal("12.50"), None]
    assert list(table.records())[1] == {"日期": date(2026, 11, 24), "金额": None}
    assert table.with_rows(table.rows[:1]).rows == table.rows[:1]
    with pytest.raises(KeyError):
        table.position("数量")
