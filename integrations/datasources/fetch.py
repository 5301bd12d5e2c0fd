"""Fetches a card's data once per slot, and keeps it for all that use the slot.

    fetch.request(card_ids, slot_at=slot, now=now)    # one row each, queued
    fetch.states(card_ids, slot_at=slot)              # waiting, ready with a table, or failed with a sentence
    fetch.card_data_finished.register(function)       # told as soon as one of them is ready or failed
    token = fetch.request_preview(cards, now=now)     # for a page, which asks again and again:
    fetch.read_preview(token, cards, now=now)         # how far it is

A worker fetches under a lease whose token fences it: who was thought dead writes nothing any more. Passing failures are
tried again, each time after a longer wait; everything else fails at once, because no waiting mends it.

A source that hangs costs a thread for the whole of its time limit. So one source has few places (its `parallel_limit`),
and all those that ran into their limit last time share SLOW_PLACES: the other threads stay with those that answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.clients.sources import Problem, SourceError
from integrations.core import background
from integrations.core.background import Clock, guarded, lease_kept
from integrations.core.metrics import LONG_SECONDS, CountedMetric, TimedMetric
from integrations.data.table import Table
from integrations.datasources import query
from integrations.hooks import Hook
from integrations.models import Card, CardData, DataSource
from integrations.models.datasources import SECONDS_AT_MOST, SECRETS, packed
from integrations.models.jobs import LET_GO, Moment

logger = logging.getLogger(__name__)

# The task that calls carry_out, and how long it may wait in its queue: the sweep brings it again.
TASK = "integrations.fetch_card_data"
TASK_SECONDS = 600

# Renewed while a fetch lasts (integrations.core.background): what a killed worker was at is soon another's.
LEASE = timedelta(seconds=20)
# Longer than the longest attempt may take, with what a look-up of names and a slow database add: what hangs any longer
# is not ours any more.
KEPT_AT_MOST = timedelta(seconds=SECONDS_AT_MOST + 60)
WAITS = (timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=60), timedelta(seconds=180))
# How many fetches there may be at once of all the sources together that ran into their time limit last time. Fewer
# than the threads of one worker of the queue `data` (docs/en/data-sources.md).
SLOW_PLACES = 2
# How soon it is looked again whether a source has a place free.
TURN_WAIT = timedelta(seconds=5)
# A row that was finished so long ago was finished by a worker that died before it told anybody.
NOTIFIED_WITHIN = timedelta(seconds=15)
# For somebody who waits at a page: kept so long, and shared with whoever asks within so long.
PREVIEW_KEPT = timedelta(hours=1)
PREVIEW_SHARED = timedelta(seconds=60)
# Nobody waits at a page any more: a fetch that has not begun is not begun.
PREVIEW_WAITED = timedelta(minutes=5)
# A page waits so much longer than its slowest source may take: for a worker, and for a turn at the source.
PREVIEW_SPARE = timedelta(seconds=60)
# No worker has begun after so long: then the page says why.
LATE = timedelta(seconds=10)
SWEPT_AT_ONCE = 200
PURGED_AT_ONCE = 200

_FETCHES = CountedMetric("guanwecom_source_fetches", "Fetches of data, by what became of them", "kind", "outcome")
_SECONDS = TimedMetric("guanwecom_source_fetch_duration_seconds", "How long they took", "kind", edges=LONG_SECONDS)

# Told the id of a card and the slot, in a worker, after the commit that made the data ready or failed; perhaps twice.
card_data_finished: Hook[[int, datetime], None] = Hook()


def request(card_ids: Collection[int], *, slot_at: datetime, now: datetime) -> None:
    """One row for each card and slot, and one fetch of it, whoever asks how often.

    Also queues what somebody else requested: a second task finds nothing to do, a lost one would cost a sweep.
    """
    wanted = [
        CardData(card_id=card_id, slot_at=slot_at, requested_at=now, next_try_at=now)
        for card_id in dict.fromkeys(card_ids)
    ]
    CardData.objects.bulk_create(wanted, ignore_conflicts=True)
    rows = CardData.objects.due(now).filter(card__in=card_ids, slot_at=slot_at)
    _queue(list(rows.order_by("pk").values_list("pk", flat=True)))


def states(card_ids: Collection[int], *, slot_at: datetime) -> dict[int, CardData]:
    """By card. One that nobody asked for, or that was purged, is missing. The table is read when it is looked at."""
    rows = CardData.objects.filter(card__in=card_ids, slot_at=slot_at).defer("content")
    return {row.card_id: row for row in rows}


def repair_times(*, now: datetime) -> None:
    """After a clock that ran ahead: nothing waits for a moment that is far away, and of slots to come nothing is there,
    or they would go out with data from before."""
    CardData.objects.filter(slot_at__gt=now).delete()
    waiting = CardData.objects.waiting()
    waiting.filter(next_try_at__gt=now + max(WAITS)).update(next_try_at=now)
    waiting.filter(lease_until__gt=now + KEPT_AT_MOST).update(lease_until=now)
    CardData.objects.filter(requested_at__gt=now).update(requested_at=now)
    CardData.objects.filter(finished_at__gt=now).update(finished_at=now)


# --- Fetching ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A row that is ours for the time being."""

    row_id: int
    card: Card
    slot_at: datetime | None
    token: str
    tries: int

    @property
    def is_preview(self) -> bool:
        return self.slot_at is None


