"""Rows of the push engine: how long work on them is leased, how they are locked, and how many are written at once.

What is written many at a time is written in SQL: Django's bulk_create() and its update() with a CASE for each column
build and resolve an expression for each value: half of all the time that a message costs. The rows travel as one
parameter of JSON, since placeholders cost time, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from django.db import OperationalError, connection, models, transaction

from notifications.models import Attempt, Delivery, Run

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


T = TypeVar("T")


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

# Of texts and bodies: PostgreSQL takes 256 MB of JSON, and on its way each byte is in memory some eight times. A
# thousand mails of 50,000 characters have more.
MESSAGE_BYTES_AT_ONCE = 16 * 2**20
# A parameter each: a document is no text.
CONTENTS_AT_ONCE = 500
_CONTENTS = "INSERT INTO notifications_frozencontent (run_id, document) VALUES {} RETURNING id"
_MESSAGES = """
    INSERT INTO notifications_delivery ({columns}) SELECT {columns} FROM {listed} RETURNING mark, id
"""


@dataclass(slots=True)
class Frozen:
    """The final bytes of a delivery, in UTF-8. `until`: when what was uploaded for it is forgotten. `error`: why it
    goes without that."""

    delivery_id: int
    body: bytes
    until: datetime | None
    error: str | None = None


_FREEZE = """
    UPDATE notifications_delivery
    SET status = %s, next_attempt_at = %s, body = convert_to(listed.body, 'UTF8'), plain_body = %s, prepare_count = 0,
        media_until = listed.until, error = COALESCE(listed.error, notifications_delivery.error),
        fencing_token = NULL, lease_until = NULL, queued_until = NULL
    FROM {listed}
    WHERE notifications_delivery.id = listed.id
"""
_BEGIN = """
    INSERT INTO notifications_attempt (delivery_id, number, fencing_token, started_at, outcome, answer)
    SELECT delivery.id, delivery.attempt_count, %s, %s, %s, ''
    FROM notifications_delivery AS delivery JOIN {listed} ON listed.id = delivery.id
    RETURNING delivery_id, id
"""
_RECEIPTS = """
    INSERT INTO notifications_receipt (run_id, delivery_id, channel, user_id, address, reason, status)
    SELECT %s, listed.delivery_id, listed.channel, listed.user_id, listed.address, listed.reason, '' FROM {listed}
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
    rows = [_run_values(run) for run in runs]
    statement = _RUNS.format(columns=", ".join(_RUN_COLUMNS), listed=_listed(**_RUN_COLUMNS))
    with connection.cursor() as cursor:
        cursor.execute(statement, [_json(rows)])
        return [pk for pk, status in cursor.fetchall() if status == Run.Status.WAITING]


