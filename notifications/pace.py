"""How fast companies are sent to, how long what waits will take, how much of the day is used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Count

from notifications.channels.wecom_app import app_name
from notifications.limiter import Budget, StoreLostError, ask
from notifications.models import Attempt, CorpQueue

logger = logging.getLogger(__name__)

MINUTE = timedelta(minutes=1)
# From this share of the daily budget on it is pointed at, in percent.
WARNED_PERCENT = 80


def describe(queues: Sequence[CorpQueue], *, now: datetime) -> None:
    """Give each queue, with its `calls` that wait, `used_today` (None: not known), `time_left` (None: nothing waits, it
    is held up, or it is the row of all companies) and `is_all_paused`: whether nothing is sent to any company."""
    speeds = calls_per_minute(now=now)
    is_all_paused = CorpQueue.objects.paused().filter(corp__isnull=True).exists()
    used = used_today([queue for queue in queues if queue.corp_id is not None])
    for queue in queues:
        calls: int = queue.calls  # type: ignore[attr-defined]  # annotated by whoever asks
        speed = speeds.get(queue.corp_id or 0) or settings.LIMIT_COMPANY_PER_MINUTE or None
        is_held = is_all_paused or queue.corp is None or not is_sending(queue)
        queue.is_all_paused = is_all_paused  # type: ignore[attr-defined]  # as said above
        queue.time_left = None if not calls or is_held or speed is None else _time_for(calls, speed)  # type: ignore[attr-defined]  # as said above
        queue.used_today = used.get(queue.pk)  # type: ignore[attr-defined]  # as said above


def is_sending(queue: CorpQueue) -> bool:
    """Whether what waits in it goes out, as far as the queue itself and its company say."""
    is_enabled = queue.corp is None or queue.corp.is_enabled
    return is_enabled and not queue.is_paused and queue.blocked_since is None


def _time_for(calls: int, per_minute: int) -> timedelta:
    """At the present speed, or at that of the hourly limit once it binds."""
    per_hour = settings.LIMIT_COMPANY_PER_HOUR
    whole_hours = (calls - 1) // per_hour if per_hour else 0
    return max(MINUTE * (calls / per_minute), timedelta(hours=whole_hours))


def calls_per_minute(*, now: datetime) -> dict[int, int]:
    """Calls of the last minute by company."""
    recent = Attempt.objects.filter(started_at__gte=now - MINUTE).order_by()
    return dict(recent.values_list("delivery__corp").annotate(count=Count("pk")))


def used_today(queues: Sequence[CorpQueue]) -> dict[int, int]:
    """Person-messages by queue; empty where the limiter cannot be asked. `queues`: with their companies."""
    budgets = [Budget(app_name(queue.corp.corpid, queue.corp.agentid)) for queue in queues if queue.corp is not None]
    if not budgets:
        return {}
    try:
        counts = ask(lambda gate: gate.used_today(budgets))
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the limiter could not say what was sent today: %s", type(error).__name__)
        return {}
    return dict(zip([queue.pk for queue in queues if queue.corp is not None], counts, strict=True))


def nearly_used(queues: Sequence[CorpQueue]) -> list[tuple[CorpQueue, int]]:
    """Those that have used WARNED_PERCENT of their daily budget, with how much of it in percent."""
    limited = [queue for queue in queues if queue.daily_budget]
    used = used_today(limited)
    shares = [(queue, percent_of(used.get(queue.pk, 0), queue.daily_budget)) for queue in limited]
    return [(queue, share) for queue, share in shares if share >= WARNED_PERCENT]


def percent_of(used: int, daily_budget: int) -> int:
    """Rounded down; 0 where there is no limit."""
    return 100 * used // daily_budget if daily_budget else 0
