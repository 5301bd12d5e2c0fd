"""Columns and the card that an alert rule's page names, and its fields once they are called otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notifications.admin.push.renaming import Renaming
from notifications.alerts import conditions
from notifications.alerts.conditions import CONDITIONS_AT_MOST, ConditionError, Filters
from notifications.reports.templates.column_names import ColumnName

if TYPE_CHECKING:
    from django.http import QueryDict

# A rule has one card, whose rows are called nothing.
CARD = ""


def columns_named(values: QueryDict) -> Iterator[ColumnName]:
    """Every column that the page as it was sent names."""
    for name in _column_fields():
        if column := values.get(name, "").strip():
            yield CARD, column
    for _field, filters in _filters(values):
        yield from ((CARD, column) for column, _values in filters)


def changes(values: QueryDict, renaming: Renaming) -> dict[str, str]:
    """The fields of the page as it was sent that name what is renamed, by their names, as they are to be."""
    changed = {}
    for name in _column_fields():
        column = renaming.columns.get((CARD, values.get(name, "").strip()))
        if column is not None:
            changed[name] = column
    for name, filters in _filters(values):
        renamed = tuple((renaming.columns.get((CARD, column), column), its) for column, its in filters)
        if renamed != filters:
            changed[name] = conditions.filters_line(renamed)
    if CARD in renaming.cards:
        changed["card"] = renaming.cards[CARD]
    return changed


def _column_fields() -> list[str]:
    return [*(f"conditions-{number}-column" for number in range(CONDITIONS_AT_MOST)), "split_column"]


def _filters(values: QueryDict) -> Iterator[tuple[str, Filters]]:
    """The filters of each condition, with the name of their field; none of what cannot be read."""
    for number in range(CONDITIONS_AT_MOST):
        name = f"conditions-{number}-filters"
        try:
            yield name, conditions.parse_filters(values.get(name, ""))
        except ConditionError:
            continue
