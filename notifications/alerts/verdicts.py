"""Evaluates conditions on a Table: whether they hold, for which part, by which rows. The caller reads the data.

A condition compares an aggregate of a column with a value. ConditionError means that the data cannot answer: a column
is missing, or has texts instead of numbers. A verdict of None means unknown: a part has nothing to aggregate, or rows
are missing. As in SQL, True or None is True, False and None is False.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from types import MappingProxyType
from typing import Any, NamedTuple

from integrations.data.figures import (
    EARLIER,
    Change,
    NotNumericError,
    average,
    count_known,
    find_newest_day,
    fold_text,
    in_zone,
    is_unknown,
    read_column_numbers,
    read_day,
    read_moment,
    to_decimal,
    total,
)
from integrations.data.table import Column, Kind, Table, Value
from notifications.alerts.conditions import (
    BY_ROW,
    FALL_OR_RISE,
    ORDERED,
    Against,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Filters,
    Number,
    Unit,
    check_columns,
    check_condition,
    find_position,
    is_comparable,
    read_conditions,
    read_number_or_none,
    read_span,
    read_values,
    to_wall_clock,
)
from notifications.models import AlertRule
from notifications.reports.row_filters import write_comparable_text

ROWS_MARKED = 200  # limit of rows that a result marks
# A comparison with a span of days becomes one of these.
_SPAN_COMPARISONS = {Comparison.EQUAL: Comparison.BETWEEN, Comparison.UNEQUAL: Comparison.OUTSIDE}
_OPERATORS = {
    Comparison.GREATER: operator.gt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.LESS: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.EQUAL: operator.eq,
    Comparison.UNEQUAL: operator.ne,
}
Row = tuple[Value, ...]
Join = AlertRule.Join

# Limit of parts of a split rule.
PARTS_AT_MOST = 1000


class EarlierDay(NamedTuple):
    """An earlier day, and the data fetched on it: tables by the names of the rule's parts (made alike by fold_text)."""

    day: date
    parts: Mapping[str, Table]


class EarlierTable(NamedTuple):
    """An earlier day, and the data fetched on it for one part. `table` is None if no data of that day is stored."""

    day: date
    table: Table | None


EarlierDays = Mapping[Against, EarlierDay]
EarlierTables = Mapping[Against, EarlierTable]


@dataclass(frozen=True)
class ConditionResult:
    """Result of a condition for one part of the data. `holds` is None if unknown; `problem` then says why, if known.

    `value`: the compared value; None if each row was compared. `rows`: positions in the part's table of the rows that
    made the condition hold, at most ROWS_MARKED. `row_count`: how many rows fit, for conditions on rows. `before`,
    `days`: for a fall or a rise, the earlier day's value and the names of both days, the later one first. `unit`: "%"
    for a column of percentages. `remembered`: the number that the next check compares with.
    """

    holds: bool | None
    value: Number | None = None
    rows: tuple[int, ...] = ()
    row_count: int = 0
    before: Number | None = None
    days: tuple[str, str] = ("", "")
    unit: str = ""
    problem: ConditionError | None = None
    remembered: Number | None = None


@dataclass(frozen=True)
class Verdict:
    """Verdict for one part of the data, `table`: whether the joined conditions hold (None: unknown), and the result of
    each. `memory`: numbers that the next check compares with, by the position of their condition."""

    holds: bool | None
    results: tuple[ConditionResult, ...]
    memory: dict[str, str]
    table: Table

    @property
    def rows(self) -> tuple[int, ...]:
        """Positions of the rows that any holding condition marks, in order."""
        return tuple(sorted({row for one in self.results if one.holds for row in one.rows}))


def evaluate_rule(rule: AlertRule, table: Table, earlier: EarlierDays, *, at: datetime) -> dict[str, Verdict]:
    """Return the verdict of the rule's conditions for each part of the table. `earlier`: what
    `evaluation.read_earlier_days` read. `at`: the slot in the rule's time zone, like the table's moments. Raise
    ConditionError for a missing column, before anything else, and for a table without any part, unless the rule ends
    incidents whose split value is missing."""
    saved = read_conditions(rule.conditions)
    columns = [name for one in saved for name in (one.column, *dict(one.filters))]
    for name in filter(None, [*columns, rule.split_column]):
        find_position(table, name)
    conditions = [resolve_dates(one, table, at) for one in saved]
    parts = split_for_rule(rule, table)
    if not parts and not rule.absent_checks:
        raise ConditionError("cut" if table.is_cut else "no_value")
    verdicts = {}
    for part, rows in parts.items():
        earlier_tables = {
            against: EarlierTable(one.day, one.parts.get(fold_text(part))) for against, one in earlier.items()
        }
        verdicts[part] = evaluate_conditions(conditions, rule.join, rows, rule.memory.get(part, {}), earlier_tables)
    return verdicts


