"""How many people messages reached, were refused for, or may have reached: by day and by company."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeVar

from django.db.models import F, QuerySet, Sum
from django.db.models.functions import TruncDate

from notifications.models import Delivery

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

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
