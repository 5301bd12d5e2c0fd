"""Reads, writes, checks and describes conditions; verdicts.py evaluates them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext, pgettext_lazy

from integrations.data.figures import (
    LAST_WORKDAY,
    Change,
    Period,
    find_last_workday,
    find_month,
    find_named_days,
    narrow_text,
    read_day,
    read_moment,
    read_number,
)
from integrations.data.table import DASH, USUAL_DECIMALS, Kind, Month, Table, format_number, round_number
from notifications.charts.drawing import describe_change
from notifications.subscriptions.schedules import read_workdays

if TYPE_CHECKING:
    from notifications.alerts.verdicts import Verdict
    from notifications.models import AlertRule


CONDITIONS_AT_MOST = 10
FILTERS_AT_MOST = 10
VALUES_AT_MOST = 100
DIGITS_AT_MOST = 100
SOME_DAY = date(2026, 1, 5)  # any day: `is_date` asks only whether a text can be read
Number = Decimal


class Aggregate(TextChoices):
    """Compared quantity: each row's value, or one number for the whole column."""

    ANY = "any", pgettext_lazy("condition", "any row")
    ALL = "all", pgettext_lazy("condition", "all rows")
    SUM = "sum", pgettext_lazy("condition", "sum")
    AVERAGE = "avg", pgettext_lazy("condition", "average")
    LEAST = "min", pgettext_lazy("condition", "smallest")
    MOST = "max", pgettext_lazy("condition", "largest")
    COUNT = "count", pgettext_lazy("condition", "count")
    CHANGE = "change", pgettext_lazy("condition", "change %")  # of the sum, against the check before


class Comparison(TextChoices):
    GREATER = "gt", pgettext_lazy("condition", "greater than")
    AT_LEAST = "ge", pgettext_lazy("condition", "at least")
    LESS = "lt", pgettext_lazy("condition", "less than")
    AT_MOST = "le", pgettext_lazy("condition", "at most")
    EQUAL = "eq", pgettext_lazy("condition", "equal to")
    UNEQUAL = "ne", pgettext_lazy("condition", "other than")
    BETWEEN = "between", pgettext_lazy("condition", "between")
    OUTSIDE = "outside", pgettext_lazy("condition", "outside")
    IS_NULL = "null", pgettext_lazy("condition", "is empty")
    CHANGED = "changed", pgettext_lazy("condition", "has changed")
    FELL = "fell", pgettext_lazy("condition", "falls by more than")
    ROSE = "rose", pgettext_lazy("condition", "rises by more than")


class Against(TextChoices):
    """The earlier day that a fall or a rise compares with; keys of integrations.data.figures.EARLIER."""

    DAY = "day", pgettext_lazy("condition", "the day before")
    WEEK = "week", pgettext_lazy("condition", "the same day of the week before")
    YEAR = "year", pgettext_lazy("condition", "the same day of the year before")


class Unit(TextChoices):
    """Unit of the value of a fall or a rise."""

    PERCENT = "percent", "%"
    # A fall or a rise from 0 has no percentage; here it counts, too.
    PERCENT_FROM_ZERO = "percent_from_zero", pgettext_lazy("condition", "%, also from 0")
    AMOUNT = "amount", pgettext_lazy("condition", "as an amount")


BY_ROW = frozenset({Aggregate.ANY, Aggregate.ALL})
WITHOUT_VALUE = frozenset({Comparison.IS_NULL, Comparison.CHANGED})
FALL_OR_RISE = frozenset({Comparison.FELL, Comparison.ROSE})
WITH_TWO = frozenset({Comparison.BETWEEN, Comparison.OUTSIDE})
ABOVE, BELOW = frozenset({Comparison.GREATER, Comparison.AT_LEAST}), frozenset({Comparison.LESS, Comparison.AT_MOST})
ORDERED = ABOVE | BELOW | WITH_TWO


