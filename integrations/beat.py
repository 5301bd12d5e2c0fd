"""Beat's entries of integrations, kept as rows so that beat's DatabaseScheduler finds them."""

from __future__ import annotations

from typing import Any

from django_celery_beat.models import IntervalSchedule, PeriodicTask

RETRY = "integrations.retry_checks"
# How often it is looked for checks whose time has come to be tried again, in seconds.
RETRY_SECONDS = 10
SWEEP = "integrations.sweep_events"
# How often it is looked for events whose work was lost, or is to be tried again, in seconds.
SWEEP_SECONDS = 10
DATA_SWEEP = "integrations.sweep_card_data"
# The same for the data of cards.
DATA_SWEEP_SECONDS = 10


def ensure_retry_entry(**_signal: Any) -> None:
    """Create the entry of the diagnosis, or fit it. Called after migrations."""
    _ensure_entry(RETRY, RETRY_SECONDS)


def ensure_sweep_entry(**_signal: Any) -> None:
    """Create the entry of the events, or fit it. Called after migrations."""
    _ensure_entry(SWEEP, SWEEP_SECONDS)


def ensure_data_sweep_entry(**_signal: Any) -> None:
    """Create the entry of the data of cards, or fit it. Called after migrations."""
    _ensure_entry(DATA_SWEEP, DATA_SWEEP_SECONDS)


def _ensure_entry(task: str, seconds: int) -> None:
    """A tick that nobody took within its period expires: the next one does its work. Whether the entry is enabled is
    left as it is.
    """
    # Why not get_or_create? Rows of one interval may exist twice: the table has no unique constraint.
    interval = IntervalSchedule.objects.filter(every=seconds, period=IntervalSchedule.SECONDS).first()
    if interval is None:
        interval = IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)
    wanted = {"task": task, "interval": interval, "expire_seconds": seconds - 1}
    entry, is_new = PeriodicTask.objects.get_or_create(name=task, defaults=wanted)
    if not is_new and any(getattr(entry, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(entry, name, value)
        entry.save()  # the whole row: its save() tells beat that the schedule changed
