"""Beat's entries of people: what is too old leaves the audit trail; directory runs and imports are seen to."""

from __future__ import annotations

from typing import Any

from django_celery_beat.models import IntervalSchedule, PeriodicTask

PURGE = "accounts.purge_audit"
DIRECTORY = "accounts.directory_tick"
IMPORTS = "accounts.people_import_tick"
TICK_SECONDS = 60


def ensure_purge_entry(**_signal: Any) -> None:
    """Create the entry. Called after migrations; one that is there already is left as it is."""
    if not PeriodicTask.objects.filter(name=PURGE).exists():
        PeriodicTask.objects.create(name=PURGE, task=PURGE, interval=_interval(1, IntervalSchedule.DAYS))


def ensure_tick_entries(**_signal: Any) -> None:
    """Create the entries. Called after migrations; one that is there already is left as it is.

    A tick that nobody took within its period expires: the next one does its work.
    """
    for name in (DIRECTORY, IMPORTS):
        if not PeriodicTask.objects.filter(name=name).exists():
            PeriodicTask.objects.create(
                name=name,
                task=name,
                interval=_interval(TICK_SECONDS, IntervalSchedule.SECONDS),
                expire_seconds=TICK_SECONDS - 1,
            )


def _interval(every: int, period: str) -> IntervalSchedule:
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    found = IntervalSchedule.objects.filter(every=every, period=period).first()
    return found or IntervalSchedule.objects.create(every=every, period=period)
