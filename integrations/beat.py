"""Beat's one entry of the diagnosis, kept as a row so that beat's DatabaseScheduler finds it."""

from __future__ import annotations

from typing import Any

from django_celery_beat.models import IntervalSchedule, PeriodicTask

RETRY = "integrations.retry_checks"
# How often it is looked for checks whose time has come to be tried again, in seconds.
RETRY_SECONDS = 10


def ensure_retry_entry(**_signal: Any) -> None:
    """Create the entry, or fit it to RETRY_SECONDS. Called after migrations.

    A tick that nobody took within its period expires: the next one does its work. Whether the entry is enabled is
    left as it is.
    """
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    interval = IntervalSchedule.objects.filter(every=RETRY_SECONDS, period=IntervalSchedule.SECONDS).first()
    if interval is None:
        interval = IntervalSchedule.objects.create(every=RETRY_SECONDS, period=IntervalSchedule.SECONDS)
    wanted = {"task": RETRY, "interval": interval, "expire_seconds": RETRY_SECONDS - 1}
    entry, is_new = PeriodicTask.objects.get_or_create(name=RETRY, defaults=wanted)
    if not is_new and any(getattr(entry, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(entry, name, value)
        entry.save()  # the whole row: its save() tells beat that the schedule changed
