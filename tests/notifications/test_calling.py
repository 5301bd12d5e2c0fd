"""The threads that make calls."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from notifications.calling import Callers


def test_calls_run_side_by_side_and_threads_are_used_again() -> None:
    callers, barrier = Callers(), threading.Barrier(5)
    names: set[str] = set()

    def call() -> int:
        barrier.wait(timeout=10)
        names.add(str(threading.get_ident()))
        return 7

    for _ in range(3):
        futures = [callers.submit(call) for _ in range(5)]
        assert [future.result(timeout=10) for future in futures] == [7] * 5

    assert 5 <= len(names) <= 10
    assert callers._started_count == len(names)


def test_more_calls_than_threads_wait_for_one() -> None:
    callers, release = Callers(thread_count=2), threading.Event()
    held = [callers.submit(lambda: release.wait(10)) for _ in range(2)]
    waiting = callers.submit(lambda: "done")

    assert wait([waiting], timeout=0.1).not_done == {waiting}
    release.set()

    assert waiting.result(timeout=10) == "done"
    assert all(future.result(timeout=10) for future in held)


def test_what_a_call_raises_is_the_futures() -> None:
    callers = Callers()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        callers.submit(fail).result(timeout=10)
    assert callers.submit(lambda: 1).result(timeout=10) == 1


def test_a_process_does_not_wait_for_its_calls() -> None:
    callers = Callers()
    callers.submit(lambda: None).result(timeout=10)

    [thread] = [thread for thread in threading.enumerate() if thread.name == "call" and thread.is_alive()][-1:]

    assert thread.daemon
