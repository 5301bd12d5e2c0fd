"""Reads the data of a rule's card that was fetched on earlier days, for tables that hold no days themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta

from integrations.data.figures import EARLIER, fold_text
from integrations.data.table import Table
from integrations.models import CardData
from notifications.alerts import verdicts
from notifications.alerts.conditions import Against, ConditionError
from notifications.alerts.earlier_days import Kept
from notifications.models import AlertRule
from notifications.subscriptions.schedules import slots


def of_parts(
    rule: AlertRule, againsts: Collection[Against], *, at: datetime
) -> Callable[[str], Mapping[Against, Kept]]:
    """For each part of the rule's data what was fetched on these earlier days, at about this time of the day."""
    days = {against: EARLIER[against](at.date()) for against in againsts}
    found = {against: _parts(rule, at, day) for against, day in days.items()}
    return lambda part: {against: Kept(days[against], parts.get(fold_text(part))) for against, parts in found.items()}


def _parts(rule: AlertRule, moment: datetime, day: date) -> dict[str, Table]:
    """None where nothing is kept, or it had other columns."""
    wanted = moment.replace(year=day.year, month=day.month, day=day.day)
    midnight = wanted.replace(hour=0, minute=0, second=0, microsecond=0)
    answers = CardData.objects.filter(card=rule.card_id, status=CardData.Status.READY)
    that_day = answers.filter(slot_at__gte=midnight, slot_at__lt=midnight + timedelta(days=1))
    distances = {pk: abs(at - wanted) for pk, at in that_day.values_list("pk", "slot_at") if at is not None}
    if not distances:
        return {}
    pk = min(distances, key=lambda one: distances[one])
    try:
        table = verdicts.localize(answers.get(pk=pk).table, slots.zone(rule.time_zone))
        return {fold_text(part): its_table for part, its_table in verdicts.parts_of(rule, table).items()}
    except ConditionError:
        return {}
