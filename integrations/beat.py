"""Beat's one entry of integrations, kept as a row so that beat's DatabaseScheduler finds it."""

from __future__ import annotations

from typing import Any

from django_celery_beat.models import IntervalSchedule, PeriodicTask

TICK = "integrations.tick"
# How often it is looked for what is to be tried again and for what was lost, in seconds.
TICK_SECONDS = 10


def ensure_tick_entry(**_signal: Any) -> None:
    """Create the entry, or fit it. Called after migrations.

    A tick that nobody took within its period expires: the next one does its work. Whether the entry is enabled is
    left as it is.
    """
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    interval = IntervalSchedule.objects.filter(every=TICK_SECONDS, period=IntervalSchedule.SECONDS).first()
    if interval is None:
        interval = IntervalSchedule.objects.create(every=TICK_SECONDS, period=IntervalSchedule.SECONDS)
    wanted = {"task": TICK, "interval": interval, "expire_seconds": TICK_SECONDS - 1}
    entry, is_new = PeriodicTask.objects.get_or_create(name=TICK, defaults=wanted)
    if not is_new and any(getattr(entry, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(entry, name, value)
        entry.save()  # the whole row: its save() tells beat that the schedule changed
