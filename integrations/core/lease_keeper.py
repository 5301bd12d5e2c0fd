"""Keeps leases alive while their work lasts: so a lease can be short, and a killed worker's row is soon another's.

    with lease_keeper.kept(renew):
        ...  # as long as it takes

One thread of the process renews all of them, over a connection of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

# A lease must last some times as long: a machine may be busy, and the database away for a moment.
RENEW_SECONDS = 5.0

# Writes the new end of one lease. It must not wait for a lock: others' leases end meanwhile.
Renewal = Callable[[], object]


class Keeper:
    """Renews every `seconds` what is kept, and rests while nothing is."""

    def __init__(self, seconds: float = RENEW_SECONDS) -> None:
        self._seconds = seconds
        self._renewals: dict[int, Renewal] = {}
        self._lock = threading.Lock()
        self._is_running = False

    @contextmanager
    def kept(self, renew: Renewal) -> Iterator[None]:
        """Call `renew` now and then, in another thread, until the block ends."""
        key = id(renew)
        with self._lock:
            self._renewals[key] = renew
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="leases", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._renewals[key]

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._seconds)
            with self._lock:
                renewals = list(self._renewals.values())
                if not renewals:
                    self._is_running = False
                    return
            self._renew(renewals)

    def _renew(self, renewals: list[Renewal]) -> None:
        try:
            for renew in renewals:
                renew()
        except DatabaseError as error:  # the next time, or the lease ends
            logger.warning("leases could not be renewed: %s", type(error).__name__)
        finally:
            connection.close()


@cache
def _keeper() -> Keeper:
    return Keeper()


def kept(renew: Renewal) -> AbstractContextManager[None]:
    """With the keeper of this process."""
    return _keeper().kept(renew)
