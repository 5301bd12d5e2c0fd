"""Conditions and what was found as people say it: 有 2 行 销售额 大于 150."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext_lazy

from integrations.data.figures import Change
from integrations.data.table import DASH, USUAL_DECIMALS, format_number, round_number
from notifications.alerts import conditions
from notifications.alerts.conditions import (
    BY_ROW,
    Against,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Unit,
    entered_number,
    from_rows,
    plain,
)
from notifications.charts.labels import describe_change

if TYPE_CHECKING:
    from notifications.alerts.conditions import Number
    from notifications.alerts.verdicts import Found, Verdict
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
    Comparison.GREATER: pgettext_lazy("condition", "greater than"),
    Comparison.AT_LEAST: pgettext_lazy("condition", "at least"),
    Comparison.LESS: pgettext_lazy("condition", "less than"),
    Comparison.AT_MOST: pgettext_lazy("condition", "at most"),
    Comparison.EQUAL: pgettext_lazy("condition", "equal to"),
    Comparison.UNEQUAL: pgettext_lazy("condition", "other than"),
    Comparison.BETWEEN: pgettext_lazy("condition", "between"),
    Comparison.OUTSIDE: pgettext_lazy("condition", "outside"),
    Comparison.IS_NULL: pgettext_lazy("condition", "is empty"),
    Comparison.CHANGED: pgettext_lazy("condition", "has changed"),
    Comparison.FELL: pgettext_lazy("condition", "falls by more than"),
    Comparison.ROSE: pgettext_lazy("condition", "rises by more than"),
}
AGAINST = {
    Against.DAY: pgettext_lazy("condition", "the day before"),
    Against.WEEK: pgettext_lazy("condition", "the same day of the week before"),
    Against.YEAR: pgettext_lazy("condition", "the same day of the year before"),
}
UNITS = {
    Unit.PERCENT: "%",
    Unit.PERCENT_FROM_ZERO: pgettext_lazy("condition", "%, also from 0"),
    Unit.AMOUNT: pgettext_lazy("condition", "as an amount"),
}
# Where two decimals would hide that a value is beside the one that it is compared with.
DIGITS = 4


def described(condition: Condition) -> str:
    """Without what was found."""
    words = _compared(condition)
    if condition.aggregate == Aggregate.ANY:
        words = _("at least one row with %(compared)s") % {"compared": words}
    elif condition.aggregate == Aggregate.ALL:
        words = _("every row with %(compared)s") % {"compared": words}
    return words + _narrowed(condition)


def findings(rule: AlertRule, verdict: Verdict, *, unknown: ConditionError | None = None) -> str:
    """Each condition with what was found, a line each: for a card and the page. `unknown`: why nobody knows what a
    condition that gives no reason of its own says."""
    pairs = zip(from_rows(rule.conditions), verdict.found, strict=True)
    return "\n".join(_finding(condition, found, unknown) for condition, found in pairs)


def _finding(condition: Condition, found: Found, unknown: ConditionError | None) -> str:
    problem = found.problem or (unknown if found.holds is None else None)
    if problem is not None:
        return _("%(condition)s: cannot be known. %(why)s") % {
            "condition": described(condition),
            "why": conditions.sentence(problem),
        }
    if found.holds is None:
        return _("%(condition)s: cannot be known") % {"condition": described(condition)}
    if found.before is not None and found.value is not None:
        return _change(condition, found, found.value, found.before)
    if found.value is not None:
        value = _number_text(found.value, condition) + found.unit
        return _("%(condition)s: now %(value)s") % {"condition": described(condition), "value": value}
    if condition.aggregate not in BY_ROW:
        return described(condition)
    compared = _compared(condition)
    if not found.row_count:
        return _("no row with %(compared)s") % {"compared": compared} + _narrowed(condition)
    words = ngettext("%(count)d row with %(compared)s", "%(count)d rows with %(compared)s", found.row_count)
    return words % {"count": found.row_count, "compared": compared} + _narrowed(condition)


def _change(condition: Condition, found: Found, number: Number, before: Number) -> str:
    """Both values with their days, and the change."""
    today, earlier = found.days
    try:
        change = describe_change(Change(number, before, is_percent=bool(found.unit)), unit=found.unit)
    except OverflowError:
        change = DASH
    words = {
        "condition": described(condition),
        "value": _number_text(number, condition) + found.unit,
        "before": _number_text(before, condition) + found.unit,
        "today": today,
        "earlier": earlier,
        "change": change,
    }
    if not today:
        return _("%(condition)s: now %(value)s, %(earlier)s %(before)s (%(change)s)") % words
    return _("%(condition)s: %(today)s %(value)s, %(earlier)s %(before)s (%(change)s)") % words


def _number_text(number: Number, condition: Condition) -> str:
    """Write a number as pushes do; with more decimals where it would look like the value that it is not equal to."""
    limits = [entered_number(value) for value in condition.values]
    try:
        looks_equal = number not in limits and round_number(number, USUAL_DECIMALS) in limits
        return plain(number, digits=DIGITS) if looks_equal else format_number(number)
    except OverflowError:
        return plain(number, digits=DIGITS)


def _compared(condition: Condition) -> str:
    """What is compared, and how: 销售额 合计 大于 150."""
    column, comparison = condition.column, str(COMPARISONS[condition.comparison])
    if condition.aggregate not in BY_ROW:
        aggregate = AGGREGATES[condition.aggregate]
        column = (
            _("%(column)s %(aggregate)s") % {"column": column, "aggregate": aggregate} if column else str(aggregate)
        )
    if condition.against is not None:
        words = {
            "column": column,
            "comparison": comparison,
            "against": AGAINST[condition.against],
            "value": condition.values[0] + ("" if condition.unit == Unit.AMOUNT else str(UNITS[condition.unit])),
        }
        return _("%(column)s %(comparison)s %(value)s against %(against)s") % words
    if len(condition.values) == 2:
        first, second = condition.values
        values = {"column": column, "first": first, "second": second}
        if condition.comparison == Comparison.BETWEEN:
            return _("%(column)s between %(first)s and %(second)s") % values
        return _("%(column)s outside %(first)s to %(second)s") % values
    return " ".join([column, comparison, *condition.values])


def _narrowed(condition: Condition) -> str:
    """Which rows count, as people read it; `conditions.filters_line` is what the page takes."""
    words = "; ".join(f"{name}={'|'.join(values)}" for name, values in condition.filters)
    return f" ({words})" if words else ""
