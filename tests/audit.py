"""The audit trail in tests, which begin with an empty one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.audit import services
from accounts.models import AuditEntry


def clear_trail(**which: Any) -> None:
    """Delete what the database lets nobody delete in another way."""
    services._remove(list(AuditEntry.objects.filter(**which).values_list("pk", flat=True)))


def move_trail(at: datetime, **which: Any) -> None:
    """As if these entries had been written then: PostgreSQL lets nobody change one."""
    entries = list(AuditEntry.objects.filter(**which))
    clear_trail(**which)
    for entry in entries:
        entry.at = at
    AuditEntry.objects.bulk_create(entries)