def evaluate_conditions(
    conditions: Sequence[Condition],
    join: str,
    table: Table,
    memory: Mapping[str, str] = MappingProxyType({}),
    earlier: EarlierTables = MappingProxyType({}),
) -> Verdict:
    """Return whether the conditions hold in this table. Raise ConditionError if the data cannot answer. `memory`: the
    numbers of earlier checks, by the position of their condition. A number stays there until a check finds a new one,
    so a change is also found if checks without data lie between. `earlier`: for a table without a column of days."""
    if not conditions:
        raise ConditionError("no_condition")
    results, numbers = [], dict(memory)
    for index, condition in enumerate(conditions):
        former = numbers.get(str(index))
        result = _evaluate_condition(condition, table, None if former is None else Number(former), earlier)
        results.append(result)
        if result.remembered is not None:
            numbers[str(index)] = str(result.remembered)
    answers = {one.holds for one in results}
    decisive = join == Join.ANY
    holds = decisive if decisive in answers else None if None in answers else not decisive
    return Verdict(holds, tuple(results), numbers, table)


def _evaluate_condition(
    condition: Condition, table: Table, former: Number | None, earlier: EarlierTables
) -> ConditionResult:
    """Return the condition's result. `former`: the number that the last check with one remembered.

    On single rows of a table that was cut, only ANY can be known: it holds if a row fits. Otherwise, without any row
    ANY is False (a list of faults may be empty), but ALL is unknown. Both are unknown if all cells are empty.
    """
    check_condition(condition)
    check_columns(condition, table)
    chosen = find_matching_rows(condition, table)
    if condition.aggregate in BY_ROW:
        cells = table.list_values(condition.column)
        asks_for_unknown = condition.comparison == Comparison.IS_NULL or any(map(is_unknown, condition.values))
        known = [index for index in chosen if asks_for_unknown or not is_unknown(cells[index])]
        fitting = [index for index in known if _compare_cell(condition, cells[index])]
        if condition.aggregate == Aggregate.ANY:
            holds = bool(fitting)
            is_known = holds or not (table.is_cut or (chosen and not known))
        else:
            holds = len(fitting) == len(known)
            is_known = bool(known) and not table.is_cut
        return ConditionResult(holds if is_known else None, None, tuple(fitting[:ROWS_MARKED]), len(fitting))
    number = None if table.is_cut else _aggregate_column(condition, table, chosen)
    if table.is_cut or (number is None and condition.comparison != Comparison.IS_NULL):
        return ConditionResult(None)
    is_percent = condition.aggregate != Aggregate.COUNT and table.find_column(condition.column).kind is Kind.PERCENT
    if condition.comparison in FALL_OR_RISE and number is not None:
        result = _compare_days(condition, table, number, earlier, is_percent=is_percent)
    elif condition.aggregate == Aggregate.CHANGE:
        change = _to_percent(Change(number, former, is_percent))
        result = ConditionResult(_compare_number(condition, change), change, remembered=number)
    elif condition.comparison == Comparison.CHANGED and number is not None:
        result = ConditionResult(former not in {None, number}, number, remembered=number)
    else:
        result = ConditionResult(_compare_number(condition, number), number)
    unit = "%" if is_percent and condition.aggregate != Aggregate.CHANGE else ""
    return replace(result, rows=tuple(chosen[:ROWS_MARKED]) if result.holds else (), unit=unit)


def _compare_days(
    condition: Condition, table: Table, number: Number, earlier: EarlierTables, *, is_percent: bool
) -> ConditionResult:
    """Return whether the number fell or rose by more than the condition's value since the earlier day."""
    earlier_condition = move_days(condition, table)
    reason = "no_earlier"
    before: Number | None = None
    if earlier_condition is not condition:
        days = name_days(condition, table), name_days(earlier_condition, table)
        # If the earlier day has no row at all, its count is unknown, not 0.
        if find_matching_rows(replace(earlier_condition, filters=find_day_filters(earlier_condition, table)), table):
            before = _aggregate_column(earlier_condition, table, find_matching_rows(earlier_condition, table))
    else:
        found = None if condition.against is None else earlier.get(condition.against)
        days, reason = ("", "" if found is None else str(found.day)), "not_kept"
        if found is not None and found.table is not None and not found.table.is_cut:
            with suppress(ConditionError):  # it may have had other columns
                matching = find_matching_rows(earlier_condition, found.table)
                before = _aggregate_column(earlier_condition, found.table, matching)
    if before is None:
        return ConditionResult(None, number, days=days, problem=ConditionError(reason, days[1]))
    change = Change(number, before, is_percent)
    moved = change.difference if condition.unit == Unit.AMOUNT else _to_percent(change)
    limit = read_values(condition)[0]
    if moved is None:
        # A change from 0 has no percentage. It counts only if the rule says so, and then any change does.
        moved, limit = change.difference if condition.unit == Unit.PERCENT_FROM_ZERO else None, Number(0)
    moved = moved or Number(0)
    holds = moved < -limit if condition.comparison == Comparison.FELL else moved > limit
    return ConditionResult(holds, number, before=before, days=days)


