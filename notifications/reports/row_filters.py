"""Row-level security: which rows of a report each person may see. Pure.

A condition compares the cells of a column with the person's values of an attribute, or with a fixed value. Both are
folded like attributes (accounts.models.fold_value). The whole cell must equal one of the values. All conditions of a
card must hold. A person without a value sees nothing of that card, and nobody sees a row whose cell in the column is
empty. A card without conditions is seen whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain

from integrations.data.table import Table, Value

Fold = Callable[[str], str]
# The id of an attribute, or a name in OwnRowsRule.OF_PERSON.
AttributeKey = int | str
# The person's folded values, by attribute.
Values = Mapping[AttributeKey, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a card's column. `attribute_id`: the attribute that is compared; None: `fixed` is compared."""

    alias: str
    column: str
    attribute_id: AttributeKey | None
    fixed: str = ""


class ColumnMissingError(Exception):
    """A condition names a column that its card lacks: then nobody may see any of the card."""

    def __init__(self, alias: str, column: str) -> None:
        super().__init__(f"{alias}.{column}")
        self.alias, self.column = alias, column


class OwnRows:
    """The rows of a report's tables that people may see. People with equal keys see the same rows."""

    def __init__(self, tables: Mapping[str, Table], conditions: Iterable[Condition], fold: Fold) -> None:
        """Index the rows. Raises ColumnMissingError."""
        self._tables = tables
        self._fold = fold
        by_alias: dict[str, list[Condition]] = defaultdict(list)
        for condition in dict.fromkeys(conditions):
            by_alias[condition.alias].append(condition)
        self._conditions = {alias: by_alias[alias] for alias in tables if alias in by_alias}
        self._rows_of: dict[Condition, dict[str, list[int]]] = {}
        for condition in chain(*self._conditions.values()):
            table, rows = tables[condition.alias], defaultdict[str, list[int]](list)
            try:
                position = table.find_position(condition.column)
            except KeyError as error:
                raise ColumnMissingError(condition.alias, condition.column) from error
            for number, row in enumerate(table.rows):
                if folded := fold(write_comparable_text(row[position])):
                    rows[folded].append(number)
            self._rows_of[condition] = rows
        self._cached_keys: dict[Hashable, tuple[tuple[int, ...], ...]] = {}

    @property
    def attribute_ids(self) -> set[AttributeKey]:
        """Return the attributes that must be known of each person."""
        return {condition.attribute_id for condition in self._rows_of if condition.attribute_id is not None}

    def make_key(self, values: Values) -> tuple[tuple[int, ...], ...]:
        """Return the numbers of the rows that a person with these values sees, for each card with conditions."""
        wanted = {}
        for condition, rows in self._rows_of.items():
            compared = frozenset({self._fold(condition.fixed)})
            if condition.attribute_id is not None:
                compared = values.get(condition.attribute_id, frozenset())
            wanted[condition] = frozenset(compared & rows.keys())
        cached_by = tuple(wanted.values())
        if cached_by not in self._cached_keys:
            numbers_by_card = []
            for conditions in self._conditions.values():
                fitting = [{row for value in wanted[one] for row in self._rows_of[one][value]} for one in conditions]
                numbers_by_card.append(tuple(sorted(set.intersection(*fitting))))
            self._cached_keys[cached_by] = tuple(numbers_by_card)
        return self._cached_keys[cached_by]

    def filter_tables(self, key: tuple[tuple[int, ...], ...]) -> dict[str, Table]:
        """Return the tables as people with this key see them."""
        found = dict(self._tables)
        for alias, numbers in zip(self._conditions, key, strict=True):
            table = self._tables[alias]
            found[alias] = table.replace_rows([table.rows[number] for number in numbers])
        return found

    @staticmethod
    def is_empty(key: tuple[tuple[int, ...], ...]) -> bool:
        """Return whether no row of any card with conditions is left; False without conditions."""
        return bool(key) and not any(key)


def write_comparable_text(value: Value) -> str:
    """Return the cell as it is compared with an attribute's value; empty without a value.

    Numbers are written as attributes store them: in plain digits, without trailing zeros.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            return ""
        text = format(value, "f") if abs(value.adjusted()) < 100 else str(value)
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