class ConditionError(ValueError):
    """A condition is invalid, or the data cannot answer it. `reason`: a code; `about`: the column, or a value."""

    def __init__(self, reason: str, about: str = "") -> None:
        super().__init__(f"{reason}: {about}" if about else reason)
        self.reason, self.about = reason, about


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a column. `values`: none, one or two, as the comparison needs; text as entered. `filters`: column
    to the values that count; a row must fit all of them. `against` and `unit` are for a fall or a rise."""

    aggregate: Aggregate
    column: str
    comparison: Comparison
    values: tuple[str, ...] = ()
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    against: Against | None = None
    unit: Unit = Unit.PERCENT


def check_condition(condition: Condition) -> None:
    """Check the number and kind of the values, and that the parts fit together. Raise ConditionError."""
    needed = 0 if condition.comparison in WITHOUT_VALUE else 2 if condition.comparison in WITH_TWO else 1
    if len(condition.values) != needed or any(not value.strip() for value in condition.values):
        raise ConditionError("values", condition.column)
    needs_number = condition.aggregate not in BY_ROW
    for value in condition.values:
        number = read_number_or_none(value)
        if number is None and (needs_number or (condition.comparison in ORDERED and not is_date(value))):
            raise ConditionError("no_number" if needs_number else "no_number_or_date", value)
        if condition.comparison in FALL_OR_RISE and (number or 0) < 0:
            raise ConditionError("signed", value)
    is_over_time = condition.comparison in FALL_OR_RISE | {Comparison.CHANGED}
    if is_over_time and condition.aggregate in BY_ROW | {Aggregate.CHANGE}:
        raise ConditionError("changed_of_rows", condition.column)
    if condition.comparison in FALL_OR_RISE and condition.against is None:
        raise ConditionError("no_against", condition.column)
    if len(condition.filters) > FILTERS_AT_MOST or any(
        len(values) > VALUES_AT_MOST for _column, values in condition.filters
    ):
        raise ConditionError("too_many", condition.column)
    if condition.comparison == Comparison.IS_NULL and condition.aggregate in {Aggregate.COUNT, Aggregate.CHANGE}:
        raise ConditionError("never_empty", condition.column)
    if not condition.column and condition.aggregate != Aggregate.COUNT:
        raise ConditionError("no_column")


def write_conditions(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Return the conditions in the form that AlertRule.conditions stores."""
    return [
        {
            "aggregate": one.aggregate.value,
            "column": one.column,
            "comparison": one.comparison.value,
            "values": list(one.values),
            "filters": {column: list(values) for column, values in one.filters},
            **({} if one.against is None else {"against": one.against.value, "unit": one.unit.value}),
        }
        for one in conditions
    ]


