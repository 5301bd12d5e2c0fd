"""Charts of the data that opened an incident: requested by the check, drawn by the chart workers.

A chart shows the column of a condition, with its thresholds as lines.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from integrations.data.table import NUMERIC, Kind, Table
from notifications.alerts import conditions, notices, verdicts
from notifications.alerts.conditions import BY_ROW, FALL_OR_RISE, WITHOUT_VALUE, Against, Aggregate, Comparison
from notifications.charts import definition as charts
from notifications.charts import drawing
from notifications.charts.definition import POINTS_AT_MOST, TOP_AT_MOST, Chart, ChartKind
from notifications.delivery.attachments import CHARTS_QUEUE, OVERDUE, count_overdue, digest_recipe, make_picture_recipe
from notifications.models import Medium
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accounts.models import User
    from notifications.alerts.conditions import Condition
    from notifications.alerts.verdicts import Verdict
    from notifications.models import AlertRule, Incident

# A check of a split rule may open a thousand incidents at once.
REQUESTED_AT_MOST = 20
# Days that the chart of a fall or a rise shows, so that both compared days are in it.
DAYS_CHARTED = {Against.DAY: 31, Against.WEEK: 31, Against.YEAR: 400}
_CHART_AGGREGATES = {
    Aggregate.SUM: charts.Aggregate.SUM,
    Aggregate.CHANGE: charts.Aggregate.SUM,
    Aggregate.AVERAGE: charts.Aggregate.AVERAGE,
    Aggregate.LEAST: charts.Aggregate.MINIMUM,
    Aggregate.MOST: charts.Aggregate.MAXIMUM,
}
# With these aggregates each point of the chart can be compared with the threshold. A part of a sum cannot.
_COMPARABLE = BY_ROW | {Aggregate.AVERAGE, Aggregate.LEAST, Aggregate.MOST}


def request_charts(
    rule: AlertRule, opened: Sequence[tuple[Incident, Verdict]], *, slot_at: datetime, now: datetime
) -> None:
    """Request the first REQUESTED_AT_MOST charts, one of each incident before a second of any. `opened`: incidents that
    a check opened; `slot_at`: the check's slot. Call it outside a transaction: large tables take time."""
    language, at = get_language() or settings.LANGUAGE_CODE, slot_at.astimezone(read_zone(rule.time_zone))
    requested: list[Medium] = []
    for index, condition in enumerate(conditions.read_conditions(rule.conditions)):
        for incident, verdict in opened:
            if not verdict.results[index].holds or len(requested) == REQUESTED_AT_MOST:
                continue
            drawn = make_recipe(condition, verdict.table, rule=rule, at=at, language=language)
            if drawn is None:
                continue
            _title, recipe = drawn
            medium = Medium(incident=incident, kind=Medium.Kind.PICTURE, recipe=recipe, created_at=now, make_after=now)
            medium.digest = digest_recipe(Medium.Kind.PICTURE, recipe)
            requested.append(medium)
    # A conflict is a condition that the rule contains twice.
    Medium.objects.bulk_create(requested, ignore_conflicts=True)


def list_charts(incident: Incident, *, person: User, now: datetime) -> list[tuple[Medium, str]]:
    """Return the incident's charts, each with the words to show while there is no picture; none if the person may not
    see the data. The caller checks that the person may see the incident."""
    media = list(incident.pictures.order_by("pk").defer("recipe", "content", "svg"))
    if not media or not notices.may_see_data(incident, person):
        return []
    found = []
    for medium in media:
        words = _("It is still being drawn: open this page again in a moment.")
        is_overdue = not medium.make_count and now - medium.created_at >= OVERDUE
        if medium.status == Medium.Status.READY:
            words = ""
        elif medium.status == Medium.Status.FAILED:
            words = _("Could not be made: %(reason)s") % {"reason": medium.error_text}
        elif is_overdue and count_overdue(CHARTS_QUEUE, now=now, at_most=1):
            words = _("It is not drawn: no worker takes from the queue “charts”. Your administrator can start one.")
        found.append((medium, words))
    return found


