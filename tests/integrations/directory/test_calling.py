"""How the calls of a run are made: in order, side by side, slowed down, and repeated with measure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from integrations.clients.errors import RateLimitedError, TransientError, UnexpectedResponseError
from integrations.directory.fetch import Calling


def failing(times: int, error: Exception) -> Callable[[], str]:
    """Fails so often, then answers."""
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "answer"

    return call


def transient() -> TransientError:
    return TransientError("busy", system="wecom", operation="user_list", code=-1)


def limited(seconds: int) -> RateLimitedError:
    return RateLimitedError("slower", system="wecom", operation="user_list", retry_after_seconds=seconds)


def test_a_hiccup_is_repeated_twice_at_most() -> None:
    pauses: list[float] = []
    calling = Calling(pause=pauses.append)

    assert calling.one(failing(2, transient())) == "answer"
    with pytest.raises(TransientError):
        calling.one(failing(3, transient()))

    assert pauses == [0.5, 2.0, 0.5, 2.0]
    assert calling.count == 6


def test_a_minutes_block_and_a_refusal_are_not_repeated() -> None:
    pauses: list[float] = []
    calling = Calling(pause=pauses.append)

    with pytest.raises(RateLimitedError):
        calling.one(failing(1, limited(60)))
    with pytest.raises(UnexpectedResponseError):
        calling.one(failing(1, UnexpectedResponseError("what", system="wecom", operation="user_list")))
    assert calling.one(failing(1, limited(5))) == "answer"

    assert pauses == [0.5]


def test_results_come_in_the_order_of_the_calls() -> None:
    gates = [threading.Event() for _ in range(5)]

    def call(number: int) -> int:
        # Each waits for the one after it: they end in reverse.
        assert number == 4 or gates[number + 1].wait(60)
        gates[number].set()
        return number

    calling = Calling(parallel=5)

    assert list(calling.many(partial(call, number) for number in range(5))) == [0, 1, 2, 3, 4]


def test_never_more_side_by_side_than_allowed_and_calls_are_not_made_ahead() -> None:
    under_way, most, made = 0, 0, 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        with lock:
            under_way -= 1

    def calls() -> Iterator[Callable[[], None]]:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield call

    results = Calling(parallel=3).many(calls())
    next(results)

    assert made <= 7
    assert len(list(results)) == 999
    assert most <= 3


def test_an_error_ends_it_and_what_waited_is_not_called() -> None:
    called = []

    def call(number: int) -> int:
        called.append(number)
        if number == 0:
            raise UnexpectedResponseError("what", system="wecom", operation="user_list")
        return number

    with pytest.raises(UnexpectedResponseError):
        list(Calling(parallel=1).many(partial(call, number) for number in range(100)))

    assert len(called) <= 3


def test_after_a_burst_calls_are_spread() -> None:
    pauses: list[float] = []
    calling = Calling(pause=pauses.append, at_once=3, per_second=0.01)

    for _ in range(5):
        calling.one(lambda: None)

    assert [round(seconds) for seconds in pauses] == [100, 200]
