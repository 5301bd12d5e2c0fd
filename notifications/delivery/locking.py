"""Locks rows with SKIP LOCKED or a short wait, so that transactions do not deadlock."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from django.db import OperationalError, connection, models, transaction

M = TypeVar("M", bound=models.Model)
BATCH = 500
# PostgreSQL's, of a lock that was waited for as long as `lock_timeout`.
LOCK_NOT_AVAILABLE = "55P03"
# Names the locks of a company's freezing among PostgreSQL's advisory locks, which are one space for a database.
_FREEZING = 1_196_770_627


def unlocked(rows: models.QuerySet[M]) -> models.QuerySet[M]:
    """`rows`, locked, without those that another transaction holds. To be read inside a transaction."""
    return rows.select_for_update(skip_locked=True, of=("self",))


def first_locked(rows: models.QuerySet[M], *, seconds: int) -> M | None:
    """The first of `rows`, locked, waiting at most so long for whoever holds it. None where there is none, or where it
    is still held then. To be read inside a transaction.

    Waits: skipping a row that is nearly always held would never get it.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])
            found = rows.select_for_update(of=("self",)).first()
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        return None
    return found


def update_unlocked(rows: models.QuerySet[M], **fields: Any) -> int:
    """Update `rows` in batches, each its own transaction; `fields` must make a row leave the queryset.

    Not one update: two that cover the same rows in different orders would deadlock. What somebody
    else holds is left to the next call. Returns how many were updated.
    """
    count = 0
    while True:
        with transaction.atomic():
            ids = [row.pk for row in unlocked(rows.order_by("pk").only("pk"))[:BATCH]]
            rows.model._default_manager.filter(pk__in=ids).update(**fields)
        count += len(ids)
        if len(ids) < BATCH:
            return count


def share_freezing(corp_ids: Collection[int]) -> None:
    """Until the transaction ends nobody changes who of these companies gets what is frozen: whoever wants to waits, and
    finds what was frozen. What they have changed before is seen by the queries that follow.

    Beside each other messages are frozen freely.
    """
    if corp_ids:
        with connection.cursor() as cursor:
            # In one order, so that nobody waits in a circle.
            shared = "SELECT pg_advisory_xact_lock_shared(%s, corp) FROM unnest(%s::int[]) AS corp"
            cursor.execute(shared, [_FREEZING, sorted(corp_ids)])


def exclude_freezing(corp_id: int) -> None:
    """Wait for what is being frozen of the company, and keep more from being frozen until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_FREEZING, corp_id])
