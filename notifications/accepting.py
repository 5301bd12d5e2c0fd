"""Writes many accepted calls down in one statement for each table.

Why SQL? Django's update() with a CASE for each column builds and resolves an expression a row: half of all the time
that a message costs. PostgreSQL and SQLite both take an UPDATE … FROM a list of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import DateTimeField, UUIDField

from notifications.models import Attempt, Delivery

_DELIVERIES = """
    WITH ended(id, token, at, msgid) AS (VALUES {values})
    UPDATE notifications_delivery
    SET status = %s, errcode = 0, error = '', settled_at = ended.at, msgid = ended.msgid, response_code = '',
        fencing_token = NULL, lease_until = NULL, queued_until = NULL
    FROM ended
    WHERE notifications_delivery.id = ended.id AND notifications_delivery.status = %s
        AND notifications_delivery.fencing_token = ended.token
    RETURNING notifications_delivery.id
"""
_ATTEMPTS = """
    WITH ended(id, ms, at) AS (VALUES {values})
    UPDATE notifications_attempt
    SET outcome = %s, errcode = 0, duration_ms = ended.ms, finished_at = ended.at
    FROM ended
    WHERE notifications_attempt.id = ended.id
"""


def settle_deliveries(rows: Sequence[tuple[int, UUID, datetime, str]]) -> set[int]:
    """Each (id, fencing token, when it was accepted, msgid). Returns the ids of those whose lease still held."""
    token, moment = UUIDField(), DateTimeField()
    values = [
        (pk, token.get_db_prep_value(held, connection), moment.get_db_prep_value(at, connection), msgid)
        for pk, held, at, msgid in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _DELIVERIES.format(values=_places(values)),
            [*_flat(values), Delivery.Status.ACCEPTED.value, Delivery.Status.SENDING.value],
        )
        return {pk for (pk,) in cursor.fetchall()}


def settle_attempts(rows: Sequence[tuple[int, int | None, datetime]]) -> None:
    """Each (id, milliseconds, when it was answered)."""
    moment = DateTimeField()
    values = [(pk, duration_ms or 0, moment.get_db_prep_value(at, connection)) for pk, duration_ms, at in rows]
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS.format(values=_places(values)), [*_flat(values), Attempt.Outcome.ACCEPTED.value])


def _places(values: Sequence[Sequence[Any]]) -> str:
    row = f"({', '.join(['%s'] * len(values[0]))})"
    return ", ".join([row] * len(values))


def _flat(values: Iterable[Sequence[Any]]) -> list[Any]:
    return [value for row in values for value in row]
