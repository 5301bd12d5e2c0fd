"""Tries an unsaved rule on fetched data and over the past, and makes the message that it would send. Saves nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation
from django.utils.timezone import now

from integrations.data.figures import fold_text
from notifications.alerts import charts, conditions, evaluation, notices, verdicts
from notifications.alerts.conditions import BY_CHANGE, Condition, ConditionError
from notifications.alerts.notices import AlertNotice, AlertRunSource
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
PAST_DAYS = 30
# Limit of rows for trying a rule over the past: somebody waits for the page.
PAST_ROWS_AT_MOST = 10_000


@dataclass(frozen=True)
class ShownRow:
    cells: list[str]
    is_marked: bool


@dataclass(frozen=True)
class ShownPart:
    """Part of the data with its verdict and its rows, those that make it hold first."""

    name: str
    holds: bool | None
    findings: list[str]
    rows: list[ShownRow]
    further_count: int

    @property
    def is_marked(self) -> bool:
        return any(row.is_marked for row in self.rows)


@dataclass(frozen=True)
class Past:
    """Result over the past. `day_count`: days with an answer. `held`: days on which the rule would have fired, oldest
    first."""

    day_count: int
    held: list[date]


@dataclass(frozen=True)
class Trial:
    """Result of trying a rule. `problem`: a sentence, if there is no answer. `pictures`: charts to make; each one's
    alias is the part's name. `unknown_count`: parts whose verdict is unknown. `is_cut`: there are more rows. `past`:
    None if the data cannot say. `notices`: one for each audience."""

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


def try_rule(rule: AlertRule, table: Table, *, language: str) -> Trial:
    """Return what a check would find in `table`. Changes against the check before are not tried."""
    zone = read_zone(rule.time_zone)
    at, table = now().astimezone(zone), verdicts.localize(table, zone)
    try:
        found = evaluation.evaluate(rule, table, at=at)
        past = try_over_past(rule, table, today=at.date())
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
        past=past,
        notices=_notices(rule, found, at),
        pictures=_pictures(rule, {part.name: tables[part.name] for part in parts}, at, language),
    )


def _notices(rule: AlertRule, found: dict[str, verdicts.Verdict], at: datetime) -> list[AlertNotice]:
    """Return the notices. Parts with the same audience share one."""
    groups: dict[Hashable, list[Incident]] = defaultdict(list)
    with translation.override(settings.LANGUAGE_CODE):
        for incident in evaluation.draft_incidents(rule, found, now=at):
            groups[notices.audience_key(incident)].append(incident)
    return [AlertNotice(together, Incident.Notice.FIRE, at) for together in groups.values()]


def preview_notice(rule: AlertRule, notice: AlertNotice, by: User) -> MessagePreview:
    """Render the notice of a draft for its group, or for `by`. Raise RenderingError."""
    receiver = rule.receiver
    run = Run(trigger=Run.Trigger.ALERT, corp_id=receiver.corp_id, slot_at=notice.now)
    to: Recipient | Robot | None = receiver.robot if receiver.channel == Channel.ROBOT else None
    if to is None:
        [to] = find_recipients(trial_audience(receiver, by.pk), None)
    return preview_message(AlertRunSource(run, notice), run, to, now=notice.now)


def _pictures(rule: AlertRule, tables: dict[str, Table], at: datetime, language: str) -> Plan:
    """Plan a picture for each condition that can be charted, for the first parts."""
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


# --- Over the past: on how many of the last days the conditions would have held ---


def try_over_past(rule: AlertRule, table: Table, *, today: date) -> Past | None:
    """Return the last days on which the rule would have fired. Raise ConditionError. None if the rows have no column of
    days or there are too many. A rule with relative dates is tried on each day over all rows until then; another rule
    over the rows of that day only."""
    table = verdicts.localize(table, read_zone(rule.time_zone))
    columns = verdicts.day_columns(table)
    if not columns or not 0 < len(table.rows) <= PAST_ROWS_AT_MOST or table.is_cut:
        return None
    days = [verdicts.day_of(value) for value in table.values(columns[0].name)]
    found = conditions.from_rows(rule.conditions)
    # A fall or a rise compares a day with rows of earlier days, so the day itself must have rows.
    is_of_day = any(one.comparison in BY_CHANGE and not verdicts.day_filters(one, table) for one in found)
    ago = today - timedelta(days=1000)
    is_relative = any(_at_day(rule, one, table, today) != _at_day(rule, one, table, ago) for one in found)
    memory: dict[str, dict[str, str]] = {}
    answers: list[tuple[date, bool]] = []
    for day in (today - timedelta(days=number) for number in range(PAST_DAYS - 1, -1, -1)):
        chosen = [
            row
            for row, at in zip(table.rows, days, strict=True)
            if at is not None and (at <= day if is_relative else at == day)
        ]
        is_there = day in days if is_of_day else bool(chosen)
        holds = _holds(rule, found, table.with_rows(chosen), day, memory) if is_there else None
        if holds is not None:
            answers.append((day, holds))
    return Past(len(answers), [day for day, holds in answers if holds])


def _at_day(rule: AlertRule, condition: Condition, table: Table, day: date) -> Condition:
    return verdicts.resolve_dates(condition, table, datetime.combine(day, time(), read_zone(rule.time_zone)))


def _holds(
    rule: AlertRule,
    found: Sequence[Condition],
    table: Table,
    day: date,
    memory: dict[str, dict[str, str]],
) -> bool | None:
    """Return whether any part holds. Put the numbers that the next day compares with into `memory`."""
    answers = []
    fixed = [_at_day(rule, one, table, day) for one in found]
    for name, its_table in verdicts.parts_of(rule, table).items():
        part = fold_text(name)
        verdict = verdicts.evaluate(fixed, rule.join, its_table, memory.get(part, {}))
        memory[part] = verdict.memory
        answers.append(verdict.holds)
    if True in answers:
        return True
    return False if False in answers else None
