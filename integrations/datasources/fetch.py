"""Fetches of cards' data: once per slot (scheduled time), for all pushes and alerts of that slot.

    fetch.request_data(card_ids, slot_at=slot, now=now)  # create and queue a row (CardData) for each card
    fetch.find_card_data(card_ids, slot_at=slot)         # rows: waiting, ready with a table, or failed with a sentence
    fetch.card_data_finished.register(function)          # called as soon as the data of a card is ready or has failed
    token = fetch.request_preview(cards, now=now)        # request present data for a page on which a person waits
    fetch.read_preview(token, cards, now=now)            # the progress, which the page polls

A worker fetches under a lease with a token: a worker that lost the lease cannot write any more. Temporary failures are
tried again after increasing pauses; all others are final at once.

A source that hangs occupies a thread for its whole time limit. Therefore each source has `parallel_limit` places for
fetches, and sources whose last fetch hit the limit share SLOW_PLACES: other threads stay free for sources that answer.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core import background
from integrations.core.background import Clock, keep_lease, log_errors
from integrations.core.metrics import LONG_SECONDS, CountedMetric, TimedMetric
from integrations.data import Problem, SourceError
from integrations.data.table import Table
from integrations.datasources import query
from integrations.hooks import Hook
from integrations.models import Card, CardData, DataSource
from integrations.models.datasources import SECONDS_AT_MOST, SECRETS, compress_table
from integrations.models.jobs import Moment

logger = logging.getLogger(__name__)

# The task that calls fetch_row, and how long it may wait in its queue before `requeue_lost_rows` queues it again.
TASK = "integrations.fetch_card_data"
TASK_SECONDS = 600

# A lease is renewed during a fetch (`keep_lease`). If its worker is killed, another one soon takes the row.
LEASE = timedelta(seconds=20)
# A fetch that hangs longer loses its lease: the longest attempt, plus time for name look-ups and a slow database.
LEASED_AT_MOST = timedelta(seconds=SECONDS_AT_MOST + 60)
# Pauses before the next try of a temporary failure; after the last one it is final.
RETRY_PAUSES = (timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=60), timedelta(seconds=180))
# Parallel fetches of all slow sources together: fewer than the threads of one worker of the queue `data`
# (docs/en/data-sources.md).
SLOW_PLACES = 2
# How soon to check again whether a source has a free place.
TURN_WAIT = timedelta(seconds=5)
# If a finished row is not marked as notified after this time, its worker has died.
NOTIFIED_WITHIN = timedelta(seconds=15)
# How long previews for a page are kept, and for how long other pages share a new one.
PREVIEW_KEPT = timedelta(hours=1)
PREVIEW_SHARED = timedelta(seconds=60)
# People do not wait at a page for longer, so an older fetch is not started any more.
PREVIEW_WAITED = timedelta(minutes=5)
# How much longer a page waits than its slowest source may take: for a worker, and for a place at the source.
PREVIEW_MARGIN = timedelta(seconds=60)
# If no worker has started after this time, the page explains why.
EXPLAINED_AFTER = timedelta(seconds=10)
SWEPT_AT_ONCE = 200
PURGED_AT_ONCE = 200

_FETCHES = CountedMetric("guanwecom_source_fetches", "Fetches of data, by outcome", "kind", "outcome")
_SECONDS = TimedMetric("guanwecom_source_fetch_duration_seconds", "How long fetches took", "kind", edges=LONG_SECONDS)

# Called in a worker with a card's id and the slot, after the commit of the result; perhaps twice.
card_data_finished: Hook[[int, datetime], None] = Hook()


def request_data(card_ids: Collection[int], *, slot_at: datetime, now: datetime) -> None:
    """Create one row for each card and slot, however often it is requested, and queue its fetch.

    Rows of earlier requests are queued again, in case their task was lost: a second task finds nothing to do.
    """
    wanted = [
        CardData(card_id=card_id, slot_at=slot_at, requested_at=now, next_try_at=now)
        for card_id in dict.fromkeys(card_ids)
    ]
    CardData.objects.bulk_create(wanted, ignore_conflicts=True)
    rows = CardData.objects.due(now).filter(card__in=card_ids, slot_at=slot_at)
    _queue(list(rows.order_by("pk").values_list("pk", flat=True)))


def find_card_data(card_ids: Collection[int], *, slot_at: datetime) -> dict[int, CardData]:
    """Return the rows by card; a card without a row was not requested, or its row was deleted. A row loads its table
    when it is accessed."""
    rows = CardData.objects.filter(card__in=card_ids, slot_at=slot_at).defer("content")
    return {row.card_id: row for row in rows}


def repair_times(*, now: datetime) -> None:
    """Repair rows after a clock was ahead: shorten pauses, and delete rows of future slots, whose data is too early."""
    CardData.objects.filter(slot_at__gt=now).delete()
    waiting = CardData.objects.waiting()
    waiting.filter(next_try_at__gt=now + max(RETRY_PAUSES)).update(next_try_at=now)
    waiting.filter(lease_until__gt=now + LEASED_AT_MOST).update(lease_until=now)
    CardData.objects.filter(requested_at__gt=now).update(requested_at=now)
    CardData.objects.filter(finished_at__gt=now).update(finished_at=now)


# --- Fetching ---------------------------------------------------------------------------------------------------------


def fetch_row(*, row_id: int, clock: Clock) -> None:
    """Fetch the data of one row, save it, call `card_data_finished`, and queue the next fetch waiting for the source.

    Does nothing if the row is claimed by another worker, finished, or not due.
    """
    row = _claim(row_id, clock())
    if row is None:
        return
    try:
        with keep_lease(_make_renewal(row, clock)):
            is_final = _fetch(row, clock)
    finally:
        CardData.objects.held_by(row.pk, row.lease_token).update(lease_token="", lease_until=None)
    if is_final:
        _notify(row.pk, row.card.pk, row.slot_at, clock)
    _queue(_find_next_waiting(row.card.source, now=clock()))


@transaction.atomic
def _claim(row_id: int, now: datetime) -> CardData | None:
    """Claim the row, unless the source is at its limit of parallel queries: then it becomes due a little later.

    The source is locked against other claims, so that the places are counted correctly. A slow source shares its places
    with all slow ones, so all are locked, always in the same order against deadlocks. Secrets are read later: a secret
    that no key decrypts fails its row, not the worker.
    """
    row = CardData.objects.due(now).filter(pk=row_id).select_related("card").first()
    if row is None:
        return None
    source_id = row.card.source_id
    locked = DataSource.objects.select_for_update(of=("self",)).defer(*SECRETS)
    source: DataSource | None = None
    if DataSource.objects.slow().filter(pk=source_id).exists():
        source = {each.pk: each for each in locked.slow().order_by("pk")}.get(source_id)
    source = source or locked.get(pk=source_id)
    if not has_place(source, now):
        CardData.objects.due(now).filter(pk=row_id).update(next_try_at=now + TURN_WAIT)
        return None
    token = uuid.uuid4().hex
    leased = {"lease_token": token, "lease_until": now + LEASE, "try_count": F("try_count") + 1}
    if not CardData.objects.due(now).filter(pk=row_id).update(**leased):
        return None
    row.card.source = source
    row.lease_token, row.try_count = token, row.try_count + 1
    return row


def _make_renewal(row: CardData, clock: Clock) -> Callable[[], None]:
    """Return a function that renews the row's lease, until the fetch has lasted too long."""
    end_at = clock() + LEASED_AT_MOST

    def renew() -> None:
        now = clock()
        if now < end_at:
            CardData.objects.waiting().held_by(row.pk, row.lease_token).update(lease_until=now + LEASE)

    return renew


