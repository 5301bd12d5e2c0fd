"""Counts people whom messages reached or did not reach, by day, run or company; annotates the companies' queues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, time, timedelta
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

import redis
from django.conf import settings
from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate

from notifications.delivery.channels import make_app_limits
from notifications.delivery.limiter import StoreLostError, ask_gate
from notifications.models import Attempt, CorpQueue, Delivery

logger = logging.getLogger(__name__)

Status = Delivery.Status


@dataclass(frozen=True)
class OutcomeCounts:
    """Numbers of people by the outcome of their message. `refused`: WeCom, a robot or the mail server refused it, or it
    was canceled; `unknown`: it may have been delivered."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    waiting: int = 0

    def __add__(self, other: OutcomeCounts) -> OutcomeCounts:
        return OutcomeCounts(*map(add, astuple(self), astuple(other)))

    @property
    def settled(self) -> int:
        """The number of people whose message does not wait any more."""
        return self.accepted + self.refused + self.unknown


@dataclass(frozen=True)
class DayCounts:
    """The counts of the messages created on a day, in the viewer's time zone."""

    date: date
    counts: OutcomeCounts


def count_last_days(deliveries: QuerySet[Delivery], *, today: date, days: int, zone: ZoneInfo) -> list[DayCounts]:
    """Return the last `days` days up to `today`, oldest first, including days without messages. Makes one query."""
    first = today - timedelta(days=days - 1)
    recent = deliveries.filter(created_at__gte=find_midnight(first, zone), created_at__lt=find_midnight(today, zone, 1))
    found = sum_outcomes(recent.annotate(day=TruncDate("created_at", tzinfo=zone)), "day")
    dates = [first + timedelta(days=number) for number in range(days)]
    return [DayCounts(day, found.get(day, OutcomeCounts())) for day in dates]


def count_outcomes(column: str, key: int) -> OutcomeCounts:
    """Count the outcomes of a run's messages, or of all runs of an incoming message. `column`: the look-up from a
    delivery to the run or message, such as "run__message"; `key`: its primary key. Makes one query."""
    return sum_outcomes(Delivery.objects.filter(**{column: key}), column).get(key, OutcomeCounts())


def sum_outcomes(rows: QuerySet[Delivery], column: str) -> dict[Any, OutcomeCounts]:
    """Map each value of the column to the counts of its deliveries. People of an accepted message whom WeCom names as
    invalid or unlicensed count as refused."""
    named, everybody = F("invalid_count") + F("unlicensed_count"), F("recipient_count")
    refused = Case(
        When(status=Status.ACCEPTED, then=named),
        When(status__in=[Status.FAILED, Status.CANCELED], then=everybody),
        default=0,
    )
    sums = (
        rows.order_by()
        .values_list(column)
        .annotate(
            accepted=Sum(everybody - named, filter=Q(status=Status.ACCEPTED), default=0),
            refused=Sum(refused),
            unknown=Sum(everybody, filter=Q(status=Status.UNKNOWN), default=0),
            waiting=Sum(everybody, filter=Q(status__in=Delivery.UNSETTLED), default=0),
        )
    )
    return {key: OutcomeCounts(*counts) for key, *counts in sums}


def find_midnight(day: date, zone: ZoneInfo, plus: int = 0) -> datetime:
    """Return when `day`, or the day `plus` days later, begins in `zone`."""
    return datetime.combine(day + timedelta(days=plus), time(), tzinfo=zone)


# --- Queues: speed, time left, and the part of the daily budget that is used ---

MINUTE = timedelta(minutes=1)
# A warning is shown once this percentage of the daily budget is used.
WARNED_PERCENT = 80


def annotate_queues(queues: Sequence[CorpQueue], *, now: datetime) -> None:
    """Set attributes of each queue: `used_today`, person-messages (None: not known); `time_left` until all is sent
    (None: nothing waits, the queue is held up or has no company, or its speed is unknown); `is_all_paused`: nothing is
    sent to any company. The queues must be annotated with `calls`, the number of messages that wait."""
    recent = Attempt.objects.filter(started_at__gte=now - MINUTE).order_by()
    speeds: dict[int, int] = dict(recent.values_list("delivery__corp").annotate(count=Count("pk")))
    is_all_paused = CorpQueue.objects.paused().filter(corp__isnull=True).exists()
    used = count_used_today([queue for queue in queues if queue.corp_id is not None])
    for queue in queues:
        calls: int = queue.calls  # type: ignore[attr-defined]  # annotated by the caller
        speed = speeds.get(queue.corp_id or 0) or settings.LIMIT_COMPANY_PER_MINUTE or None
        is_held = is_all_paused or queue.corp is None or not is_sending(queue)
        queue.is_all_paused = is_all_paused  # type: ignore[attr-defined]  # as said above
        time_left = None
        if calls and not is_held and speed is not None:
            # The longer time: by the present speed, or by the limit of calls per hour.
            per_hour = settings.LIMIT_COMPANY_PER_HOUR
            time_left = max(MINUTE * (calls / speed), timedelta(hours=(calls - 1) // per_hour if per_hour else 0))
        queue.time_left = time_left  # type: ignore[attr-defined]  # as said above
        queue.used_today = used.get(queue.pk)  # type: ignore[attr-defined]  # as said above


def is_sending(queue: CorpQueue) -> bool:
    """Return whether the queue and its company let messages go out."""
    is_enabled = queue.corp is None or queue.corp.is_enabled
    return is_enabled and not queue.is_paused and queue.blocked_since is None


def count_used_today(queues: Sequence[CorpQueue]) -> dict[int, int]:
    """Map each queue to its person-messages of today; empty if the limiter cannot be asked. `queues`: read with their
    companies."""
    apps = [make_app_limits(queue.corp.corpid, queue.corp.agentid) for queue in queues if queue.corp is not None]
    if not apps:
        return {}
    try:
        counts = ask_gate(lambda gate: gate.count_used_today(apps))
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the limiter could not say what was sent today: %s", type(error).__name__)
        return {}
    return dict(zip([queue.pk for queue in queues if queue.corp is not None], counts, strict=True))


def compute_used_percent(used: int, daily_budget: int) -> int:
    """Return the used percentage, rounded down; 0 without a limit."""
    return 100 * used // daily_budget if daily_budget else 0
