"""Columns and cards that a page names and the data does not have any more, and what they are called instead.

Shared by pushes and alert rules (notifications.admin.rule.renaming).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from integrations.data.table import Table
from integrations.models import Card
from notifications.admin.report_forms import CARDS_AT_MOST, CHARTS_AT_MOST, RULES_AT_MOST, is_key
from notifications.reports.templates.column_names import ColumnName, columns_in, renamed

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User

TEMPLATES = ("title", "body", "figures")
CARDS_OFFERED = 200
# So alike are an old name and the one that is proposed for it, from 0 to 1.
ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Missing:
    """`column`: empty where the card itself is gone. `choices`: each with its value; the `proposed` one is chosen."""

    alias: str
    heading: str
    column: str
    choices: list[tuple[str, str]]
    proposed: str = ""


@dataclass(frozen=True, slots=True)
class Renaming:
    """What is to be called otherwise: columns by their new names, and cards by their alias as another card's key."""

    columns: Mapping[ColumnName, str] = field(default_factory=dict)
    cards: Mapping[str, str] = field(default_factory=dict)


def missing_columns(
    named: Iterable[ColumnName], tables: Mapping[str, Table], headings: Mapping[str, str]
) -> list[Missing]:
    """Of the columns that a page names. `tables`: by alias, as far as they are there; one without columns is empty."""
    found = []
    for alias, column in dict.fromkeys(named):
        names = tables[alias].names
        if names and column not in names:
            proposed = next(iter(get_close_matches(column, names, n=1, cutoff=ALIKE)), "")
            found.append(Missing(alias, headings[alias], column, [(name, name) for name in names], proposed))
    return found


def missing_card(alias: str, heading: str, person: User) -> Missing:
    """A card that its source does not know any more, with those that the person may choose instead."""
    cards = Card.objects.visible_to(person).order_by("name", "pk").values_list("pk", "name")[:CARDS_OFFERED]
    return Missing(alias, heading, "", [(str(key), name) for key, name in cards])


def renaming_in(values: QueryDict) -> Renaming:
    """What a page asks for: `_alias`, `_from` and `_to` are lists of equal length, with an empty `_from` for a card."""
    wanted = zip(*(values.getlist(name) for name in ("_alias", "_from", "_to")), strict=False)
    columns, cards = {}, {}
    for alias, column, to in wanted:
        if column and to:
            columns[alias, column] = to
        elif is_key(to):
            cards[alias] = to
    return Renaming(columns, cards)


def changes(values: QueryDict, renaming: Renaming) -> dict[str, str]:
    """The fields of a push as it was sent that name what is renamed, by their names, as they are to be."""
    changed = {name: to for name, to in _renamed(values, renaming.columns) if to != values.get(name, "")}
    for prefix in _rows(values, "report_cards", CARDS_AT_MOST):
        key = renaming.cards.get(_text(values, f"{prefix}-alias"))
        if key is not None and f"{prefix}-card" in values:
            changed[f"{prefix}-card"] = key
    return changed


def columns_named(values: QueryDict, tables: Mapping[str, Table]) -> Iterator[ColumnName]:
    """Every column of these cards that a push as it was sent names."""
    for name in TEMPLATES if "is_template" in values else ():
        yield from columns_in(values.get(name, ""), tables.keys())
    for prefix in [*_rows(values, "charts", CHARTS_AT_MOST), *_rows(values, "own_rows_rules", RULES_AT_MOST)]:
        alias = _text(values, f"{prefix}-alias")
        for name in ("x", "series", "y", "column") if alias in tables else ():
            yield from (
                (alias, column) for line in values.get(f"{prefix}-{name}", "").splitlines() if (column := line.strip())
            )


def _renamed(values: QueryDict, columns: Mapping[ColumnName, str]) -> Iterator[tuple[str, str]]:
    for name in TEMPLATES if "is_template" in values else ():
        yield name, renamed(values.get(name, ""), columns)
    for prefix in [*_rows(values, "charts", CHARTS_AT_MOST), *_rows(values, "own_rows_rules", RULES_AT_MOST)]:
        alias = _text(values, f"{prefix}-alias")
        for name in ("x", "series", "y", "column"):
            if f"{prefix}-{name}" in values:
                lines = values.get(f"{prefix}-{name}", "").split("\n")
                yield f"{prefix}-{name}", "\n".join(_line(line, alias, columns) for line in lines)


def _line(line: str, alias: str, columns: Mapping[ColumnName, str]) -> str:
    return columns.get((alias, line.strip()), line)


def _rows(values: Mapping[str, Any], prefix: str, most: int) -> list[str]:
    """The prefixes of the rows that stay."""
    names = [f"{prefix}-{number}" for number in range(most * 2)]
    return [name for name in names if f"{name}-alias" in values and not values.get(f"{name}-DELETE")]


def _text(values: QueryDict, name: str) -> str:
    return values.get(name, "").strip()
