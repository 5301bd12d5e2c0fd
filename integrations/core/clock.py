"""The database's clock. Deadlines and leases are counted on it, so workers with a wrong clock cannot disagree."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connection

Clock = Callable[[], datetime]


def database_clock() -> Clock:
    """A clock set by the database once, then moved on by the time that passes here. Make one per task."""
    start, started = _database_now(), _passed_seconds()
    return lambda: start + timedelta(seconds=_passed_seconds() - started)


def _passed_seconds() -> float:
    """Never set back. Goes on while the machine sleeps, where the system can tell: a lease ends meanwhile, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _database_now() -> datetime:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":  # a file on this machine: its clock is ours
            cursor.execute("SELECT STRFTIME('%%Y-%%m-%%dT%%H:%%M:%%f', 'now')", ())
            return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment
