"""What background work needs: a repeat, the database's clock, a guard, a lease that is renewed, queues, and ticks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeVar

from celery import current_app
from django.db import DatabaseError, Error, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, Q, QuerySet, Value
from django.db.models.functions import Now
from django.db.models.sql import Query
from kombu.exceptions import OperationalError as BrokerError

from integrations.clients.transport import read_boot_clock

if TYPE_CHECKING:
    from integrations.models.jobs import Moment

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


# --- Queues -----------------------------------------------------------------------------------------------------------


def queue_by_name_on_commit(name: str, row_ids: Sequence[int | str], *, expires_seconds: int) -> None:
    """Queue the task of this name for each row after the commit: for services, which know no task. Without a broker
    the rows wait for the sweep that their task must have."""
    if row_ids:
        transaction.on_commit(partial(_queue_by_name, name, row_ids, expires_seconds))


def _queue_by_name(name: str, row_ids: Sequence[int | str], expires_seconds: int) -> None:
    try:
        for row_id in row_ids:
            current_app.send_task(name, args=(row_id,), expires=expires_seconds, ignore_result=True)
    except BrokerError as error:
        logger.error("the queue cannot be reached task=%s error=%s", name, type(error).__name__)


# --- Ticks ------------------------------------------------------------------------------------------------------------


class AnyRow:
    """Whether one of several querysets (`make`: they at a moment) has a row: one query, by the database's clock.

    Django takes 15 ms to write such a question of 30 querysets, so its SQL is written once in a process, with its
    values in the text: nothing in it may depend on the moment but Now(); settings in it are those of the first time.
    """

    def __init__(self, make: Callable[[Moment], Iterable[QuerySet[Any]]]) -> None:
        self._make = make

    def exists(self) -> bool:
        """Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(_write_question(self._make))
            return cursor.fetchone() is not None


@lru_cache(maxsize=64)
def _write_question(make: Callable[[Moment], Iterable[QuerySet[Any]]]) -> str:
    query = Query(None)  # of no table, as Django's own Q.check()
    query.add_annotation(Value(1), "found")
    query.add_q(reduce(or_, (Q(Exists(rows.order_by())) for rows in make(Now()))))
    statement: str = connection.ops.compose_sql(*query.sql_with_params())  # type: ignore[attr-defined]  # PostgreSQL's
    return statement


@dataclass(frozen=True)
class Step:
    """A part of a tick. `due`: the rows that ask for it at a moment, beside those that the steps before it name. While
    no step has any, a tick ends after one question; otherwise all are done."""

    do: Callable[[datetime], None]
    due: Callable[[Moment], Sequence[QuerySet[Any]]]


class Tick:
    """The steps of an app's background work, done every few seconds. Most ticks find nothing, so beat asks before it
    queues one: a message, a task and a question of each step cost ten times as much.

    `name`: of its task and of its entry in beat. `at_least_seconds`: it comes so often though nothing is due."""

    def __init__(self, name: str, *, at_least_seconds: float, steps: Sequence[Step]) -> None:
        self.name, self.at_least_seconds, self._steps = name, at_least_seconds, steps
        self._due = AnyRow(lambda now: [rows for step in steps for rows in step.due(now)])

    def is_anything_due(self) -> bool:
        """Whether a step has work. One query. Raises django.db.Error."""
        return self._due.exists()

    def do_steps(self, *, now: datetime) -> None:
        """What one step finds is done also where another one fails."""
        for step in self._steps:
            with guarded(logger, "tick: %s failed", step.do.__name__):
                step.do(now)
