"""Tries an unsaved rule on fetched data, and makes the message that it would send. Keeps nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation
from django.utils.timezone import now

from notifications.alerts import charts, conditions, evaluation, notices, past, verdicts
from notifications.alerts.conditions import ConditionError
from notifications.alerts.notices import AlertNotice, AlertRunSource
from notifications.alerts.past import Past
from notifications.charts.drawing import cell_text
from notifications.delivery.rendering.attachments import NOTHING, Plan, Wanted
from notifications.delivery.rendering.preview import MessagePreview, preview_message
from notifications.models import Channel, Incident, Medium, Robot, Run
from notifications.subscriptions.recipients import Recipient, find_recipients, trial_audience
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from accounts.models import User
    from integrations.data.table import Table
    from notifications.models import AlertRule

ROWS_SHOWN, PARTS_SHOWN, PICTURES_SHOWN = 20, 20, 4


@dataclass(frozen=True)
class ShownRow:
    cells: list[str]
    is_marked: bool


@dataclass(frozen=True)
class ShownPart:
    """One part of the data: what the conditions say of it, and its rows, those that make it hold first."""

    name: str
    holds: bool | None
    findings: list[str]
    rows: list[ShownRow]
    further_count: int

    @property
    def is_marked(self) -> bool:
        return any(row.is_marked for row in self.rows)


@dataclass(frozen=True)
class Trial:
    """`problem`: a sentence, where there is no answer. `pictures`: to be made, each of the part that is its alias.
    `unknown_count`: parts of which nobody can say whether the conditions hold. `is_cut`: there are more rows.
    `past`: None where the data cannot say. `notices`: what would be sent, one for each choice of people."""

    problem: str = ""
    names: list[str] = field(default_factory=list)
    parts: list[ShownPart] = field(default_factory=list)
    part_count: int = 0
    holding_count: int = 0
    unknown_count: int = 0
    row_count: int = 0
    is_cut: bool = False
    as_of: datetime | None = None
    as_of_day: date | None = None
    pictures: Plan = NOTHING
    past: Past | None = None
    notices: list[AlertNotice] = field(default_factory=list)


def tried(rule: AlertRule, table: Table, *, language: str) -> Trial:
    """What a check would find in `table`, but for changes against the check before."""
    zone = read_zone(rule.time_zone)
    at, table = now().astimezone(zone), verdicts.localize(table, zone)
    try:
        found = evaluation.evaluate(rule, table, at=at)
        tried_before = past.tried(rule, table, today=at.date())
    except ConditionError as error:
        return Trial(problem=conditions.sentence(error))
    tables = verdicts.parts_of(rule, table)
    unknown = ConditionError("cut" if table.is_cut else "nothing_counts")
    lines = {part: conditions.findings(rule, verdict, unknown=unknown) for part, verdict in found.items()}
    parts = [
        _shown(part, verdict.holds, lines[part].splitlines(), tables[part], verdict.rows)
        for part, verdict in sorted(found.items(), key=lambda one: not one[1].holds)[:PARTS_SHOWN]
    ]
    return Trial(
        names=list(table.names),
        parts=parts,
        part_count=len(found),
        holding_count=sum(verdict.holds is True for verdict in found.values()),
        unknown_count=sum(verdict.holds is None for verdict in found.values()),
        row_count=len(table.rows),
        is_cut=table.is_cut,
        as_of=table.as_of,
        as_of_day=table.as_of_day,
        past=tried_before,
        notices=_notices(rule, found, at),
        pictures=_pictures(rule, {part.name: tables[part.name] for part in parts}, at, language),
    )


def _notices(rule: AlertRule, found: dict[str, verdicts.Verdict], at: datetime) -> list[AlertNotice]:
    """Parts that share their people are told together."""
    groups: dict[Hashable, list[Incident]] = defaultdict(list)
    with translation.override(settings.LANGUAGE_CODE):
        for incident in evaluation.draft_incidents(rule, found, now=at):
            groups[notices.audience_key(incident)].append(incident)
    return [AlertNotice(together, Incident.Notice.FIRE, at) for together in groups.values()]


def preview_notice(rule: AlertRule, notice: AlertNotice, by: User) -> MessagePreview:
    """Render what a notice of a draft says to its group, or as if to `by`. Raises RenderingError."""
    receiver = rule.receiver
    run = Run(trigger=Run.Trigger.ALERT, corp_id=receiver.corp_id, slot_at=notice.now)
    to: Recipient | Robot | None = receiver.robot if receiver.channel == Channel.ROBOT else None
    if to is None:
        [to] = find_recipients(trial_audience(receiver, by.pk), None)
    return preview_message(AlertRunSource(run, notice), run, to, now=notice.now)


def _pictures(rule: AlertRule, tables: dict[str, Table], at: datetime, language: str) -> Plan:
    """Of the first parts, a picture for each condition of which there can be one."""
    found: list[Wanted] = []
    for name, table in tables.items():
        for condition in conditions.from_rows(rule.conditions):
            if len(found) == PICTURES_SHOWN:
                break
            drawn = charts.recipe_of(condition, table, rule=rule, at=at, language=language)
            if drawn is not None:
                title, recipe = drawn
                found.append(Wanted(Medium.Kind.PICTURE, recipe, title, name))
    return Plan(shown=tuple(found))


def _shown(name: str, holds: bool | None, findings: list[str], table: Table, marked: tuple[int, ...]) -> ShownPart:
    chosen = set(marked) if holds else set()
    order = sorted(range(len(table.rows)), key=lambda index: (index not in chosen, index))
    rows = [
        ShownRow([cell_text(*pair) for pair in zip(table.rows[index], table.columns, strict=True)], index in chosen)
        for index in order[:ROWS_SHOWN]
    ]
    return ShownPart(name, holds, findings, rows, max(0, len(table.rows) - ROWS_SHOWN))
