"""Building blocks of background work: repeats, the database's clock, error guards, leases, queues and ticks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, reduce
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

# Deadlines and leases use the database's clock, so workers with a wrong clock cannot disagree.
Clock = Callable[[], datetime]

# A lease must last several times as long, because a machine may be busy or the database briefly away.
RENEW_SECONDS = 5.0


T = TypeVar("T")


def repeat_on_conflict(step: Callable[[], T], *conflicts: type[Exception]) -> T:
    """Call `step`, a transaction of its own, up to three times. A concurrent save makes it raise IntegrityError or one
    of `conflicts`; the next try sees the saved rows."""
    for _try in range(2):
        with suppress(IntegrityError, *conflicts):
            return step()
    return step()


def is_database_away(error: BaseException | None) -> bool:
    """Return whether the connection failed or was lost: PostgreSQL is away, starting, stopping or full."""
    state = getattr(error.__cause__, "sqlstate", None) if isinstance(error, Error) else ""
    is_lost = isinstance(error, OperationalError | InterfaceError) and state is None
    return is_lost or str(state).startswith(("08", "53", "57P"))


def database_clock() -> Clock:
    """Return a clock set by the database once and advanced by local elapsed time. Make one per task."""
    start, started = database_now(), read_boot_clock()
    return lambda: start + timedelta(seconds=read_boot_clock() - started)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


# --- Loops ------------------------------------------------------------------------------------------------------------


@dataclass
class GuardedBlock:
    """The result of a block of log_errors. `error`: the error that the block raised; None if it ran to its end."""

    error: Exception | None = None


@contextmanager
def log_errors(
    logger: logging.Logger, message: str, *facts: object, unless: tuple[type[Exception], ...] = ()
) -> Iterator[GuardedBlock]:
    """Log any error of the block with its traceback, and go on after it. `unless`: errors that are passed on."""
    block = GuardedBlock()
    try:
        yield block
    except unless:
        raise
    except Exception as error:  # in every loop: an error with one row must not stop the others
        block.error = error
        logger.exception(message, *facts)


# --- Leases -----------------------------------------------------------------------------------------------------------


@contextmanager
def keep_lease(renew: Callable[[], object], *, seconds: float = RENEW_SECONDS) -> Iterator[None]:
    """Call `renew`, which extends a lease, every `seconds` in another thread until the block ends.

    Leases can then be short, so that a killed worker's rows are free soon. `renew` must not wait for a lock that the
    block may hold, because the block's end waits for a renewal under way. No renewal runs afterwards.
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
        except DatabaseError as error:  # the next renewal may succeed; otherwise the lease ends
            logger.warning("a lease could not be renewed: %s", type(error).__name__)
        finally:
            connection.close()


# --- Queues -----------------------------------------------------------------------------------------------------------


def queue_by_name_on_commit(name: str, row_ids: Sequence[int | str], *, expires_seconds: int) -> None:
    """Queue the task called `name` for each row after the commit. Services use it, because they do not import tasks. If
    the broker cannot be reached, nothing is queued: a sweep must queue the rows that were left."""

    def send() -> None:
        try:
            for row_id in row_ids:
                current_app.send_task(name, args=(row_id,), expires=expires_seconds, ignore_result=True)
        except BrokerError as error:
            logger.error("the queue cannot be reached task=%s error=%s", name, type(error).__name__)

    if row_ids:
        transaction.on_commit(send)


# --- Ticks ------------------------------------------------------------------------------------------------------------


class AnyRowQuery:
    """A query whether any of several querysets has a row. `make` returns them for a moment of the database's clock.

    Django takes 15 ms to compile a query of 30 querysets, so its SQL is compiled once per process with its values:
    only Now() may depend on the moment, and later changes of settings have no effect.
    """

    def __init__(self, make: Callable[[Moment], Iterable[QuerySet[Any]]]) -> None:
        self._make = make

    def exists(self) -> bool:
        """Return whether there is a row. Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(_compile_query(self._make))
            return cursor.fetchone() is not None


@lru_cache(maxsize=64)
def _compile_query(make: Callable[[Moment], Iterable[QuerySet[Any]]]) -> str:
    query = Query(None)  # without a table, like Django's own Q.check()
    query.add_annotation(Value(1), "found")
    query.add_q(reduce(or_, (Q(Exists(rows.order_by())) for rows in make(Now()))))
    statement: str = connection.ops.compose_sql(*query.sql_with_params())  # type: ignore[attr-defined]  # PostgreSQL's
    return statement


StepFunction = Callable[[datetime], object]
FindDue = Callable[["Moment"], Sequence[QuerySet[Any]]]


class Tick:
    """The steps of an app's background work, run every few seconds. Beat first asks by one query whether there is any
    work: mostly there is none, and a message, a task and a query for each step would cost ten times as much.

    `name`: of its task and beat entry. `at_least_every_seconds`: beat queues it so often even if nothing is due."""

    def __init__(self, name: str, *, at_least_every_seconds: float) -> None:
        self.name, self.at_least_every_seconds = name, at_least_every_seconds
        self._steps: list[tuple[StepFunction, FindDue]] = []
        self._due = AnyRowQuery(lambda now: [rows for _do, find_due in self._steps for rows in find_due(now)])

    def step(self, find_due: FindDue) -> Callable[[StepFunction], StepFunction]:
        """Add the decorated function as the next step. `find_due`: returns the rows that it should handle at a moment;
        rows that an earlier step returns may be left out. Without due rows a tick ends after one query; otherwise all
        steps run."""

        def add(do: StepFunction) -> StepFunction:
            self._steps.append((do, find_due))
            return do

        return add

    def is_anything_due(self) -> bool:
        """Return whether a step has work, by one query. Raises django.db.Error."""
        return self._due.exists()

    def do_steps(self, *, now: datetime) -> None:
        """Run all steps; a failing step does not stop the others."""
        for do, _find_due in self._steps:
            with log_errors(logger, "tick: %s failed", do.__name__):
                do(now)
