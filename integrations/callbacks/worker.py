"""Processes the events of one company for one consumer in batches, while it holds their lane."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from integrations.callbacks import queue
from integrations.callbacks.queue import Held
from integrations.callbacks.registry import Batch, Clock, consumer_named, consumers_after
from integrations.clients.errors import IntegrationError, RateLimitedError
from integrations.core.background import guarded
from integrations.models import Corp, EventWork
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)

# A worker gives the lane back after so long, so that others get their turn.
TURN = timedelta(seconds=60)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=15)
# While the other side does not answer, an event is tried for so long. The nightly run has read all of it by then.
TRIED_FOR = timedelta(hours=36)
# An event that our own program stumbles over is tried so often.
TRIES_AT_MOST = 8


def work_through(*, corp_id: int, consumer: str, clock: Clock) -> list[tuple[int, str]]:
    """Work off what is due in one lane. Returns the lanes to queue now: those that waited for this one, and this one
    itself where its time was over before its work. Nothing where another worker has the lane.
    """
    known = consumer_named(consumer)
    held = None if known is None else queue.claim(corp_id=corp_id, consumer=known, now=clock())
    if held is None:
        return []
    try:
        is_done = _work_off(held, clock)
    except LeaseLostError:
        logger.warning("events corp=%s consumer=%s were taken over by another worker", corp_id, consumer)
        return []
    finally:
        queue.release(held)
    following = [(corp_id, name) for name in consumers_after(consumer)]
    # Looks again: an event that came after the last look found the lane taken.
    if is_done and not queue.is_anything_due(held, now=clock()):
        return following
    return [*following, (corp_id, consumer)]


def _work_off(held: Held, clock: Clock) -> bool:
    """False where the time was over before the work."""
    end = clock() + TURN
    while works := queue.next_works(held, now=clock()):
        _consume(held, works, clock)
        if clock() > end:
            return False
    return True


def _consume(held: Held, works: Sequence[EventWork], clock: Clock) -> None:
    corp = Corp.objects.get(pk=held.corp_id)
    batch = Batch(
        corp=corp,
        events=[one.event for one in works],
        clock=clock,
        hold=lambda: queue.hold(held, now=clock()),
        touch=partial(queue.note_touched, works[0]),
        tries={one.event_id: one.try_count for one in works},
    )
    facts = (held.corp_id, held.consumer.name, len(works))
    expected = (LeaseLostError, IntegrationError)
    try:
        with guarded(logger, "events corp=%s consumer=%s count=%d", *facts, unless=expected) as consumed:
            outcome = held.consumer.consume(batch)
    except LeaseLostError:
        raise
    except IntegrationError as error:
        _wait(held, works, error, clock())
        return
    if consumed.error is not None:
        _single_out(held, works, consumed.error, clock)
    else:
        queue.settle(held, works, outcome, now=clock())
        logger.info(
            "events corp=%s consumer=%s count=%d touched=%d%s",
            *(*facts, len(outcome.touched)),
            "" if outcome.again_after is None else " (once more later)",
        )


def _wait(held: Held, works: Sequence[EventWork], error: IntegrationError, now: datetime) -> None:
    """The other side is not to be had, or does not let us: all of the lane waits."""
    wait = _pause(max(one.try_count for one in works))
    if isinstance(error, RateLimitedError):
        wait = max(wait, timedelta(seconds=error.retry_after_seconds))
    old = [one for one in works if one.event.received_at < now - TRIED_FOR]
    young = [one for one in works if one not in old]
    write = partial(queue.postpone, held, problem=str(error), wait=wait, now=now)
    if old:
        logger.error("events corp=%s consumer=%s given up count=%d", held.corp_id, held.consumer.name, len(old))
        write(old, give_up=True)
    if young:
        write(young, give_up=False)
    queue.delay_others(held, until=now + wait, now=now)


def _single_out(held: Held, works: Sequence[EventWork], error: Exception, clock: Clock) -> None:
    """Of several events, find the one that our program stumbles over: it alone waits."""
    if len(works) > 1:
        for work in works:
            _consume(held, [work], clock)
        return
    is_last = works[0].try_count + 1 >= TRIES_AT_MOST
    pause, problem = _pause(works[0].try_count), type(error).__name__
    queue.postpone(held, works, problem=problem, wait=pause, give_up=is_last, now=clock())


def _pause(try_count: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(try_count, 10)), LONGEST_WAIT)
