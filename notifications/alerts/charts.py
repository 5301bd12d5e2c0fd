"""Charts of the data that opened an incident: requested by the check, drawn by the chart workers.

A chart shows the column of a condition, with its thresholds as lines.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from integrations.data.table import NUMERIC, Kind, Table
from notifications.alerts import conditions, notices, verdicts
from notifications.alerts.conditions import BY_CHANGE, BY_ROW, WITHOUT_VALUE, Against, Aggregate, Comparison
from notifications.charts import definition as charts
from notifications.charts import drawing
from notifications.charts.definition import POINTS_AT_MOST, TOP_AT_MOST, Chart, ChartKind
from notifications.delivery.attachments import CHARTS_QUEUE, OVERDUE, count_overdue, picture_recipe, recipe_digest
from notifications.models import Medium
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from accounts.models import User
    from notifications.alerts.conditions import Condition
    from notifications.alerts.verdicts import Verdict
    from notifications.models import AlertRule, Incident

# A check of a split rule may open a thousand incidents at once.
REQUESTED_AT_MOST = 20
# Days that the chart of a fall or a rise shows, so that both compared days are in it.
DAYS_CHARTED = {Against.DAY: 31, Against.WEEK: 31, Against.YEAR: 400}
_DOWN = frozenset({Comparison.LESS, Comparison.AT_MOST})
_UP = frozenset({Comparison.GREATER, Comparison.AT_LEAST})
_CHART_AGGREGATES = {
    Aggregate.SUM: charts.Aggregate.SUM,
    Aggregate.CHANGE: charts.Aggregate.SUM,
    Aggregate.AVERAGE: charts.Aggregate.AVERAGE,
    Aggregate.LEAST: charts.Aggregate.MINIMUM,
    Aggregate.MOST: charts.Aggregate.MAXIMUM,
}
# With these, a single place of the chart is comparable with the threshold. A part of a sum is not.
_COMPARABLE = BY_ROW | {Aggregate.AVERAGE, Aggregate.LEAST, Aggregate.MOST}


def request_charts(
    rule: AlertRule, opened: Sequence[tuple[Incident, Verdict]], *, slot_at: datetime, now: datetime
) -> None:
    """Request the first REQUESTED_AT_MOST charts, one of each incident before a second of any. `opened`: incidents that
    a check opened; `slot_at`: its slot. Call it outside a transaction: large tables take time."""
    requested = [
        Medium(
            incident=incident,
            kind=Medium.Kind.PICTURE,
            recipe=recipe,
            digest=recipe_digest(Medium.Kind.PICTURE, recipe),
            created_at=now,
            make_after=now,
        )
        for incident, recipe in islice(_make_recipes(rule, opened, slot_at), REQUESTED_AT_MOST)
    ]
    # A conflict is a condition that the rule contains twice.
    Medium.objects.bulk_create(requested, ignore_conflicts=True)


def list_charts(incident: Incident, *, person: User, now: datetime) -> list[tuple[Medium, str]]:
    """Return the incident's charts, each with the words to show while there is no picture; none if the person may not
    see the data. The caller checks that the person may see the incident."""
    media = list(incident.pictures.order_by("pk").defer("recipe", "content", "svg"))
    if not media or not notices.may_see_data(incident, person):
        return []
    return [(medium, _explain_absence(medium, now)) for medium in media]


def find_chart(incident: Incident, medium_id: int, *, person: User) -> Medium | None:
    """Return the picture behind an address that `list_charts` gave out, ready or not. None if it belongs to another
    incident or the person may not see the data."""
    medium = incident.pictures.filter(pk=medium_id).defer("recipe").first()
    return medium if medium is not None and notices.may_see_data(incident, person) else None


def _make_recipes(
    rule: AlertRule, opened: Sequence[tuple[Incident, Verdict]], slot_at: datetime
) -> Iterator[tuple[Incident, bytes]]:
    """Yield a chart recipe for each condition that holds, condition by condition."""
    language, at = get_language() or settings.LANGUAGE_CODE, slot_at.astimezone(read_zone(rule.time_zone))
    for index, condition in enumerate(conditions.from_rows(rule.conditions)):
        for incident, verdict in opened:
            if not verdict.results[index].holds:
                continue
            drawn = make_recipe(condition, verdict.table, rule=rule, at=at, language=language)
            if drawn is not None:
                yield incident, drawn[1]


def _explain_absence(medium: Medium, now: datetime) -> str:
    if medium.status == Medium.Status.READY:
        return ""
    if medium.status == Medium.Status.FAILED:
        return _("Could not be made: %(reason)s") % {"reason": medium.error_text}
    is_overdue = not medium.make_count and now - medium.created_at >= OVERDUE
    if is_overdue and count_overdue(CHARTS_QUEUE, now=now, at_most=1):
        return _("It is not drawn: no worker takes from the queue “charts”. Your administrator can start one.")
    return _("It is still being drawn: open this page again in a moment.")


# --- The chart of one condition. Pure ---


def make_recipe(
    condition: Condition, table: Table, *, rule: AlertRule, at: datetime, language: str
) -> tuple[str, bytes] | None:
    """Return the title and the drawing recipe of the condition's chart; None if there is no chart. `at`: the slot in
    the rule's time zone, like the table's moments."""
    drawn = chart_of(condition, table, at=at, split_column=rule.split_column)
    if drawn is None:
        return None
    chart, rows = drawn
    recipe = picture_recipe(chart, rows, shape=drawing.Shape.FREE, language=language, time_zone=rule.time_zone)
    return chart.title, recipe


def chart_of(condition: Condition, table: Table, *, at: datetime, split_column: str = "") -> tuple[Chart, Table] | None:
    """Return the chart and its two columns of the rows that count: over time if the data has times, else by name.
    `table`: one part of the data, cut by `split_column`. None if a chart would say nothing or something wrong: counts,
    columns without numbers, data without an axis, and several rows at one place if no direction says which one matters.
    """
    of_all_days = replace(condition, comparison=Comparison.GREATER) if condition.comparison in BY_CHANGE else condition
    chosen = verdicts.find_matching_rows(verdicts.resolve_dates(of_all_days, table, at), table)
    counting = table.with_rows([table.rows[index] for index in chosen])
    kinds = {column.name: column.kind for column in table.columns}
    if condition.aggregate == Aggregate.COUNT or kinds.get(condition.column) not in NUMERIC:
        return None
    if set(counting.values(condition.column)) <= {None}:
        return None
    axis = _choose_axis(counting, {condition.column, split_column})
    if not axis:
        return None
    kind = ChartKind.LINE if table.column(axis).is_temporal else ChartKind.BAR
    if condition.against is not None and kind == ChartKind.LINE:
        counting = _keep_latest_days(counting, axis, DAYS_CHARTED[condition.against])
    aggregate = _choose_aggregate(condition, counting, axis, POINTS_AT_MOST if kind == ChartKind.LINE else TOP_AT_MOST)
    if aggregate is None:
        return None
    has_lines = condition.aggregate in _COMPARABLE and condition.comparison not in WITHOUT_VALUE | BY_CHANGE
    lines = tuple(float(one) for one in conditions.read_values(condition)) if has_lines else ()
    title = conditions.describe_condition(condition)
    chart = Chart(
        kind, axis, (condition.column,), "", "", TOP_AT_MOST, aggregate=aggregate, title=title, thresholds=lines
    )
    return chart, _select_columns(counting, (axis, condition.column))


def _keep_latest_days(table: Table, axis: str, count: int) -> Table:
    """Return the rows of the latest `count` days. In a chart of years the two compared days would not be seen."""
    days = [verdicts.day_of(value) for value in table.values(axis)]
    first = max(day for day in days if day is not None) - timedelta(days=count - 1)
    return table.with_rows([row for row, day in zip(table.rows, days, strict=True) if day is not None and day >= first])


def _select_columns(table: Table, names: Sequence[str]) -> Table:
    """Return the table with these columns only, because a recipe stores all it gets."""
    places = [table.position(name) for name in names]
    columns = tuple(table.columns[place] for place in places)
    return replace(table, columns=columns, rows=tuple(tuple(row[place] for place in places) for row in table.rows))


def _choose_axis(table: Table, taken: Collection[str]) -> str:
    """Return the first column of times with several values, else the text column that fits and best tells the rows
    apart."""
    free = [column for column in table.columns if column.name not in taken]
    timed = [one.name for one in free if one.is_temporal and len(set(table.values(one.name)) - {None}) > 1]
    if timed:
        return timed[0]
    counts = {one.name: len(set(table.values(one.name))) for one in free if one.kind == Kind.TEXT}
    fitting = {name: count for name, count in counts.items() if count <= TOP_AT_MOST}
    if fitting:
        return max(fitting, key=lambda name: fitting[name])
    return min(counts, key=lambda name: counts[name], default="")


def _choose_aggregate(condition: Condition, table: Table, axis: str, places_at_most: int) -> charts.Aggregate | None:
    """Return how several rows at one place are combined, so that they stay on the condition's side of the line."""
    if condition.aggregate not in BY_ROW:
        return _CHART_AGGREGATES[condition.aggregate]
    if condition.comparison in _UP | _DOWN:
        is_largest = (condition.comparison in _UP) == (condition.aggregate == Aggregate.ANY)
        return charts.Aggregate.MAXIMUM if is_largest else charts.Aggregate.MINIMUM
    places = table.values(axis)
    return charts.Aggregate.MAXIMUM if len(set(places)) == len(places) <= places_at_most else None
