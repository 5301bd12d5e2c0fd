"""A lease that is renewed, a guard, the database's clock, and the single query of a tick."""

import logging
import threading
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from integrations.clients.transport import remaining_seconds, total_deadline
from integrations.core.background import AnyRowQuery, _compile_query, database_clock, keep_lease, log_errors
from integrations.models import Heartbeat

pytestmark = pytest.mark.django_db

logger = logging.getLogger("tests.guard")


def test_what_a_guarded_block_raised_is_known_afterwards_or_passed_on_unlogged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(LookupError), log_errors(logger, "failed", unless=(LookupError,)):
        _fail(LookupError())
    for end in (KeyboardInterrupt, SystemExit):
        with pytest.raises(end), log_errors(logger, "failed"):
            _fail(end())
    with log_errors(logger, "failed") as passing:
        pass
    assert (passing.error, caplog.records) == (None, [])

    mistake = ValueError("no")
    with log_errors(logger, "failed") as failing:
        _fail(mistake)

    assert failing.error is mistake
    assert [record.message for record in caplog.records] == ["failed"]


def _fail(error: BaseException) -> None:
    raise error


def test_a_block_that_is_left_waits_for_its_renewal_and_lets_no_other_run() -> None:
    begun, leaving = threading.Event(), threading.Event()
    renewing: list[threading.Thread] = []

    def renew() -> None:
        begun.set()
        assert leaving.wait(20)
        renewing.append(threading.current_thread())

    with keep_lease(renew, seconds=0.001):
        assert begun.wait(20)
        leaving.set()

    assert not renewing[0].is_alive()


def test_a_lease_is_renewed_again_and_again_though_the_database_is_away() -> None:
    tries = threading.Semaphore(0)

    def renew() -> None:
        tries.release()
        raise DatabaseError

    with keep_lease(renew, seconds=0.001):
        assert all(tries.acquire(timeout=20) for _ in range(3))


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not tell how long it slept")
def test_time_passes_while_the_machine_sleeps_and_is_not_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count sleep, as WeCom and other workers' leases do; a monotonic clock stands still in it."""
    clock, read = database_clock(), time.clock_gettime
    before = clock()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert timedelta() <= clock() - before < timedelta(minutes=1)

    with total_deadline(15):
        monkeypatch.setattr(time, "clock_gettime", lambda clock_id: read(clock_id) + 3600)

        assert timedelta(hours=1) <= clock() - before < timedelta(hours=1, minutes=1)
        with pytest.raises(TimeoutError, match="total deadline passed"):
            remaining_seconds()


def hear(name: str, *, seconds_ago: int = 0) -> Heartbeat:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Heartbeat.objects.create(kind=Heartbeat.Kind.WEB, name=name, beat_at=at)


def test_any_row_goes_by_the_clock_of_the_database_and_is_written_once() -> None:
    old = AnyRowQuery(
        lambda now: [
            Heartbeat.objects.filter(beat_at__lt=now - timedelta(seconds=60)),
            Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL),
        ]
    )
    hear("a:1", seconds_ago=50)
    assert not old.exists()

    hear("b:2", seconds_ago=70)

    assert old.exists()
    assert _compile_query.cache_info().misses == 1
