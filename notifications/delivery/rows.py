"""Rows of the push engine: their leases and their locks."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, models, transaction
from psycopg.errors import LockNotAvailable

M = TypeVar("M", bound=models.Model)
# The lease of a queued rendering: once it has ended, the sweep queues the rendering again. The worker renews it while
# it plans the run's messages, and holds a lock on the run while it writes them.
RENDER_LEASE = timedelta(seconds=20)
# A delivery that its task has not tried is queued for another task after this time.
QUEUE_LEASE = timedelta(seconds=60)
# A sending task begins no call after this many seconds; it waits for the calls under way and releases its other
# deliveries. This ends within QUEUE_LEASE, so that no other task gets them too, and the broker's visibility timeout.
TASK_SECONDS = 30
# A stopping worker waits this long for calls under way; a service manager usually kills it after 10 seconds.
STOP_SECONDS = 7
BATCH = 500  # rows of a statement
# First key of the advisory locks taken while messages are frozen. All advisory locks of a database share one space.
_FREEZING = 1_196_770_627


def compute_delivery_lease() -> timedelta:
    """Return how long a worker may hold a delivery: longer than a call takes."""
    return timedelta(seconds=max(60, 3 * settings.WECOM_TOTAL_TIMEOUT_SECONDS))


def lock_skipping(rows: models.QuerySet[M]) -> models.QuerySet[M]:
    """Lock `rows`, and skip those that another transaction holds. Call it inside a transaction."""
    return rows.select_for_update(skip_locked=True, of=("self",))


def lock_first(rows: models.QuerySet[M], *, seconds: int) -> M | None:
    """Lock and return the first of `rows`, waiting up to `seconds` for another transaction. Return None if there is no
    row or it stays locked. Use it instead of `lock_skipping` for a row that is locked most of the time. Call it inside
    a transaction."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])
            found = rows.select_for_update(of=("self",)).first()
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        return None
    return found


def update_unlocked(rows: models.QuerySet[M], **fields: Any) -> int:
    """Update `rows` in batches, each in its own transaction; `fields` must make a row leave the queryset.

    A single update could deadlock with another over the same rows in another order. Locked rows are left to the next
    call. Return how many were updated.
    """
    count = 0
    while True:
        found = len(reserve_rows(rows.order_by("pk"), BATCH, **fields))
        count += found
        if found < BATCH:
            return count


@transaction.atomic
def reserve_rows(rows: models.QuerySet[M], at_most: int, **fields: Any) -> list[int]:
    """Update the first of `rows` that no other transaction holds. Return their ids, in order."""
    ids = [row.pk for row in lock_skipping(rows.only("pk"))[:at_most]]
    rows.model._default_manager.filter(pk__in=ids).update(**fields)
    return ids


def lock_freezing_shared(corp_ids: Collection[int]) -> None:
    """Lock the companies' recipients until the transaction ends, because it freezes messages to them: it writes their
    bytes. Such transactions share the lock; one that changes people (`lock_freezing`) waits, and sees the messages."""
    if corp_ids:
        with connection.cursor() as cursor:
            # Sorted, so that two transactions cannot deadlock.
            shared = "SELECT pg_advisory_xact_lock_shared(%s, corp) FROM unnest(%s::int[]) AS corp"
            cursor.execute(shared, [_FREEZING, sorted(corp_ids)])


def lock_freezing(corp_id: int) -> None:
    """Wait until no transaction freezes messages to the company, and let none begin to until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_FREEZING, corp_id])
