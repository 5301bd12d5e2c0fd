"""Beat's entries: settings make them at its start, and entries that an administrator disabled stay disabled."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import PeriodicTask

from guanwecom.operations import beat as beat_module
from guanwecom.operations.beat import CHECK_AFTER_SECONDS, TICKS, HeartbeatScheduler, PeriodicEntry
from integrations.models import SiteAddress
from notifications.delivery.runs.scheduler import TICK_NAME
from tests.notifications.factories import make_corp, make_person, make_subscription

# Beat closes connections that are not in autocommit.
pytestmark = pytest.mark.django_db(transaction=True)
ENTRIES = {
    "notifications.tick": (2, 24 * 60 * 60),
    "integrations.tick": (10, 24 * 60 * 60),
    "accounts.directory_tick": (60, 24 * 60 * 60),
    "accounts.purge_audit": (24 * 60 * 60, None),
    "notifications.notify_of_owners": (60 * 60, None),
}


def begin() -> None:
    HeartbeatScheduler(app=current_app)


def entries() -> dict[str, tuple[int, int | None]]:
    """Return each entry's interval and expiry in seconds."""
    ours = PeriodicTask.objects.filter(name__in=ENTRIES, interval__period="seconds")
    values = ours.values_list("task", "interval__every", "expire_seconds")
    return {name: (every, expires) for name, every, expires in values}


def test_beat_makes_its_entries_as_it_starts_each_of_a_task_that_workers_know() -> None:
    begin()
    begin()

    assert entries() == ENTRIES
    assert set(PeriodicTask.objects.filter(enabled=True).values_list("name", flat=True)) == {
        *ENTRIES,
        "celery.backend_cleanup",
    }
    current_app.loader.import_default_modules()
    assert set(settings.CELERY_BEAT_SCHEDULE) == set(ENTRIES) <= set(current_app.tasks)
    assert ENTRIES[TICK_NAME][0] == settings.DISPATCH_INTERVAL_SECONDS


def test_a_start_makes_again_what_was_changed_and_leaves_off_what_was_switched_off() -> None:
    begin()
    PeriodicTask.objects.filter(name="integrations.tick").update(task="something", expire_seconds=None)
    PeriodicTask.objects.filter(name="accounts.directory_tick").delete()
    daily = PeriodicTask.objects.get(name="accounts.purge_audit")
    PeriodicTask.objects.filter(pk=daily.pk).update(last_run_at=daily.date_changed)
    PeriodicTask.objects.filter(name=TICK_NAME).update(enabled=False)

    begin()

    assert entries() == ENTRIES
    assert list(PeriodicTask.objects.filter(enabled=False).values_list("name", flat=True)) == [TICK_NAME]
    # A daily entry is not postponed.
    assert PeriodicTask.objects.get(pk=daily.pk).last_run_at == daily.date_changed


@pytest.mark.parametrize(("name", "queue"), [("notifications.tick", "urgent"), ("integrations.tick", "celery")])
def test_a_tick_is_queued_when_something_is_due_and_now_and_then_anyway(
    name: str, queue: str, valkey_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, queued = HeartbeatScheduler(app=current_app), []

    def turn() -> None:
        beat.apply_entry(beat.schedule[name])
        queued.append(valkey_client.llen(queue))

    turn()  # the first since beat started
    turn()
    with monkeypatch.context() as change:
        change.setattr(TICKS[name], "at_least_every_seconds", 0)
        turn()
    turn()
    make_due(name)
    turn()

    assert queued == [1, 1, 2, 2, 3]


def make_due(name: str) -> None:
    if name == TICK_NAME:
        make_subscription(make_person(make_corp(), "lilei"), next_run_at=datetime.now(UTC))
    else:
        SiteAddress.objects.create(url="https://push.example.com/")


def test_while_the_database_cannot_be_asked_each_tick_is_queued(valkey_client: redis.Redis) -> None:
    beat = HeartbeatScheduler(app=current_app)
    entry = beat.schedule[TICK_NAME]
    beat.apply_entry(entry)

    def refuse(*_arguments: object) -> None:
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(refuse):
        beat.apply_entry(entry)

    assert valkey_client.llen("urgent") == 2


@pytest.mark.parametrize("name", TICKS)
def test_the_question_of_beat_holds_no_moment_of_its_start(name: str) -> None:
    """Guard a query that is written once and used for days."""
    with CaptureQueriesContext(connection) as asked:
        TICKS[name].is_anything_due()

    assert not re.search(r"\d{4}-\d\d-\d\d", asked[0]["sql"])
    assert "STATEMENT_TIMESTAMP()" in asked[0]["sql"]


def test_ticks_begin_with_a_period_whenever_beat_was_started() -> None:
    begin()
    entry = PeriodicEntry(PeriodicTask.objects.get(name=TICK_NAME), app=current_app)
    following = next(entry)

    late = (following.last_run_at.timestamp() - CHECK_AFTER_SECONDS) % settings.DISPATCH_INTERVAL_SECONDS
    assert min(late, settings.DISPATCH_INTERVAL_SECONDS - late) < 0.001
    assert following.model.last_run_at == following.last_run_at
    entry.last_run_at = datetime.now(UTC) - timedelta(days=1)
    state = entry.is_due()
    assert state.is_due
    assert 0 < state.next <= settings.DISPATCH_INTERVAL_SECONDS
    # An entry that ran in what is the future is due in a period.
    entry.last_run_at = datetime.now(UTC) + timedelta(hours=3)
    state = entry.is_due()
    assert not state.is_due
    assert 0 < state.next <= settings.DISPATCH_INTERVAL_SECONDS


def test_after_the_database_s_clock_was_set_back_entries_are_due_as_before(
    valkey_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_due(TICK_NAME)
    queued, now = [], datetime.now(UTC)

    def set_clock(seconds: int) -> None:
        at = now + timedelta(seconds=seconds)
        monkeypatch.setattr(beat_module, "database_clock", lambda: lambda: at)

    set_clock(3 * 3600)
    with closing(HeartbeatScheduler(app=current_app)) as beat:
        for seconds in (3 * 3600, 0, 1, 2):
            set_clock(seconds)
            beat._changes_read_at = float("-inf")
            valkey_client.delete("urgent")
            for _turn in range(20):  # as many as there are entries, because each may be the first
                beat.tick()
            queued.append(valkey_client.llen("urgent"))

    assert queued == [1, 0, 0, 1]
