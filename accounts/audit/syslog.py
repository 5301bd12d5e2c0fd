"""Sends audit entries to the syslog server of settings.AUDIT_SYSLOG, so that the trail outlives this database.

What is still to be sent stands in a table, written with the entry: a server that is away loses nothing and stops
nobody.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db.models import Count, Min
from redis.exceptions import LockError

from accounts.models import AuditEntry, UnsentAudit
from integrations.core.background import queue_by_name_on_commit
from integrations.core.redis import valkey

logger = logging.getLogger(__name__)

TASK = "accounts.send_audit"
TIMEOUT_SECONDS = 5
SENT_AT_ONCE = 200
# One process sends at a time; for so long if it dies.
LOCK_SECONDS = 120
TASK_EXPIRES_SECONDS = 60
# Facility 13 (log audit), severity 6 (informational), version 1: RFC 5424.
_HEAD = "<110>1"
# Receivers need not take longer messages (RFC 5424, 6.1). A longer entry is sent without its values.
BYTES_AT_MOST = 8192


@dataclass(frozen=True)
class Waiting:
    """How many entries are still to be sent, and since when the oldest waits."""

    count: int = 0
    since: datetime | None = None


def note(entries: Sequence[AuditEntry]) -> None:
    """Have `entries`, which were just saved, sent after the commit; nothing where no server is set."""
    if settings.AUDIT_SYSLOG is None or not entries:
        return
    UnsentAudit.objects.bulk_create([UnsentAudit(entry_id=entry.pk, at=entry.at) for entry in entries], batch_size=500)
    queue_by_name_on_commit(TASK, [entries[0].pk], expires_seconds=TASK_EXPIRES_SECONDS)


def waiting() -> Waiting:
    """In one query, and none where no server is set."""
    if settings.AUDIT_SYSLOG is None:
        return Waiting()
    return Waiting(**UnsentAudit.objects.aggregate(count=Count("entry_id"), since=Min("at")))


def send_waiting() -> int:
    """Send what waits, oldest first, and return how many were sent. Raises OSError where the server cannot be reached.

    Where a process dies between sending and noting it, up to SENT_AT_ONCE entries are sent twice, with the same id.
    """
    if settings.AUDIT_SYSLOG is None:
        return 0
    sent = 0
    try:
        with valkey().lock("accounts:audit-syslog", timeout=LOCK_SECONDS, blocking=False):
            while keys := list(UnsentAudit.objects.order_by("entry_id").values_list("pk", flat=True)[:SENT_AT_ONCE]):
                _send(settings.AUDIT_SYSLOG, AuditEntry.objects.filter(pk__in=keys).order_by("pk"))
                sent += UnsentAudit.objects.filter(pk__in=keys).delete()[0]
    except LockError:  # another process is at it, or took over from this one
        return sent
    return sent


def _send(server: tuple[str, tuple[str, int]], entries: Iterable[AuditEntry]) -> None:
    """Over one connection, in whose order the server gets them."""
    kind, address = server
    with _connected(kind, address) as connection:
        for entry in entries:
            text = message(entry)
            connection.sendall(f"{len(text)} ".encode() + text if kind == "tcp" else text)


@contextmanager
def _connected(kind: str, address: tuple[str, int]) -> Iterator[socket.socket]:
    if kind == "tcp":
        with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as connection:
            yield connection
        return
    family, _type, _protocol, _name, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect(found)
        yield connection


def message(entry: AuditEntry) -> bytes:
    """One line of RFC 5424, whose text is JSON in ASCII: nothing that was typed can end it or begin another."""
    values = {
        "id": entry.pk,
        "actor": entry.actor_name,
        "actor_id": entry.actor_id,
        "ip": entry.ip,
        "action": entry.action,
        "kind": entry.model,
        "object_id": entry.object_id,
        "subject": entry.subject,
        "note": entry.note,
        "company_id": entry.corp_id,
    }
    at = entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"{_HEAD} {at} {socket.gethostname()[:255]} guanwecom {os.getpid()} {entry.action} - "
    whole = head + json.dumps({**values, "changes": entry.changes})
    short = head + json.dumps({**values, "changes": None, "is_shortened": True})
    return (whole if len(whole) <= BYTES_AT_MOST else short).encode()
