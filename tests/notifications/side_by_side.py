"""Database connections in parallel: the work of another process, and work between two statements."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection


def do_at_once(*works: Callable[[], object]) -> None:
    """Do all of these at the same time, each over a connection of its own, and wait until they end."""
    barrier = threading.Barrier(len(works))

    def do(work: Callable[[], object]) -> None:
        try:
            barrier.wait()
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Meanwhile:
    """A wrapper of statements that does its work once, before the first statement that fits."""

    def __init__(self, work: Callable[[], object], fits: Callable[[str], bool]) -> None:
        self._work, self._fits, self._is_done = work, fits, False

    def __call__(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if not self._is_done and self._fits(sql):
            self._is_done = True
            self._work()
        return execute(sql, *arguments)


class Elsewhere:
    """The work of another process, over a connection of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._pids: list[int] = []
        self._work = work
        self._thread = threading.Thread(target=self._run)

    def until_it_waits(self) -> None:
        """Start the work. Return once it waits for a lock of ours or is done."""
        self._thread.start()
        while self._thread.is_alive():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_locks WHERE pid = ANY(%s) AND NOT granted", [self._pids])
                if cursor.fetchone() is not None:
                    return

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self._pids += cursor.fetchone()
            self._work()
        finally:
            connection.close()
