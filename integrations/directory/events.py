"""Consumer of directory events: it keeps the copy of the directory current between runs.

Everything in an event is looked up at WeCom before it is written, so events may come late, twice or out of order. A run
reads for minutes, and its data may be older than an event. So a run skips members changed since it began to read
(diff.Writer), and events that came meanwhile are processed again after it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.callbacks import Consumer, EventBatch
from integrations.clients.errors import IntegrationError
from integrations.core.redis import valkey
from integrations.directory.departments import MissingRootError, is_too_many
from integrations.directory.diff import Difference, Writer
from integrations.directory.fetch import CallPacer
from integrations.directory.incremental import (
    DIRECTORY_EVENTS,
    UPDATE_USER,
    EventChanges,
    EventLookup,
    RenameResult,
    apply_renames,
    collect_changes,
    has_copy,
)
from integrations.directory.sync import request_run
from integrations.hooks import Hook
from integrations.models import CallbackEvent, Corp, Member, SyncRun, fold_userid

logger = logging.getLogger(__name__)

CONSUMER_NAME = "integrations.directory"
# Pauses before events are processed again: events that came during a run, and events whose people another writer
# changed at the same time, or whose rename must wait.
AFTER_RUN, AFTER_OTHERS = timedelta(seconds=20), timedelta(seconds=2)
# How many waiting events are searched for renames.
WAITING_AT_MOST = 200
# People who lose access by events within this time are counted together, like those of one run.
GUARD_WINDOW = timedelta(minutes=10)


# Called outside a transaction, once the changes of a batch of events are written. `batch.touched`: the changed members.
# If it fails, it is called again.
members_changed: Hook[[EventBatch], None] = Hook()


def consume(batch: EventBatch) -> timedelta | None:
    """Update the copy for the people named by the events. Return the time after which the events must be processed
    again. If that is not needed, call `members_changed` and return None."""
    if not batch.corp.is_enabled or not has_copy(batch.corp):
        return None
    corp = batch.corp
    again_after: timedelta | None = None
    changes = collect_changes(batch.events)
    lookup = EventLookup(corp=corp, changes=changes, pacer=CallPacer())
    try:
        renamed = _rename(batch, changes, lookup)
        lookup.look_up(now=batch.clock())
    except IntegrationError:
        if changes.leavers and not _is_suspicious(corp, changes.leavers):
            # Put the leavers out of scope while WeCom does not answer; the same events later give the true state.
            # Record them as changed now: if they really are out of scope, the later look-up finds no difference, but
            # messages that wait for them must still be withdrawn.
            with transaction.atomic():
                batch.lock_job()
                here = Member.objects.filter(corp=corp, userid_folded__in=list(changes.leavers)).in_scope()
                batch.touch(list(here.order_by("pk").values_list("pk", flat=True)))
                now = batch.clock()
                here.update(presence=Member.Presence.OUT_OF_SCOPE, left_at=now, changed_at=now)
        raise
    except MissingRootError:  # a department root is missing: a run reports it
        _request_run(batch)
    else:
        writer = _write(batch, lookup, own=renamed.written)
        if SyncRun.objects.filter(corp=corp, status=SyncRun.Status.RUNNING).exists():
            again_after = AFTER_RUN
        elif renamed.blocked or lookup.has_unexplained or writer.skipped_count:
            again_after = AFTER_OTHERS
    if again_after is None:
        members_changed(batch)
        Corp.objects.filter(pk=corp.pk).update(people_event_at=batch.clock())
    return again_after


def _rename(batch: EventBatch, changes: EventChanges, lookup: EventLookup) -> RenameResult:
    """Carry out the possible renames, and skip the look-up of people whose rename must wait."""
    # The renames of other waiting events are carried out, too, whether tried before or not: else a look-up of their old
    # userids would not find them in WeCom, as if their people had left.
    waiting = CallbackEvent.objects.waiting().filter(corp=batch.corp, consumer=CONSUMER_NAME, change=UPDATE_USER)
    others = waiting.exclude(pk__in=[one.pk for one in batch.events]).order_by("happened_at", "pk")
    waiting_renames = collect_changes(others[:WAITING_AT_MOST]).renames
    renames = sorted([*changes.renames, *waiting_renames], key=lambda one: one.happened_at)
    if not renames:
        return RenameResult()
    read_since = batch.clock()
    known = lookup.find_existing(sorted({userid for one in renames for userid in (one.old, one.new)}), now=read_since)
    result = apply_renames(batch, renames, known=known, read_since=read_since)
    for folded in (fold_userid(userid) for one in result.blocked for userid in (one.old, one.new)):
        changes.people.pop(folded, None)
        changes.leavers.pop(folded, None)
    for one in result.outdated:  # WeCom must be asked again
        lookup.reader.forget_answers((one.old, one.new))
    return result


def _write(batch: EventBatch, lookup: EventLookup, *, own: Mapping[int, datetime]) -> Writer:
    """Write the changes. `own`: the members written by this batch already, and when."""

    @contextmanager
    def open_chunk(counts: Mapping[str, int]) -> Iterator[datetime]:
        with transaction.atomic():
            batch.lock_job()
            yield batch.clock()
        if counts:
            logger.info("directory by events corp=%s %s", batch.corp.pk, dict(counts))

    def note(changes: Sequence[Difference], joined: Sequence[Member], now: datetime) -> None:
        """Record who changed. The copy keeps no history between runs; the audit trail records the consequences."""
        batch.touch([*(one.member.pk for one in changes), *(one.pk for one in joined)])

    writer = Writer(corp=batch.corp, open_chunk=open_chunk, note=note, read_since=lookup.read_since, own=own)
    losing = [one.member.userid_folded for one in lookup.plan.losing if one.member.is_eligible]
    if losing and _is_suspicious(batch.corp, losing):
        logger.error("events corp=%s would take access from %d: a run asks first", batch.corp.pk, len(losing))
        lookup.plan.losing, lookup.needs_run = [], True
    writer.write(lookup.plan)
    if lookup.needs_run:
        _request_run(batch)
    return writer


def _request_run(batch: EventBatch) -> None:
    """Request a run of the whole directory."""
    request_run(corp=batch.corp, trigger=SyncRun.Trigger.EVENT, now=batch.clock())


def _is_suspicious(corp: Corp, losing: Collection[str]) -> bool:
    """Return whether so many people lose access by events of the last minutes that an administrator must confirm it.

    `losing`: folded userids. They are added to a set in Valkey, because the same events are repeated while WeCom does
    not answer. Without Valkey only `losing` counts.
    """
    key = f"integrations:event-leaving:{corp.pk}"
    total = len(losing)
    with suppress(redis.RedisError), valkey().pipeline() as pipeline:
        pipeline.sadd(key, *losing)
        pipeline.expire(key, GUARD_WINDOW, nx=True)
        pipeline.scard(key)
        total = int(pipeline.execute()[-1])
    # The people who lost access in the last minutes are not eligible any more, so they are added.
    eligible_count = Member.objects.filter(corp=corp).eligible().count() + total - len(losing)
    return is_too_many(losing_count=total, eligible_count=eligible_count, percent=settings.DIRECTORY_GUARD_PERCENT)


DIRECTORY_CONSUMER = Consumer(name=CONSUMER_NAME, wants=DIRECTORY_EVENTS, consume=consume)


# How long events may wait before a warning: a run, or a short failure of WeCom, takes less.
PATIENCE = timedelta(minutes=10)
COUNTED_AT_MOST = 1000


class ReceptionState(StrEnum):
    """The way in which a company's events arrive. ARRIVING: at once. SILENT: an address is verified, but no event came
    since. NOT_COPIED: the directory was never copied. NIGHTLY: no address is verified, so only runs bring changes."""

    ARRIVING = "arriving"
    SILENT = "silent"
    NOT_COPIED = "not-copied"
    NIGHTLY = "nightly"


_TONES = {
    ReceptionState.ARRIVING: "good",
    ReceptionState.SILENT: "warn",
    ReceptionState.NOT_COPIED: "warn",
    ReceptionState.NIGHTLY: "quiet",
}


@dataclass(frozen=True, slots=True)
class EventReception:
    """The way in which a company's changes arrive. `late_count`: events that wait too long; `given_up_count`: events
    that are not tried any more, without a later run; both are at most COUNTED_AT_MOST.
    """

    state: ReceptionState
    last_event_at: datetime | None
    late_count: int = 0
    given_up_count: int = 0

    @property
    def tone(self) -> str:
        return "bad" if self.given_up_count else _TONES[self.state]

    @property
    def summary(self) -> str:
        if self.state == ReceptionState.ARRIVING:
            return _("at once")
        return _("with the nightly run only")

    @property
    def sentences(self) -> list[str]:
        """Sentences on how changes arrive, and on what to do if they do not arrive at once."""
        if self.state == ReceptionState.ARRIVING and self.last_event_at is not None:
            text = _(
                "Changes of people in WeCom arrive here within seconds, the last one at %(when)s. The directory policy "
                "defines their effect on people here. The nightly run makes up for lost events."
            )
            text %= {"when": f"{timezone.localtime(self.last_event_at):%Y-%m-%d %H:%M}"}
        elif self.state == ReceptionState.SILENT:
            text = _(
                "A callback address is verified, but no event about people has arrived since. Until one does, count on "
                "the nightly run only. To try it, change something small in WeCom's contacts, such as a position."
            )
        elif self.state == ReceptionState.NOT_COPIED:
            text = _(
                "A callback address is verified, but the directory was never copied. Synchronise it once: events are "
                "acted on from then on."
            )
        else:
            text = _(
                "No callback address is verified. Changes of people in WeCom, leavers among them, take effect with the "
                "nightly run only. Set up receiving messages on the company's page, and they take effect within "
                "seconds."
            )
        found = [text]
        if self.late_count:
            sentence = ngettext(
                "%(count)d event waits for more than ten minutes: WeCom cannot be asked, or no worker runs. "
                "The diagnosis says which.",
                "%(count)d events wait for more than ten minutes: WeCom cannot be asked, or no worker runs. "
                "The diagnosis says which.",
                self.late_count,
            )
            found.append(sentence % {"count": self.late_count})
        if self.given_up_count:
            found.append(self.given_up_sentence)
        return found

    @property
    def given_up_sentence(self) -> str:
        """The sentence on events that were given up, and on what to do about it."""
        sentence = ngettext(
            "%(count)d event about people was given up after many tries, and its change is missing here. Synchronise "
            "the directory now, or have the event tried once more on the page that starts a run.",
            "%(count)d events about people were given up after many tries, and their changes are missing here. "
            "Synchronise the directory now, or have the events tried once more on the page that starts a run.",
            self.given_up_count,
        )
        return sentence % {"count": self.given_up_count}


def describe_reception(corp: Corp, *, now: datetime) -> EventReception:
    """Return how a company's changes arrive, by at most three queries; by one if no address is verified."""
    given_up_count = CallbackEvent.objects.given_up().filter(corp=corp)[:COUNTED_AT_MOST].count()
    verified = [one for one in (corp.callback_verified_at, corp.contacts_callback_verified_at) if one is not None]
    if not verified:
        return EventReception(ReceptionState.NIGHTLY, None, given_up_count=given_up_count)
    if not has_copy(corp):
        return EventReception(ReceptionState.NOT_COPIED, None, given_up_count=given_up_count)
    last_event_at = corp.people_event_at
    # Events that were processed and only wait to be repeated after a run, which may take long, are not counted.
    waiting = CallbackEvent.objects.waiting().exclude(problem="", try_count__gt=0)
    waiting = waiting.filter(corp=corp, received_at__lt=now - PATIENCE)
    late_count = waiting[:COUNTED_AT_MOST].count()
    is_arriving = last_event_at is not None and last_event_at >= min(verified)
    state = ReceptionState.ARRIVING if is_arriving else ReceptionState.SILENT
    return EventReception(state, last_event_at, late_count, given_up_count)
