"""Form rows for the conditions of an alert rule, each with its error beside it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from notifications.alerts import conditions
from notifications.alerts.condition_words import AGAINST, AGGREGATES, COMPARISONS, UNITS
from notifications.alerts.conditions import (
    BY_CHANGE,
    CONDITIONS_AT_MOST,
    Against,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Unit,
)

# Empty rows below those that are filled in; a button gives more (rows.js), and so does saving.
EMPTY_ROWS = 1
PARTS_OF_ROW = ("aggregate", "column", "comparison", "value", "second", "filters", "against", "unit")
ENTRY_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Row:
    """As a browser sends it."""

    aggregate: str = ""
    column: str = ""
    comparison: str = ""
    value: str = ""
    second: str = ""
    filters: str = ""
    against: str = ""
    unit: str = ""

    @property
    def is_filled(self) -> bool:
        """Without an aggregate it is one that somebody began, or that nobody touched."""
        return any((self.aggregate, self.column, self.value, self.second, self.filters))


class ConditionsWidget(forms.Widget):
    """`problems`: what is wrong, by the row's number. `names`: of the columns to choose from, where they are known."""

    template_name = "notifications/widgets/conditions.html"

    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs)
        self.problems: dict[int, str] = {}
        self.names: list[str] = []

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Row]:
        rows = [_row(data, name, number) for number in range(CONDITIONS_AT_MOST)]
        return [row for row in rows if row.is_filled]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return not any(f"{name}-{number}-aggregate" in data for number in range(CONDITIONS_AT_MOST))

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-aggregate" if id_ else id_

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows: list[Row] = list(value or [])
        rows += [Row()] * EMPTY_ROWS
        context["widget"] |= {
            "rows": [(row, self.problems.get(number, "")) for number, row in enumerate(rows[:CONDITIONS_AT_MOST])],
            "aggregates": [(one.value, label) for one, label in AGGREGATES.items()],
            "comparisons": [(one.value, label) for one, label in COMPARISONS.items()],
            "againsts": [(one.value, label) for one, label in AGAINST.items()],
            "units": [(one.value, label) for one, label in UNITS.items()],
            "rows_at_most": CONDITIONS_AT_MOST,
            "names": self.names,
        }
        return context


class ConditionsField(forms.Field):
    """Cleans to what AlertRule.conditions keeps."""

    widget = ConditionsWidget

    def prepare_value(self, value: Any) -> list[Row]:
        rows: list[Any] = list(value or [])
        if all(isinstance(row, Row) for row in rows):
            return rows
        return [as_row(one) for one in conditions.from_rows(rows)]

    def clean(self, value: Any) -> list[dict[str, Any]]:
        rows: list[Row] = list(value or [])
        if not rows:
            raise ValidationError(conditions.sentence(ConditionError("no_condition")))
        found, problems = [], {}
        for number, row in enumerate(rows):
            try:
                found.append(condition_of(row))
            except ConditionError as error:
                problems[number] = conditions.sentence(error)
        if problems:
            self.widget.problems = problems
            sentence = _("Condition %(number)d: %(problem)s")
            raise ValidationError(
                [sentence % {"number": number + 1, "problem": problem} for number, problem in problems.items()]
            )
        return conditions.to_rows(found)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(map(astuple, self.prepare_value(initial))) != list(map(astuple, data or []))


def condition_of(row: Row) -> Condition:
    """Raises ConditionError."""
    if row.aggregate not in set(Aggregate):
        raise ConditionError("no_aggregate")
    if row.comparison not in set(Comparison):
        raise ConditionError("no_comparison")
    comparison = Comparison(row.comparison)
    entered = [row.value.strip(), row.second.strip()] if comparison in conditions.WITH_TWO else [row.value.strip()]
    against, unit = None, Unit.PERCENT
    if comparison in BY_CHANGE:
        if row.against not in set(Against) or row.unit not in set(Unit):
            raise ConditionError("no_against", row.column)
        against, unit = Against(row.against), Unit(row.unit)
    if against is not None and unit != Unit.AMOUNT:
        entered = [row.value.strip().rstrip("%％").rstrip()]
    condition = Condition(
        Aggregate(row.aggregate),
        row.column.strip(),
        comparison,
        () if comparison in conditions.WITHOUT_VALUE else tuple(value for value in entered if value),
        conditions.parse_filters(row.filters),
        against,
        unit,
    )
    conditions.check(condition)
    return condition


def as_row(condition: Condition) -> Row:
    first, second = (*condition.values, "", "")[:2]
    filters = conditions.filters_line(condition.filters)
    change = () if condition.against is None else (condition.against.value, condition.unit.value)
    return Row(condition.aggregate.value, condition.column, condition.comparison.value, first, second, filters, *change)


def _row(data: Any, name: str, number: int) -> Row:
    """A browser sends the lists of falls and rises with every row."""
    row = Row(*(str(data.get(f"{name}-{number}-{part}", ""))[:ENTRY_CHARACTERS] for part in PARTS_OF_ROW))
    return row if row.comparison in BY_CHANGE else replace(row, against="", unit="")