def has_place(source: DataSource, now: datetime) -> bool:
    """Return whether another row of the source may be fetched now."""
    rows = CardData.objects.being_fetched(now)
    if rows.filter(card__source=source).count() >= source.parallel_limit:
        return False
    return source.slow_since is None or rows.filter(card__source__in=DataSource.objects.slow()).count() < SLOW_PLACES


def _fetch(row: CardData, clock: Clock) -> bool:
    """Fetch the row and save the result. Return whether it is final: ready or failed."""
    began_at = clock()
    try:
        with log_errors(logger, "data card=%s try=%s", row.card.pk, row.try_count, unless=(SourceError,)) as attempt:
            table = query.read_card_data(row.card, rows_at_most=row.card.source.row_limit, now=began_at)
            _record_pace(row.card.source, is_slow=False, now=began_at)
            found = {"status": CardData.Status.READY, "content": compress_table(table), "row_count": len(table.rows)}
            found |= {"problem_code": "", "problem_facts": {}}
        if attempt.error is not None:  # waiting code must learn that no data comes
            found = _build_failure(row, SourceError(Problem.UNEXPECTED, error=type(attempt.error).__name__), clock())
    except SourceError as error:
        _record_pace(row.card.source, is_slow=error.problem is Problem.TOO_SLOW, now=began_at)
        found = _build_failure(row, error, clock())
    ended_at = clock()
    took = round((ended_at - began_at).total_seconds() * 1000)
    is_final = "status" in found
    if is_final:
        found |= {"finished_at": ended_at}
    rows = CardData.objects.waiting().held_by(row.pk, row.lease_token)
    if not rows.update(**found, took_milliseconds=took):
        logger.warning("data card=%s was taken over by another worker", row.card.pk)
        return False
    outcome = found.get("status") or "again later"
    _FETCHES.add(row.card.source.kind, str(found["problem_code"] or "ready"))
    _SECONDS.add(took / 1000, row.card.source.kind)
    logger.info(
        "data card=%s try=%s %s rows=%s ms=%s", row.card.pk, row.try_count, outcome, found.get("row_count", 0), took
    )
    return is_final