def read_conditions(rows: Any) -> list[Condition]:
    """Read the rows that `write_conditions` wrote. Raise ConditionError for anything else."""
    if not isinstance(rows, list) or len(rows) > CONDITIONS_AT_MOST:
        raise ConditionError("too_many")
    found = []
    for row in rows:
        try:
            filters = row.get("filters") or {}
            condition = Condition(
                Aggregate(row["aggregate"]),
                _check_text(row.get("column", "")),
                Comparison(row["comparison"]),
                tuple(_check_text(value) for value in row.get("values", [])),
                tuple(
                    (_check_text(name), tuple(_check_text(value) for value in values))
                    for name, values in filters.items()
                ),
                Against(row["against"]) if "against" in row else None,
                Unit(row.get("unit", Unit.PERCENT)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConditionError("malformed") from error
        check_condition(condition)
        found.append(condition)
    return found


def _check_text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise ConditionError("malformed")
    return value


def check_columns(condition: Condition, table: Table) -> None:
    """Check that the table has the columns, and that values for columns of days or moments are days or moments. Raise
    ConditionError."""
    compared = condition.values if condition.aggregate in BY_ROW else ()
    for name, values in [(condition.column, compared), *condition.filters]:
        kind = table.columns[find_position(table, name)].kind if name else Kind.TEXT
        if kind not in {Kind.DATE, Kind.DATETIME}:
            continue
        for value in values:
            if not is_date(value):
                raise ConditionError("no_date", value)
            # Filters compare exactly, as = and != do: no moment would equal a day.
            is_exact = values is not compared or condition.comparison in {Comparison.EQUAL, Comparison.UNEQUAL}
            if kind == Kind.DATE and is_exact and read_moment(value, UTC) is not None:
                raise ConditionError("no_times", value)


def find_position(table: Table, name: str) -> int:
    """Return the column's position, from 0. Raise ConditionError if the column is missing."""
    try:
        return table.find_position(name)
    except KeyError:
        raise ConditionError("no_such_column", name) from None


def read_values(condition: Condition) -> list[Number]:
    """Return the condition's values as numbers. Raise ConditionError if one is not a number."""
    found = [read_number_or_none(value) for value in condition.values]
    numbers = [one for one in found if one is not None]
    if len(numbers) != len(condition.values):
        raise ConditionError("no_number", condition.column)
    return numbers


def is_date(text: str) -> bool:
    """Return whether the text can be compared with a date: a day, a month, a moment or a relative date."""
    return read_span(text, SOME_DAY) is not None or read_moment(text, UTC) is not None


def read_span(text: str, today: date) -> Period | None:
    """Return the days of a relative date, a month or a day; None for anything else."""
    name = _normalize_name(text)
    # The entered workdays are read only for this relative date.
    is_last_workday = name in map(_normalize_name, LAST_WORKDAY)
    relative = {_normalize_name(known): days for known, days in find_named_days(today).items()}
    named = find_last_workday(today, read_workdays()) if is_last_workday else relative.get(name)
    if named is not None:
        return named if isinstance(named, Period) else Period(named, named)
    day = read_day(text)
    if isinstance(day, Month):
        return find_month(date(day.year, day.month, 1))
    return None if day is None else Period(day, day)


def _normalize_name(name: str) -> str:
    """Return a text that is equal for all ways to write a relative date, such as 最近 7 天 and 近7天."""
    return narrow_text(name).casefold().replace(" ", "").replace("_", "").replace("最近", "近")


def to_wall_clock(value: date) -> datetime:
    """Return the beginning of a day, or the clock time of a moment, so that all values of a table can be compared."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else datetime.combine(value, time())


def read_number_or_none(text: str) -> Number | None:
    """Read a number as people write it: 1,000.5, 12%, 1.2万. None if it is not a number or too large."""
    found = read_number(text)
    if found is None or found.unit not in {"", "%"}:
        return None
    number = Number(found.value)
    return number if is_comparable(number) else None


def is_comparable(number: Number) -> bool:
    """Return whether the number is below 1e100. Sums of larger ones may overflow."""
    return number.adjusted() < DIGITS_AT_MOST


# --- Filters as they are typed, and sentences about what is wrong ---

Filters = tuple[tuple[str, tuple[str, ...]], ...]
_SENTENCES = {
    "malformed": gettext_lazy("“%(about)s” is not a condition."),
    "filter": gettext_lazy(
        "“%(about)s” does not narrow anything. Write column=value, for example city=A|B; kind=C. Write \\ before a "
        "|, ; or = that belongs to a name or a value."
    ),
    "no_aggregate": gettext_lazy("Choose which value of the column is compared."),
    "no_comparison": gettext_lazy("Choose the comparison."),
    "values": gettext_lazy("“%(about)s”: this comparison needs another number of values."),
    "no_number": gettext_lazy("“%(about)s” is not a number."),
    "no_number_column": gettext_lazy("The column “%(about)s” holds no numbers."),
    "too_large": gettext_lazy("The column “%(about)s” holds a number too large to compare."),
    "no_number_or_date": gettext_lazy("“%(about)s” is neither a number nor a date such as 2026-11-03."),
    "no_date": gettext_lazy("“%(about)s” is not a date such as 2026-11-03, 2026-11-03 09:30, or yesterday."),
    "no_times": gettext_lazy("“%(about)s”: the column holds days without a time."),
    "no_value": gettext_lazy("The data has no value to compare with the conditions."),
    "nothing_counts": gettext_lazy("No row fits the filters, or those that fit have no value."),
    "cut": gettext_lazy("The data was cut at the source's row limit: what was not read may change the answer."),
    "never_empty": gettext_lazy("A count or a change is never empty: choose another comparison."),
    "no_order": gettext_lazy("The column “%(about)s” has no larger and smaller: compare it with = or !=."),
    "no_such_column": gettext_lazy("The data has no column “%(about)s”."),
    "no_column": gettext_lazy("A condition needs a column; only a count works without one."),
    "no_condition": gettext_lazy("There is no condition."),
    "changed_of_rows": gettext_lazy("“%(about)s”: a sum, a count or the like changes, falls or rises; rows do not."),
    "no_against": gettext_lazy("Choose the day with which “%(about)s” is compared."),
    "signed": gettext_lazy("“%(about)s”: write by how much it falls or rises, without a sign."),
    "several_days": gettext_lazy(
        "The data has several columns of days. Write under “only rows with” which of them counts: %(about)s=today."
    ),
    "no_earlier": gettext_lazy("There is no data of %(about)s to compare with."),
    "not_kept": gettext_lazy(
        "There is no data of %(about)s to compare with: the data has no column of days, and none that was fetched on "
        "that day is kept. What the rule's checks fetch is kept from now on."
    ),
    "too_many": gettext_lazy("There are too many conditions or values."),
    "too_many_parts": gettext_lazy("The column “%(about)s” has too many values to be split by."),
}


def write_filters(filters: Filters) -> str:
    """Write the filters in the form that `parse_filters` reads."""
    return "; ".join(f"{_escape(name)}={'|'.join(map(_escape, values))}" for name, values in filters)


def parse_filters(text: str) -> Filters:
    """Read columns with the values that count. Raise ConditionError."""
    filters = []
    for part in (one.strip() for one in _split_unescaped(text, ";；")):
        found = re.fullmatch(r"((?:\\.|[^=\\])+)=(.+)", part)
        if found is not None and found[1].strip() and found[2].strip():
            values = tuple(_unescape(one.strip()) for one in _split_unescaped(found[2], "|"))
            filters.append((_unescape(found[1].strip()), values))
        elif part:
            raise ConditionError("filter", part[:80])
    return tuple(filters)


def _escape(text: str) -> str:
    return re.sub(r"([\\|;；=])", r"\\\1", text)


def _unescape(text: str) -> str:
    return re.sub(r"\\([\\|;；=])", r"\1", text)


def _split_unescaped(text: str, signs: str) -> list[str]:
    """Cut a text at these signs, except those after a backslash."""
    return re.sub(rf"(\\.)|[{signs}]", lambda found: found[1] or "\0", text).split("\0")


def explain_error(error: ConditionError) -> str:
    """Return a sentence for the rule's author that says what is wrong."""
    return str(_SENTENCES[error.reason]) % {"about": error.about}


def format_plain(number: Number, *, digits: int | None = None) -> str:
    """Write a number without an exponent and trailing zeros; with at most `digits` decimals. round() is not used: it
    refuses numbers with more digits than a Decimal computes with (28)."""
    text = f"{number:f}" if digits is None else f"{number:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# --- Conditions in words: 有 2 行 销售额 大于 150 ---

# Decimals used if two would make a value look equal to the one it is compared with.
CLOSE_VALUE_DECIMALS = 4


def describe_condition(condition: Condition) -> str:
    """Describe the condition without any result."""
    words = _describe_compared(condition)
    if condition.aggregate == Aggregate.ANY:
        words = _("at least one row with %(compared)s") % {"compared": words}
    elif condition.aggregate == Aggregate.ALL:
        words = _("every row with %(compared)s") % {"compared": words}
    return words + _describe_filters(condition)


def describe_results(rule: AlertRule, verdict: Verdict, *, unknown: ConditionError | None = None) -> str:
    """Describe each condition and its result in one line, for a card and the page. The result is a value, two compared
    values, or the number of rows that fit. `unknown`: the reason for unknown results without a reason of their own."""
    lines = []
    for condition, found in zip(read_conditions(rule.conditions), verdict.results, strict=True):
        line = describe_condition(condition)
        problem = found.problem or (unknown if found.holds is None else None)
        if problem is not None:
            reason = explain_error(problem)
            line = _("%(condition)s: cannot be known. %(why)s") % {"condition": line, "why": reason}
        elif found.holds is None:
            line = _("%(condition)s: cannot be known") % {"condition": line}
        elif found.before is not None and found.value is not None:
            change = Change(found.value, found.before, is_percent=bool(found.unit))
            try:
                change_words = describe_change(change, unit=found.unit)
            except OverflowError:
                change_words = DASH
            today, earlier = found.days
            value, before = (_format_number(one, condition) + found.unit for one in (found.value, found.before))
            words = {"condition": line, "value": value, "before": before, "today": today, "earlier": earlier}
            sentence = _("%(condition)s: %(today)s %(value)s, %(earlier)s %(before)s (%(change)s)")
            if not today:
                sentence = _("%(condition)s: now %(value)s, %(earlier)s %(before)s (%(change)s)")
            line = sentence % {**words, "change": change_words}
        elif found.value is not None:
            value = _format_number(found.value, condition) + found.unit
            line = _("%(condition)s: now %(value)s") % {"condition": line, "value": value}
        elif condition.aggregate in BY_ROW:
            count, compared = found.row_count, _describe_compared(condition)
            some = ngettext("%(count)d row with %(compared)s", "%(count)d rows with %(compared)s", count)
            sentence = some if count else _("no row with %(compared)s")
            line = sentence % {"count": count, "compared": compared} + _describe_filters(condition)
        lines.append(line)
    return "\n".join(lines)


def _format_number(number: Number, condition: Condition) -> str:
    """Write a number as pushes do; with more decimals if it would look equal to a limit that it does not equal."""
    limits = [read_number_or_none(value) for value in condition.values]
    try:
        looks_equal = number not in limits and round_number(number, USUAL_DECIMALS) in limits
        return format_plain(number, digits=CLOSE_VALUE_DECIMALS) if looks_equal else format_number(number)
    except OverflowError:
        return format_plain(number, digits=CLOSE_VALUE_DECIMALS)


def _describe_compared(condition: Condition) -> str:
    """Describe what is compared and how: 销售额 合计 大于 150."""
    column, comparison = condition.column, str(condition.comparison.label)
    # A row's value that is equal to another may be a code, whose digits are not grouped.
    is_number = condition.aggregate not in BY_ROW or condition.comparison not in {Comparison.EQUAL, Comparison.UNEQUAL}
    limits = [
        f"{Decimal(value):,}" if is_number and re.fullmatch(r"-?\d+(\.\d+)?", value) else value
        for value in condition.values
    ]
    if condition.aggregate not in BY_ROW:
        aggregate = str(condition.aggregate.label)
        column = _("%(column)s %(aggregate)s") % {"column": column, "aggregate": aggregate} if column else aggregate
    if condition.against is not None:
        words = {
            "column": column,
            "comparison": comparison,
            "against": condition.against.label,
            "value": limits[0] + ("" if condition.unit == Unit.AMOUNT else str(condition.unit.label)),
        }
        return _("%(column)s %(comparison)s %(value)s against %(against)s") % words
    if len(limits) == 2:
        first, second = limits
        values = {"column": column, "first": first, "second": second}
        if condition.comparison == Comparison.BETWEEN:
            return _("%(column)s between %(first)s and %(second)s") % values
        return _("%(column)s outside %(first)s to %(second)s") % values
    return " ".join([column, comparison, *limits])


def _describe_filters(condition: Condition) -> str:
    """Describe which rows count. `write_filters` writes them in the form that the page reads."""
    colon, comma = pgettext("before a reason", ": "), _(", ")
    words = "; ".join(f"{name}{colon}{comma.join(values)}" for name, values in condition.filters)
    return _(" (%(rows)s)") % {"rows": words} if words else ""
