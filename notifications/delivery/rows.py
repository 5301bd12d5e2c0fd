"""Rows of the push engine: how long work on them is leased, how they are locked, and how many are written at once.

Times of schedules and calls that ended are written in SQL, with the rows as one parameter of JSON: 50,000 that are due
at once, and each message that is accepted, would take Django's update() with a CASE for each row too long.
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
# From handing a run out for rendering to handing it out again. Renewed while its messages are planned; while they are
# written the row is locked.
RENDER_LEASE = timedelta(seconds=20)
# From handing a delivery to a task to handing it to another, while none has tried it.
QUEUE_LEASE = timedelta(seconds=60)
# A sending task gives the rest back after so many seconds and the call that it is at: within QUEUE_LEASE, or another
# task would be given the same deliveries meanwhile (notifications.delivery.maintenance), and within the broker's
# visibility timeout.
TASK_SECONDS = 30
# A worker that is asked to end waits so long for calls under way; a service manager usually kills after 10 seconds.
STOP_SECONDS = 7
BATCH = 500
# Names the locks of a company's freezing among PostgreSQL's advisory locks, which are one space for a database.
_FREEZING = 1_196_770_627


def delivery_lease() -> timedelta:
    """How long a worker may hold a delivery: longer than its call takes."""
    return timedelta(seconds=max(60, 3 * settings.WECOM_TOTAL_TIMEOUT_SECONDS))


def unlocked(rows: models.QuerySet[M]) -> models.QuerySet[M]:
    """`rows`, locked, without those that another transaction holds. To be read inside a transaction."""
    return rows.select_for_update(skip_locked=True, of=("self",))


def first_locked(rows: models.QuerySet[M], *, seconds: int) -> M | None:
    """The first of `rows`, locked, waiting at most so long for whoever holds it. None where there is none, or where it
    is still held then. Skipping a row that is nearly always held would never get it. To be read inside a transaction.
    """
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
    finds what was frozen. What they have changed before is seen by the queries that follow. Messages are frozen beside
    each other freely."""
    if corp_ids:
        with connection.cursor() as cursor:
            # In one order, so that nobody waits in a circle.
            shared = "SELECT pg_advisory_xact_lock_shared(%s, corp) FROM unnest(%s::int[]) AS corp"
            cursor.execute(shared, [_FREEZING, sorted(corp_ids)])


def exclude_freezing(corp_id: int) -> None:
    """Wait for what is being frozen of the company, and keep more from being frozen until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_FREEZING, corp_id])


@dataclass(slots=True)
class PlannedRun:
    """A run as the clock makes it: not rendered, asked for by nobody. Its fields are the columns."""

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
    """Write those whose key is not there already. Returns the ids of the new ones that are to be rendered."""
    if not runs:
        return []
    statement = _RUNS.format(columns=", ".join(_RUN_COLUMNS), listed=_listed(**_RUN_COLUMNS))
    with connection.cursor() as cursor:
        cursor.execute(statement, [_json([_run_values(run) for run in runs])])
        return [pk for pk, status in cursor.fetchall() if status == Run.Status.WAITING]


def move_subscriptions(rows: Sequence[tuple[int, datetime | None]]) -> None:
    """Write the next time of each (id, its next time)."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_TIMES.format(listed=_listed(id="bigint", at="timestamptz")), [_json(rows)])


def settle_deliveries(rows: Sequence[tuple[int, UUID, datetime, str]]) -> set[int]:
    """Accept each (id, fencing token, when it was accepted, msgid). Returns the ids of those whose lease still held."""
    listed = _listed(id="bigint", token="uuid", at="timestamptz", msgid="text")  # noqa: S106  # a column's type
    values = [Delivery.Status.ACCEPTED.value, _json(rows), Delivery.Status.SENDING.value]
    with connection.cursor() as cursor:
        cursor.execute(_DELIVERIES.format(listed=listed), values)
        return {pk for (pk,) in cursor.fetchall()}


def settle_attempts(rows: Sequence[tuple[int, int, datetime]]) -> None:
    """Accept each (id, milliseconds, when it was answered)."""
    listed = _listed(id="bigint", ms="integer", at="timestamptz")
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS.format(listed=listed), [Attempt.Outcome.ACCEPTED.value, _json(rows)])


def _listed(**columns: str) -> str:
    """Make a table of one parameter, a JSON list of rows. `columns`: their types, in the order of a row."""
    named = (f"CAST(value ->> {n} AS {kind}) AS {name}" for n, (name, kind) in enumerate(columns.items()))
    rows = "jsonb_array_elements(%s::jsonb) AS rows(value)"
    return f"(SELECT {', '.join(named)} FROM {rows}) AS listed"  # noqa: S608  # nosec B608  # our own words


def _json(rows: Sequence[Sequence[Any]]) -> str:
    return json.dumps(rows, default=str)
