"""Beat's one entry of people: once a day what is too old leaves the audit trail."""

from __future__ import annotations

from typing import Any

from django_celery_beat.models import IntervalSchedule, PeriodicTask

PURGE = "accounts.purge_audit"


def ensure_purge_entry(**_signal: Any) -> None:
    """Create the entry. Called after migrations; one that is there already is left as it is."""
    if PeriodicTask.objects.filter(name=PURGE).exists():
        return
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    daily = IntervalSchedule.objects.filter(every=1, period=IntervalSchedule.DAYS).first()
    if daily is None:
        daily = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.DAYS)
    PeriodicTask.objects.create(name=PURGE, task=PURGE, interval=daily)
