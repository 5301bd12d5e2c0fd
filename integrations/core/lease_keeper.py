"""Renews a lease while its work lasts, so leases can be short and a killed worker's rows are free soon.

    with lease_keeper.kept(renew):
        ...  # as long as it takes

A thread of the block's own renews it, over a connection of its own, and ends with the block.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

# A lease must last some times as long: a machine may be busy, and the database away for a moment.
RENEW_SECONDS = 5.0

# Writes the new end of the lease. It must not wait for a lock that the block may hold: the block's end waits for it.
Renewal = Callable[[], object]


@contextmanager
def kept(renew: Renewal, *, seconds: float = RENEW_SECONDS) -> Iterator[None]:
    """Call `renew` every `seconds`, in another thread, until the block ends.

    A renewal that is under way then is waited for; none runs afterwards.
    """
    is_over = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(is_over, renew, seconds), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _renew_until(is_over: threading.Event, renew: Renewal, seconds: float) -> None:
    while not is_over.wait(seconds):
        try:
            renew()
        except DatabaseError as error:  # the next time, or the lease ends
            logger.warning("a lease could not be renewed: %s", type(error).__name__)
        finally:
            connection.close()
