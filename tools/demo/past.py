"""Writes the demo's past: two weeks of pushes and thirty days of alerts, as the engine would have left them."""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from accounts.models import WeComAccount
from notifications.alerts.incidents import make_key
from notifications.models import (
    AlertRule,
    Attempt,
    Channel,
    Delivery,
    Incident,
    IncidentEvent,
    MessageForm,
    Receipt,
    Run,
    Subscription,
)

TIME_ZONE = ZoneInfo("Asia/Shanghai")
PAST_DAYS = 13
AT_NINE = time(9)


def seed_past_runs(subscription: Subscription, *, title: str, text: str, weekdays: range, now: datetime) -> None:
    """Write a finished run at nine on each of the last days, with a message to every company's linked people."""
    accounts = list(WeComAccount.objects.complete().select_related("corp").order_by("corp", "pk"))
    corps = {account.corp_id: account.corp for account in accounts if account.corp is not None}
    today = now.astimezone(TIME_ZONE).date()
    days = [today - timedelta(days=number) for number in range(PAST_DAYS, 0, -1)]
    runs = Run.objects.bulk_create(
        Run(
            key=f"sub:{subscription.pk}:{_at_nine(day):%Y%m%dT%H%M%SZ}",
            subscription=subscription,
            trigger=Run.Trigger.SCHEDULE,
            slot_at=_at_nine(day),
            status=Run.Status.FINISHED,
            claimed_at=_at_nine(day),
            render_after=_at_nine(day),
            rendered_at=_at_nine(day) + timedelta(seconds=1),
            finished_at=_at_nine(day) + timedelta(seconds=3),
            recipient_count=len(accounts),
        )
        for day in days
        if day.weekday() in weekdays
    )
    deliveries = Delivery.objects.bulk_create(
        Delivery(
            run=run,
            corp=corp,
            channel=Channel.WECOM,
            message_form=MessageForm.TEXTCARD,
            created_at=run.slot_at,
            title=f"{title} {_day_before(run.slot_at)}",
            text=text,
            corpid=corp.corpid,
            agentid=corp.agentid,
            body=json.dumps({"msgtype": "textcard", "textcard": {"title": title, "description": text}}).encode(),
            language="zh-hans",
            recipient_count=sum(account.corp_id == pk for account in accounts),
            status=Delivery.Status.ACCEPTED,
            next_attempt_at=run.slot_at,
            expires_at=run.slot_at + timedelta(days=1),
            settled_at=run.slot_at + timedelta(seconds=3),
            attempt_count=1,
        )
        for run in runs
        for pk, corp in corps.items()
    )
    Attempt.objects.bulk_create(
        Attempt(
            delivery=delivery,
            number=1,
            fencing_token=uuid.uuid4(),
            started_at=delivery.created_at + timedelta(seconds=2),
            finished_at=delivery.settled_at,
            outcome=Attempt.Outcome.ACCEPTED,
            errcode=0,
            duration_ms=180,
        )
        for delivery in deliveries
    )
    Receipt.objects.bulk_create(
        Receipt(
            run=delivery.run,
            delivery=delivery,
            user_id=account.user_id,
            channel=Channel.WECOM,
            address=f"{account.corp_id}:{account.userid_folded}",
        )
        for delivery in deliveries
        for account in accounts
        if account.corp_id == delivery.corp_id
    )


def seed_past_incidents(rule: AlertRule, *, days: dict[date, str], now: datetime) -> None:
    """Write an incident for each of the days, which map to the sentence that described the figure. Each opened at nine
    on the next day, was taken by the rule's owner, and was over a day later."""
    for day, summary in days.items():
        opened_at = _at_nine(day + timedelta(days=1))
        resolved_at = opened_at + timedelta(days=1)
        if resolved_at > now:
            continue
        incident = Incident.objects.create(
            key=make_key(f"rule:{rule.pk}", Incident.Kind.FIRING, "part:"),
            rule=rule,
            corp=rule.corp,
            card=rule.card,
            title=rule.name,
            summary=summary,
            severity=rule.severity,
            status=Incident.Status.RESOLVED,
            starts_at=opened_at,
            ends_at=resolved_at,
            stretch_at=opened_at,
            opened_at=opened_at,
            seen_at=resolved_at - timedelta(minutes=1),
            resolved_at=resolved_at,
            acknowledged_by=rule.owner,
            acknowledged_at=opened_at + timedelta(minutes=6),
        )
        kinds = IncidentEvent.Kind
        IncidentEvent.objects.bulk_create(
            IncidentEvent(incident=incident, kind=kind, at=at, user=rule.owner if kind == kinds.ACKNOWLEDGED else None)
            for kind, at in (
                (kinds.OPENED, opened_at),
                (kinds.ACKNOWLEDGED, opened_at + timedelta(minutes=6)),
                (kinds.RESOLVED, resolved_at),
            )
        )


def _at_nine(day: date) -> datetime:
    return datetime.combine(day, AT_NINE, tzinfo=TIME_ZONE)


def _day_before(moment: datetime) -> str:
    day = moment.astimezone(TIME_ZONE) - timedelta(days=1)
    return f"{day.month}月{day.day}日"