def carry_out(*, row_id: int, clock: Clock) -> None:
    """Fetch the data of one row, keep what came of it, tell who follows, and queue what waited for its place at the
    source. Nothing where the row is in other hands, done, or not due.
    """
    held = _claim(row_id, clock())
    if held is None:
        return
    try:
        with lease_kept(_renewal(held, clock)):
            is_over = _fetch(held, clock)
    finally:
        _release(held)
    if is_over:
        _notify(held.row_id, held.card.pk, held.slot_at, clock)
    _queue(_waiting_for(held.card.source, now=clock()))


@transaction.atomic
def _claim(row_id: int, now: datetime) -> Held | None:
    """The row, unless the source answers as many questions already as it may at once: then a little later."""
    row = CardData.objects.due(now).filter(pk=row_id).select_related("card").first()
    if row is None:
        return None
    source = _locked(row.card.source_id)
    if not has_place(source, now):
        CardData.objects.due(now).filter(pk=row_id).update(next_try_at=now + TURN_WAIT)
        return None
    token = CardData.objects.due(now).filter(pk=row_id).claim(until=now + LEASE, try_count=F("try_count") + 1)
    if not token:
        return None
    row.card.source = source
    return Held(row.pk, row.card, row.slot_at, token, row.try_count + 1)


def _renewal(held: Held, clock: Clock) -> Callable[[], None]:
    end_at = clock() + KEPT_AT_MOST

    def renew() -> None:
        now = clock()
        if now < end_at:
            CardData.objects.waiting().held_by(held.row_id, held.token).update(lease_until=now + LEASE)

    return renew


def _locked(source_id: int) -> DataSource:
    """The source, with the claims locked out that count the same places, so that two do not count past each other.

    A slow one shares its places with the other slow ones: all of them are locked, in one order, against deadlocks.
    Secrets are read where they are used: one that no key opens is a failure of its row, not of the worker.
    """
    sources = DataSource.objects.select_for_update(of=("self",)).defer(*SECRETS)
    if DataSource.objects.slow().filter(pk=source_id).exists():
        locked = {source.pk: source for source in sources.slow().order_by("pk")}
        if source_id in locked:
            return locked[source_id]
    return sources.get(pk=source_id)


def has_place(source: DataSource, now: datetime) -> bool:
    """Whether one more row of it may be fetched now."""
    in_hand = CardData.objects.in_hand(now)
    if in_hand.filter(card__source=source).count() >= source.parallel_limit:
        return False
    return source.slow_since is None or in_hand.filter(card__source__in=DataSource.objects.slow()).count() < SLOW_PLACES


def _fetch(held: Held, clock: Clock) -> bool:
    """Whether it is over for this row: ready, or failed for good."""
    began_at = clock()
    try:
        with guarded(logger, "data card=%s try=%s", held.card.pk, held.tries, unless=(SourceError,)) as attempt:
            table = query.read(held.card, rows_at_most=held.card.source.row_limit, now=began_at)
            _remember_pace(held.card.source, is_slow=False, now=began_at)
            found = {"status": CardData.Status.READY, "content": packed(table), "row_count": len(table.rows)}
            found |= {"problem_code": "", "problem_facts": {}}
        if attempt.error is not None:  # whoever waits for the data must learn that none comes
            found = _failed(held, SourceError(Problem.UNEXPECTED, error=type(attempt.error).__name__), clock())
    except SourceError as error:
        _remember_pace(held.card.source, is_slow=error.problem is Problem.TOO_SLOW, now=began_at)
        found = _failed(held, error, clock())
    ended_at = clock()
    took = round((ended_at - began_at).total_seconds() * 1000)
    is_over = "status" in found
    if is_over:
        found |= {"finished_at": ended_at}
    rows = CardData.objects.waiting().held_by(held.row_id, held.token)
    if not rows.update(**found, took_milliseconds=took):
        logger.warning("data card=%s was taken over by another worker", held.card.pk)
        return False
    outcome = found.get("status") or "again later"
    _FETCHES.add(held.card.source.kind, str(found["problem_code"] or "ready"))
    _SECONDS.add(took / 1000, held.card.source.kind)
    logger.info(
        "data card=%s try=%s %s rows=%s ms=%s", held.card.pk, held.tries, outcome, found.get("row_count", 0), took
    )
    return is_over


