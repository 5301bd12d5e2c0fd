"""Form rows for attribute rules: attribute, comparison, values."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import Attribute
from accounts.models.attributes import SEPARATORS, VALUE_CHARACTERS
from notifications.models import Operator
from notifications.models.attribute_rules import RULES_AT_MOST, VALUES_AT_MOST
from notifications.sources import Rule

# Empty rows below those that are filled in; a button gives more (rows.js), and so does saving.
EMPTY_ROWS = 2
# A row as a browser sends it: the attribute's key, the comparison, the values in one text.
Row = tuple[str, str, str]
_PARTS = ("attribute", "operator", "values")


class RulesWidget(forms.Widget):
    template_name = "notifications/widgets/attribute_rules.html"

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Row]:
        rows = [_row(data, name, number) for number in range(RULES_AT_MOST)]
        return [row for row in rows if row[0] or row[2].strip()]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return not any(f"{name}-{number}-attribute" in data for number in range(RULES_AT_MOST))

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-attribute" if id_ else id_

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows: list[Row] = list(value or [])
        rows += [("", "", "")] * min(EMPTY_ROWS, RULES_AT_MOST - len(rows))
        attributes = [(str(one.pk), one.name) for one in Attribute.objects.by_name()]
        context["widget"] |= {"rows": rows, "attributes": attributes, "operators": Operator.choices}
        context["widget"]["rows_at_most"] = RULES_AT_MOST
        return context


class RulesField(forms.Field):
    """Cleans to a list of Rule."""

    widget = RulesWidget

    @property
    def queryset(self) -> QuerySet[Attribute]:
        """What is chosen from."""
        return Attribute.objects.by_name()

    def prepare_value(self, value: Any) -> list[Row]:
        return [_as_row(one) if isinstance(one, Rule) else one for one in value or []]

    def clean(self, value: Any) -> list[Rule]:
        rows: list[Row] = list(value or [])
        attributes = Attribute.objects.in_bulk([int(row[0]) for row in rows if _is_key(row[0])])
        rules, problems = [], []
        for number, row in enumerate(rows, start=1):
            try:
                rules.append(_rule(row, attributes))
            except ValidationError as error:
                problems += [_("Rule %(number)d: %(problem)s") % {"number": number, "problem": it} for it in error]
        if problems:
            raise ValidationError(problems)
        return list(dict.fromkeys(rules))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether rows differ as they are written: the rules themselves are compared when they are saved."""
        return self.prepare_value(initial) != list(data or [])


def _row(data: Any, name: str, number: int) -> Row:
    attribute, operator, values = (str(data.get(f"{name}-{number}-{part}", "")) for part in _PARTS)
    return attribute, operator, values


def _as_row(rule: Rule) -> Row:
    return str(rule.attribute.pk), rule.operator.value, "; ".join(rule.values)


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _rule(row: Row, attributes: dict[int, Attribute]) -> Rule:
    key, comparison, text = row
    attribute = attributes.get(int(key)) if _is_key(key) else None
    if attribute is None:
        raise ValidationError(_("choose the attribute."))
    if comparison not in Operator:
        raise ValidationError(_("choose the comparison."))
    operator = Operator(comparison)
    parts = [part.strip() for part in SEPARATORS.split(text)] if operator == Operator.ONE_OF else [text.strip()]
    values = tuple(dict.fromkeys(_cleaned(attribute, operator, part) for part in parts if part))
    if not values:
        raise ValidationError(_("enter a value."))
    if len(values) > VALUES_AT_MOST:
        raise ValidationError(_("at most %(count)d values.") % {"count": VALUES_AT_MOST})
    return Rule(attribute, operator, values)


def _cleaned(attribute: Attribute, operator: Operator, value: str) -> str:
    """A value as people's are stored; of a part of a text only what any text must be."""
    if operator != Operator.CONTAINS or attribute.is_many_valued:
        return next(iter(attribute.cleaned([value])))
    if attribute.kind != Attribute.Kind.TEXT:
        raise ValidationError(_("“contains” is for texts and for attributes with several values."))
    if len(value) > VALUE_CHARACTERS or not value.isprintable():
        raise ValidationError(_("“%(value)s” cannot be part of a value.") % {"value": value[:64]})
    return value
