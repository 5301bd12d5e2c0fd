"""Sends deliveries: ask the limiter, claim, commit, call, settle. No transaction is open while WeCom is asked.

A task has some messages under way at once: threads make the calls (`Callers`), the task alone
speaks to the database, over one connection, for many rows at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from structlog.contextvars import bind_contextvars

from integrations.clients.clock import read_boot_clock
from integrations.core.background import guarded
from notifications.delivery.channels import Caller, Sendable, channel_of
from notifications.delivery.channels.outcomes import NO_THREAD, NOT_CLAIMED, NOT_COUNTED, Outcome, crashed, not_begun
from notifications.delivery.leases import STOP_SECONDS, TASK_SECONDS
from notifications.delivery.limiter.shared_gate import PERMIT_SECONDS
from notifications.delivery.sending import throttling
from notifications.delivery.sending.queue import StartedAttempt, claim_deliveries, claimed_without_answer
from notifications.delivery.sending.settle import Ended, reconnecting, settle, settle_all
from notifications.delivery.sending.throttling import Admission

if TYPE_CHECKING:
    from integrations.core.background import Clock
    from notifications.delivery.limiter import Permit

logger = logging.getLogger(__name__)

# What ended is settled this often, also while others are still under way. Why not at once? Many are settled by as many
# statements as one, and a call counts against its limits no longer than this after its end.
SETTLE_SECONDS = 0.2


def send_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Try each delivery whose time has come. Returns how many were tried.

    Before each beginning `is_stopping` is asked: a worker that ends, or was busy for too long, gives the rest back. It
    waits at most STOP_SECONDS for calls under way, whose deliveries are then left to the sweep.
    """
    task = _Task(delivery_ids, clock)
    give_back_at = clock() + timedelta(seconds=TASK_SECONDS)
    stop_at: float | None = None
    while task.has_more:
        if is_stopping():
            stop_at = stop_at or read_boot_clock() + STOP_SECONDS
        may_begin = stop_at is None and clock() < give_back_at
        if may_begin:
            task.begin()
        elif not task.has_flying or (stop_at is not None and read_boot_clock() >= stop_at):
            break
        task.settle_ended(waits_for_room=may_begin)
    task.give_back()
    return task.tried_count


@dataclass(frozen=True)
class _Answered:
    outcome: Outcome
    duration_ms: int
    ended_at: datetime


@dataclass(frozen=True)
class _Flying:
    """A call under way."""

    attempt: StartedAttempt
    permit: Permit


