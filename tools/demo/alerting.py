"""The demo's alert: a rule on the weather card that fires within minutes and can be acknowledged on a phone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from integrations.models import Card, Corp, DataSource
from notifications.alerts import conditions
from notifications.alerts.conditions import Aggregate, Comparison, Condition
from notifications.models import AlertReceiver, AlertRule, Incident, Run
from notifications.subscriptions.schedules import slots
from tools.demo.bi import WEATHER_PAGE

if TYPE_CHECKING:
    from accounts.models import User

SOURCE, CARD, RULE = "演示 BI（预警）", "西雅图逐日气象（预警）", "高温预警"
HOT = Condition(Aggregate.ANY, "最高气温", Comparison.GREATER, ("35",))
BI_CARD = "weather-daily"


def seed(corp: Corp, people: list[User], *, now: datetime) -> None:
    """Write what is missing: the first people of a company are on duty for hot days."""
    # The console of the stand-in has our address and keys from the beginning.
    Corp.objects.filter(pk=corp.pk, callback_verified_at__isnull=True).update(callback_verified_at=now)
    if AlertRule.objects.filter(name=RULE).exists():
        return
    source, _is_new = DataSource.objects.get_or_create(name=SOURCE, defaults={"kind": "guandata", "corp": corp})
    card, _is_new = Card.objects.get_or_create(
        name=CARD,
        source=source,
        defaults={"bi_page_id": WEATHER_PAGE, "bi_card_id": BI_CARD, "kinds": {"日期": "date", "最高气温": "number"}},
    )
    receiver = AlertReceiver.objects.create(name=RULE, corp=corp)
    receiver.users.set(people)
    rule = AlertRule(
        name=RULE,
        receiver=receiver,
        card=card,
        owner=people[0],
        conditions=conditions.to_rows([HOT]),
        crontab="* * * * *",
    )
    slots.reschedule(rule, now=now)
    rule.save()


def reset() -> None:
    """Remove what `seed` wrote, and what came of it."""
    incidents = Incident.objects.filter(rule__name=RULE)
    Run.objects.filter(incident_notices__incident__in=incidents).delete()
    incidents.delete()
    AlertRule.objects.filter(name=RULE).delete()
    AlertReceiver.objects.filter(name=RULE).delete()
    Card.objects.filter(name=CARD).delete()
    DataSource.objects.filter(name=SOURCE).delete()
