"""Calls side by side, and the one thread that waits for them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from notifications.delivery.sending.send import CallBatch, CallThreads


def results(calls: CallBatch[Any, Any], wanted: int) -> dict[Any, Any]:
    """What so many calls came to, however slow the machine is."""
    found: dict[Any, Any] = {}
    end = time.monotonic() + 30
    while len(found) < wanted and time.monotonic() < end:
        found |= dict(calls.wait(seconds=0.05))
    return found


def test_calls_run_side_by_side_and_threads_are_used_again() -> None:
    threads, barrier = CallThreads(), threading.Barrier(5)
    calls: CallBatch[int, int] = CallBatch(threads)
    names: set[int] = set()

    def call() -> int:
        barrier.wait(timeout=60)
        names.add(threading.get_ident())
        return 7

    for _ in range(3):
        for number in range(5):
            calls.begin(number, call)
        assert results(calls, 5) == dict.fromkeys(range(5), 7)

    # One that is started while another becomes free may find its call taken.
    assert 5 <= len(names) <= threads._started_count <= 10
    assert not calls


def test_more_calls_than_threads_wait_for_one() -> None:
    calls: CallBatch[str, Any] = CallBatch(CallThreads(thread_count=2))
    release = threading.Event()
    for name in ("first", "second"):
        calls.begin(name, lambda: release.wait(30))
    calls.begin("third", lambda: "done")

    assert calls.wait(seconds=0.1) == []
    assert len(calls) == 3
    release.set()

    assert results(calls, 3) == {"first": True, "second": True, "third": "done"}


def test_what_ended_is_reported_once_and_before_all_have() -> None:
    calls: CallBatch[str, str] = CallBatch(CallThreads(thread_count=2))
    release = threading.Event()
    calls.begin("slow", lambda: str(release.wait(30)))
    calls.begin("quick", lambda: "")

    assert results(calls, 1) == {"quick": ""}
    assert calls.wait(seconds=0.05) == []
    release.set()
    assert results(calls, 1) == {"slow": "True"}
    assert not calls


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_what_a_call_raises_is_reported_to_who_waits(error: BaseException) -> None:
    calls: CallBatch[str, int] = CallBatch(CallThreads(thread_count=1))

    def fail() -> int:
        raise error

    calls.begin("failing", fail)
    calls.begin("next", lambda: 1)

    assert results(calls, 2) == {"failing": error, "next": 1}


def test_a_process_does_not_wait_for_its_calls() -> None:
    threads, done = CallThreads(), threading.Event()
    threads.submit(done.set)
    assert done.wait(30)

    [thread] = [thread for thread in threading.enumerate() if thread.name == "call" and thread.is_alive()][-1:]

    assert thread.daemon