def localize_moments(table: Table, zone: tzinfo) -> Table:
    """Return the table with its moments in the time zone `zone`."""
    if not any(column.kind is Kind.DATETIME for column in table.columns):
        return table
    moved = (tuple(in_zone(one, zone) if isinstance(one, datetime) else one for one in row) for row in table.rows)
    return table.replace_rows(tuple(moved))


def resolve_dates(condition: Condition, table: Table, at: datetime) -> Condition:
    """Return the condition with days and moments in place of relative dates, for columns of days or moments. `at`: the
    slot in the rule's zone; relative dates start from its day. A fall or a rise whose filters name no day also gets a
    filter for the compared day. Raise ConditionError if the table has several columns of days to choose it from."""
    temporal = {column.name for column in table.columns if column.is_temporal}
    filters = []
    for name, values in condition.filters:
        days: list[str] = []
        for value in values if name in temporal else ():
            span = read_span(value, at.date())
            days += [_find_ends(value, at)[0]] if span is None else [day.isoformat() for day in span.days]
        filters.append((name, tuple(days) if name in temporal else values))
    fixed = replace(condition, filters=tuple(filters))
    if condition.comparison in FALL_OR_RISE:
        # The compared day is then the table's newest one up to the day of `at`.
        columns = find_day_columns(table)
        if not columns or find_day_filters(fixed, table):
            return fixed
        if len(columns) > 1:
            raise ConditionError("several_days", columns[0].name)
        name = columns[0].name
        newest = find_newest_day(table.list_values(name), until=at.date(), zone=at.tzinfo or UTC) or at.date()
        return replace(fixed, filters=(*fixed.filters, (name, (date.isoformat(newest),))))
    if condition.aggregate not in BY_ROW or condition.column not in temporal or not condition.values:
        return fixed
    ends = [_find_ends(value, at) for value in condition.values]
    if condition.comparison in _SPAN_COMPARISONS and ends[0][0] != ends[0][1]:
        return replace(fixed, comparison=_SPAN_COMPARISONS[condition.comparison], values=ends[0])
    if len(ends) == 2:
        return replace(fixed, values=(ends[0][0], ends[1][1]))
    # "Greater than" and "at most" compare with the last moment of a month or day, the others with the first.
    is_last = condition.comparison in {Comparison.GREATER, Comparison.AT_MOST}
    return replace(fixed, values=(ends[0][1 if is_last else 0],))


def _find_ends(value: str, at: datetime) -> tuple[str, str]:
    """Return the first and the last moment of a relative date, a month or a day. A moment is returned twice."""
    span = read_span(value, at.date())
    if span is not None:
        return span.start.isoformat(), f"{span.end.isoformat()}T23:59:59.999999"
    moment = read_moment(value, at.tzinfo or UTC)
    text = value if moment is None else f"{to_wall_clock(moment)}"
    return text, text


def _to_percent(change: Change) -> Number | None:
    """Return the change in percent, or in points for a column of percentages. Return None for a change from 0."""
    if change.is_percent:
        return change.difference
    return None if change.relative is None else change.relative * 100


def find_matching_rows(condition: Condition, table: Table) -> list[int]:
    """Return the positions of the rows that fit all filters. A day in a filter fits every moment of that day."""
    positions = list(range(len(table.rows)))
    for name, values in condition.filters:
        column = table.columns[find_position(table, name)]
        cells = table.list_values(name)
        if column.is_temporal:
            days = {read_day(value) for value in values} - {None}
            moments = {to_wall_clock(found) for value in values if (found := read_moment(value, UTC)) is not None}
            positions = [
                one
                for one in positions
                if to_day(cell := cells[one]) in days or (isinstance(cell, datetime) and to_wall_clock(cell) in moments)
            ]
        elif column.is_numeric:
            numbers = {read_number_or_none(value) for value in values} - {None}
            positions = [one for one in positions if to_decimal(cells[one]) in numbers]
        else:
            texts = set(map(fold_text, values))
            positions = [one for one in positions if fold_text(write_comparable_text(cells[one])) in texts]
    return positions