class _Task:
    """The messages of one sending task: waiting, under way, passed over."""

    def __init__(self, delivery_ids: Iterable[int], clock: Clock) -> None:
        self._clock = clock
        self._admission = Admission(delivery_ids)
        self._flights: Flights[_Flying, _Answered] = Flights(callers())
        self._passed_over: list[int] = []
        # Claims that failed, by their tokens: each may have taken effect all the same.
        self._failed_claims: dict[UUID, list[int]] = {}
        self.tried_count = 0

    @property
    def has_flying(self) -> bool:
        return bool(self._flights)

    @property
    def has_more(self) -> bool:
        return self._admission.has_waiting or self.has_flying

    def begin(self) -> None:
        """Begin as many calls as limits and threads allow."""
        room = settings.SEND_PARALLEL_PER_TASK - len(self._flights)
        # Half: claiming many rows at a time costs the database as much as claiming one.
        if room * 2 < settings.SEND_PARALLEL_PER_TASK and self._flights:
            return
        admitted = self._admission.admit(room)
        if not admitted:
            return
        attempts = {attempt.delivery_id: attempt for attempt in self._claimed([each.delivery for each, _ in admitted])}
        throttling.cancel([permit for each, permit in admitted if each.delivery.pk not in attempts])
        begun = [(attempts[each.delivery.pk], permit) for each, permit in admitted if each.delivery.pk in attempts]
        # Only now: a store that is lost from here on learns of these calls from their attempts.
        for (attempt, permit), is_counted in zip(begun, throttling.known([it[1] for it in begun]), strict=True):
            self._call(attempt, permit, is_counted=is_counted)

    def settle_ended(self, *, waits_for_room: bool) -> None:
        """Wait a moment for calls under way, or for the limiter, and write down what ended."""
        if not self._flights:
            if waits_for_room:
                time.sleep(self._admission.seconds_to_next())
            return
        ended = self._flights.wait(len(self._flights), seconds=SETTLE_SECONDS)
        if not ended:
            return
        throttling.release([flying.permit for flying, _answered in ended])
        settled = [_ended(flying.attempt, answered) for flying, answered in ended]
        throttling.slow_down(settled)
        settle_all(settled)

    def give_back(self) -> None:
        """What was not tried can be handed out again: at once, or when the limiter has room for it."""
        self._undo_failed_claims()
        self._admission.give_back(now=self._clock(), passed_over=self._passed_over)

    def _claimed(self, deliveries: list[Sendable]) -> list[StartedAttempt]:
        """One by one where that fails: a bad row waits, and does not keep the others from going out."""
        with guarded(logger, "%d deliveries could not be claimed together", len(deliveries)) as together:
            attempts = self._claim(deliveries)
        if together.error is not None:
            self._undo_failed_claims()
            return [attempt for delivery in deliveries for attempt in self._claimed_alone(delivery)]
        claimed = {attempt.delivery_id for attempt in attempts}
        # A disabled company's, say: they can be handed out the moment that it is enabled again.
        self._passed_over += [delivery.pk for delivery in deliveries if delivery.pk not in claimed]
        return attempts

    def _claimed_alone(self, delivery: Sendable) -> list[StartedAttempt]:
        attempts: list[StartedAttempt] = []
        with guarded(logger, "delivery=%d could not be tried", delivery.pk):
            attempts += self._claim([delivery])
        return attempts

    def _claim(self, deliveries: list[Sendable]) -> list[StartedAttempt]:
        token = uuid4()
        self._failed_claims[token] = [delivery.pk for delivery in deliveries]
        attempts = claim_deliveries(deliveries, now=self._clock(), token=token)
        del self._failed_claims[token]
        return attempts

    def _undo_failed_claims(self) -> None:
        """Nothing was sent of them: left to the sweep they would count as unclear, and a robot's are never repeated."""
        for token, ids in list(self._failed_claims.items()):
            with guarded(logger, "a failed claim could not be looked at") as look:
                for attempt in reconnecting(partial(claimed_without_answer, ids, token)):
                    settle(attempt, NOT_CLAIMED, duration_ms=None, now=self._clock())
            if look.error is None:
                del self._failed_claims[token]

    def _call(self, attempt: StartedAttempt, permit: Permit, *, is_counted: bool) -> None:
        self.tried_count += 1
        delivery = attempt.delivery
        with guarded(logger, "delivery=%d could not be prepared", delivery.pk) as prepared:
            caller = channel_of(delivery.channel).caller(delivery) if is_counted else _not_counted
        if prepared.error is not None:  # nothing was sent: left to itself, the attempt would count as unclear
            unprepared = not_begun(prepared.error)
            caller = lambda: unprepared  # noqa: E731  # as short as it is
        clock, context = self._clock, copy_context()
        call = lambda: context.run(_answer, delivery, caller, permit, clock)  # noqa: E731  # as short as it is
        self._flights.begin(_Flying(attempt, permit), call)


def _not_counted() -> Outcome:
    return NOT_COUNTED


def _answer(delivery: Sendable, caller: Caller, permit: Permit, clock: Clock) -> _Answered:
    """One call. One whose permit is too old is not made: the limiter may have given its place away before it ended.

    Runs in a context of its own, so that what its lines say beside their words ends with it.
    """
    bind_contextvars(run_id=delivery.run_id, delivery_id=delivery.pk)
    started = read_boot_clock()
    outcome = NO_THREAD if permit.age_seconds > PERMIT_SECONDS else caller()
    return _Answered(outcome, round((read_boot_clock() - started) * 1000), clock())


def _ended(attempt: StartedAttempt, answered: _Answered | BaseException) -> Ended:
    """What became of a call. One that failed as nobody foresaw has sent something, or not."""
    if isinstance(answered, BaseException):
        logger.error("delivery=%d: its call failed", attempt.delivery_id, exc_info=answered)
        return Ended(attempt, crashed(answered), None, attempt.started_at)
    return Ended(attempt, answered.outcome, answered.duration_ms, answered.ended_at)


# --- Threads that only make calls, without database or queue ---

K = TypeVar("K")
T = TypeVar("T")

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
