"""The clock of a task: the database's, moved on by the time that passes here."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from integrations.clients.transport import remaining_seconds, total_deadline
from integrations.core.background import database_clock

pytestmark = pytest.mark.django_db


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not tell how long it slept")
def test_time_passes_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monotonic clock stands still meanwhile; a lease that another worker counts does not."""
    clock, read = database_clock(), time.clock_gettime
    before = clock()

    monkeypatch.setattr(time, "clock_gettime", lambda clock_id: read(clock_id) + 3600)

    assert timedelta(hours=1) <= clock() - before < timedelta(hours=1, minutes=1)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not tell how long it slept")
def test_a_call_ends_where_the_machine_sleeps_during_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = time.clock_gettime
    with total_deadline(15):
        monkeypatch.setattr(time, "clock_gettime", lambda clock_id: read(clock_id) + 3600)

        with pytest.raises(TimeoutError, match="total deadline passed"):
            remaining_seconds()


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = database_clock()
    before = clock()

    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert timedelta() <= clock() - before < timedelta(minutes=1)
