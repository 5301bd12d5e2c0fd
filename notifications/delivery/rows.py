"""Rows of the push engine: their leases, their locks, and the SQL that writes many at once.

Next times of schedules and ended calls are written in SQL, with the rows as one JSON parameter: Django's update() with
a CASE per row is too slow for 50,000 due subscriptions and for every accepted message.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection, models, transaction
from psycopg.errors import LockNotAvailable

from notifications.models import Attempt, Delivery, Run

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
        with transaction.atomic():
            ids = [row.pk for row in lock_skipping(rows.order_by("pk").only("pk"))[:BATCH]]
            rows.model._default_manager.filter(pk__in=ids).update(**fields)
        count += len(ids)
        if len(ids) < BATCH:
            return count


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


@dataclass(slots=True)
class PlannedRun:
    """A run that the clock makes, not rendered. The fields are columns of Run."""

    key: str
    subscription_id: int
    corp_id: int | None
    trigger: Run.Trigger
    slot_at: datetime
    due_at: datetime | None
    slot_count: int
    status: Run.Status
    claimed_at: datetime
    render_after: datetime
    finished_at: datetime | None
    error: str


_RUN_COLUMNS = {
    **{"key": "text", "subscription_id": "bigint", "corp_id": "bigint", "trigger": "text", "slot_at": "timestamptz"},
    **{"due_at": "timestamptz", "slot_count": "integer", "status": "text", "claimed_at": "timestamptz"},
    **{"render_after": "timestamptz", "finished_at": "timestamptz", "error": "text"},
}
_run_values = attrgetter(*_RUN_COLUMNS)
_RUNS = """
    INSERT INTO notifications_run (
        {columns}, render_count, recipient_count, skipped_count, resends_unknown, fingerprint
    )
    SELECT {columns}, 0, 0, 0, FALSE, '' FROM {listed}
    ON CONFLICT (key) DO NOTHING
    RETURNING id, status
"""
_NEXT_TIMES = """
    UPDATE notifications_subscription SET next_run_at = listed.at
    FROM {listed} WHERE notifications_subscription.id = listed.id
"""
_DELIVERIES = """
    UPDATE notifications_delivery
    SET status = %s, errcode = 0, error = '', settled_at = listed.at, msgid = listed.msgid, response_code = '',
        fencing_token = NULL, lease_until = NULL, queued_until = NULL
    FROM {listed}
    WHERE notifications_delivery.id = listed.id AND notifications_delivery.status = %s
        AND notifications_delivery.fencing_token = listed.token
    RETURNING notifications_delivery.id
"""
_ATTEMPTS = """
    UPDATE notifications_attempt
    SET outcome = %s, errcode = 0, duration_ms = listed.ms, finished_at = listed.at
    FROM {listed}
    WHERE notifications_attempt.id = listed.id
"""


def insert_runs(runs: Sequence[PlannedRun]) -> list[int]:
    """Insert the runs whose keys are new. Return the ids of those to render."""
    if not runs:
        return []
    statement = _RUNS.format(columns=", ".join(_RUN_COLUMNS), listed=_rows_from_json(**_RUN_COLUMNS))
    with connection.cursor() as cursor:
        cursor.execute(statement, [_json([_run_values(run) for run in runs])])
        return [pk for pk, status in cursor.fetchall() if status == Run.Status.WAITING]


def move_subscriptions(rows: Sequence[tuple[int, datetime | None]]) -> None:
    """Write the next time of each subscription (id, next time)."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_TIMES.format(listed=_rows_from_json(id="bigint", at="timestamptz")), [_json(rows)])


def settle_deliveries(rows: Sequence[tuple[int, UUID, datetime, str]]) -> set[int]:
    """Mark each (id, fencing token, accepted at, msgid) as accepted. Return the ids of those whose lease still held."""
    listed = _rows_from_json(id="bigint", token="uuid", at="timestamptz", msgid="text")  # noqa: S106  # a column's type
    values = [Delivery.Status.ACCEPTED.value, _json(rows), Delivery.Status.SENDING.value]
    with connection.cursor() as cursor:
        cursor.execute(_DELIVERIES.format(listed=listed), values)
        return {pk for (pk,) in cursor.fetchall()}


def settle_attempts(rows: Sequence[tuple[int, int, datetime]]) -> None:
    """Mark each attempt (id, milliseconds, answered at) as accepted."""
    listed = _rows_from_json(id="bigint", ms="integer", at="timestamptz")
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS.format(listed=listed), [Attempt.Outcome.ACCEPTED.value, _json(rows)])


def _rows_from_json(**columns: str) -> str:
    """Return SQL for a table of one parameter, a JSON list of rows. `columns`: their types, in the order of a row."""
    named = (f"CAST(value ->> {n} AS {kind}) AS {name}" for n, (name, kind) in enumerate(columns.items()))
    rows = "jsonb_array_elements(%s::jsonb) AS rows(value)"
    return f"(SELECT {', '.join(named)} FROM {rows}) AS listed"  # noqa: S608  # nosec B608  # our own words


def _json(rows: Sequence[Sequence[Any]]) -> str:
    return json.dumps(rows, default=str)
