"""Own rows: nobody sees another person's row."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import fold_value
from integrations.data.table import Column, Kind, Table, Value
from notifications.reports.row_filters import AttributeKey, Condition, OwnRows, write_comparable_text
from tests.notifications.reports.tables import SLOT, sales

REGION, SHOP = 1, 2


def own(*conditions: Condition, **tables: Table) -> OwnRows:
    return OwnRows(tables or {"sales": sales()}, conditions, fold_value)


def regions_of(rows: OwnRows, **values: Any) -> list[Value]:
    known: dict[AttributeKey, frozenset[str]] = {REGION: frozenset(map(fold_value, values.get("region", ())))}
    return sorted(set(rows.filter_tables(rows.make_key(known))["sales"].list_values("区域")), key=str)


def test_each_sees_the_rows_of_their_value() -> None:
    rows = own(Condition("sales", "区域", REGION))

    assert regions_of(rows, region=["华东"]) == ["华东"]
    assert regions_of(rows, region=["华东", "华南", "华北"]) == ["华东", "华南"]
    assert regions_of(rows, region=["华"]) == []
    assert regions_of(rows) == []
    assert rows.make_key({REGION: frozenset({"华东", "华北"})}) == rows.make_key(
        {REGION: frozenset({"华东"}), SHOP: frozenset()}
    )
    assert rows.attribute_ids == {REGION}


def test_a_card_without_conditions_is_seen_whole() -> None:
    rows = own(Condition("sales", "区域", REGION), sales=sales(), other=sales(days=1))

    key = rows.make_key({})

    assert [len(table.rows) for table in rows.filter_tables(key).values()] == [0, 2]
    assert rows.is_empty(key)
    assert not own(sales=sales()).is_empty(own(sales=sales()).make_key({}))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Decimal("1200.50"), "1200.5"),
        (Decimal("1E+3"), "1000"),
        (1200, "1200"),
        (1.0, "1"),
        (Decimal("-0.0"), "0"),
        (True, "true"),
        (date(2026, 11, 24), "2026-11-24"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_compares_cells_as_attributes_are_kept(cell: Value, text: str) -> None:
    assert write_comparable_text(cell) == text


WORDS = st.sampled_from(
    ["华东", "华南", " 华东", "East", "EAST", "east ", "ı", "İ", "ß", "SS", "1", "1.0", "", " ", "华"]
)
CELLS = st.one_of(WORDS, st.none(), st.integers(-2, 2), st.decimals(-2, 2, places=1), st.booleans())
PEOPLE = st.fixed_dictionaries(
    {}, optional={REGION: st.frozensets(WORDS, max_size=3), SHOP: st.frozensets(WORDS, max_size=3)}
)
CONDITIONS = st.lists(
    st.builds(Condition, st.just("sales"), st.sampled_from(["a", "b"]), st.sampled_from([REGION, SHOP, None]), WORDS),
    min_size=1,
    max_size=3,
)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=12), CONDITIONS, st.lists(PEOPLE, max_size=6))
def test_never_shows_a_row_to_a_person_whose_attribute_does_not_match(
    cells: list[tuple[Value, Value]], conditions: list[Condition], people: list[dict[int, frozenset[str]]]
) -> None:
    """Compare with the rule written again, row by row. It is checked both ways: what matches is seen."""
    table = Table((Column("a", Kind.TEXT), Column("b", Kind.TEXT)), tuple(cells), SLOT)
    rows = own(*conditions, sales=table)

    for person in people:
        # An attribute's value is never empty (Attribute.cleaned).
        values: dict[AttributeKey, frozenset[str]] = {
            number: frozenset(filter(None, map(fold_value, texts))) for number, texts in person.items()
        }

        seen = rows.filter_tables(rows.make_key(values))["sales"].rows

        assert seen == tuple(row for row in cells if all(_may_see(row, one, values) for one in conditions))


def _may_see(row: tuple[Value, Value], condition: Condition, values: dict[AttributeKey, frozenset[str]]) -> bool:
    cell = fold_value(write_comparable_text(row["ab".index(condition.column)]))
    if not cell:
        return False
    if condition.attribute_id is None:
        return cell == fold_value(condition.fixed)
    return cell in values.get(condition.attribute_id, frozenset())