def _aggregate_column(condition: Condition, table: Table, chosen: list[int]) -> Number | None:
    if condition.aggregate == Aggregate.COUNT and not condition.column:
        return Number(len(chosen))
    place = find_position(table, condition.column)
    if condition.aggregate == Aggregate.COUNT:
        return Number(count_known(table.rows[index][place] for index in chosen))
    try:
        numbers = read_column_numbers(table, condition.column, chosen)
    except NotNumericError as error:
        raise ConditionError("no_number_column", condition.column) from error
    if not all(is_comparable(number) for number in numbers):
        raise ConditionError("too_large", condition.column)
    match condition.aggregate:
        case Aggregate.LEAST:
            return min(numbers, default=None)
        case Aggregate.MOST:
            return max(numbers, default=None)
        case Aggregate.AVERAGE:
            return average(numbers)
        case _:
            return total(numbers)


def _compare_number(condition: Condition, number: Number | None) -> bool:
    if condition.comparison == Comparison.IS_NULL:
        return number is None
    return number is not None and _compare_values(condition.comparison, number, read_values(condition))


def _compare_cell(condition: Condition, value: Value) -> bool:
    """Return whether one row's value fits. For an unknown value only "is empty" holds."""
    if condition.comparison == Comparison.IS_NULL:
        return is_unknown(value)
    if value is None:
        return False
    if isinstance(value, date):
        wanted = [read_day(one) or read_moment(one, UTC) for one in condition.values]
        moments = [to_wall_clock(one) for one in wanted if one is not None]
        if len(moments) != len(wanted):
            raise ConditionError("no_date", condition.values[wanted.index(None)])
        return _compare_values(condition.comparison, to_wall_clock(value), moments)
    number = to_decimal(value)
    if number is not None:
        return _compare_values(condition.comparison, number, read_values(condition))
    if condition.comparison in ORDERED:
        raise ConditionError("no_order", condition.column)
    return _compare_values(
        condition.comparison, fold_text(write_comparable_text(value)), [fold_text(one) for one in condition.values]
    )


def _compare_values(comparison: Comparison, value: Any, wanted: Sequence[Any]) -> bool:
    if comparison in _OPERATORS:
        return bool(_OPERATORS[comparison](value, wanted[0]))
    low, high = sorted(wanted[:2])
    return bool(low <= value <= high) is (comparison == Comparison.BETWEEN)


def split_for_rule(rule: AlertRule, table: Table) -> dict[str, Table]:
    """Cut the table by the values of the rule's split column, in the order of their first rows; without such a column
    the table is the only part. Values that differ only in case, width or surrounding spaces are one part, named as in
    earlier checks, else by the first value. For a rule split by an attribute, rows without a value are left out,
    because nobody may see them. Raise ConditionError for too many parts."""
    parts = {"": table}
    if rule.split_column:
        place = find_position(table, rule.split_column)
        names = {fold_text(name): name for name in rule.memory}
        rows_by_part: dict[str, list[Row]] = defaultdict(list)
        for row in table.rows:
            value = write_comparable_text(row[place]).strip()
            rows_by_part[names.setdefault(fold_text(value), value)].append(row)
        parts = {name: table.replace_rows(rows) for name, rows in rows_by_part.items()}
    if rule.split_attribute_id is not None:
        parts.pop("", None)
    if len(parts) > PARTS_AT_MOST:
        raise ConditionError("too_many_parts", rule.split_column)
    return parts


# --- The days that a fall or a rise compares ---
#
# The compared days are those of the condition's filters on a column of days, else the table's latest day; and the same
# days a day, week or year before. A table without such a column holds one day and is compared with what was fetched on
# the earlier day.


def to_day(value: Value) -> date | None:
    """Return the day of a date, or of a moment in its own time zone; None for another value."""
    return to_wall_clock(value).date() if isinstance(value, date) else None


def find_day_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.is_temporal]


def find_day_filters(condition: Condition, table: Table) -> Filters:
    """Return the condition's filters on columns of days."""
    return tuple(one for one in condition.filters if table.columns[find_position(table, one[0])].is_temporal)


def move_days(condition: Condition, table: Table) -> Condition:
    """Return the condition with each day of its filters moved to the day it is compared with; the same object if no
    filter names a day. Raise ConditionError for a day at the beginning of the calendar."""
    day_names = {name for name, _values in find_day_filters(condition, table)}
    if not day_names or condition.against is None:
        return condition
    filters = []
    for name, values in condition.filters:
        moved = []
        for value in values if name in day_names else ():
            try:
                day = EARLIER[condition.against](datetime.fromisoformat(value).date())
            except (OverflowError, ValueError) as error:
                raise ConditionError("no_earlier", value) from error
            moved.append(f"{day.isoformat()}{value[10:]}")  # with the time behind it, if any
        filters.append((name, tuple(moved) if name in day_names else values))
    return replace(condition, filters=tuple(filters))


def name_days(condition: Condition, table: Table) -> str:
    """Return the day that the condition's filters name, or the first and the last of several."""
    days = sorted(value for _name, values in find_day_filters(condition, table) for value in values)
    return " – ".join(dict.fromkeys([days[0], days[-1]])) if days else ""
