"""Columns and cards that a page names and its data lacks, and their replacements in the form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from integrations.data.table import Table
from integrations.models import Card
from notifications.admin.base import is_key
from notifications.reports.templates.column_names import ColumnName

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User


CARDS_OFFERED = 200
# Minimum similarity (0 to 1) of a missing column's name and the name proposed for it.
ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class MissingName:
    """A column or card that no longer exists. `column`: empty if the card is missing. `choices`: value and label;
    `proposed` is preselected."""

    alias: str
    heading: str
    column: str
    choices: list[tuple[str, str]]
    proposed: str = ""


@dataclass(frozen=True, slots=True)
class ColumnField:
    """A field that names columns. `rename`: returns its text with other names, given by the present ones."""

    name: str
    columns: list[ColumnName]
    rename: Callable[[Mapping[ColumnName, str]], str]


def read_column_lines(name: str, alias: str, text: str) -> ColumnField:
    """Return the field that names a column of the card `alias` in each line of `text`."""
    lines = text.split("\n")

    def rename(names: Mapping[ColumnName, str]) -> str:
        return "\n".join(names.get((alias, line.strip()), line) for line in lines)

    return ColumnField(name, [(alias, column) for line in lines if (column := line.strip())], rename)


def find_missing_columns(
    fields: Iterable[ColumnField], tables: Mapping[str, Table], headings: Mapping[str, str]
) -> list[MissingName]:
    """Return the columns that `fields` name and their tables lack. `tables`: loaded tables by alias; a table without
    columns is skipped."""
    found = []
    for alias, column in dict.fromkeys(column for one in fields for column in one.columns):
        names = tables[alias].names if alias in tables else ()
        if names and column not in names:
            proposed = next(iter(get_close_matches(column, names, n=1, cutoff=ALIKE)), "")
            found.append(MissingName(alias, headings[alias], column, [(name, name) for name in names], proposed))
    return found


def describe_missing_card(alias: str, heading: str, person: User) -> MissingName:
    """Describe a card that its source no longer has, with the cards that `person` may choose instead."""
    cards = Card.objects.visible_to(person).order_by("name", "pk").values_list("pk", "name")[:CARDS_OFFERED]
    return MissingName(alias, heading, "", [(str(key), name) for key, name in cards])


def apply_renaming(values: QueryDict, fields: Iterable[ColumnField], card_fields: Mapping[str, str]) -> dict[str, str]:
    """Return the new values of the fields that name a replaced column or card, by field name. `card_fields`: the field
    of each alias. The replacements are parallel lists in `values`: `_alias`, `_from` and `_to`; `_from` is empty for a
    card."""
    columns, changed = {}, {}
    for alias, column, to in zip(*(values.getlist(name) for name in ("_alias", "_from", "_to")), strict=False):
        if column and to:
            columns[alias, column] = to
        elif is_key(to) and alias in card_fields:
            changed[card_fields[alias]] = to
    renamed = (one for one in fields if not columns.keys().isdisjoint(one.columns))
    return changed | {one.name: one.rename(columns) for one in renamed}
