"""Reads the data of a rule's card that was fetched on earlier days, for tables that hold no days themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta

from django.utils.timezone import get_default_timezone, localtime

from integrations.data.table import Table
from integrations.models import CardData
from notifications.alerts import verdicts
from notifications.alerts.conditions import Against, ConditionError, folded
from notifications.alerts.earlier_days import Kept
from notifications.models import AlertRule
from notifications.reports.templates.dates import EARLIER


def of_parts(
    rule: AlertRule, againsts: Collection[Against], *, now: datetime
) -> Callable[[str], Mapping[Against, Kept]]:
    """For each part of the rule's data what was fetched on these earlier days, at about this time of the day."""
    moment = localtime(now, get_default_timezone())
    days = {against: EARLIER[against](moment.date()) for against in againsts}
    found = {against: _parts(rule, moment, day) for against, day in days.items()}
    return lambda part: {against: Kept(days[against], parts.get(folded(part))) for against, parts in found.items()}


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
        return {folded(part): table for part, table in verdicts.parts_of(rule, answers.get(pk=pk).table).items()}
    except ConditionError:
        return {}
