"""Beat's entries: settings make them as it starts, and leave off what an administrator switched off."""

from __future__ import annotations

import pytest
from celery import current_app
from django.conf import settings
from django_celery_beat.models import PeriodicTask

from guanwecom.operations.beat import LivingScheduler

# Beat closes connections that it does not find in autocommit.
pytestmark = pytest.mark.django_db(transaction=True)
ENTRIES = {
    "notifications.tick": (2, 1),
    "integrations.tick": (10, 9),
    "accounts.directory_tick": (60, 59),
    "accounts.people_import_tick": (60, 59),
    "accounts.purge_audit": (24 * 60 * 60, None),
}


def begin() -> None:
    LivingScheduler(app=current_app)


def entries() -> dict[str, tuple[int, int | None]]:
    """Seconds between two of them, and after how many one expires."""
    ours = PeriodicTask.objects.filter(name__in=ENTRIES, interval__period="seconds")
    values = ours.values_list("task", "interval__every", "expire_seconds")
    return {name: (every, expires) for name, every, expires in values}


def test_beat_makes_its_entries_as_it_starts() -> None:
    begin()
    begin()

    assert entries() == ENTRIES
    assert set(PeriodicTask.objects.filter(enabled=True).values_list("name", flat=True)) == {
        *ENTRIES,
        "celery.backend_cleanup",
    }


def test_each_entry_is_of_a_task_that_workers_know() -> None:
    current_app.loader.import_default_modules()

    assert set(settings.CELERY_BEAT_SCHEDULE) == set(ENTRIES)
    assert set(ENTRIES) <= set(current_app.tasks)


def test_the_tick_follows_the_setting() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["notifications.tick"]["schedule"] == settings.DISPATCH_INTERVAL_SECONDS


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_an_administrator_switched_off_stays_so(name: str) -> None:
    begin()
    PeriodicTask.objects.filter(name=name).update(enabled=False)

    begin()

    assert list(PeriodicTask.objects.filter(enabled=False).values_list("name", flat=True)) == [name]


def test_what_was_changed_or_deleted_is_made_again() -> None:
    begin()
    PeriodicTask.objects.filter(name="integrations.tick").update(task="something", expire_seconds=None)
    PeriodicTask.objects.filter(name="accounts.purge_audit").delete()

    begin()

    assert entries() == ENTRIES


def test_a_start_does_not_put_off_what_runs_once_a_day() -> None:
    begin()
    entry = PeriodicTask.objects.get(name="accounts.purge_audit")
    PeriodicTask.objects.filter(pk=entry.pk).update(last_run_at=entry.date_changed)

    begin()

    assert PeriodicTask.objects.get(pk=entry.pk).last_run_at == entry.date_changed
