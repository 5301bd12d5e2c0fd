"""Tries an unsaved rule on fetched data and over the past, and makes the message that it would send. Saves nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import translation
from django.utils.timezone import now

from integrations.data.figures import NotNumericError, fold_text, read_column_numbers
from notifications.alerts import charts, conditions, evaluation, notices, verdicts
from notifications.alerts.conditions import (
    BY_ROW,
    FALL_OR_RISE,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    read_number_or_none,
)
from notifications.alerts.notices import AlertNotice, AlertRunSource
from notifications.charts.drawing import write_cell
from notifications.delivery.attachments import MediaPlan, WantedMedium
from notifications.delivery.rendering.preview import RenderedPreview, preview_message
from notifications.delivery.rendering.report_contents import find_bi_link
from notifications.models import AlertCheck, Channel, Incident, Medium, Robot, Run
from notifications.subscriptions.recipients import Recipient, find_recipients, make_trial_audience
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from accounts.models import User
    from integrations.data.table import Table
    from notifications.models import AlertRule

ROWS_SHOWN, PARTS_SHOWN, PICTURES_SHOWN = 20, 20, 4
PAST_DAYS = 30
# Limit of rows for trying a rule over the past: somebody waits for the page.
PAST_ROWS_AT_MOST = 10_000


def try_rule(rule: AlertRule, table: Table, *, language: str) -> dict[str, Any]:
    """Return what a check would find in `table`, for the preview's template; changes since a former check are not
    tried. `pictures`: the charts to make, each with its part's name as alias; `notices`: one for each audience. Raise
    ConditionError if the data cannot answer."""
    zone = read_zone(rule.time_zone)
    at, table = now().astimezone(zone), verdicts.localize_moments(table, zone)
    found = verdicts.evaluate_rule(rule, table, evaluation.read_earlier_days(rule, table, at=at), at=at)
    unknown = ConditionError("cut" if table.is_cut else "nothing_counts")
    shown = dict(sorted(found.items(), key=lambda one: not one[1].holds)[:PARTS_SHOWN])
    answers = [verdict.holds for verdict in found.values()]
    parts, pictures = [], list[WantedMedium]()
    for part, verdict in shown.items():
        # The rows that make the conditions hold come first and are marked.
        marked = set(verdict.rows) if verdict.holds else set()
        rows = sorted(enumerate(verdict.table.rows), key=lambda row: (row[0] not in marked, row[0]))[:ROWS_SHOWN]
        parts.append(
            {
                "name": part,
                "findings": conditions.describe_results(rule, verdict, unknown=unknown).splitlines(),
                "is_marked": bool(marked),
                "rows": [
                    (
                        [(write_cell(*pair), pair[1].is_numeric) for pair in zip(cells, table.columns, strict=True)],
                        index in marked,
                    )
                    for index, cells in rows
                ],
                "further_count": max(0, len(verdict.table.rows) - ROWS_SHOWN),
            }
        )
        # A picture for each condition that can be charted, for the first parts.
        for condition in conditions.read_conditions(rule.conditions):
            if len(pictures) == PICTURES_SHOWN:
                break
            drawn = charts.make_recipe(condition, verdict.table, rule=rule, at=at, language=language)
            if drawn is not None:
                title, recipe = drawn
                pictures.append(WantedMedium(Medium.Kind.PICTURE, recipe, title, part))
    # Parts with the same audience share a notice.
    groups: dict[Hashable, list[Incident]] = defaultdict(list)
    with translation.override(settings.LANGUAGE_CODE):
        check, link = AlertCheck(card_id=rule.card_id, slot_at=at), find_bi_link([rule.card])
        for part, verdict in found.items():
            if verdict.holds:
                incident = evaluation.draft_incident(rule, check, part, verdict, link=link)
                groups[notices.make_audience_key(incident)].append(incident)
    return {
        "columns": table.columns,
        "parts": parts,
        "part_count": len(found),
        "holding_count": answers.count(True),
        "unknown_count": answers.count(None),
        "row_count": len(table.rows),
        "is_cut": table.is_cut,
        "as_of": table.as_of,
        "as_of_day": table.as_of_day,
        "past": try_over_past(rule, table, today=at.date()),
        "notices": [AlertNotice(group, Incident.Notice.FIRE, at) for group in groups.values()],
        "pictures": MediaPlan(shown=tuple(pictures)),
    }


def preview_notice(rule: AlertRule, notice: AlertNotice, by: User) -> RenderedPreview:
    """Render a notice of the unsaved rule for the rule's group, or for `by`. Raise RenderingError."""
    run = Run(trigger=Run.Trigger.ALERT, corp_id=rule.corp_id, slot_at=notice.now)
    recipient: Recipient | Robot | None = rule.robot if rule.channel == Channel.ROBOT else None
    if recipient is None:
        [recipient] = find_recipients(make_trial_audience(rule, by.pk), None)
    return preview_message(AlertRunSource(run, notice), run, recipient, now=notice.now)


