"""Consumer of directory events: keeps the copy current between runs (phase one).

What an event says is looked up before it is written, so events may come late, twice or out of order. A run reads for
minutes, and what it read may be older than an event: who was changed since is left alone by it (writing.RowWriter),
and the events that came meanwhile are worked off once more after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import redis
from django.conf import settings

from integrations.callbacks.registry import Batch, Consumer, Outcome
from integrations.clients.errors import IntegrationError
from integrations.core.redis import valkey
from integrations.directory.api import Calling
from integrations.directory.event_payloads import UPDATE_USER, EventChanges, Rename, changes_in, is_about_directory
from integrations.directory.guards import Stop, is_too_many
from integrations.directory.incremental import EventLookup, EventWriter, Found, has_copy, put_out_of_reach
from integrations.directory.renames import Renamed, apply_renames
from integrations.directory.sync import request_run
from integrations.models import Corp, EventWork, Member, SyncRun

logger = logging.getLogger(__name__)

NAME = "integrations.directory"
# When events that came during a run, or beside another writer, are worked off once more.
AFTER_RUN, AFTER_OTHERS = timedelta(seconds=20), timedelta(seconds=2)
# How often a look at WeCom shows that its worker lives: a fraction of the lane's lease.
PULSE = timedelta(seconds=20)
# So many events that wait are looked through for renames.
WAITING_AT_MOST = 200
# Those who lose access by events within the window are counted together, as those of one run are.
GUARD_WINDOW = timedelta(minutes=10)


def consume(batch: Batch) -> Outcome:
    """Bring the copy up to date for those whom the events name."""
    corp = batch.corp
    if not corp.is_enabled or not has_copy(corp):
        return Outcome()
    changes = changes_in(batch.events, batch.tries)
    lookup, renamed = EventLookup(corp=corp, changes=changes, calling=Calling(), alive=_pulse(batch)), Renamed()
    try:
        renamed = _rename(batch, changes, lookup)
        found = lookup.found(now=batch.clock())
    except IntegrationError:
        _bar_leavers(batch, changes)
        raise
    except Stop:  # a department root is not there any more: the run says so, where it is read
        _request_run(batch)
        return Outcome()
    writer = _write(batch, found, own=renamed.written)
    is_to_repeat = bool(renamed.blocked or found.has_unexplained or writer.left_count)
    return Outcome(writer.touched, _again_after(corp, is_to_repeat=is_to_repeat))


def _pulse(batch: Batch) -> Callable[[], None]:
    """Moves the lane's lease on, but not with each of many answers."""
    held_at = batch.clock()

    def alive() -> None:
        nonlocal held_at
        now = batch.clock()
        if now - held_at >= PULSE:
            held_at = now
            batch.hold()

    return alive


def _rename(batch: Batch, changes: EventChanges, lookup: EventLookup) -> Renamed:
    """Carry out what can be, and keep those who must wait for it from being looked at."""
    renames = sorted([*changes.renames, *_waiting_renames(batch)], key=lambda one: one.happened_at)
    if not renames:
        return Renamed()
    read_since = batch.clock()
    known = lookup.existing(sorted({userid for one in renames for userid in (one.old, one.new)}), now=read_since)
    renamed = apply_renames(
        corp=batch.corp,
        renames=renames,
        known=known,
        read_since=read_since,
        now=batch.clock(),
        hold=batch.hold,
        touch=batch.touch,
    )
    for one in renamed.blocked:
        changes.leave_out((one.old, one.new))
    for one in renamed.outdated:
        lookup.forget((one.old, one.new))
    return renamed


def _waiting_renames(batch: Batch) -> list[Rename]:
    """Those of other events, which waited for one of these: the userids that they name are not looked up before."""
    works = EventWork.objects.waiting().filter(corp=batch.corp, consumer=NAME, event__change=UPDATE_USER)
    works = works.exclude(event__in=[one.pk for one in batch.events]).filter(next_try_at__isnull=False)
    found = list(works.select_related("event").order_by("event__happened_at", "event_id")[:WAITING_AT_MOST])
    return changes_in([one.event for one in found], {one.event_id: one.try_count for one in found}).renames


def _write(batch: Batch, found: Found, *, own: Mapping[int, datetime]) -> EventWriter:
    """`own`: members whom this batch has written already, and when."""
    writer = EventWriter(
        corp=batch.corp, read_since=found.read_since, clock=batch.clock, hold=batch.hold, touch=batch.touch, own=own
    )
    losing = [one.state.folded for one in found.plan.losing if one.state.is_able]
    if losing and _is_suspicious(batch.corp, losing):
        logger.error("events corp=%s would take access from %d: a run asks first", batch.corp.pk, len(losing))
        found.plan.losing, found.is_too_much = [], True
    writer.write(found.plan)
    if found.is_too_much:
        _request_run(batch)
    return writer


def _bar_leavers(batch: Batch, changes: EventChanges) -> None:
    leavers = changes.leavers
    if leavers and not _is_suspicious(batch.corp, leavers):
        put_out_of_reach(corp=batch.corp, userids=leavers, now=batch.clock(), hold=batch.hold, touch=batch.touch)


def _request_run(batch: Batch) -> None:
    """The beat of the higher app that carries out runs finds it within a minute."""
    request_run(corp=batch.corp, trigger=SyncRun.Trigger.EVENT, now=batch.clock())


def _again_after(corp: Corp, *, is_to_repeat: bool) -> timedelta | None:
    if SyncRun.objects.filter(corp=corp, status=SyncRun.Status.RUNNING).exists():
        return AFTER_RUN
    return AFTER_OTHERS if is_to_repeat else None


def _is_suspicious(corp: Corp, losing: Collection[str]) -> bool:
    """Whether, with those of the last minutes, more lose access by events than may without an administrator's yes.

    `losing`: folded userids. A set: while WeCom cannot be asked, the same events are tried again and again.
    Without the store only these count.
    """
    key = f"integrations:event-leaving:{corp.pk}"
    total = len(losing)
    with suppress(redis.RedisError), valkey().pipeline() as pipeline:
        pipeline.sadd(key, *losing)
        pipeline.expire(key, GUARD_WINDOW, nx=True)
        pipeline.scard(key)
        total = int(pipeline.execute()[-1])
    # Those of the last minutes have lost access already.
    able_count = Member.objects.filter(corp=corp).able().count() + total - len(losing)
    return is_too_many(losing_count=total, able_count=able_count, percent=settings.DIRECTORY_GUARD_PERCENT)


DIRECTORY_CONSUMER = Consumer(name=NAME, wants=is_about_directory, consume=consume)