def _remember_pace(source: DataSource, *, is_slow: bool, now: datetime) -> None:
    """Note that the source begins, or ends, to run into its time limit; it stands there already most of the time."""
    DataSource.objects.filter(pk=source.pk, slow_since__isnull=is_slow).update(slow_since=now if is_slow else None)


def _failed(held: Held, error: SourceError, now: datetime) -> dict[str, object]:
    """The columns of a failure: the end, or the time of the next try."""
    logger.info("data card=%s try=%s problem=%s", held.card.pk, held.tries, error.problem)
    found: dict[str, object] = {"problem_code": error.problem.value, "problem_facts": error.facts}
    if error.may_pass and not held.is_preview and held.tries <= len(WAITS):
        return {**found, "next_try_at": now + WAITS[held.tries - 1]}
    return {**found, "status": CardData.Status.FAILED}


def _release(held: Held) -> None:
    CardData.objects.held_by(held.row_id, held.token).update(**LET_GO)


def _waiting_for(source: DataSource, *, now: datetime) -> list[int]:
    """The next row that waits for the place which is free now: of `source`, or of another that was slow as it."""
    waiting = CardData.objects.waiting().free(now)
    mates = Q(card__source=source)
    if source.slow_since is not None:
        mates |= Q(card__source__in=DataSource.objects.slow())
    soon = waiting.filter(mates, try_count=0, next_try_at__lte=now + TURN_WAIT).order_by("pk")
    row_id = soon.values_list("pk", flat=True).first()
    if row_id is None:
        return []
    CardData.objects.filter(pk=row_id, status=CardData.Status.WAITING).update(next_try_at=now)
    return [row_id]


# --- For a page on which somebody waits -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataPreview:
    """How far it is. While it waits, `token` is what the page asks with again, and `hindrance` a sentence where that
    takes longer than usual. Then there is a `problem`, also a sentence, or the `tables`, by card. `lost`: cards that
    their source refuses or does not know, which asking again will not change.
    """

    seconds: int = 0
    token: str = ""
    hindrance: str = ""
    problem: str = ""
    tables: Mapping[int, Table] = field(default_factory=dict)
    lost: frozenset[int] = frozenset()

    @property
    def is_there(self) -> bool:
        return not self.token and not self.problem


def request_preview(cards: Sequence[Card], *, now: datetime) -> str:
    """Have the data of the cards fetched as it is now or a moment later, with one try of each. Returns the token with
    which the page asks how far it is: the ids of its rows.

    What another page asked for and no worker has begun is shared: impatient clicks make no queue.
    """
    card_ids = dict.fromkeys(card.pk for card in cards)
    unbegun = CardData.objects.previews().waiting().filter(try_count=0, lease_until__isnull=True)
    shared = unbegun.filter(card__in=card_ids, requested_at__gt=now - PREVIEW_SHARED).order_by("-pk")
    found = dict(shared.values_list("card_id", "pk"))
    rows = [CardData(card_id=pk, requested_at=now, next_try_at=now) for pk in card_ids if pk not in found]
    found |= {row.card_id: row.pk for row in CardData.objects.bulk_create(rows)}
    _queue(list(found.values()))
    return ",".join(str(pk) for pk in found.values())


