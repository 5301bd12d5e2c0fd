"""WeCom calls of one run: throttled, partly parallel, retried once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from integrations.clients.clock import read_boot_clock
from integrations.clients.errors import RateLimitedError, TransientError

T = TypeVar("T")

# WeCom allows one company 10,000 calls of one API a minute. So many go out at once, and then so many a second: together
# 8,800 in the first minute and 4,800 in each after it, which leaves something to others.
CALLS_AT_ONCE = 4000
CALLS_PER_SECOND = 80
# Far below the 300 that WeCom was once said to allow, so that messages keep their share.
PARALLEL_CALLS = 8
# Seconds before the second and the third try. A whole run that begins anew (running.py) is minutes away: repeating
# one call of thousands here is not the same retry a second time.
PAUSES_SECONDS = (0.5, 2.0)


class Calling:
    """Makes calls. `pause` sleeps so many seconds; `count` is how many were made, repeats included."""

    def __init__(
        self,
        *,
        pause: Callable[[float], object] = time.sleep,
        parallel: int = PARALLEL_CALLS,
        at_once: int = CALLS_AT_ONCE,
        per_second: float = CALLS_PER_SECOND,
    ) -> None:
        self.count = 0
        self._pause, self._parallel = pause, parallel
        self._interval, self._credit_seconds = 1 / per_second, at_once / per_second
        self._lock = threading.Lock()
        # When the last call would have gone out, had all kept the interval.
        self._due_at = 0.0

    def one(self, call: Callable[[], T]) -> T:
        """One call, at most three times where it fails for the moment. Raises what the client raises."""
        for seconds in PAUSES_SECONDS:
            try:
                return self._paced(call)
            except TransientError as error:
                if isinstance(error, RateLimitedError) and error.retry_after_seconds > 5:
                    raise  # a minute's block: nobody sleeps that long
                self._pause(seconds)
        return self._paced(call)

    def many(self, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
        """The results in the order of the calls, some of which are under way at once. Ends with the first error."""
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="directory") as pool:
            waiting: deque[Future[T]] = deque()
            try:
                for call in calls:
                    waiting.append(pool.submit(self.one, call))
                    if len(waiting) >= 2 * self._parallel:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _paced(self, call: Callable[[], T]) -> T:
        with self._lock:
            self.count += 1
            now = read_boot_clock()
            self._due_at = max(now, self._due_at) + self._interval
            wait = self._due_at - now - self._credit_seconds
        if wait > 0:
            self._pause(wait)
        return call()
