"""Counts people reached, refused and unclear, by day and company."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeVar

import redis
from django.conf import settings
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate

from notifications.delivery.channels import app_name
from notifications.delivery.limiter import Budget, StoreLostError, query
from notifications.models import Attempt, CorpQueue, Delivery

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


logger = logging.getLogger(__name__)


Status = Delivery.Status
Key = TypeVar("Key")


@dataclass(frozen=True)
class Counts:
    """People. `refused`: WeCom refused them, or their message was canceled; `unknown`: nobody knows."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    waiting: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.unknown + other.unknown,
            self.waiting + other.waiting,
        )

    @property
    def settled(self) -> int:
        """People of whom the outcome is final, unknown ones included."""
        return self.accepted + self.refused + self.unknown


@dataclass(frozen=True)
class Day:
    """One day of the viewer's calendar."""

    date: date
    counts: Counts


def last_days(deliveries: QuerySet[Delivery], *, today: date, days: int, zone: ZoneInfo) -> list[Day]:
    """The last `days` days up to and with `today`, the oldest first; those without messages, too. One query."""
    first = today - timedelta(days=days - 1)
    rows = (
        deliveries.filter(created_at__gte=_midnight(first, zone), created_at__lt=_midnight(today, zone, plus=1))
        .annotate(day=TruncDate("created_at", tzinfo=zone))
        .order_by()
        .values_list("day", "status")
        .annotate(**_sums())
    )
    found: dict[date, Counts] = _added(rows)
    dates = [first + timedelta(days=number) for number in range(days)]
    return [Day(day, found.get(day, Counts())) for day in dates]


def of_corps(deliveries: QuerySet[Delivery], *, today: date, zone: ZoneInfo) -> dict[int, Counts]:
    """By corp: what was settled of today's messages, and all that still wait, whenever they were made. Two queries."""
    todays = deliveries.filter(created_at__gte=_midnight(today, zone), created_at__lt=_midnight(today, zone, plus=1))
    settled = todays.exclude(status__in=Delivery.UNSETTLED)
    unsettled = deliveries.unsettled()  # type: ignore[attr-defined]  # of DeliveryQuerySet
    found: dict[int, Counts] = {}
    for rows in (settled, unsettled):
        by_corp: dict[int, Counts] = _added(rows.order_by().values_list("corp", "status").annotate(**_sums()))
        found |= {corp: found.get(corp, Counts()) + counts for corp, counts in by_corp.items()}
    return found


def of_run(run_id: int) -> Counts:
    """What became of the messages of one run. One query."""
    rows = Delivery.objects.filter(run=run_id).order_by().values_list("run", "status").annotate(**_sums())
    found: dict[int, Counts] = _added(rows)
    return found.get(run_id, Counts())


def of_message(message_id: int) -> Counts:
    """The same of all runs of an incoming message together. One query."""
    rows = Delivery.objects.filter(run__message=message_id).order_by()
    found: dict[int, Counts] = _added(rows.values_list("run__message", "status").annotate(**_sums()))
    return found.get(message_id, Counts())


def _sums() -> dict[str, Sum]:
    return {"people": Sum("recipient_count"), "exceptions": Sum(F("invalid_count") + F("unlicensed_count"))}


def _added(rows: Iterable[tuple[Key, str, int, int]]) -> dict[Key, Counts]:
    found: dict[Key, Counts] = {}
    for key, status, recipients, exceptions in rows:
        found[key] = found.get(key, Counts()) + _counts(status, recipients, exceptions)
    return found


def _counts(status: str, recipients: int, exceptions: int) -> Counts:
    match status:
        case Status.ACCEPTED:
            return Counts(accepted=recipients - exceptions, refused=exceptions)
        case Status.UNKNOWN:
            return Counts(unknown=recipients)
        case Status.PREPARING | Status.PENDING | Status.SENDING:
            return Counts(waiting=recipients)
        case _:
            return Counts(refused=recipients)


def _midnight(day: date, zone: ZoneInfo, plus: int = 0) -> datetime:
    """The first moment of the day `plus` days later, in `zone`."""
    return datetime.combine(day + timedelta(days=plus), time(), tzinfo=zone)


# --- How fast companies are sent to, how long what waits will take, how much of the day is used ---

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
    """Calls of the last minute, by the id of the company; those without a call are missing."""
    recent = Attempt.objects.filter(started_at__gte=now - MINUTE).order_by()
    return dict(recent.values_list("delivery__corp").annotate(count=Count("pk")))


def used_today(queues: Sequence[CorpQueue]) -> dict[int, int]:
    """Person-messages by queue; empty where the limiter cannot be asked. `queues`: with their companies."""
    budgets = [Budget(app_name(queue.corp.corpid, queue.corp.agentid)) for queue in queues if queue.corp is not None]
    if not budgets:
        return {}
    try:
        counts = query(lambda gate: gate.used_today(budgets))
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
