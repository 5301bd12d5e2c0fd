"""Tries an unsaved rule on fetched data and over the past, and makes the message that it would send. Saves nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import translation
from django.utils.timezone import now

from integrations.data.figures import fold_text
from notifications.alerts import charts, conditions, evaluation, notices, verdicts
from notifications.alerts.conditions import BY_CHANGE, Condition, ConditionError
from notifications.alerts.notices import AlertNotice, AlertRunSource
from notifications.charts.drawing import cell_text
from notifications.delivery.attachments import Plan, Wanted
from notifications.delivery.rendering.preview import MessagePreview, preview_message
from notifications.models import Channel, Incident, Medium, Robot, Run
from notifications.subscriptions.recipients import Recipient, find_recipients, trial_audience
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from accounts.models import User
    from integrations.data.table import Table
    from notifications.alerts.verdicts import Verdict
    from notifications.models import AlertRule

ROWS_SHOWN, PARTS_SHOWN, PICTURES_SHOWN = 20, 20, 4
PAST_DAYS = 30
# Limit of rows for trying a rule over the past: somebody waits for the page.
PAST_ROWS_AT_MOST = 10_000


def try_rule(rule: AlertRule, table: Table, *, language: str) -> dict[str, Any]:
    """Return what a check would find in `table`, for the preview's template. Changes against the check before are not
    tried. `pictures`: the charts to make, each with its part's name as alias; `notices`: one for each audience. Raise
    ConditionError if there is no answer."""
    zone = read_zone(rule.time_zone)
    at, table = now().astimezone(zone), verdicts.localize(table, zone)
    found = verdicts.evaluate_rule(rule, table, at=at)
    unknown = ConditionError("cut" if table.is_cut else "nothing_counts")
    shown = dict(sorted(found.items(), key=lambda one: not one[1].holds)[:PARTS_SHOWN])
    answers = [verdict.holds for verdict in found.values()]
    parts = []
    for part, verdict in shown.items():
        # The first rows, those that make it hold first, and whether each does.
        marked = set(verdict.rows) if verdict.holds else set()
        rows = sorted(enumerate(verdict.table.rows), key=lambda row: (row[0] not in marked, row[0]))[:ROWS_SHOWN]
        parts.append(
            {
                "name": part,
                "findings": conditions.describe_results(rule, verdict, unknown=unknown).splitlines(),
                "is_marked": bool(marked),
                "rows": [
                    ([cell_text(*pair) for pair in zip(cells, table.columns, strict=True)], index in marked)
                    for index, cells in rows
                ],
                "further_count": max(0, len(verdict.table.rows) - ROWS_SHOWN),
            }
        )
    # Parts with the same audience share a notice.
    groups: dict[Hashable, list[Incident]] = defaultdict(list)
    with translation.override(settings.LANGUAGE_CODE):
        for incident in evaluation.draft_incidents(rule, found, now=at):
            groups[notices.audience_key(incident)].append(incident)
    return {
        "names": table.names,
        "parts": parts,
        "part_count": len(found),
        "holding_count": answers.count(True),
        "unknown_count": answers.count(None),
        "row_count": len(table.rows),
        "is_cut": table.is_cut,
        "as_of": table.as_of,
        "as_of_day": table.as_of_day,
        "past": try_over_past(rule, table, today=at.date()),
        "notices": [AlertNotice(together, Incident.Notice.FIRE, at) for together in groups.values()],
        "pictures": _plan_pictures(rule, shown, at, language),
    }


def preview_notice(rule: AlertRule, notice: AlertNotice, by: User) -> MessagePreview:
    """Render the notice of a draft for its group, or for `by`. Raise RenderingError."""
    run = Run(trigger=Run.Trigger.ALERT, corp_id=rule.corp_id, slot_at=notice.now)
    to: Recipient | Robot | None = rule.robot if rule.channel == Channel.ROBOT else None
    if to is None:
        [to] = find_recipients(trial_audience(rule, by.pk), None)
    return preview_message(AlertRunSource(run, notice), run, to, now=notice.now)


def _plan_pictures(rule: AlertRule, shown: dict[str, Verdict], at: datetime, language: str) -> Plan:
    """Plan a picture for each condition that can be charted, for the first parts."""
    found: list[Wanted] = []
    for name, verdict in shown.items():
        for condition in conditions.from_rows(rule.conditions):
            if len(found) == PICTURES_SHOWN:
                break
            drawn = charts.make_recipe(condition, verdict.table, rule=rule, at=at, language=language)
            if drawn is not None:
                title, recipe = drawn
                found.append(Wanted(Medium.Kind.PICTURE, recipe, title, name))
    return Plan(shown=tuple(found))


# --- Over the past: on how many of the last days the conditions would have held ---


def try_over_past(rule: AlertRule, table: Table, *, today: date) -> dict[str, Any] | None:
    """Return the number of the last days with an answer and, as `held`, the days on which the rule would have fired.
    Raise ConditionError. None if the rows have no column of days or there are too many. A rule with relative dates is
    tried on each day over all rows until then; another rule over the rows of that day only."""
    zone = read_zone(rule.time_zone)
    table = verdicts.localize(table, zone)
    columns = verdicts.day_columns(table)
    if not columns or not 0 < len(table.rows) <= PAST_ROWS_AT_MOST or table.is_cut:
        return None
    days = [verdicts.day_of(value) for value in table.values(columns[0].name)]
    stored = conditions.from_rows(rule.conditions)

    def resolve(table: Table, day: date) -> list[Condition]:
        return [verdicts.resolve_dates(one, table, datetime.combine(day, time(), zone)) for one in stored]

    # A fall or a rise compares a day with rows of earlier days, so the day itself must have rows.
    is_of_day = any(one.comparison in BY_CHANGE and not verdicts.day_filters(one, table) for one in stored)
    is_relative = resolve(table, today) != resolve(table, today - timedelta(days=1000))
    memory: dict[str, dict[str, str]] = {}
    answers: dict[date, bool] = {}
    for day in (today - timedelta(days=number) for number in range(PAST_DAYS - 1, -1, -1)):
        chosen = [
            row
            for row, at in zip(table.rows, days, strict=True)
            if at is not None and (at <= day if is_relative else at == day)
        ]
        if not (day in days if is_of_day else chosen):
            continue
        of_day, found = table.with_rows(chosen), []
        fixed = resolve(of_day, day)  # reads all rows of a fall or a rise: once for all parts
        for name, part_table in verdicts.split_for_rule(rule, of_day).items():
            part = fold_text(name)
            verdict = verdicts.evaluate(fixed, rule.join, part_table, memory.get(part, {}))
            memory[part] = verdict.memory
            found.append(verdict.holds)
        if True in found or False in found:
            answers[day] = True in found
    return {"day_count": len(answers), "held": [day for day, holds in answers.items() if holds]}
