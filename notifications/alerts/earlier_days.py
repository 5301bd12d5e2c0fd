"""Which rows a fall or a rise compares: those of a day, and those of the day, week or year before. Pure.

The days are those of the condition's filters on a column of days; else the table's latest day. A table without such a
column holds one day, and is compared with the data that was fetched on the earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from integrations.data.figures import EARLIER, newest_day
from integrations.data.table import Column, Table, Value
from notifications.alerts.conditions import Against, Condition, ConditionError, Filters, position, wall_clock


@dataclass(frozen=True)
class Kept:
    """What was fetched on an earlier day, cut as the data is; `table` is None where nothing of it is kept."""

    day: date
    table: Table | None


def day_of(value: Value) -> date | None:
    """The day of a date or moment, by its own clock."""
    return wall_clock(value).date() if isinstance(value, date) else None


def day_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.is_temporal]


def pinned(condition: Condition, table: Table, at: datetime) -> Condition:
    """Return the condition with a filter on the newest day of the table, that of `at` at most, unless the condition
    names days by itself, or the table has none. Raises ConditionError where it has several columns of them.
    """
    columns = day_columns(table)
    if not columns or day_filters(condition, table):
        return condition
    if len(columns) > 1:
        raise ConditionError("several_days", columns[0].name)
    name = columns[0].name
    newest = newest_day(table.values(name), until=at.date(), zone=at.tzinfo or UTC) or at.date()
    return replace(condition, filters=(*condition.filters, (name, (date.isoformat(newest),))))


def day_filters(condition: Condition, table: Table) -> Filters:
    """Those on columns of days."""
    return tuple(one for one in condition.filters if table.columns[position(table, one[0])].is_temporal)


def moved(condition: Condition, table: Table) -> Condition:
    """Return the condition with each day of its filters moved to that with which it is compared. Itself where it has no
    such filter. Raises ConditionError for a day at the beginning of the calendar.
    """
    own = {name for name, _values in day_filters(condition, table)}
    if not own or condition.against is None:
        return condition
    filters = tuple(
        (name, tuple(_moved(value, condition.against) for value in values) if name in own else values)
        for name, values in condition.filters
    )
    return replace(condition, filters=filters)


def label(condition: Condition, table: Table) -> str:
    """The days of its filters: one, or the first and the last."""
    days = sorted(value for _name, values in day_filters(condition, table) for value in values)
    return " – ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


def of_days_alone(condition: Condition, table: Table) -> Condition:
    """Without its other filters: for whether there is any row of these days."""
    return replace(condition, filters=day_filters(condition, table))


def _moved(value: str, against: Against) -> str:
    """A day, or a day with a time behind it."""
    try:
        return f"{EARLIER[against](datetime.fromisoformat(value).date()).isoformat()}{value[10:]}"
    except (OverflowError, ValueError) as error:
        raise ConditionError("no_earlier", value) from error


def againsts(conditions: Sequence[Condition], table: Table) -> set[Against]:
    """The earlier days of which fetched data is needed, since the table has no days of its own."""
    if day_columns(table):
        return set()
    return {one.against for one in conditions if one.against is not None}
