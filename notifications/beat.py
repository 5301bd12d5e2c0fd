"""Beat's one entry of the push engine, kept as a row so that beat's DatabaseScheduler finds it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

TICK = "notifications.tick"


def ensure_tick_entry(**_signal: Any) -> None:
    """Create the entry, or fit it to settings.DISPATCH_INTERVAL_SECONDS. Called after migrations and at beat's start.

    A tick that nobody took within its period expires: the next one does its work. Whether the entry is enabled is
    left as it is.
    """
    seconds = settings.DISPATCH_INTERVAL_SECONDS
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    interval = IntervalSchedule.objects.filter(every=seconds, period=IntervalSchedule.SECONDS).first()
    if interval is None:
        interval = IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)
    wanted = {"task": TICK, "interval": interval, "expire_seconds": max(1, seconds - 1)}
    entry, is_new = PeriodicTask.objects.get_or_create(name=TICK, defaults=wanted)
    if not is_new and any(getattr(entry, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(entry, name, value)
        entry.save()  # the whole row: its save() tells beat that the schedule changed
