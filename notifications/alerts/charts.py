"""Charts the column of a condition, with its thresholds as lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.clients.sources.table import Kind, Table
from notifications.alerts import condition_descriptions, condition_parsing, conditions
from notifications.alerts.condition_parsing import BY_ROW, WITHOUT_VALUE, Aggregate, Comparison
from notifications.charts import definition as charts
from notifications.charts.aggregate import POINTS_AT_MOST
from notifications.charts.definition import TOP_AT_MOST, Chart, ChartKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from notifications.alerts.condition_parsing import Condition

_TIMES = frozenset({Kind.DATE, Kind.DATETIME})
_DOWN = frozenset({Comparison.LESS, Comparison.AT_MOST})
_UP = frozenset({Comparison.GREATER, Comparison.AT_LEAST})
_TOGETHER = {
    Aggregate.SUM: charts.Aggregate.SUM,
    Aggregate.CHANGE: charts.Aggregate.SUM,
    Aggregate.AVERAGE: charts.Aggregate.AVERAGE,
    Aggregate.LEAST: charts.Aggregate.MINIMUM,
    Aggregate.MOST: charts.Aggregate.MAXIMUM,
}
# A place of the chart may be held against the same value as the whole: no part of a sum may.
_COMPARABLE = BY_ROW | {Aggregate.AVERAGE, Aggregate.LEAST, Aggregate.MOST}


def picture_of(condition: Condition, table: Table, *, split_column: str = "") -> tuple[Chart, Table] | None:
    """The chart and its two columns of the rows that count: over time where the data has times, else by name. `table`:
    one part of the data, cut by `split_column`.

    None where a chart would say nothing, or something wrong: counts, columns without numbers, data with nothing to
    stand along the axis, and single rows of which several stand at one place and no direction says which matters.
    """
    counting = table.with_rows([table.rows[index] for index in conditions.rows_counting(condition, table)])
    kinds = {column.name: column.kind for column in table.columns}
    if condition.aggregate == Aggregate.COUNT or kinds.get(condition.column) != Kind.NUMBER:
        return None
    if set(counting.values(condition.column)) <= {None}:
        return None
    axis = _axis(counting, {condition.column, split_column})
    if not axis:
        return None
    kind = ChartKind.LINE if kinds[axis] in _TIMES else ChartKind.BAR
    together = _together(condition, counting, axis, POINTS_AT_MOST if kind == ChartKind.LINE else TOP_AT_MOST)
    if together is None:
        return None
    has_lines = condition.aggregate in _COMPARABLE and condition.comparison not in WITHOUT_VALUE
    lines = tuple(float(one) for one in condition_parsing.entered(condition)) if has_lines else ()
    title = condition_descriptions.described(condition)
    chart = Chart(
        kind, axis, (condition.column,), "", "", TOP_AT_MOST, aggregate=together, title=title, thresholds=lines
    )
    return chart, _only(counting, (axis, condition.column))


def _only(table: Table, names: Sequence[str]) -> Table:
    """These columns alone: a recipe keeps what it was given, also what nobody looks at."""
    places = [table.position(name) for name in names]
    columns = tuple(table.columns[place] for place in places)
    return Table(columns, tuple(tuple(row[place] for place in places) for row in table.rows), table.as_of, table.is_cut)


def _axis(table: Table, taken: Collection[str]) -> str:
    """The first column of times of which there are several, else that of names that tells the rows apart best and still
    has room for each."""
    free = [column for column in table.columns if column.name not in taken]
    timed = [one.name for one in free if one.kind in _TIMES and len(set(table.values(one.name)) - {None}) > 1]
    if timed:
        return timed[0]
    counts = {one.name: len(set(table.values(one.name))) for one in free if one.kind == Kind.TEXT}
    fitting = {name: count for name, count in counts.items() if count <= TOP_AT_MOST}
    if fitting:
        return max(fitting, key=lambda name: fitting[name])
    return min(counts, key=lambda name: counts[name], default="")


def _together(condition: Condition, table: Table, axis: str, places_at_most: int) -> charts.Aggregate | None:
    """What becomes of several rows at one place, so that it is on the same side of the line as the condition says."""
    if condition.aggregate not in BY_ROW:
        return _TOGETHER[condition.aggregate]
    if condition.comparison in _UP | _DOWN:
        is_largest = (condition.comparison in _UP) == (condition.aggregate == Aggregate.ANY)
        return charts.Aggregate.MAXIMUM if is_largest else charts.Aggregate.MINIMUM
    places = table.values(axis)
    return charts.Aggregate.MAXIMUM if len(set(places)) == len(places) <= places_at_most else None
