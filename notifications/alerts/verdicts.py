"""Evaluates conditions on a Table: whether they hold, for which part, by which rows. Pure.

A condition compares an aggregate of a column with a value. Where the data cannot answer (a column is missing, a number
is needed and there is text), that is ConditionError. Where a part of it has nothing to aggregate, or rows are missing,
the answer is None: neither does it hold, nor is all well. As in SQL, True or None is True, False and None is False.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any

from integrations.data.table import NUMERIC, Kind, Table, Value
from notifications.alerts import earlier_days, relative_dates
from notifications.alerts.conditions import (
    BY_CHANGE,
    BY_ROW,
    ORDERED,
    TIMES,
    Against,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Join,
    Number,
    Unit,
    check,
    entered,
    entered_moments,
    entered_number,
    folded,
    is_comparable,
    moment,
    plain,
    position,
)
from notifications.alerts.earlier_days import Kept
from notifications.models import AlertRule
from notifications.reports.row_filters import cell_text

ROWS_MARKED = 200
# What comparing with a span of days means.
_BY_SPAN = {Comparison.EQUAL: Comparison.BETWEEN, Comparison.UNEQUAL: Comparison.OUTSIDE}
Row = tuple[Value, ...]

# Of a rule that is watched by parts.
PARTS_AT_MOST = 1000


@dataclass(frozen=True)
class Found:
    """What a condition says of one part of the data; `holds` is None where that cannot be known. `value`: that was
    compared, None where each row was. `rows`: positions in the part's table that made it hold, the first
    ROWS_MARKED. `row_count`: of single rows, how many fitted. Of a fall or a rise `before` is the value of the earlier
    day, and `days` names both. `problem`: why it cannot be known."""

    holds: bool | None
    value: Number | None = None
    rows: tuple[int, ...] = ()
    row_count: int = 0
    before: Number | None = None
    days: tuple[str, str] = ("", "")
    problem: ConditionError | None = None


@dataclass(frozen=True)
class Memory:
    """What the check before saw, by condition: its number, or what its column's values were (as a text)."""

    numbers: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Of one part: whether it holds (None: nobody knows), each condition's answer, and what the next check needs to
    know."""

    holds: bool | None
    found: tuple[Found, ...]
    memory: Memory

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows that any holding condition marks, in order."""
        return tuple(sorted({row for one in self.found if one.holds for row in one.rows}))


def evaluate(
    conditions: Sequence[Condition],
    join: Join,
    table: Table,
    memory: Memory,
    kept: Mapping[Against, Kept] = MappingProxyType({}),
) -> Verdict:
    """Whether the conditions hold in this table. Raises ConditionError where the data cannot answer.

    What the check before saw is kept where this one sees nothing: a change over a gap is one, too. `kept`: what was
    fetched on earlier days, for a table without days.
    """
    if not conditions:
        raise ConditionError("no_condition")
    found, numbers, texts = [], dict(memory.numbers), dict(memory.texts)
    for index, condition in enumerate(conditions):
        one, number, text = _answer(condition, table, memory, str(index), kept)
        found.append(one)
        if number is not None:
            numbers[str(index)] = str(number)
        if text is not None:
            texts[str(index)] = text
    return Verdict(_joined([one.holds for one in found], join), tuple(found), Memory(numbers, texts))


def _joined(answers: Collection[bool | None], join: Join) -> bool | None:
    decisive = join == Join.ANY
    if decisive in answers:
        return decisive
    return None if None in answers else not decisive


def split(table: Table, column: str, known: Collection[str] = ()) -> dict[str, Table]:
    """The table cut by the values of a column, in the order of their first rows; one part where none is named. Values
    that differ in case, width or spaces around them alone are one part, with its name among `known` or its first."""
    if not column:
        return {"": table}
    place = position(table, column)
    names = {folded(name): name for name in known}
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        value = cell_text(row[place]).strip()
        parts[names.setdefault(folded(value), value)].append(row)
    return {name: table.with_rows(rows) for name, rows in parts.items()}


def _answer(
    condition: Condition, table: Table, memory: Memory, index: str, kept: Mapping[Against, Kept]
) -> tuple[Found, Number | None, str | None]:
    check(condition, table)
    chosen = rows_counting(condition, table)
    if condition.aggregate in BY_ROW:
        return _by_row(condition, table, chosen), None, None
    number = None if table.is_cut else _aggregated(condition, table, chosen)
    if table.is_cut or (number is None and condition.comparison != Comparison.IS_NULL):
        return Found(None), None, None
    if condition.comparison in BY_CHANGE and number is not None:
        return _moved(condition, table, number, chosen, kept), None, None
    if condition.aggregate == Aggregate.CHANGE:
        change = _change(memory.numbers.get(index, ""), number)
        return _compared(condition, change, chosen), number, None
    if condition.comparison == Comparison.CHANGED and number is not None:
        holds = index in memory.texts and memory.texts[index] != plain(number)
        return Found(holds, number, tuple(chosen[:ROWS_MARKED]) if holds else ()), None, plain(number)
    return _compared(condition, number, chosen), None, None