# --- Over the past: on how many of the last days the conditions would have held ---


def try_over_past(rule: AlertRule, table: Table, *, today: date) -> dict[str, Any] | None:
    """Try the rule on each of the last PAST_DAYS days. Return None if the table has no column of days, too many or no
    rows, or was cut; else `day_count`: days with an answer, `held`: days on which the rule would have fired, `chart`:
    see `_begin_chart`. A rule with relative dates is tried over all rows up to the day, others over the day's rows.
    Raise ConditionError."""
    zone = read_zone(rule.time_zone)
    table = verdicts.localize_moments(table, zone)
    columns = verdicts.find_day_columns(table)
    if not columns or not 0 < len(table.rows) <= PAST_ROWS_AT_MOST or table.is_cut:
        return None
    stored, memory = conditions.read_conditions(rule.conditions), dict[str, dict[str, str]]()
    chart = _begin_chart(stored)
    answers: dict[date, bool] = {}
    row_days = [verdicts.to_day(value) for value in table.list_values(columns[0].name)]
    # A fall or a rise compares a day with rows of earlier days, so the day itself must have rows.
    needs_own_rows = any(one.comparison in FALL_OR_RISE and not verdicts.find_day_filters(one, table) for one in stored)
    # Relative dates mean other days on another day.
    is_relative = _resolve(stored, table, today, zone) != _resolve(stored, table, today - timedelta(days=1000), zone)
    for day in (today - timedelta(days=number) for number in range(PAST_DAYS - 1, -1, -1)):
        chosen = [
            row
            for row, row_day in zip(table.rows, row_days, strict=True)
            if row_day is not None and (row_day <= day if is_relative else row_day == day)
        ]
        if not (day in row_days if needs_own_rows else chosen):
            continue
        day_table = table.replace_rows(chosen)
        fixed, found, compared = _resolve(stored, day_table, day, zone), [], []
        for name, part_table in verdicts.split_for_rule(rule, day_table).items():
            part = fold_text(name)
            verdict = verdicts.evaluate_conditions(fixed, rule.join, part_table, memory.get(part, {}))
            memory[part] = verdict.memory
            found.append(verdict.holds)
            if chart is not None:
                compared.append(_measure(fixed[chart["row"]], verdict.results[chart["row"]].value, part_table))
        if True in found or False in found:
            answers[day] = True in found
        if chart is not None and (numbers := [one for one in compared if one is not None]):
            chart["days"].append((day, float(max(numbers) if chart["is_above"] else min(numbers))))
    held = [day for day, holds in answers.items() if holds]
    return {"day_count": len(answers), "held": held, "chart": chart if chart and chart["days"] else None}


def _resolve(stored: list[Condition], table: Table, day: date, zone: tzinfo) -> list[Condition]:
    return [verdicts.resolve_dates(one, table, datetime.combine(day, time(), zone)) for one in stored]


# --- The chart of the past, on which the threshold can be moved ---


def _begin_chart(stored: list[Condition]) -> dict[str, Any] | None:
    """Begin the chart of the first condition that compares numbers with one threshold: the condition's `row` in the
    form, its `column` in words, the `threshold`, `is_above` (the condition fires above it), `is_strict` (it does not
    fire at the threshold itself), and `days`, to be filled. Return None if there is no such condition."""
    for row, one in enumerate(stored):
        number = read_number_or_none(one.values[0]) if len(one.values) == 1 else None
        has_threshold = one.comparison in conditions.ABOVE | conditions.BELOW and one.aggregate != Aggregate.CHANGE
        if number is not None and has_threshold:
            is_above = one.comparison in conditions.ABOVE
            is_strict = one.comparison in {Comparison.GREATER, Comparison.LESS}
            column = f"{one.column} {one.aggregate.label}" if one.aggregate not in BY_ROW else one.column
            known = {"row": row, "threshold": float(number), "column": column.strip()}
            return {**known, "is_above": is_above, "is_strict": is_strict, "days": []}
    return None


def _measure(condition: Condition, value: Decimal | None, table: Table) -> Decimal | None:
    """Return the day's number that is compared with the threshold: the aggregate, or the value of one row. For "any
    row" it is the value closest to firing, for "all rows" the one farthest from it."""
    if condition.aggregate not in BY_ROW:
        return value
    try:
        numbers = read_column_numbers(table, condition.column, verdicts.find_matching_rows(condition, table))
    except NotNumericError:
        return None
    is_largest = (condition.comparison in conditions.ABOVE) == (condition.aggregate == Aggregate.ANY)
    return (max if is_largest else min)(numbers, default=None)