def read_preview(token: str, cards: Sequence[Card], *, now: datetime) -> DataPreview:
    """How far it is with `cards`, which the person must be allowed to see at this moment: a row is shown to all who see
    its card. A token that is too old, or was for other cards, is answered with a problem."""
    keys = [int(key) for key in token.split(",") if key.isascii() and key.isdecimal() and len(key) < 19]
    found = CardData.objects.previews().filter(pk__in=keys, card__in=cards, requested_at__gt=now - PREVIEW_KEPT)
    unread = ("content", *(f"card__source__{column}" for column in SECRETS))
    rows = {row.card_id: row for row in found.select_related("card__source").defer(*unread).order_by("pk")}
    if any(card.pk not in rows for card in cards):
        return DataPreview(problem=_("This is no longer there. Press the button again."))
    since = min((row.requested_at for row in rows.values()), default=now)
    seconds = max(0, int((now - since).total_seconds()))
    for row in rows.values():
        if row.status == CardData.Status.FAILED:
            sentence = _("There is no data of the card “%(card)s”: %(problem)s")
            lost = frozenset(one.card_id for one in rows.values() if one.is_lost)
            return DataPreview(seconds, problem=sentence % {"card": row.card, "problem": row.problem}, lost=lost)
    waiting = [row for row in rows.values() if row.status == CardData.Status.WAITING]
    if not waiting:
        return DataPreview(seconds, tables={row.card_id: row.table for row in rows.values()})
    why = next((said for row in waiting if (said := find_hindrance(row, now=now))), "")
    if seconds < max(row.card.source.timeout_seconds for row in rows.values()) + PREVIEW_SPARE.total_seconds():
        return DataPreview(seconds, token, hindrance=why)
    why = why or _("The worker that fetches it says nothing more: it may have been ended. Try again.")
    sentence = ngettext(
        "Given up after %(count)d second. %(why)s", "Given up after %(count)d seconds. %(why)s", seconds
    )
    return DataPreview(seconds, problem=sentence % {"count": seconds, "why": why})


def find_hindrance(row: CardData, *, now: datetime) -> str:
    """Why no worker has begun with the row, once that takes longer than usual; else empty. `row`: with its source."""
    if row.try_count or row.is_in_hand(now) or now - row.requested_at < LATE:
        return ""
    source, in_hand = row.card.source, CardData.objects.in_hand(now)
    if in_hand.filter(card__source=source).count() >= source.parallel_limit:
        sentence = _("It waits for its turn: the data source “%(source)s” is busy with other queries.")
        return sentence % {"source": source}
    if not has_place(source, now):
        sentence = _(
            "It waits for its turn: the data source “%(source)s” was too slow last time, and such sources are asked "
            "only a few at once."
        )
        return sentence % {"source": source}
    if in_hand.exists():
        return _("It waits for its turn: the workers of the queue “data” are busy with other data.")
    return _("No worker has taken it yet: does one take from the queue “data”, and can the queue be reached?")


# --- Telling, sweeping, forgetting ------------------------------------------------------------------------------------


def _notify(row_id: int, card_id: int, slot_at: datetime | None, clock: Clock) -> None:
    """A page asks by itself: nobody is told of its row."""
    if slot_at is not None:
        _notify_followers(card_id, slot_at)
    CardData.objects.filter(pk=row_id).update(notified_at=clock())


def _notify_followers(card_id: int, slot_at: datetime) -> None:
    for follower in card_data_finished:
        with guarded(logger, "data card=%s follower=%s", card_id, getattr(follower, "__qualname__", follower)):
            follower(card_id, slot_at)


def due(now: Moment) -> list[QuerySet[CardData]]:
    """What sweep and purge find."""
    return [CardData.objects.due(now), _untold(now), *_old(now)]


def _untold(now: Moment) -> QuerySet[CardData]:
    return CardData.objects.finished().filter(notified_at__isnull=True, finished_at__lte=now - NOTIFIED_WITHIN)


def _old(now: Moment) -> list[QuerySet[CardData]]:
    old = CardData.objects.filter(requested_at__lt=now - timedelta(days=settings.CARD_DATA_RETENTION_DAYS))
    unbegun = Q(status=CardData.Status.WAITING, lease_until__isnull=True, requested_at__lt=now - PREVIEW_WAITED)
    return [old, CardData.objects.previews().filter(Q(requested_at__lt=now - PREVIEW_KEPT) | unbegun)]


def sweep(*, clock: Clock) -> None:
    """Queue what is due and was lost by a queue or a worker, and tell what a dead worker has not told."""
    now = clock()
    untold = _untold(now).values_list("pk", "card_id", "slot_at")
    for row_id, card_id, slot_at in untold[:SWEPT_AT_ONCE]:
        _notify(row_id, card_id, slot_at, clock)
    _queue(list(CardData.objects.due(now).order_by("next_try_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE]))


def purge(*, now: datetime) -> int:
    """Forget at most PURGED_AT_ONCE rows that are older than CARD_DATA_RETENTION_DAYS, and as many that were for pages
    at which nobody waits any more. Returns how many."""
    return sum(_forget(rows) for rows in _old(now))


def _forget(rows: QuerySet[CardData]) -> int:
    ids = list(rows.order_by("requested_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    chunk = CardData.objects.filter(pk__in=ids)
    return int(chunk._raw_delete(chunk.db)) if ids else 0


def _queue(row_ids: list[int]) -> None:
    background.queue_by_name_on_commit(TASK, row_ids, expires_seconds=TASK_SECONDS)
