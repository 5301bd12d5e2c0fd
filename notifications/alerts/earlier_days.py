"""Which rows a fall or a rise compares: those of a day, and those of the day, week or year before. Pure.

The days are those of the condition's filters on a column of days; else the table's latest day. A table without such a
column holds one day, and is compared with the data that was fetched on the earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from django.utils.timezone import get_default_timezone, localtime

from integrations.data.table import Column, Table, Value
from notifications.alerts.conditions import TIMES, Against, Condition, ConditionError, Filters, moment, position
from notifications.reports.templates.dates import EARLIER


@dataclass(frozen=True)
class Kept:
    """What was fetched on an earlier day, cut as the data is; `table` is None where nothing of it is kept."""

    day: date
    table: Table | None


def day_of(value: Value) -> date | None:
    """Of a cell, by the clocks of the deployment."""
    if isinstance(value, datetime):
        return localtime(moment(value), get_default_timezone()).date()
    return value if isinstance(value, date) else None


def day_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.kind in TIMES]


def pinned(condition: Condition, table: Table, today: date) -> Condition:
    """With a filter on the latest day of the table, today at most, unless the condition names days by itself, or the
    table has none. Raises ConditionError where it has several columns of them."""
    columns = day_columns(table)
    if not columns or day_filters(condition, table):
        return condition
    if len(columns) > 1:
        raise ConditionError("several_days", columns[0].name)
    name = columns[0].name
    days = [day for value in table.values(name) if (day := day_of(value)) is not None and day <= today]
    latest = max(days, default=today)
    return replace(condition, filters=(*condition.filters, (name, (latest.isoformat(),))))


def day_filters(condition: Condition, table: Table) -> Filters:
    """Those on columns of days."""
    return tuple(one for one in condition.filters if table.columns[position(table, one[0])].kind in TIMES)


def moved(condition: Condition, table: Table) -> Condition:
    """With each day of its filters moved to that with which it is compared. Itself where it has no such filter."""
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
    return f"{EARLIER[against](datetime.fromisoformat(value).date()).isoformat()}{value[10:]}"


def againsts(conditions: Sequence[Condition], table: Table) -> set[Against]:
    """The earlier days of which fetched data is needed, since the table has no days of its own."""
    if day_columns(table):
        return set()
    return {one.against for one in conditions if one.against is not None}