def _record_pace(source: DataSource, *, is_slow: bool, now: datetime) -> None:
    """Record whether the source hit its time limit. Writes only if that has changed."""
    DataSource.objects.filter(pk=source.pk, slow_since__isnull=is_slow).update(slow_since=now if is_slow else None)


def _build_failure(row: CardData, error: SourceError, now: datetime) -> dict[str, object]:
    """Return the columns of a failure: a final one, or the time of the next try."""
    logger.info("data card=%s try=%s problem=%s", row.card.pk, row.try_count, error.problem)
    found: dict[str, object] = {"problem_code": error.problem.value, "problem_facts": error.facts}
    if error.is_temporary and row.slot_at is not None and row.try_count <= len(RETRY_PAUSES):
        return {**found, "next_try_at": now + RETRY_PAUSES[row.try_count - 1]}
    return {**found, "status": CardData.Status.FAILED}


def _find_next_waiting(source: DataSource, *, now: datetime) -> list[int]:
    """Return the next row that waits for the freed place: a row of `source`, or of any slow source if it is slow."""
    same_places = Q(card__source=source)
    if source.slow_since is not None:
        same_places |= Q(card__source__in=DataSource.objects.slow())
    soon = CardData.objects.waiting().free(now).filter(same_places, try_count=0, next_try_at__lte=now + TURN_WAIT)
    row_id = soon.order_by("pk").values_list("pk", flat=True).first()
    if row_id is None:
        return []
    CardData.objects.filter(pk=row_id, status=CardData.Status.WAITING).update(next_try_at=now)
    return [row_id]


# --- Previews for pages -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataPreview:
    """The progress of a preview, `seconds` after its request. While it waits, the page polls with `token`, and
    `delay_reason` is a sentence if it takes long. In the end there is a `problem`, also a sentence, or the `tables`, by
    card. `lost`: cards that the source refuses or does not know, for which a new try is useless.
    """

    seconds: int = 0
    token: str = ""
    delay_reason: str = ""
    problem: str = ""
    tables: Mapping[int, Table] = field(default_factory=dict)
    lost: frozenset[int] = frozenset()

    @property
    def is_ready(self) -> bool:
        return not self.token and not self.problem


def request_preview(cards: Sequence[Card], *, now: datetime) -> str:
    """Request the present data of the cards, with one try each. Return the page's token: the ids of the rows.

    A row that another page requested is shared if no worker has started it, so that repeated clicks make no queue.
    """
    card_ids = dict.fromkeys(card.pk for card in cards)
    unstarted = CardData.objects.previews().waiting().filter(try_count=0, lease_until__isnull=True)
    shared = unstarted.filter(card__in=card_ids, requested_at__gt=now - PREVIEW_SHARED).order_by("-pk")
    found = dict(shared.values_list("card_id", "pk"))
    rows = [CardData(card_id=pk, requested_at=now, next_try_at=now) for pk in card_ids if pk not in found]
    found |= {row.card_id: row.pk for row in CardData.objects.bulk_create(rows)}
    _queue(list(found.values()))
    return ",".join(str(pk) for pk in found.values())


