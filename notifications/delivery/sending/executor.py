"""Threads that only make calls, without database or queue, so that a task has many calls under way."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")
logger = logging.getLogger(__name__)

# More than a worker's tasks have under way together; each costs some 100 kB once it was needed.
THREADS_AT_MOST = 400


class Callers:
    """A pool whose threads a process that ends does not wait for.

    Not ThreadPoolExecutor: it joins its threads at exit, and a worker that was asked to end would stay until a
    hanging call has timed out.
    """

    def __init__(self, thread_count: int = THREADS_AT_MOST) -> None:
        self._thread_count = thread_count
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # As many entries as threads that are free. No semaphore: it is written in Python, and taken for each call.
        self._idle: SimpleQueue[None] = SimpleQueue()
        self._started_count = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], None]) -> None:
        """Begin `call` as soon as a thread is free. It must not raise: nobody is there to hear of it."""
        self._calls.put(call)
        try:
            self._idle.get_nowait()
        except Empty:
            self._start_thread()

    def _start_thread(self) -> None:
        with self._lock:
            if self._started_count >= self._thread_count:
                return
            self._started_count += 1
        threading.Thread(target=self._work, name="call", daemon=True).start()

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call()
            except BaseException:  # the edge of the loop
                logger.exception("a call raised")
            del call
            self._idle.put(None)


class Flights(Generic[K, T]):
    """Calls under way, each under a key, for one thread that waits for them.

    No futures: each has locks, which cost more than a hundredth of a call; here there is one event.
    """

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._count = 0
        self._ended: deque[tuple[K, T | BaseException]] = deque()
        # How many are waited for, and the word that so many ended.
        self._wanted = 0
        self._is_enough = threading.Event()

    def __len__(self) -> int:
        return self._count

    def begin(self, key: K, call: Callable[[], T]) -> None:
        """Begin `call` as soon as a thread is free."""
        self._count += 1
        self._callers.submit(lambda: self._end(key, call))

    def wait(self, wanted: int, *, seconds: float) -> list[tuple[K, T | BaseException]]:
        """Those that ended since, each once, with what it returned or raised: when `wanted` have, or after so long."""
        self._is_enough.clear()
        self._wanted = wanted
        if len(self._ended) < wanted:
            self._is_enough.wait(seconds)
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        self._count -= len(ended)
        return ended

    def _end(self, key: K, call: Callable[[], T]) -> None:
        try:
            self._ended.append((key, call()))
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            self._ended.append((key, error))
        if len(self._ended) >= self._wanted:
            self._is_enough.set()


@cache
def callers() -> Callers:
    """The threads of this process."""
    return Callers()
