"""The work queue of events: rows written with the event, claimed per lane, marked when done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from integrations.callbacks.registry import Consumer, Outcome, consumer_named, consumers_for
from integrations.models import CallbackEvent, Corp, EventLane, EventWork
from integrations.models.jobs import LET_GO, LeaseLostError, Moment

# How long a worker may be silent before another takes its lane over: longer than one call to WeCom with all repeats.
LEASE = timedelta(seconds=120)
BATCH = 100
LANES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A lane that is ours for the time being."""

    lane_id: int
    corp_id: int
    consumer: Consumer
    token: str


def add_work(event: CallbackEvent) -> list[str]:
    """Write the work on a new event, in the transaction that stores it. Returns the consumers that may begin now."""
    wanted = consumers_for(event.event, event.change) if event.is_event else []
    EventWork.objects.bulk_create(EventWork(event=event, corp_id=event.corp_id, consumer=one.name) for one in wanted)
    names = {one.name for one in wanted}
    return [one.name for one in wanted if one.after not in names]


def due(now: Moment) -> QuerySet[EventWork]:
    """Work in lanes that no worker holds."""
    held = EventLane.objects.filter(corp=OuterRef("corp"), consumer=OuterRef("consumer"), lease_until__gt=now)
    return EventWork.objects.due(now).filter(~Exists(held))


def due_lanes(*, now: datetime) -> list[tuple[int, str]]:
    """Corp and consumer of every lane in which something is due and that no worker holds. Queued twice does no harm."""
    lanes = due(now).order_by("corp", "consumer").values_list("corp", "consumer")
    found = lanes.distinct()[:LANES_AT_ONCE]
    return [(corp, name) for corp, name in found if consumer_named(name) is not None]


def claim(*, corp_id: int, consumer: Consumer, now: datetime) -> Held | None:
    """Take a lane; None where another worker has it, or the corp is gone."""
    if not Corp.objects.filter(pk=corp_id).exists():
        return None
    lane, _ = EventLane.objects.get_or_create(corp_id=corp_id, consumer=consumer.name)
    token = EventLane.objects.free(now).filter(pk=lane.pk).claim(until=now + LEASE)
    return Held(lane.pk, corp_id, consumer, token) if token else None


def hold(held: Held, *, now: datetime) -> None:
    """Move the lease on. Inside a transaction no other worker can take the lane before its end. Raises LeaseLostError.

    Expiry alone does not end it: a worker that slept too long may go on as long as nobody else has begun.
    """
    if not EventLane.objects.held_by(held.lane_id, held.token).update(lease_until=now + LEASE):
        raise LeaseLostError


def release(held: Held) -> None:
    """Give the lane back. Nothing where another worker has it by now."""
    EventLane.objects.held_by(held.lane_id, held.token).update(**LET_GO)


def next_works(held: Held, *, now: datetime) -> list[EventWork]:
    """What is due in the lane, the earliest events first; nothing that another consumer must deal with before."""
    works = _due(held, now).select_related("event").order_by("event__happened_at", "event_id")
    return list(works[:BATCH])


def is_anything_due(held: Held, *, now: datetime) -> bool:
    """Whether `next_works` would find something."""
    return _due(held, now).exists()


def _due(held: Held, now: datetime) -> QuerySet[EventWork]:
    works = EventWork.objects.due(now).filter(corp=held.corp_id, consumer=held.consumer.name)
    if held.consumer.after:
        earlier = EventWork.objects.waiting().filter(event=OuterRef("event"), consumer=held.consumer.after)
        works = works.filter(~Exists(earlier))
    return works


def note_touched(work: EventWork, keys: Sequence[int]) -> None:
    """Add to what a batch, whose first row is `work`, has changed: in the transaction that changes it."""
    known = set(work.touched)
    work.touched = [*work.touched, *(key for key in keys if key not in known)]
    EventWork.objects.filter(pk=work.pk).update(touched=work.touched)


@transaction.atomic
def settle(held: Held, works: Sequence[EventWork], outcome: Outcome, *, now: datetime) -> None:
    """Write down what came of a batch. Raises LeaseLostError."""
    hold(held, now=now)
    rows = EventWork.objects.filter(pk__in=[one.pk for one in works])
    if outcome.touched:
        note_touched(works[0], outcome.touched)
    if outcome.again_after is not None:
        rows.update(next_try_at=now + outcome.again_after, try_count=F("try_count") + 1)
        return
    rows.update(status=EventWork.Status.DONE, done_at=now, next_try_at=None, problem="")
    EventLane.objects.filter(pk=held.lane_id).update(worked_at=now)


@transaction.atomic
def postpone(
    held: Held, works: Sequence[EventWork], *, problem: str, wait: timedelta, give_up: bool, now: datetime
) -> None:
    """The next try of a batch, or the end of it. Raises LeaseLostError."""
    hold(held, now=now)
    for work in works:
        work.try_count, work.problem = work.try_count + 1, problem[:255]
        work.next_try_at = None if give_up else now + wait
        if give_up:
            work.status = EventWork.Status.FAILED
    EventWork.objects.bulk_update(works, ["try_count", "problem", "next_try_at", "status"])


def delay_others(held: Held, *, until: datetime, now: datetime) -> None:
    """What else is due in the lane would meet the same obstacle: it waits as long."""
    _due(held, now).update(next_try_at=until)


@transaction.atomic
def try_again(*, corp: Corp) -> tuple[int, list[str]]:
    """Let what was given up be tried once more. Returns how much that is, and the consumers to queue."""
    keys = list(EventWork.objects.given_up().filter(corp=corp).values_list("pk", flat=True))
    works = EventWork.objects.filter(pk__in=keys, status=EventWork.Status.FAILED)
    names = sorted(set(works.values_list("consumer", flat=True)))
    count = works.update(status=EventWork.Status.WAITING, try_count=0, next_try_at=None, problem="")
    return count, names


def touched_by(*, consumer: str, events: Sequence[CallbackEvent]) -> list[int]:
    """The keys that `consumer` noted as changed for these events, each once, in order."""
    works = EventWork.objects.filter(event__in=[one.pk for one in events], consumer=consumer)
    return sorted({key for keys in works.values_list("touched", flat=True) for key in keys})