def _moved(
    condition: Condition, table: Table, number: Number, chosen: list[int], kept: Mapping[Against, Kept]
) -> Found:
    """Whether the number fell or rose by more than the value since the earlier day."""
    then = earlier_days.moved(condition, table)
    if then is not condition:
        days = earlier_days.label(condition, table), earlier_days.label(then, table)
        before, reason = _value_then(then, table), "no_earlier"
    else:
        found = kept.get(condition.against) if condition.against is not None else None
        days = "", "" if found is None else found.day.isoformat()
        before = None if found is None or found.table is None else _value_kept(then, found.table)
        reason = "not_kept"
    if before is None:
        return Found(None, number, days=days, problem=ConditionError(reason, days[1]))
    moved, limit = number - before, entered(condition)[0]
    if condition.unit != Unit.AMOUNT and before:
        moved, limit = moved / abs(before), limit / 100
    elif condition.unit != Unit.AMOUNT:
        # From 0, which has no percentage: any counts where the rule says so, else none.
        moved, limit = moved if condition.unit == Unit.PERCENT_FROM_ZERO else Number(0), Number(0)
    holds = moved < -limit if condition.comparison == Comparison.FELL else moved > limit
    return Found(holds, number, tuple(chosen[:ROWS_MARKED]) if holds else (), before=before, days=days)


def _value_then(condition: Condition, table: Table) -> Number | None:
    """Of the earlier day; None where the table has no row of it: then a count of none is no answer."""
    if not rows_counting(earlier_days.of_days_alone(condition, table), table):
        return None
    return _aggregated(condition, table, rows_counting(condition, table))


def _value_kept(condition: Condition, table: Table) -> Number | None:
    """Of data that was fetched earlier; None where it was cut, or had other columns."""
    try:
        return None if table.is_cut else _aggregated(condition, table, rows_counting(condition, table))
    except ConditionError:
        return None


def at_day(condition: Condition, table: Table, today: date) -> Condition:
    """The condition with days in place of relative dates, where its columns hold dates; of a fall or a rise also with
    the day that is compared. Raises ConditionError where nobody knows which that is."""
    kinds = {column.name: column.kind for column in table.columns}
    filters = tuple(
        (name, _as_days(values, today) if kinds.get(name) in TIMES else values) for name, values in condition.filters
    )
    fixed = replace(condition, filters=filters)
    if condition.comparison in BY_CHANGE:
        return earlier_days.pinned(fixed, table, today)
    if condition.aggregate not in BY_ROW or kinds.get(condition.column) not in TIMES:
        return fixed
    spans = [_span(value, today) for value in condition.values]
    if not any(one is not None for one in spans):
        return fixed
    ends = [(value, value) if one is None else one for value, one in zip(condition.values, spans, strict=True)]
    if condition.comparison in _BY_SPAN:
        return replace(fixed, comparison=_BY_SPAN[condition.comparison], values=ends[0])
    if len(ends) == 2:
        return replace(fixed, values=(ends[0][0], ends[1][1]))
    is_end = condition.comparison in {Comparison.GREATER, Comparison.AT_MOST}
    return replace(fixed, values=(ends[0][1 if is_end else 0],))


def _as_days(values: Sequence[str], today: date) -> tuple[str, ...]:
    found: list[str] = []
    for value in values:
        which = relative_dates.named(value)
        found += [value] if which is None else [day.isoformat() for day in relative_dates.days(which, today)]
    return tuple(found)


def _span(value: str, today: date) -> tuple[str, str] | None:
    """From the first moment of a relative date to its last."""
    which = relative_dates.named(value)
    if which is None:
        return None
    first, last = relative_dates.span(which, today)
    return first.isoformat(), f"{last.isoformat()}T23:59:59.999999"


def _change(former: str, number: Number | None) -> Number | None:
    """In percent; None at the first check, and from 0, which has no percentage."""
    before = entered_number(former)
    return None if not before or number is None else (number - before) / abs(before) * 100


def rows_counting(condition: Condition, table: Table) -> list[int]:
    """Positions of the rows that fit all filters. A day fits every time of it."""
    wanted = [(position(table, name), set(map(folded, values))) for name, values in condition.filters]
    return [
        index
        for index, row in enumerate(table.rows)
        if all(folded(cell_text(row[place])) in values or _day(row[place]) in values for place, values in wanted)
    ]