def move_subscriptions(rows: Sequence[tuple[int, datetime | None]]) -> None:
    """Each (id, its next time)."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_TIMES.format(listed=_listed(id="bigint", at="timestamptz")), [_json(rows)])


def insert_contents(run_id: int, documents: Sequence[bytes]) -> list[int]:
    """Keep these documents (notifications.reports.contents). Returns their ids, in their order."""
    found: list[int] = []
    with connection.cursor() as cursor:
        for start in range(0, len(documents), CONTENTS_AT_ONCE):
            part = documents[start : start + CONTENTS_AT_ONCE]
            cursor.execute(_CONTENTS.format(", ".join([f"({int(run_id)}, %s)"] * len(part))), part)
            found += [pk for (pk,) in cursor.fetchall()]
    return found


def insert_deliveries(deliveries: Sequence[Delivery]) -> None:
    """Write these, each with all of its columns, and give each its id. Their bodies are UTF-8, as JSON is."""
    for part in in_parts(deliveries, _size, MESSAGE_BYTES_AT_ONCE):
        _insert_deliveries(part)


def in_parts(rows: Iterable[T], size_of: Callable[[T], int], at_most: int) -> Iterator[list[T]]:
    """The rows in their order, as many together as have so many bytes at most, or one."""
    part: list[T] = []
    left = at_most
    for row in rows:
        size = size_of(row)
        if part and size > left:
            yield part
            part, left = [], at_most
        part.append(row)
        left -= size
    if part:
        yield part


def _size(delivery: Delivery) -> int:
    return 4 * len(delivery.text) + len(delivery.body) + len(delivery.plain_body)


def _insert_deliveries(deliveries: Sequence[Delivery]) -> None:
    fields = [field for field in Delivery._meta.concrete_fields if not field.primary_key]
    columns = {str(field.column): _column_type(field) for field in fields}
    values_of = attrgetter(*(field.attname for field in fields))
    binary = [n for n, field in enumerate(fields) if isinstance(field, models.BinaryField)]
    rows = []
    for delivery in deliveries:
        row = list(values_of(delivery))
        for n in binary:
            row[n] = bytes(row[n]).decode()
        rows.append(row)
    statement = _MESSAGES.format(columns=", ".join(columns), listed=_listed(**columns))
    with connection.cursor() as cursor:
        cursor.execute(statement, [json.dumps(rows, default=str, ensure_ascii=False)])
        ids: dict[str, int] = dict(cursor.fetchall())
    for delivery in deliveries:
        delivery.pk = ids[delivery.mark]


def _column_type(field: models.Field[Any, Any]) -> str:
    """For _listed. Of a text no length: a cast would cut what is too long, and nobody would learn of it."""
    kind = field.db_type(connection) or ""
    return "text" if kind.startswith("varchar") else kind


def write_receipts(run_id: int, rows: Sequence[tuple[int, str, int | None, str, str]]) -> None:
    """One for each (id of the delivery, channel, id of the user, address, reason), in their order."""
    listed = _listed(delivery_id="bigint", channel="text", user_id="bigint", address="text", reason="text")
    with connection.cursor() as cursor:
        cursor.execute(_RECEIPTS.format(listed=listed), [run_id, _json(rows)])


def freeze_deliveries(rows: Sequence[Frozen], now: datetime) -> None:
    """They wait to be sent from now on. The caller holds their locks."""
    if not rows:
        return
    listed = _listed(id="bigint", body="text", until="timestamptz", error="text")
    values = _json([[row.delivery_id, row.body.decode(), row.until, row.error] for row in rows])
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.format(listed=listed), [Delivery.Status.PENDING.value, now, b"", values])


def begin_attempts(delivery_ids: Sequence[int], token: UUID, started_at: datetime) -> dict[int, int]:
    """A started attempt for each, numbered by the delivery's count of attempts. Returns their ids by delivery."""
    values: list[Any] = [token, started_at, Attempt.Outcome.STARTED.value, _json([[pk] for pk in delivery_ids])]
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN.format(listed=_listed(id="bigint")), values)
        return dict(cursor.fetchall())


def settle_deliveries(rows: Sequence[tuple[int, UUID, datetime, str]]) -> set[int]:
    """Each (id, fencing token, when it was accepted, msgid). Returns the ids of those whose lease still held."""
    listed = _listed(id="bigint", token="uuid", at="timestamptz", msgid="text")  # noqa: S106  # a column's type
    values = [Delivery.Status.ACCEPTED.value, _json(rows), Delivery.Status.SENDING.value]
    with connection.cursor() as cursor:
        cursor.execute(_DELIVERIES.format(listed=listed), values)
        return {pk for (pk,) in cursor.fetchall()}


def settle_attempts(rows: Sequence[tuple[int, int | None, datetime]]) -> None:
    """Each (id, milliseconds, when it was answered)."""
    listed = _listed(id="bigint", ms="integer", at="timestamptz")
    values = _json([[pk, duration_ms or 0, at] for pk, duration_ms, at in rows])
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS.format(listed=listed), [Attempt.Outcome.ACCEPTED.value, values])


def _listed(**columns: str) -> str:
    """A table of one parameter, a JSON list of rows. `columns`: their types, in the order of a row."""
    binary, other = "convert_to(value ->> {}, 'UTF8')", "CAST(value ->> {} AS {})"
    named = (
        f"{(binary if kind == 'bytea' else other).format(n, kind)} AS {name}"
        for n, (name, kind) in enumerate(columns.items())
    )
    rows = "jsonb_array_elements(%s::jsonb) AS rows(value)"
    return f"(SELECT {', '.join(named)} FROM {rows}) AS listed"  # noqa: S608  # nosec B608  # our own words


def _json(rows: Sequence[Sequence[Any]]) -> str:
    return json.dumps(rows, default=str)
