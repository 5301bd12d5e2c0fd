"""The threads that make calls, and the one that waits for them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from notifications.delivery.sending.send import Callers, Flights


def results(flights: Flights[Any, Any], wanted: int) -> dict[Any, Any]:
    """What so many calls came to, however slow the machine is."""
    found: dict[Any, Any] = {}
    end = time.monotonic() + 30
    while len(found) < wanted and time.monotonic() < end:
        found |= dict(flights.wait(wanted - len(found), seconds=1))
    return found


def test_calls_run_side_by_side_and_threads_are_used_again() -> None:
    callers, barrier = Callers(), threading.Barrier(5)
    flights: Flights[int, int] = Flights(callers)
    names: set[int] = set()

    def call() -> int:
        barrier.wait(timeout=60)
        names.add(threading.get_ident())
        return 7

    for _ in range(3):
        for number in range(5):
            flights.begin(number, call)
        assert results(flights, 5) == dict.fromkeys(range(5), 7)

    # One that is started while another becomes free may find its call taken.
    assert 5 <= len(names) <= callers._started_count <= 10
    assert not flights


def test_more_calls_than_threads_wait_for_one() -> None:
    flights: Flights[str, Any] = Flights(Callers(thread_count=2))
    release = threading.Event()
    for name in ("first", "second"):
        flights.begin(name, lambda: release.wait(30))
    flights.begin("third", lambda: "done")

    assert flights.wait(1, seconds=0.1) == []
    assert len(flights) == 3
    release.set()

    assert results(flights, 3) == {"first": True, "second": True, "third": "done"}


def test_what_ended_is_reported_once_and_before_all_have() -> None:
    flights: Flights[str, str] = Flights(Callers())
    release = threading.Event()
    flights.begin("slow", lambda: str(release.wait(30)))
    flights.begin("quick", lambda: "done")

    assert results(flights, 1) == {"quick": "done"}
    assert flights.wait(1, seconds=0.05) == []
    release.set()
    assert results(flights, 1) == {"slow": "True"}
    assert not flights


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_what_a_call_raises_is_reported_to_who_waits(error: BaseException) -> None:
    flights: Flights[str, int] = Flights(Callers(thread_count=1))

    def fail() -> int:
        raise error

    flights.begin("failing", fail)
    flights.begin("next", lambda: 1)

    assert results(flights, 2) == {"failing": error, "next": 1}


def test_a_call_that_nobody_hears_of_leaves_its_thread_alive(caplog: pytest.LogCaptureFixture) -> None:
    callers, done = Callers(thread_count=1), threading.Event()

    def fail() -> None:
        raise ValueError("no")

    callers.submit(fail)
    callers.submit(done.set)

    assert done.wait(30)
    assert "a call raised" in caplog.text


def test_a_process_does_not_wait_for_its_calls() -> None:
    callers, done = Callers(), threading.Event()
    callers.submit(done.set)
    assert done.wait(30)

    [thread] = [thread for thread in threading.enumerate() if thread.name == "call" and thread.is_alive()][-1:]

    assert thread.daemon
