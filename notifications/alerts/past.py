"""Tries a rule over the past: on how many of the last days its conditions would have held. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from django.utils.timezone import get_default_timezone, localtime

from notifications.alerts import conditions, verdicts
from notifications.alerts.conditions import TIMES, Condition, Join, moment
from notifications.alerts.verdicts import Memory

if TYPE_CHECKING:
    from integrations.clients.sources.table import Table, Value
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
    days = _days_of(table)
    if not days or len(table.rows) > ROWS_AT_MOST or table.is_cut:
        return None
    found = conditions.from_rows(rule.conditions)
    is_relative = any(verdicts.at_day(one, table, today) != one for one in found)
    memory: dict[str, Memory] = {}
    answers: list[tuple[date, bool]] = []
    for day in (today - timedelta(days=number) for number in range(DAYS - 1, -1, -1)):
        chosen = [
            row
            for row, at in zip(table.rows, days, strict=True)
            if at is not None and (at <= day if is_relative else at == day)
        ]
        holds = _holds(rule, found, table.with_rows(chosen), day, memory) if chosen else None
        if holds is not None:
            answers.append((day, holds))
    return Past(len(answers), [day for day, holds in answers if holds])


def _holds(
    rule: AlertRule, found: Sequence[Condition], table: Table, day: date, memory: dict[str, Memory]
) -> bool | None:
    """Whether any part holds; what the next day compares with is put into `memory`."""
    answers = []
    for part, its_table in verdicts.parts_of(rule, table).items():
        fixed = [verdicts.at_day(one, its_table, day) for one in found]
        verdict = verdicts.evaluate(fixed, Join(rule.join), its_table, memory.get(part, Memory()))
        memory[part] = verdict.memory
        answers.append(verdict.holds)
    if True in answers:
        return True
    return False if False in answers else None


def _days_of(table: Table) -> list[date | None]:
    """Of each row, by the first column of days or times; empty where there is none."""
    place = next((place for place, column in enumerate(table.columns) if column.kind in TIMES), None)
    return [] if place is None else [_day(row[place]) for row in table.rows]


def _day(value: Value) -> date | None:
    if isinstance(value, datetime):
        return localtime(moment(value), get_default_timezone()).date()
    return value if isinstance(value, date) else None
