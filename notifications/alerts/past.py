"""Tries a rule over the past: on how many of the last days its conditions would have held. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from integrations.data.figures import fold_text
from notifications.alerts import conditions, verdicts
from notifications.alerts.conditions import BY_CHANGE, Condition, Join
from notifications.alerts.verdicts import Memory
from notifications.subscriptions.schedules import read_zone

if TYPE_CHECKING:
    from integrations.data.table import Table
    from notifications.models import AlertRule

DAYS = 30
# The page is shown while somebody waits.
ROWS_AT_MOST = 10_000


@dataclass(frozen=True)
class Past:
    """`day_count`: of how many days there was an answer. `held`: those on which it would have fired, oldest first."""

    day_count: int
    held: list[date]


def tried(rule: AlertRule, table: Table, *, today: date) -> Past | None:
    """None where the rows cannot be told apart by day, or there are too many. Raises ConditionError.

    A rule with relative dates is tried on each day over all rows until then; another over the rows of that day alone.
    """
    table = verdicts.localize(table, read_zone(rule.time_zone))
    days = _days_of(table)
    if not days or len(table.rows) > ROWS_AT_MOST or table.is_cut:
        return None
    found = conditions.from_rows(rule.conditions)
    # A fall or a rise is of the day with the rows of the days before; the latest of these would be another day.
    is_of_day = any(one.comparison in BY_CHANGE and not verdicts.day_filters(one, table) for one in found)
    ago = today - timedelta(days=1000)
    is_relative = any(_at_day(rule, one, table, today) != _at_day(rule, one, table, ago) for one in found)
    memory: dict[str, Memory] = {}
    answers: list[tuple[date, bool]] = []
    for day in (today - timedelta(days=number) for number in range(DAYS - 1, -1, -1)):
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
    memory: dict[str, Memory],
) -> bool | None:
    """Whether any part holds; what the next day compares with is put into `memory`."""
    answers = []
    fixed = [_at_day(rule, one, table, day) for one in found]
    for name, its_table in verdicts.parts_of(rule, table).items():
        part = fold_text(name)
        verdict = verdicts.evaluate(fixed, Join(rule.join), its_table, memory.get(part, Memory()))
        memory[part] = verdict.memory
        answers.append(verdict.holds)
    if True in answers:
        return True
    return False if False in answers else None


def _days_of(table: Table) -> list[date | None]:
    """Of each row, by the first column of days or times; empty where there is none."""
    columns = verdicts.day_columns(table)
    return [verdicts.day_of(value) for value in table.values(columns[0].name)] if columns else []
