"""Rows are taken without waiting for those that another transaction holds, so that nobody waits in a circle."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import connection, models, transaction

M = TypeVar("M", bound=models.Model)
BATCH = 500


def unlocked(rows: models.QuerySet[M]) -> models.QuerySet[M]:
    """`rows`, locked, without those that another transaction holds. To be read inside a transaction.

    SQLite has no row locks: there a transaction excludes all others (IMMEDIATE).
    """
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, of=("self",))
    return rows


def update_unlocked(rows: models.QuerySet[M], **fields: Any) -> int:
    """Update `rows` in batches, each its own transaction; `fields` must make a row leave the queryset.

    Why not one update? Two that cover the same rows in different orders would wait for each other. What somebody
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
