"""Renders pictures and files in workers of their own; gives up on those that end their worker.

A row is written once, by whoever is first: two workers that make the same by mistake make equal things. A task that
draws several begins each by itself: one that ends its worker leaves a trace, and the others were not tried.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.models import F, Q, QuerySet

from integrations.core.background import guarded
from integrations.core.heartbeats import is_served
from integrations.core.sentences import Sentence
from notifications.delivery.attachments import recipes, snapshots
from notifications.delivery.locking import unlocked, update_unlocked
from notifications.models import MakerQueue, Medium
from notifications.models.lookups import Moment

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# Only workers with `-Q charts` take from the one (docs/en/charts.md), with `-Q snapshots` from the other
# (docs/en/page-pictures.md).
CHARTS_QUEUE, SNAPSHOTS_QUEUE = MakerQueue.CHARTS.value, MakerQueue.SNAPSHOTS.value
# A task that takes longer is killed with its process.
SECONDS_AT_MOST = 30
# So many pictures are drawn by a task, fewer where there would be too few tasks for all processes. It begins none after
# so much time: each has nearly all of the seconds above.
PICTURES_PER_TASK, TASKS_AT_LEAST = 5, 8
BEGUN_WITHIN = timedelta(seconds=2)
# A file with as many cells as it may have takes 10 s of a processor, which a busy machine may not have for minutes.
FILE_SECONDS_AT_MOST = 240
# From the end of that time until another one may begin.
LEASE_AFTER = timedelta(seconds=15)
# From handing it to a task until it is handed to another: the queue is kept short enough for that.
QUEUED = timedelta(seconds=120)
QUEUED_AT_MOST = {CHARTS_QUEUE: 100, SNAPSHOTS_QUEUE: 12}
TRIES_AT_MOST = 3
# Messages wait for their pictures no longer than this, then they go without. For those of pages this holds while there
# is no worker for them: else they wait as long as they are good for something (Medium.give_up_at).
PATIENCE = timedelta(minutes=30)
# How long a preview is kept.
PREVIEW_KEPT = timedelta(hours=1)
# A picture that waits so long: no worker takes from the queue.
OVERDUE = timedelta(minutes=2)
_CRASHED = Sentence("Making it took too long, or ended the program each time.")
_LATE = {
    CHARTS_QUEUE: Sentence("No worker made it within 30 minutes: does one take from the queue “charts”?"),
    SNAPSHOTS_QUEUE: Sentence("No worker made it in time: does one take from the queue “snapshots”?"),
}


def due(now: Moment) -> list[QuerySet[Medium]]:
    """What waits to be made, and previews that are kept no longer."""
    return [Medium.objects.filter(status=Medium.Status.WAITING), _old_previews(now)]


def hand_out(*, now: datetime) -> list[int]:
    """Ids of what is to be made now; nobody else gets them for QUEUED. Pictures of incidents pass those of reports."""
    if not Medium.objects.due(now).exists():
        return []
    return [pk for queue, at_most in QUEUED_AT_MOST.items() for pk in _hand_out_of(queue, at_most, now)]


def _hand_out_of(queue: str, at_most: int, now: datetime) -> list[int]:
    waiting = Medium.objects.filter(status=Medium.Status.WAITING, queue=queue)
    queued = waiting.filter(make_after__gt=now, make_after__lte=now + QUEUED)
    room = at_most - queued.count()
    if room <= 0:
        return []
    with transaction.atomic():
        due = Medium.objects.due(now).filter(queue=queue)
        due = due.order_by("make_count", F("incident").asc(nulls_last=True), "pk").only("pk")
        ids = [medium.pk for medium in unlocked(due)[:room]]
        Medium.objects.filter(pk__in=ids).update(make_after=now + QUEUED)
    return ids


def hand_out_previews(medium_ids: list[int], *, now: datetime) -> list[int]:
    """Which of these are to be made now, whatever else waits: somebody looks at the page. Nobody else gets them for
    QUEUED."""
    with transaction.atomic():
        due = Medium.objects.due(now).previews().filter(pk__in=medium_ids).order_by("pk").only("pk")
        ids = [medium.pk for medium in unlocked(due)]
        Medium.objects.filter(pk__in=ids).update(make_after=now + QUEUED)
    return ids


@dataclass(frozen=True)
class SortedOut:
    """Ids by who makes them and how long it may take: SECONDS_AT_MOST, FILE_SECONDS_AT_MOST,
    snapshots.SECONDS_AT_MOST. `pictures`: by task. Alone is one that was begun before, and may have ended its worker,
    and one of an incident or a preview, which waits for no other.
    """

    pictures: list[list[int]]
    files: list[int]
    snapshots: list[int]


def sorted_out(medium_ids: list[int]) -> SortedOut:
    """In their order."""
    columns = ("pk", "queue", "kind", "make_count", "run")
    rows = Medium.objects.filter(pk__in=medium_ids).order_by().values_list(*columns)
    facts = {pk: found for pk, *found in rows}
    known = [pk for pk in medium_ids if pk in facts]
    pages = [pk for pk in known if facts[pk][0] == SNAPSHOTS_QUEUE]
    charts = [pk for pk in known if facts[pk][0] == CHARTS_QUEUE]
    pictures = [pk for pk in charts if facts[pk][1] == Medium.Kind.PICTURE]
    files = [pk for pk in charts if facts[pk][1] != Medium.Kind.PICTURE]
    hurried = [pk for pk in pictures if not facts[pk][2] and facts[pk][3] is None]
    fresh = [pk for pk in pictures if not facts[pk][2] and facts[pk][3] is not None]
    begun = [pk for pk in pictures if facts[pk][2]]
    size = max(1, min(PICTURES_PER_TASK, len(fresh) // TASKS_AT_LEAST))
    together = [fresh[start : start + size] for start in range(0, len(fresh), size)]
    return SortedOut([*([pk] for pk in hurried), *together, *([pk] for pk in begun)], files, pages)


def make_in_turn(medium_ids: Sequence[int], *, clock: Clock) -> None:
    """Make these one after the other. What was not begun in time is handed out again; so it is, soon, where one ends
    its worker. Of several, those that another task has begun meanwhile are left to it: this one stood in the queue for
    long."""
    end = clock() + BEGUN_WITHIN
    waiting = _waiting(medium_ids)
    ours = waiting.filter(make_count=0) if len(medium_ids) > 1 else waiting
    rows = {medium.pk: medium for medium in ours.only(*_READ)}
    if len(medium_ids) > 1:
        others = ours.filter(pk__in=medium_ids[1:])
        others.update(make_after=clock() + timedelta(seconds=SECONDS_AT_MOST) + LEASE_AFTER)
    for position, medium_id in enumerate(medium_ids):
        if position and clock() >= end:
            ours.filter(pk__in=medium_ids[position:]).update(make_after=clock())
            return
        if medium_id in rows:
            with guarded(logger, "medium=%d could not be made", medium_id):
                _make(rows[medium_id], clock)


def make(medium_id: int, *, clock: Clock) -> bool:
    """Make it, unless that was done, given up or put off. Returns whether it is ready by this."""
    medium = _waiting([medium_id]).only(*_READ).first()
    return medium is not None and _make(medium, clock)


_READ = ("kind", "recipe", "queue", "make_count")


def _waiting(medium_ids: Collection[int]) -> QuerySet[Medium]:
    return Medium.objects.filter(pk__in=medium_ids, status=Medium.Status.WAITING)


def _make(medium: Medium, clock: Clock) -> bool:
    waiting = _waiting([medium.pk])
    is_page = medium.queue == SNAPSHOTS_QUEUE
    # Not one that somebody else has begun since it was read.
    begun = waiting.filter(make_count=medium.make_count, make_count__lt=TRIES_AT_MOST)
    if is_page:
        begun = begun.filter(make_after__lte=clock() + QUEUED)  # else it was put off while this task stood in the queue
    # Committed before the work: a recipe that ends its worker leaves a trace.
    if not begun.update(make_count=F("make_count") + 1, make_after=clock() + _lease(medium)):
        return False
    try:
        recipe = bytes(medium.recipe)
        made = snapshots.make(recipe, clock=clock) if is_page else recipes.make(medium.kind, recipe)
    except recipes.MediumError as error:
        _fail(medium.pk, error.sentence, clock())
        return False
    except snapshots.PutOffError as error:
        _put_off(medium, error, clock())
        return False
    with _bytes_as_they_are():
        is_mine = waiting.update(
            status=Medium.Status.READY,
            content=made.content,
            svg=zlib.compress(made.svg.encode()) if made.svg else b"",
            width=made.width,
            height=made.height,
            cover=made.cover or None,
            error="",
            recipe=b"",
            made_at=clock(),
        )
    return is_mine == 1


@contextmanager
def _bytes_as_they_are() -> Iterator[None]:
    """PostgreSQL gets the values of statements beside their SQL. Written into it, as Django does, 90 kB of a picture
    take it 3.4 ms in place of 1.9."""
    connection.ensure_connection()
    usual = connection.connection.cursor_factory
    connection.connection.cursor_factory = ServerBindingCursor
    try:
        yield
    finally:
        connection.connection.cursor_factory = usual


def _lease(medium: Medium) -> timedelta:
    if medium.queue == SNAPSHOTS_QUEUE:
        return timedelta(seconds=snapshots.SECONDS_AT_MOST) + LEASE_AFTER
    seconds = SECONDS_AT_MOST if medium.kind == Medium.Kind.PICTURE else FILE_SECONDS_AT_MOST
    return timedelta(seconds=seconds) + LEASE_AFTER


def _put_off(medium: Medium, error: snapshots.PutOffError, now: datetime) -> None:
    """Its row says why it waits. Where the BI is down, none of the others need find that out for itself."""
    later = {"make_after": now + snapshots.AGAIN_AFTER, "error": error.sentence.stored()}
    if error.concerns_all:
        others = Medium.objects.filter(status=Medium.Status.WAITING, queue=SNAPSHOTS_QUEUE).exclude(pk=medium.pk)
        count = update_unlocked(others.filter(make_after__lt=now + snapshots.AGAIN_AFTER), **later)
        Medium.objects.filter(pk=medium.pk, status=Medium.Status.WAITING).update(make_count=medium.make_count, **later)
        logger.warning("the BI does not answer: %d pictures of its pages are put off", count + 1)
    elif medium.make_count + 1 >= TRIES_AT_MOST:
        _fail(medium.pk, error.sentence, now)
    else:
        Medium.objects.filter(pk=medium.pk, status=Medium.Status.WAITING).update(**later)


def _fail(medium_id: int, sentence: Sentence, now: datetime) -> None:
    waiting = Medium.objects.filter(pk=medium_id, status=Medium.Status.WAITING)
    if waiting.update(status=Medium.Status.FAILED, error=sentence.stored(), recipe=b"", made_at=now):
        logger.info("medium=%d cannot be made", medium_id)


def sweep(*, now: datetime) -> int:
    """Give up what ended its workers, and what no worker took for too long; forget old previews. Returns how many."""
    waiting = Medium.objects.filter(status=Medium.Status.WAITING)
    fields = {"status": Medium.Status.FAILED, "recipe": b"", "made_at": now}
    crashed = waiting.filter(make_count__gte=TRIES_AT_MOST, make_after__lte=now)
    count = update_unlocked(crashed, error=_CRASHED.stored(), **fields)
    if count:
        logger.error("%d pictures or files given up: each try ended its worker", count)
    late_count = _give_up_late(waiting, fields, now)
    previews = _old_previews(now)
    previews._raw_delete(previews.db)  # why raw? nothing hangs on a preview
    return count + late_count


def _give_up_late(waiting: QuerySet[Medium], fields: dict[str, Any], now: datetime) -> int:
    charts, pages = (waiting.filter(queue=queue) for queue in (CHARTS_QUEUE, SNAPSHOTS_QUEUE))
    impatient = charts.filter(created_at__lte=now - PATIENCE)
    count = update_unlocked(impatient, error=_LATE[CHARTS_QUEUE].stored(), **fields)
    if pages.exists():
        late = Q(give_up_at__lte=now)
        if not is_served(SNAPSHOTS_QUEUE, now=now):
            late |= Q(created_at__lte=now - PATIENCE)
        count += update_unlocked(pages.filter(late).exclude(error=""), **fields)
        count += update_unlocked(pages.filter(late, error=""), error=_LATE[SNAPSHOTS_QUEUE].stored(), **fields)
    if count:
        logger.error("%d pictures or files given up: no worker took them", count)
    return count


def _old_previews(now: Moment) -> QuerySet[Medium]:
    return Medium.objects.previews().filter(created_at__lte=now - PREVIEW_KEPT)


def overdue_counts(queues: Sequence[str], *, now: datetime, at_most: int) -> dict[str, int]:
    """`overdue_count` of each queue."""
    return {queue: overdue_count(queue, now=now, at_most=at_most) for queue in queues}


def overdue_count(queue: str, *, now: datetime, at_most: int) -> int:
    """How many of a queue wait although nobody has made anything for a while: there is no worker, or none that keeps
    up. Not those that are put off."""
    count = overdue(now).filter(queue=queue)[:at_most].count()
    if not count or Medium.objects.filter(queue=queue, made_at__gt=now - OVERDUE).exists():
        return 0
    return count


def overdue(now: Moment) -> QuerySet[Medium]:
    """Those that have waited for long, in any queue."""
    return Medium.objects.filter(status=Medium.Status.WAITING, created_at__lte=now - OVERDUE, error="")
