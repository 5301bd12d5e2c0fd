"""Restores the limiter's history from attempts, for a store that was emptied or is old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet, Sum

from integrations.models import Corp
from notifications.delivery.channels import SENT, Requester, Sendable, channel_of
from notifications.delivery.channels.wecom_app import app_name
from notifications.delivery.clock import database_clock
from notifications.delivery.limiter import Budget, PastCall, Request
from notifications.delivery.limiter.shared_gate import PERMIT_SECONDS
from notifications.models import Attempt, Channel

# Nothing counts longer towards a minute or an hour.
HOUR = timedelta(hours=1, minutes=1)
CHINA = ZoneInfo("Asia/Shanghai")


def calls_until_now() -> Iterator[PastCall]:
    """Registered with notifications.delivery.limiter."""
    return past_calls(now=database_clock()())


def past_calls(*, now: datetime) -> Iterator[PastCall]:
    """Every attempt of the last hour; of today's others, for the budgets, one sum for each app."""
    made = Attempt.objects.exclude(outcome=Attempt.Outcome.NOT_SENT, errcode__isnull=True)
    midnight = now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    yield from _calls(made.filter(started_at__gte=now - HOUR), midnight, now)
    yield from _sums(made.filter(started_at__gte=midnight, started_at__lt=now - HOUR))


def _calls(attempts: QuerySet[Attempt], midnight: datetime, now: datetime) -> Iterator[PastCall]:
    corps = Corp.objects.only("corpid", "agentid", "proxy_url").in_bulk()
    longest = timedelta(seconds=settings.WECOM_TOTAL_TIMEOUT_SECONDS + PERMIT_SECONDS)
    requesters: dict[tuple[str, int], Requester] = {}
    columns = ("number", "started_at", "finished_at", *(f"delivery__{name}" for name in SENT))
    rows = attempts.order_by("pk").values_list(*columns).iterator(chunk_size=500)
    for number, started_at, finished_at, *sent in rows:
        delivery = Sendable(*sent)
        delivery.attempt_count = number - 1
        way = (delivery.channel, delivery.corp_id)
        if way not in requesters:
            requesters[way] = channel_of(delivery.channel).requester(corps[delivery.corp_id], daily_budget=0)
        ended_at = finished_at or started_at + longest
        yield PastCall(requesters[way](delivery), (now - ended_at).total_seconds(), is_today=started_at >= midnight)


def _sums(attempts: QuerySet[Attempt]) -> Iterator[PastCall]:
    apps = attempts.filter(delivery__channel=Channel.WECOM).order_by().values("delivery__corpid", "delivery__agentid")
    for corpid, agentid, persons in apps.annotate(persons=Sum("delivery__recipient_count")).values_list(
        "delivery__corpid", "delivery__agentid", "persons"
    ):
        budget = Budget(app_name(corpid, agentid))
        yield PastCall(Request(id="earlier today", scopes=(), budget=budget, persons=persons), ended_seconds_ago=0)