def read_preview(token: str, cards: Sequence[Card], *, now: datetime) -> DataPreview:
    """Return the progress for `cards`. The caller checks that the person may see them now, because anyone who sees a
    card may see its rows. An old token, or one for other cards, is a problem."""
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
            sentence = _("There is no data of “%(card)s”: %(problem)s")
            lost = frozenset(each.card_id for each in rows.values() if each.is_retry_useless)
            return DataPreview(seconds, problem=sentence % {"card": row.card, "problem": row.problem}, lost=lost)
    waiting = [row for row in rows.values() if row.status == CardData.Status.WAITING]
    if not waiting:
        return DataPreview(seconds, tables={row.card_id: row.table for row in rows.values()})
    why = next(filter(None, (find_delay_reason(row, now=now) for row in waiting)), "")
    if seconds < max(row.card.source.timeout_seconds for row in rows.values()) + PREVIEW_MARGIN.total_seconds():
        return DataPreview(seconds, token, delay_reason=why)
    why = why or _("The worker that fetches it no longer answers: it may have been stopped. Try again.")
    sentence = ngettext(
        "Given up after %(count)d second. %(why)s", "Given up after %(count)d seconds. %(why)s", seconds
    )
    return DataPreview(seconds, problem=sentence % {"count": seconds, "why": why})


def find_delay_reason(row: CardData, *, now: datetime) -> str:
    """Return why no worker has started with a waiting row after the usual time; else empty. The row is read with its
    source."""
    has_worker = row.lease_until is not None and row.lease_until > now
    if row.try_count or has_worker or now - row.requested_at < EXPLAINED_AFTER:
        return ""
    source, fetching = row.card.source, CardData.objects.being_fetched(now)
    if fetching.filter(card__source=source).count() >= source.parallel_limit:
        sentence = _("It waits for its turn: the data source “%(source)s” is busy with other queries.")
        return sentence % {"source": source}
    if not has_place(source, now):
        sentence = _(
            "It waits for its turn: the data source “%(source)s” was too slow last time, and such sources are asked "
            "only a few at once."
        )
        return sentence % {"source": source}
    if fetching.exists():
        return _("It waits for its turn: the workers of the queue “data” are busy with other data.")
    return _("No worker has taken it yet. Check that a worker serves the queue “data” and can reach it.")


# --- Notifications, lost rows and old rows ----------------------------------------------------------------------------


def _notify(row_id: int, card_id: int, slot_at: datetime | None, clock: Clock) -> None:
    """Call the functions of `card_data_finished`, but not for a preview, for which its page polls."""
    if slot_at is not None:
        for function in card_data_finished:
            with log_errors(logger, "data card=%s function=%s", card_id, getattr(function, "__qualname__", function)):
                function(card_id, slot_at)
    CardData.objects.filter(pk=row_id).update(notified_at=clock())


def find_due_rows(now: Moment) -> list[QuerySet[CardData]]:
    """Return querysets of the rows for `requeue_lost_rows` and `delete_old_rows`."""
    return [CardData.objects.due(now), _find_unnotified(now), *_find_old(now)]


def _find_unnotified(now: Moment) -> QuerySet[CardData]:
    return CardData.objects.finished().filter(notified_at__isnull=True, finished_at__lte=now - NOTIFIED_WITHIN)


def _find_old(now: Moment) -> list[QuerySet[CardData]]:
    old = CardData.objects.filter(requested_at__lt=now - timedelta(days=settings.CARD_DATA_RETENTION_DAYS))
    unstarted = Q(status=CardData.Status.WAITING, lease_until__isnull=True, requested_at__lt=now - PREVIEW_WAITED)
    return [old, CardData.objects.previews().filter(Q(requested_at__lt=now - PREVIEW_KEPT) | unstarted)]


def requeue_lost_rows(*, clock: Clock) -> None:
    """Queue due rows whose task was lost in the queue or with a worker, and notify in place of dead workers."""
    now = clock()
    unnotified = _find_unnotified(now).values_list("pk", "card_id", "slot_at")
    for row_id, card_id, slot_at in unnotified[:SWEPT_AT_ONCE]:
        _notify(row_id, card_id, slot_at, clock)
    _queue(list(CardData.objects.due(now).order_by("next_try_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE]))


def delete_old_rows(*, now: datetime) -> int:
    """Delete at most PURGED_AT_ONCE rows older than CARD_DATA_RETENTION_DAYS, and as many previews that nobody waits
    for. Return how many."""
    count = 0
    for rows in _find_old(now):
        ids = list(rows.order_by("requested_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
        chunk = CardData.objects.filter(pk__in=ids)
        count += int(chunk._raw_delete(chunk.db)) if ids else 0
    return count


def _queue(row_ids: list[int]) -> None:
    background.queue_by_name_on_commit(TASK, row_ids, expires_seconds=TASK_SECONDS)
