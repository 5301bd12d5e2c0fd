"""Threads that make calls and do nothing else: no database, no queue. By them a task has many calls under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

# More than a worker's tasks have under way together; each costs some 100 kB once it was needed.
THREADS_AT_MOST = 400


class Callers:
    """A pool whose threads a process that ends does not wait for.

    Why not ThreadPoolExecutor? It joins its threads at exit, and a worker that was asked to end would stay until a
    hanging call has timed out.
    """

    def __init__(self, thread_count: int = THREADS_AT_MOST) -> None:
        self._thread_count = thread_count
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        # As many entries as threads that are free. Why no semaphore? It is written in Python, and taken for each call.
        self._idle: SimpleQueue[None] = SimpleQueue()
        self._started_count = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Begin `call` as soon as a thread is free."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        try:
            self._idle.get_nowait()
        except Empty:
            self._start_thread()
        return future

    def _start_thread(self) -> None:
        with self._lock:
            if self._started_count >= self._thread_count:
                return
            self._started_count += 1
        threading.Thread(target=self._work, name="call", daemon=True).start()

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # whoever waits for the future gets it
                future.set_exception(error)
            del future, call
            self._idle.put(None)


@cache
def callers() -> Callers:
    """The threads of this process."""
    return Callers()