def find_chart(incident: Incident, medium_id: int, *, person: User) -> Medium | None:
    """Return the picture behind an address that `list_charts` gave out, ready or not. None if it belongs to another
    incident or the person may not see the data."""
    medium = incident.pictures.filter(pk=medium_id).defer("recipe").first()
    return medium if medium is not None and notices.may_see_data(incident, person) else None


# --- The chart of one condition ---


def make_recipe(
    condition: Condition, table: Table, *, rule: AlertRule, at: datetime, language: str
) -> tuple[str, bytes] | None:
    """Return the title and the drawing recipe of the condition's chart: over time if the data has times, else by name.
    `table`: one part of the rule's data; `at`: the slot in the rule's time zone, like the table's moments. None if a
    chart would say nothing or something wrong: counts, columns without numbers, data without an axis, and several rows
    at one place if no direction says which one matters."""
    # The chart of a fall or a rise shows all days: with its own comparison `resolve_dates` would keep only one of them.
    all_days = replace(condition, comparison=Comparison.GREATER) if condition.comparison in FALL_OR_RISE else condition
    chosen = verdicts.find_matching_rows(verdicts.resolve_dates(all_days, table, at), table)
    matching = table.replace_rows([table.rows[index] for index in chosen])
    kinds = {column.name: column.kind for column in table.columns}
    if condition.aggregate == Aggregate.COUNT or kinds.get(condition.column) not in NUMERIC:
        return None
    if set(matching.list_values(condition.column)) <= {None}:  # no row, or no number in any
        return None
    # The first column of times with several values, else the text column that fits and best tells the rows apart.
    free = [column for column in matching.columns if column.name not in {condition.column, rule.split_column}]
    timed = [one.name for one in free if one.is_temporal and len(set(matching.list_values(one.name)) - {None}) > 1]
    counts = {one.name: len(set(matching.list_values(one.name))) for one in free if one.kind == Kind.TEXT}
    fitting = [name for name, count in counts.items() if count <= TOP_AT_MOST]
    axis = max(fitting, key=counts.__getitem__) if fitting else min(counts, key=counts.__getitem__, default="")
    axis = timed[0] if timed else axis
    if not axis:
        return None
    kind = ChartKind.LINE if table.find_column(axis).is_temporal else ChartKind.BAR
    if condition.against is not None and kind == ChartKind.LINE:
        # In a chart of several years nobody could make out the two compared days.
        days = [verdicts.to_day(value) or date.min for value in matching.list_values(axis)]
        first = max(days) - timedelta(days=DAYS_CHARTED[condition.against] - 1)
        matching = matching.replace_rows([row for row, day in zip(matching.rows, days, strict=True) if day >= first])
    # How rows with equal values on the axis are combined, so that they stay on the condition's side of the line.
    places = matching.list_values(axis)
    if condition.aggregate not in BY_ROW:
        aggregate = _CHART_AGGREGATES[condition.aggregate]
    elif condition.comparison in conditions.ABOVE | conditions.BELOW:
        is_largest = (condition.comparison in conditions.ABOVE) == (condition.aggregate == Aggregate.ANY)
        aggregate = charts.Aggregate.MAXIMUM if is_largest else charts.Aggregate.MINIMUM
    elif len(set(places)) == len(places) <= (POINTS_AT_MOST if kind == ChartKind.LINE else TOP_AT_MOST):
        aggregate = charts.Aggregate.MAXIMUM
    else:
        return None
    has_lines = condition.aggregate in _COMPARABLE and condition.comparison not in WITHOUT_VALUE | FALL_OR_RISE
    lines = tuple(float(one) for one in conditions.read_values(condition)) if has_lines else ()
    title = conditions.describe_condition(condition)
    chart = Chart(
        kind, axis, (condition.column,), "", "", TOP_AT_MOST, aggregate=aggregate, title=title, thresholds=lines
    )
    # Only the drawn columns, because the recipe stores the whole table that it is given.
    drawn = [matching.find_position(name) for name in (axis, condition.column)]
    columns = tuple(matching.columns[position] for position in drawn)
    rows = tuple(tuple(row[position] for position in drawn) for row in matching.rows)
    shown = replace(matching, columns=columns, rows=rows)
    recipe = make_picture_recipe(chart, shown, shape=drawing.Shape.FREE, language=language, time_zone=rule.time_zone)
    return title, recipe
