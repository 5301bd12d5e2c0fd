"""Describes conditions in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from notifications.alerts import condition_parsing
from notifications.alerts.condition_parsing import Aggregate, Comparison, Condition, ConditionError
from notifications.alerts.conditions import plain

if TYPE_CHECKING:
    from notifications.alerts.conditions import Verdict
    from notifications.models import AlertRule

AGGREGATES = {
    Aggregate.ANY: pgettext_lazy("condition", "any row"),
    Aggregate.ALL: pgettext_lazy("condition", "all rows"),
    Aggregate.SUM: pgettext_lazy("condition", "sum"),
    Aggregate.AVERAGE: pgettext_lazy("condition", "average"),
    Aggregate.LEAST: pgettext_lazy("condition", "smallest"),
    Aggregate.MOST: pgettext_lazy("condition", "largest"),
    Aggregate.COUNT: pgettext_lazy("condition", "count"),
    Aggregate.CHANGE: pgettext_lazy("condition", "change %"),
}
COMPARISONS = {
    Comparison.GREATER: ">",
    Comparison.AT_LEAST: "≥",
    Comparison.LESS: "<",
    Comparison.AT_MOST: "≤",
    Comparison.EQUAL: "=",
    Comparison.UNEQUAL: "≠",
    Comparison.BETWEEN: pgettext_lazy("condition", "between"),
    Comparison.OUTSIDE: pgettext_lazy("condition", "outside"),
    Comparison.IS_NULL: pgettext_lazy("condition", "is empty"),
    Comparison.CHANGED: pgettext_lazy("condition", "has changed"),
}
Filters = tuple[tuple[str, tuple[str, ...]], ...]
# Behind the point of what was found, in cards and on pages.
FINDING_DIGITS = 4
_SENTENCES = {
    "malformed": gettext_lazy("“%(about)s” is no condition."),
    "filter": gettext_lazy("“%(about)s” does not narrow anything. Write column=value, for example city=A|B; kind=C"),
    "no_aggregate": gettext_lazy("Choose what of the column is compared."),
    "no_comparison": gettext_lazy("Choose the comparison."),
    "values": gettext_lazy("“%(about)s”: this comparison needs another number of values."),
    "no_number": gettext_lazy("“%(about)s” is no number."),
    "no_number_column": gettext_lazy("The column “%(about)s” holds no numbers."),
    "too_large": gettext_lazy("The column “%(about)s” holds a number too large to compare."),
    "no_number_or_date": gettext_lazy("“%(about)s” is neither a number nor a date such as 2026-11-03."),
    "no_date": gettext_lazy("“%(about)s” is no date such as 2026-11-03, or 2026-11-03 09:30."),
    "no_value": gettext_lazy("The data has nothing in it that the conditions could be compared with."),
    "cut": gettext_lazy("The data was cut at the source's row limit: what was not read may change the answer."),
    "never_empty": gettext_lazy("A count or a change is never empty: choose another comparison."),
    "no_order": gettext_lazy("The column “%(about)s” has no larger and smaller: compare it with = or !=."),
    "no_such_column": gettext_lazy("The data has no column “%(about)s”."),
    "no_column": gettext_lazy("A condition needs a column; only count can do without."),
    "no_condition": gettext_lazy("There is no condition."),
    "changed_of_rows": gettext_lazy("“%(about)s”: “changed” compares a sum, a count or the like, not rows."),
    "too_many": gettext_lazy("There are too many conditions or values."),
    "too_many_parts": gettext_lazy("The column “%(about)s” has too many values to be split by."),
}


def described(condition: Condition) -> str:
    """As people read it."""
    values = _(" to ").join(condition.values)
    words = f"{condition.column} {AGGREGATES[condition.aggregate]} {COMPARISONS[condition.comparison]} {values}".strip()
    return words + (f" ({filters_line(condition.filters)})" if condition.filters else "")


def filters_line(filters: Filters) -> str:
    """As `parse_filters` takes it."""
    return "; ".join(f"{name}={'|'.join(values)}" for name, values in filters)


def parse_filters(text: str) -> Filters:
    """Columns with the values that count. Raises ConditionError."""
    return tuple(_filter(part) for part in re.split("[;；]", text) if part.strip())


def sentence(error: ConditionError) -> str:
    """What is wrong, for whoever wrote the rule."""
    return str(_SENTENCES[error.reason]) % {"about": error.about}


def findings(rule: AlertRule, verdict: Verdict) -> str:
    """Each condition with what was found: for a card and the page."""
    found = zip(condition_parsing.from_rows(rule.conditions), verdict.found, strict=True)
    lines = []
    for condition, one in found:
        if one.holds is None:
            lines.append(_("%(condition)s: cannot be known") % {"condition": described(condition)})
        elif one.value is not None:
            value = plain(one.value, digits=FINDING_DIGITS)
            lines.append(_("%(condition)s: now %(value)s") % {"condition": described(condition), "value": value})
        else:
            count = {"condition": described(condition), "count": len(one.rows)}
            lines.append(_("%(condition)s: %(count)d rows") % count)
    return "\n".join(lines)


def _filter(text: str) -> tuple[str, tuple[str, ...]]:
    name, sign, values = text.partition("=")
    if not sign or not name.strip() or not values.strip():
        raise ConditionError("filter", text.strip()[:80])
    return name.strip().strip('"'), tuple(value.strip() for value in values.split("|"))