def _day(value: Value) -> str | None:
    """Of a time, by the clocks of the deployment."""
    day = earlier_days.day_of(value)
    return None if day is None else day.isoformat()


def _by_row(condition: Condition, table: Table, chosen: list[int]) -> Found:
    """Of a table that was cut, a row that fits is known to be there, and nothing else. No rows at all is an answer of
    ANY (a list of what is wrong may be empty), but none of ALL; neither are cells without a value."""
    place = position(table, condition.column)
    kind = table.columns[place].kind
    fitting = [index for index in chosen if _fits(condition, table.rows[index][place], kind)]
    if condition.aggregate == Aggregate.ANY:
        holds = bool(fitting)
        is_known = holds or not table.is_cut
    else:
        holds = len(fitting) == len(chosen)
        is_known = bool(chosen) and not table.is_cut
    if chosen and condition.comparison != Comparison.IS_NULL:
        is_known = is_known and any(not _is_void(table.rows[index][place]) for index in chosen)
    return Found(holds if is_known else None, None, tuple(fitting[:ROWS_MARKED]), len(fitting))


def _aggregated(condition: Condition, table: Table, chosen: list[int]) -> Number | None:
    if condition.aggregate == Aggregate.COUNT:
        if not condition.column:
            return Number(len(chosen))
        place = position(table, condition.column)
        return Number(sum(table.rows[index][place] is not None for index in chosen))
    place = position(table, condition.column)
    if not table.columns[place].is_numeric:
        raise ConditionError("no_number_column", condition.column)
    numbers = [found for index in chosen if (found := _number(table.rows[index][place])) is not None]
    if not numbers:
        return None
    if not all(is_comparable(number) for number in numbers):
        raise ConditionError("too_large", condition.column)
    match condition.aggregate:
        case Aggregate.LEAST:
            return min(numbers)
        case Aggregate.MOST:
            return max(numbers)
        case Aggregate.AVERAGE:
            return sum(numbers, Number(0)) / len(numbers)
        case _:
            return sum(numbers, Number(0))


def _compared(condition: Condition, number: Number | None, chosen: list[int]) -> Found:
    if condition.comparison == Comparison.IS_NULL:
        holds = number is None
    else:
        holds = number is not None and _holds(condition.comparison, number, entered(condition))
    return Found(holds, number, tuple(chosen[:ROWS_MARKED]) if holds else ())


def _fits(condition: Condition, value: Value, kind: Kind) -> bool:
    """One row's value. Of an empty one only "is empty" holds."""
    if condition.comparison == Comparison.IS_NULL:
        return value is None
    if value is None:
        return False
    if kind in NUMERIC:
        number = _number(value)
        return number is not None and _holds(condition.comparison, number, entered(condition))
    if kind in {Kind.DATE, Kind.DATETIME} and isinstance(value, date):
        return _holds(condition.comparison, moment(value), entered_moments(condition))
    if condition.comparison in ORDERED:
        raise ConditionError("no_order", condition.column)
    return _holds(condition.comparison, folded(cell_text(value)), [folded(one) for one in condition.values])


def _holds(comparison: Comparison, value: Any, wanted: Sequence[Any]) -> bool:
    first = wanted[0]
    match comparison:
        case Comparison.GREATER:
            return bool(value > first)
        case Comparison.AT_LEAST:
            return bool(value >= first)
        case Comparison.LESS:
            return bool(value < first)
        case Comparison.AT_MOST:
            return bool(value <= first)
        case Comparison.EQUAL:
            return bool(value == first)
        case Comparison.UNEQUAL:
            return bool(value != first)
    low, high = sorted(wanted[:2])
    is_between = bool(low <= value <= high)
    return is_between if comparison == Comparison.BETWEEN else not is_between


def _is_void(value: Value) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _number(value: Value) -> Number | None:
    """None for what is no number: NaN and infinity included."""
    if value is None or isinstance(value, str | date | bool):
        return None
    if isinstance(value, float):
        return Number(repr(value)) if math.isfinite(value) else None
    number = Number(value)
    return number if number.is_finite() else None


def parts_of(rule: AlertRule, table: Table) -> dict[str, Table]:
    """The parts that are watched by themselves, by the names that the checks before know; where people see their own
    rows only, none of cells without a value, which nobody may see. Raises ConditionError."""
    parts = split(table, rule.split_column, rule.memory)
    if rule.split_attribute_id is not None:
        parts.pop("", None)
    if len(parts) > PARTS_AT_MOST:
        raise ConditionError("too_many_parts", rule.split_column)
    return parts
