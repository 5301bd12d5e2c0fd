"""Rows of the push engine: their leases, their locks, and the SQL that writes many at once.

Next times of schedules and ended calls are written in SQL, with the rows as one JSON parameter: Django's update() with
a CASE per row is too slow for 50,000 due subscriptions and for every accepted message.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, models, transaction
from psycopg.errors import LockNotAvailable

from notifications.models import Run

M = TypeVar("M", bound=models.Model)
# From handing a run out for rendering to handing it out again; renewed during planning. While writing, the row is
# locked.
RENDER_LEASE = timedelta(seconds=20)
# From handing a delivery to a task to handing it to another, if the first has not tried it.
QUEUE_LEASE = timedelta(seconds=60)
# A sending task gives the rest back after this many seconds and its calls under way: within QUEUE_LEASE, so that no
# other task gets the same deliveries, and within the broker's visibility timeout.
TASK_SECONDS = 30
# A stopping worker waits this long for calls under way; a service manager usually kills it after 10 seconds.
STOP_SECONDS = 7
BATCH = 500
# Key of the freezing locks among PostgreSQL's advisory locks, which share one space per database.
_FREEZING = 1_196_770_627


def delivery_lease() -> timedelta:
    """Return how long a worker may hold a delivery: longer than a call takes."""
    return timedelta(seconds=max(60, 3 * settings.WECOM_TOTAL_TIMEOUT_SECONDS))


def lock_skipping(rows: models.QuerySet[M]) -> models.QuerySet[M]:
    """Lock `rows`, and skip those that another transaction holds. Call it inside a transaction."""
    return rows.select_for_update(skip_locked=True, of=("self",))


def lock_first(rows: models.QuerySet[M], *, seconds: int) -> M | None:
    """Lock and return the first of `rows`, waiting up to `seconds` for another transaction. Return None if there is no
    row or it stays locked. A row that is nearly always locked would be missed by skipping. Call it inside a
    transaction."""
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
        found = len(reserve(rows.order_by("pk"), BATCH, **fields))
        count += found
        if found < BATCH:
            return count


@transaction.atomic
def reserve(rows: models.QuerySet[M], at_most: int, **fields: Any) -> list[int]:
    """Update the first of `rows` that no other transaction holds. Return their ids, in order."""
    ids = [row.pk for row in lock_skipping(rows.only("pk"))[:at_most]]
    rows.model._default_manager.filter(pk__in=ids).update(**fields)
    return ids


def lock_freezing_shared(corp_ids: Collection[int]) -> None:
    """Keep the recipients of these companies unchanged until the transaction ends. A change waits for the lock and then
    finds what was frozen; queries after this call see earlier changes. Several freezings run side by side."""
    if corp_ids:
        with connection.cursor() as cursor:
            # Sorted, so that no deadlock arises.
            shared = "SELECT pg_advisory_xact_lock_shared(%s, corp) FROM unnest(%s::int[]) AS corp"
            cursor.execute(shared, [_FREEZING, sorted(corp_ids)])


def lock_freezing(corp_id: int) -> None:
    """Wait for freezings of the company, and block new ones until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_FREEZING, corp_id])


_INSERT_RUNS = """
    INSERT INTO notifications_run (
        key, subscription_id, corp_id, trigger, slot_at, due_at, slot_count, status, claimed_at, render_after,
        finished_at, error, render_count, recipient_count, skipped_count, resends_unknown, fingerprint
    )
    SELECT listed.*, 0, 0, 0, FALSE, '' FROM jsonb_to_recordset(%s::jsonb) AS listed (
        key text, subscription_id bigint, corp_id bigint, trigger text, slot_at timestamptz, due_at timestamptz,
        slot_count integer, status text, claimed_at timestamptz, render_after timestamptz, finished_at timestamptz,
        error text
    )
    ON CONFLICT (key) DO NOTHING
    RETURNING id, status
"""
_MOVE_SUBSCRIPTIONS = """
    UPDATE notifications_subscription SET next_run_at = listed.at
    FROM jsonb_to_recordset(%s::jsonb) AS listed (id bigint, at timestamptz)
    WHERE notifications_subscription.id = listed.id
"""
_ACCEPT_DELIVERIES = """
    UPDATE notifications_delivery
    SET status = 'accepted', errcode = 0, error = '', settled_at = listed.at, msgid = listed.msgid, response_code = '',
        fencing_token = NULL, lease_until = NULL, queued_until = NULL
    FROM jsonb_to_recordset(%s::jsonb) AS listed (id bigint, token uuid, at timestamptz, msgid text)
    WHERE notifications_delivery.id = listed.id AND notifications_delivery.status = 'sending'
        AND notifications_delivery.fencing_token = listed.token
    RETURNING notifications_delivery.id
"""
_ACCEPT_ATTEMPTS = """
    UPDATE notifications_attempt
    SET outcome = 'accepted', errcode = 0, duration_ms = listed.ms, finished_at = listed.at
    FROM jsonb_to_recordset(%s::jsonb) AS listed (attempt bigint, ms integer, at timestamptz)
    WHERE notifications_attempt.id = listed.attempt
"""


def insert_runs(runs: Sequence[dict[str, Any]]) -> list[int]:
    """Insert the runs, each with the columns of _INSERT_RUNS, whose keys are new. Return the ids of those to render."""
    if not runs:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_RUNS, [json.dumps(runs, default=str)])
        return [pk for pk, status in cursor.fetchall() if status == Run.Status.WAITING]


def move_subscriptions(next_times: dict[int, datetime | None]) -> None:
    """Write the next time of each subscription, by its id."""
    rows = [{"id": pk, "at": moment} for pk, moment in next_times.items()]
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_SUBSCRIPTIONS, [json.dumps(rows, default=str)])


def settle_accepted(rows: Sequence[dict[str, Any]]) -> set[int]:
    """Mark deliveries and their attempts as accepted. `rows`: `id` and fencing `token` of the delivery, `msgid`, `at`,
    and the `attempt` with its `ms`. Return the ids of the deliveries whose lease still held."""
    listed = [json.dumps(rows, default=str)]
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPT_DELIVERIES, listed)
        held = {pk for (pk,) in cursor.fetchall()}
        cursor.execute(_ACCEPT_ATTEMPTS, listed)
    return held
