"""What background work needs: a repeat, the database's clock, a guard for each row, a lease that is renewed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import DatabaseError, Error, IntegrityError, InterfaceError, OperationalError, connection

from integrations.clients.clock import read_boot_clock

logger = logging.getLogger(__name__)

# Deadlines and leases are counted on the database's clock, so workers with a wrong clock cannot disagree.
Clock = Callable[[], datetime]

# A lease must last some times as long: a machine may be busy, and the database away for a moment.
RENEW_SECONDS = 5.0


T = TypeVar("T")


def repeat_on_conflict(step: Callable[[], T], *conflicts: type[Exception]) -> T:
    """Call a step that is a transaction of its own, three times at most: while somebody else saves what it is about, it
    raises IntegrityError, or one of `conflicts`. Done again, it sees that."""
    for _try in range(2):
        with suppress(IntegrityError, *conflicts):
            return step()
    return step()


def is_database_away(error: BaseException | None) -> bool:
    """Return whether no connection could be had, or it was lost: PostgreSQL is away, starts, ends, or is full."""
    state = getattr(error.__cause__, "sqlstate", None) if isinstance(error, Error) else ""
    is_lost = isinstance(error, OperationalError | InterfaceError) and state is None
    return is_lost or str(state).startswith(("08", "53", "57P"))


def database_clock() -> Clock:
    """A clock set by the database once, then moved on by the time that passes here. Make one per task."""
    start, started = database_now(), read_boot_clock()
    return lambda: start + timedelta(seconds=read_boot_clock() - started)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


# --- Loops ------------------------------------------------------------------------------------------------------------


@dataclass
class Guarded:
    """What became of a guarded block. `error`: what it raised; None if it ran to its end."""

    error: Exception | None = None


@contextmanager
def guarded(
    logger: logging.Logger, message: str, *facts: object, unless: tuple[type[Exception], ...] = ()
) -> Iterator[Guarded]:
    """Log whatever the block raises, with its traceback, and go on after it. `unless`: errors that are passed on."""
    block = Guarded()
    try:
        yield block
    except unless:
        raise
    except Exception as error:  # the edge of every loop: one bad row must not keep the others
        block.error = error
        logger.exception(message, *facts)


# --- Leases -----------------------------------------------------------------------------------------------------------


@contextmanager
def lease_kept(renew: Callable[[], object], *, seconds: float = RENEW_SECONDS) -> Iterator[None]:
    """Call `renew`, which writes the new end of a lease, every `seconds`, in another thread, until the block ends.

    So leases can be short, and a killed worker's rows are free soon. `renew` must not wait for a lock that the block
    may hold: a renewal that is under way at the block's end is waited for. None runs afterwards.
    """
    is_over = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(is_over, renew, seconds), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _renew_until(is_over: threading.Event, renew: Callable[[], object], seconds: float) -> None:
    while not is_over.wait(seconds):
        try:
            renew()
        except DatabaseError as error:  # the next time, or the lease ends
            logger.warning("a lease could not be renewed: %s", type(error).__name__)
        finally:
            connection.close()
