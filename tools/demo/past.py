"""Write the demo's past: two weeks of pushes and thirty days of alerts, as if the engine had made them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from accounts.models import WeComAccount
from notifications.alerts.incidents import make_key
from notifications.models import AlertRule, Channel, Delivery, Incident, MessageForm, Receipt, Run, Subscription

TIME_ZONE = ZoneInfo("Asia/Shanghai")
PAST_DAYS = 13


def seed_past_runs(subscription: Subscription, *, text: str, weekdays: Iterable[int], now: datetime) -> None:
    """Write a finished run at nine on each of the last days, with a message to every company's linked people."""
    accounts = WeComAccount.objects.complete().select_related("corp").order_by("corp", "pk")
    by_corp = [(corp, list(linked)) for corp, linked in groupby(accounts, key=lambda account: account.corp) if corp]
    today = now.astimezone(TIME_ZONE).date()
    for day in (today - timedelta(days=number) for number in range(PAST_DAYS, 0, -1)):
        if day.weekday() not in weekdays:
            continue
        at = _make_time_at_nine(day)
        run = Run.objects.create(
            **dict.fromkeys(("slot_at", "claimed_at", "render_after", "rendered_at"), at),
            key=f"sub:{subscription.pk}:{at:%Y%m%dT%H%M%SZ}",
            subscription=subscription,
            trigger=Run.Trigger.SCHEDULE,
            status=Run.Status.FINISHED,
            finished_at=at + timedelta(seconds=3),
            recipient_count=sum(len(linked) for _corp, linked in by_corp),
        )
        for corp, linked in by_corp:
            delivery = Delivery.objects.create(
                **dict.fromkeys(("created_at", "next_attempt_at", "expires_at", "settled_at"), at),
                run=run,
                corp=corp,
                corpid=corp.corpid,
                agentid=corp.agentid,
                channel=Channel.WECOM,
                message_form=MessageForm.TEXT,
                title=f"{subscription.name} {day.month}月{day.day}日",
                text=text,
                body=b"{}",
                language="zh-hans",
                recipient_count=len(linked),
                status=Delivery.Status.ACCEPTED,
                attempt_count=1,
            )
            Receipt.objects.bulk_create(
                Receipt(
                    run=run,
                    delivery=delivery,
                    user_id=account.user_id,
                    channel=Channel.WECOM,
                    address=f"{corp.pk}:{account.userid_folded}",
                )
                for account in linked
            )


def seed_past_incidents(rule: AlertRule, *, days: dict[date, str], now: datetime) -> None:
    """Write an incident for each of the days, which map to a sentence about the figure. Each opened at nine on the next
    day, was acknowledged by the rule's owner, and was over a day later."""
    for day, summary in days.items():
        opened_at, resolved_at = (_make_time_at_nine(day + timedelta(days=number)) for number in (1, 2))
        acknowledged_at = opened_at + timedelta(minutes=6)
        if resolved_at > now:
            continue
        incident = Incident.objects.create(
            **dict.fromkeys(("starts_at", "stretch_at", "opened_at"), opened_at),
            **dict.fromkeys(("ends_at", "seen_at", "resolved_at"), resolved_at),
            key=make_key(f"rule:{rule.pk}", Incident.Kind.FIRING, "part:"),
            rule=rule,
            corp=rule.corp,
            card=rule.card,
            title=rule.name,
            summary=summary,
            status=Incident.Status.RESOLVED,
            acknowledged_by=rule.owner,
            acknowledged_at=acknowledged_at,
        )
        incident.events.create(kind="opened", at=opened_at)
        incident.events.create(kind="taken", at=acknowledged_at, user=rule.owner)
        incident.events.create(kind="resolved", at=resolved_at)


def _make_time_at_nine(day: date) -> datetime:
    return datetime.combine(day, time(9), tzinfo=TIME_ZONE)
