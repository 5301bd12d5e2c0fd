"""Renders pictures and files in workers of their own; gives up on those that end their worker.

A row is written once, by whoever is first: two workers that make the same by mistake make equal things.
"""

from __future__ import annotations

import logging
import zlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet

from integrations.core.sentences import Sentence
from notifications.delivery.attachments import recipes
from notifications.delivery.locking import unlocked, update_unlocked
from notifications.models import Medium
from notifications.models.lookups import Moment

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# Only workers with `-Q charts` take from it (docs/en/charts.md).
CHARTS_QUEUE = "charts"
# A worker that takes longer is killed with all that it has in hand, which is this one thing.
SECONDS_AT_MOST = 30
# A file with as many cells as it may have takes 10 s of a processor, which a busy machine may not have for minutes.
FILE_SECONDS_AT_MOST = 240
# From the end of that time until another one may begin.
LEASE_AFTER = timedelta(seconds=15)
# From handing it to a task until it is handed to another: the queue is kept short enough for that.
QUEUED = timedelta(seconds=120)
QUEUED_AT_MOST = 100
TRIES_AT_MOST = 3
# Messages wait for their pictures no longer than this, then they go without.
PATIENCE = timedelta(minutes=30)
# How long a preview is kept.
PREVIEW_KEPT = timedelta(hours=1)
# A picture that waits so long: no worker takes from the queue.
OVERDUE = timedelta(minutes=2)
_CRASHED = Sentence("Making it took too long, or ended the program each time.")
_LATE = Sentence("No worker made it within 30 minutes: does one take from the queue “charts”?")


def due(now: Moment) -> list[QuerySet[Medium]]:
    """What waits to be made, and previews that are kept no longer."""
    return [Medium.objects.filter(status=Medium.Status.WAITING), _old_previews(now)]


def hand_out(*, now: datetime) -> list[int]:
    """Ids of what is to be made now; nobody else gets them for QUEUED. Pictures of incidents pass those of reports."""
    if not Medium.objects.due(now).exists():
        return []
    room = QUEUED_AT_MOST - Medium.objects.filter(status=Medium.Status.WAITING, make_after__gt=now).count()
    if room <= 0:
        return []
    with transaction.atomic():
        due = Medium.objects.due(now).order_by("make_count", F("incident").asc(nulls_last=True), "pk").only("pk")
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


def files_among(medium_ids: list[int]) -> set[int]:
    """Which of these are files, and may take FILE_SECONDS_AT_MOST."""
    files = Medium.objects.filter(pk__in=medium_ids).exclude(kind=Medium.Kind.PICTURE)
    return set(files.values_list("pk", flat=True))


def make(medium_id: int, *, clock: Clock) -> bool:
    """Make it, unless that was done or given up. Returns whether it is ready by this."""
    waiting = Medium.objects.filter(pk=medium_id, status=Medium.Status.WAITING)
    medium = waiting.only("kind", "recipe").first()
    if medium is None:
        return False
    begun = waiting.filter(make_count__lt=TRIES_AT_MOST)
    # Committed before the work: a recipe that ends its worker leaves a trace.
    if not begun.update(make_count=F("make_count") + 1, make_after=clock() + _lease(medium)):
        return False
    try:
        made = recipes.make(medium.kind, bytes(medium.recipe))
    except recipes.MediumError as error:
        _fail(medium_id, error.sentence, clock())
        return False
    is_mine = waiting.update(
        status=Medium.Status.READY,
        content=made.content,
        svg=zlib.compress(made.svg.encode()) if made.svg else b"",
        width=made.width,
        height=made.height,
        recipe=b"",
        made_at=clock(),
    )
    return is_mine == 1


def _lease(medium: Medium) -> timedelta:
    seconds = SECONDS_AT_MOST if medium.kind == Medium.Kind.PICTURE else FILE_SECONDS_AT_MOST
    return timedelta(seconds=seconds) + LEASE_AFTER


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
    late = waiting.filter(created_at__lte=now - PATIENCE)
    late_count = update_unlocked(late, error=_LATE.stored(), **fields)
    if late_count:
        logger.error("%d pictures or files given up: no worker took them", late_count)
    previews = _old_previews(now)
    previews._raw_delete(previews.db)  # why raw? nothing hangs on a preview
    return count + late_count


def _old_previews(now: Moment) -> QuerySet[Medium]:
    return Medium.objects.previews().filter(created_at__lte=now - PREVIEW_KEPT)


def overdue_count(*, now: datetime, at_most: int) -> int:
    """How many wait although nobody has made anything for a while: there is no worker, or none that keeps up."""
    waiting = Medium.objects.filter(status=Medium.Status.WAITING, created_at__lte=now - OVERDUE)
    count = waiting[:at_most].count()
    if not count or Medium.objects.filter(made_at__gt=now - OVERDUE).exists():
        return 0
    return count
