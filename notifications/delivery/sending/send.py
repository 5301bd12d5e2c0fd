"""Sends deliveries: ask the limiter, claim, commit, call, settle. No transaction is open during a call.

Threads make several calls of a task at once (`CallThreads`); only the task's own thread uses the database, over one
connection, for many rows at a time.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, TypeVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from structlog.contextvars import bind_contextvars

from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.errcodes import TOO_MANY_PARALLEL
from integrations.core.background import Clock, database_now, log_errors
from integrations.models import Corp
from notifications.delivery import channels
from notifications.delivery.channels import SENDERS, Outcome, OutcomeKind, Sendable
from notifications.delivery.limiter import (
    PERMIT_SECONDS,
    PastCall,
    Permit,
    Request,
    Scope,
    StoreLostError,
    ask_gate,
    get_gate,
)
from notifications.delivery.rows import STOP_SECONDS, TASK_SECONDS
from notifications.delivery.sending.queue import claim_deliveries, find_attempts_if_claim_was_committed, read_sendables
from notifications.delivery.sending.settle import EndedCall, retry_reconnected, settle_attempt, settle_calls
from notifications.models import Attempt, Channel, CorpQueue, Delivery

K = TypeVar("K")
T = TypeVar("T")
logger = logging.getLogger(__name__)

# Ended calls are settled this often, also while others are under way: one statement settles many calls. Until then an
# ended call still counts against the limits.
SETTLE_SECONDS = 0.2


def send_deliveries(delivery_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Try each delivery that is due. Return how many were tried. The sweep settles calls that a stopping worker leaves
    under way."""
    task = SendTask(delivery_ids, clock, is_stopping)
    task.run()
    return task.tried_count


@dataclass
class WaitingMessage:
    """A message whose call has not begun. `retry_at`, `waiting_since`: seconds of the boot clock."""

    delivery: Sendable
    request: Request
    retry_at: float = 0.0
    waiting_since: float | None = None


class SendTask:
    """The messages of one sending task: waiting, under way, postponed by the limiter, passed over."""

    def __init__(self, delivery_ids: Iterable[int], clock: Clock, is_stopping: Callable[[], bool]) -> None:
        """Read the pending deliveries. `is_stopping` is asked before calls begin: a stopping or overdue task begins no
        more calls and gives its waiting messages back."""
        self._clock, self._is_stopping = clock, is_stopping
        self._calls: dict[Future[EndedCall], tuple[Sendable, Permit]] = {}
        ids = list(delivery_ids)
        pending = Delivery.objects.filter(pk__in=ids, status=Delivery.Status.PENDING)
        rows = {row.pk: row for row in read_sendables(pending)}
        corps = Corp.objects.only("corpid", "agentid", "proxy_url").in_bulk({row.corp_id for row in rows.values()})
        limited = CorpQueue.objects.filter(corp__in=corps, daily_budget__gt=0)
        budgets: dict[int | None, int] = dict(limited.values_list("corp_id", "daily_budget"))
        # A part of the ids of requests: another task with the same message must not release this task's permit.
        task_id = secrets.token_hex(4)
        # The pending deliveries, each with its request to the limiter, in the given order.
        self._waiting: dict[int, WaitingMessage] = {}
        for row in (rows[pk] for pk in ids if pk in rows):
            budget = budgets.get(row.corp_id, 0)
            request = SENDERS[row.channel].make_request(row, corps[row.corp_id], daily_budget=budget)
            self._waiting[row.pk] = WaitingMessage(row, replace(request, id=f"{request.id}.{task_id}"))
        # Messages that the limiter held back for too long, with the seconds until they may be tried.
        self._postponed: dict[int, float] = {}
        # Messages that the limiter admitted and the claim left out.
        self._passed_over: list[int] = []
        # Claims that failed, by token, and were not checked yet: each may have been committed.
        self._failed_claims: dict[UUID, list[int]] = {}
        self.tried_count = 0
        self._give_back_at = clock() + timedelta(seconds=TASK_SECONDS)

    def run(self) -> None:
        """Begin and settle calls until none is left. A stopping worker waits at most STOP_SECONDS for calls under
        way."""
        stop_at: float | None = None
        while self._waiting or self._calls:
            if self._is_stopping():
                stop_at = stop_at or read_boot_clock() + STOP_SECONDS
            may_begin = stop_at is None and self._clock() < self._give_back_at
            if may_begin:
                self._begin_calls()
            elif not self._calls or (stop_at is not None and read_boot_clock() >= stop_at):
                break
            self._settle_ended(waits_for_room=may_begin)
        # Give back the messages that were not tried: for now, or for the time when the limiter has room.
        self._undo_failed_claims()
        if idle := [*self._waiting, *self._passed_over]:
            _update_pending(idle, queued_until=None)
        by_wait: dict[float, list[int]] = defaultdict(list)
        for pk, seconds in self._postponed.items():
            by_wait[round(seconds, 1)].append(pk)
        now = self._clock()
        for seconds, ids in by_wait.items():
            _update_pending(ids, queued_until=None, next_attempt_at=now + timedelta(seconds=seconds))

    def _begin_calls(self) -> None:
        """Begin as many calls as limits and threads allow."""
        room = settings.SEND_PARALLEL_PER_TASK - len(self._calls)
        # It waits until half of the room is free: claiming many rows costs the database as much as claiming one.
        if room * 2 < settings.SEND_PARALLEL_PER_TASK and self._calls:
            return
        admitted = self._admit_waiting(room)
        if not admitted:
            return
        # Claim all together or, if that fails, one by one: a bad row must not keep the others from going out.
        deliveries = [delivery for delivery, _permit in admitted]
        rows = self._claim_deliveries(deliveries)
        if rows is None:
            rows = [row for delivery in deliveries for row in self._claim_deliveries([delivery]) or ()]
        else:
            # The claim left some out, for example of a company disabled meanwhile. The end of the task gives them back.
            self._passed_over += {delivery.pk for delivery in deliveries} - {row.pk for row in rows}
        claimed = {row.pk: row for row in rows}
        begun = [(claimed[delivery.pk], permit) for delivery, permit in admitted if delivery.pk in claimed]
        if unused := [permit for delivery, permit in admitted if delivery.pk not in claimed]:
            with _tolerate_lost_limiter("unused permits", unused):
                get_gate().cancel(unused)
        # If Valkey lost its counts before the claim was committed, it does not know these calls, so they are not made.
        # If it loses its counts later, the calls are counted again from the attempts.
        are_known = [False] * len(begun)
        if begun:
            with _tolerate_lost_limiter("permits", begun):
                are_known = get_gate().are_known([permit for _row, permit in begun])
        for (delivery, permit), is_known in zip(begun, are_known, strict=True):
            self.tried_count += 1
            with log_errors(logger, "delivery=%d could not be prepared", delivery.pk) as prepared:
                call = SENDERS[delivery.channel].make_call(delivery) if is_known else lambda: channels.NOT_COUNTED
            if prepared.error is not None:  # nothing was sent, but the sweep would call the attempt unclear
                call = partial(
                    Outcome,
                    OutcomeKind.POSTPONED,
                    message=f"the call could not be prepared: {type(prepared.error).__name__}",
                    wait_seconds=channels.CONFIGURATION_WAIT_SECONDS,
                    is_configuration=True,
                )
            timed = partial(copy_context().run, _make_call, delivery, call, permit, self._clock)
            self._calls[get_call_threads().submit(timed)] = delivery, permit

    def _admit_waiting(self, count: int) -> list[tuple[Sendable, Permit]]:
        """Return up to `count` messages that may begin now, with their permits. The others wait, or are postponed."""
        now = read_boot_clock()
        ready = [each for each in self._waiting.values() if each.retry_at <= now][:count]
        admitted = []
        for each, answer in zip(ready, _ask_limiter([each.request for each in ready]) if ready else (), strict=True):
            if isinstance(answer, Permit):
                del self._waiting[each.delivery.pk]
                admitted.append((each.delivery, answer))
                continue
            each.waiting_since = each.waiting_since or now
            each.retry_at = now + answer
            if each.retry_at - each.waiting_since > PATIENCE_SECONDS:
                del self._waiting[each.delivery.pk]
                self._postponed[each.delivery.pk] = answer
        return admitted

    def _settle_ended(self, *, waits_for_room: bool) -> None:
        """Wait up to SETTLE_SECONDS for calls under way, or for the limiter, and write the outcomes."""
        if not self._calls:
            if waits_for_room:
                now = read_boot_clock()
                time.sleep(max(0.0, min((each.retry_at for each in self._waiting.values()), default=now) - now))
            return
        ended = take_ended(self._calls, seconds=SETTLE_SECONDS)
        if not ended:
            return
        release_permits([permit for (_delivery, permit), _answer in ended])
        settled = []
        for (delivery, _permit), answered in ended:
            if not isinstance(answered, EndedCall):  # an unforeseen error: something may have been sent
                logger.error("delivery=%d: its call failed", delivery.pk, exc_info=answered)
                outcome = Outcome(OutcomeKind.UNCLEAR, message=f"the call failed: {type(answered).__name__}")
                answered = EndedCall(delivery, outcome, None, delivery.attempt.started_at)
            settled.append(answered)
        # If WeCom limits the rate, all calls of that scope wait; if it limits parallel calls, fewer run at once.
        for each in settled:
            if each.outcome.is_rate_limited:
                hold_scopes(SENDERS[each.delivery.channel].make_held_scopes(each.delivery), each.outcome)
        settle_calls(settled)

    def _claim_deliveries(self, deliveries: list[Sendable]) -> list[Sendable] | None:
        """Claim the deliveries. Return the claimed ones; None if the claim failed. A failed claim may have been
        committed, if only the answer to its COMMIT was lost. Then its attempts are settled as not sent: the sweep would
        call them unclear."""
        token, ids = uuid4(), [delivery.pk for delivery in deliveries]
        claimed: list[Sendable] = []
        with log_errors(logger, "deliveries could not be claimed: %s", ids) as claim:
            claimed = claim_deliveries(deliveries, now=self._clock(), token=token)
        if claim.error is None:
            return claimed
        self._failed_claims[token] = ids
        self._undo_failed_claims()
        return None

    def _undo_failed_claims(self) -> None:
        """Settle the attempts of failed claims as not sent. A claim that cannot be checked now is checked again at the
        end of the task."""
        for token, ids in list(self._failed_claims.items()):
            with log_errors(logger, "a failed claim could not be checked") as reading:
                for attempt in retry_reconnected(partial(find_attempts_if_claim_was_committed, ids, token)):
                    settle_attempt(attempt, channels.NOT_CLAIMED, duration_ms=None, now=self._clock())
            if reading.error is None:
                del self._failed_claims[token]


def _make_call(delivery: Sendable, call: channels.Call, permit: Permit, clock: Clock) -> EndedCall:
    """Make one call, unless its permit is too old: the limiter may have given the permit's place to another call.

    The call has its own context, so that the log's context variables end with the call.
    """
    bind_contextvars(run_id=delivery.run_id, delivery_id=delivery.pk)
    started = read_boot_clock()
    outcome = channels.NO_THREAD if permit.age_seconds > PERMIT_SECONDS else call()
    return EndedCall(delivery, outcome, round((read_boot_clock() - started) * 1000), clock())


# --- Threads that make calls, without database or queue ---

# More than the calls that all tasks of a worker have under way. Each started thread keeps some 100 kB.
THREADS_AT_MOST = 400


class CallThreads:
    """Threads that do not keep a process from ending.

    ThreadPoolExecutor joins its threads at exit: a stopping worker would wait until a hanging call has timed out.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started_count = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` as soon as a thread is free."""
        future = Future[T]()
        self._calls.put((future, call))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._started_count < THREADS_AT_MOST:
                    self._started_count += 1
                    threading.Thread(target=self._make_calls, name="call", daemon=True).start()
        return future

    def _make_calls(self) -> None:
        while True:
            future, call = self._calls.get()
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # raised where the result is read
                future.set_exception(error)
            del future, call
            self._idle.release()


@cache
def get_call_threads() -> CallThreads:
    """Return the threads of this process."""
    return CallThreads()


def take_ended(calls: dict[Future[T], K], *, seconds: float) -> list[tuple[K, T | BaseException]]:
    """Wait until all calls have ended, at most `seconds`. Remove and return those that ended, each with its result or
    exception."""
    ended, _others = wait(calls, timeout=seconds)
    return [(calls.pop(one), one.exception() or one.result()) for one in ended]


# The longest that a task waits for the limiter, in seconds. A message that must wait longer is given back.
PATIENCE_SECONDS = 2.0
# Seconds until the limiter is asked again while it is unreachable, or being restored.
UNREACHABLE_SECONDS = 5.0
RESTORING_SECONDS = 0.5
# A refused message waits as long as WeCom says; the limiter holds back the company's other messages this long at most.
HOLD_SECONDS_AT_MOST = 120


@contextmanager
def _tolerate_lost_limiter(subject: str, calls: Sequence[object]) -> Iterator[None]:
    """Go on if the limiter is unreachable: calls count as under way until their leases end."""
    try:
        yield
    except redis.RedisError as error:
        logger.warning("the limiter could not be asked for %d %s: %s", len(calls), subject, type(error).__name__)


def release_permits(permits: Sequence[Permit]) -> None:
    """Tell the limiter that these calls ended."""
    with _tolerate_lost_limiter("ended calls", permits):
        get_gate().release(permits)


def hold_scopes(scopes: Iterable[Scope], outcome: Outcome) -> None:
    """Begin no call in these scopes for as long as the other side wants, at most HOLD_SECONDS_AT_MOST. If the limiter
    is unreachable, only the refused messages wait."""
    seconds = min(outcome.wait_seconds, HOLD_SECONDS_AT_MOST)
    try:
        get_gate().hold_scopes(scopes, seconds=seconds, halves_parallel=outcome.errcode == TOO_MANY_PARALLEL)
    except redis.RedisError as error:
        logger.warning("the limiter could not be slowed down: %s", type(error).__name__)


def ask_permits(requests: Sequence[Request], *, call_seconds: float | None = None) -> list[Permit | float]:
    """Ask the limiter for one call per request, waiting up to PATIENCE_SECONDS. Return a permit each, or the seconds
    until it should be asked again. `call_seconds`: how long a call may take, if not WECOM_TOTAL_TIMEOUT_SECONDS."""
    until = read_boot_clock() + PATIENCE_SECONDS
    answers: list[Permit | float] = [0.0] * len(requests)
    asked = list(range(len(requests)))
    while asked:
        found = _ask_limiter([requests[position] for position in asked], call_seconds=call_seconds)
        for position, answer in zip(asked, found, strict=True):
            answers[position] = answer
        waits = {position: answer for position in asked if not isinstance(answer := answers[position], Permit)}
        asked = [position for position, seconds in waits.items() if read_boot_clock() + seconds <= until]
        if asked:
            time.sleep(min(waits[position] for position in asked))
    return answers


def _ask_limiter(requests: Sequence[Request], *, call_seconds: float | None = None) -> Sequence[Permit | float]:
    """Ask the limiter. If it is unreachable nothing begins: exceeding WeCom's limits blocks the whole address."""
    try:
        # The gate for calls of this length, not the usual one.
        return ask_gate(lambda _usual: get_gate(call_seconds=call_seconds).acquire(requests))
    except StoreLostError:  # another worker is filling the store
        return [RESTORING_SECONDS] * len(requests)
    except redis.RedisError as error:
        logger.error("the limiter cannot be asked: %s", type(error).__name__)
        return [UNREACHABLE_SECONDS] * len(requests)


@transaction.atomic
def _update_pending(ids: Collection[int], **fields: datetime | None) -> None:
    """Update the pending deliveries among `ids`. They are locked by ascending key as everywhere, so that no deadlock
    can arise."""
    rows = Delivery.objects.filter(pk__in=ids, status=Delivery.Status.PENDING).order_by("pk")
    locked = list(rows.select_for_update().values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=locked).update(**fields)


# --- Past calls, from which the limiter fills a store that was emptied or came back with an old snapshot ---

# Limits per minute or hour do not count older calls.
COUNTED_TIME = timedelta(hours=1, minutes=1)
CHINA = ZoneInfo("Asia/Shanghai")


def read_past_calls(*, now: datetime | None = None) -> Iterator[PastCall]:
    """Yield every attempt of the last hour and, for the daily budgets, one sum per app of today's earlier attempts.
    Registered with notifications.delivery.limiter."""
    now = now or database_now()
    made = Attempt.objects.exclude(outcome=Attempt.Outcome.NOT_SENT, errcode__isnull=True)
    midnight = now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    corps = Corp.objects.only("corpid", "agentid", "proxy_url").in_bulk()
    longest = timedelta(seconds=settings.WECOM_TOTAL_TIMEOUT_SECONDS + PERMIT_SECONDS)
    columns = ("number", "started_at", "finished_at", *(f"delivery__{name}" for name in channels.SENDABLE_COLUMNS))
    recent = made.filter(started_at__gte=now - COUNTED_TIME).order_by("pk").values_list(*columns)
    for number, started_at, finished_at, *values in recent.iterator(chunk_size=500):
        delivery = Sendable(*values)
        delivery.attempt_count = number - 1
        ended_at = finished_at or started_at + longest
        request = SENDERS[delivery.channel].make_request(delivery, corps[delivery.corp_id], daily_budget=0)
        yield PastCall(request, (now - ended_at).total_seconds(), is_today=started_at >= midnight)
    earlier = made.filter(started_at__gte=midnight, started_at__lt=now - COUNTED_TIME, delivery__channel=Channel.WECOM)
    apps = earlier.order_by().values_list("delivery__corpid", "delivery__agentid")
    for corpid, agentid, persons in apps.annotate(persons=Sum("delivery__recipient_count")):
        app = channels.make_app_limits(corpid, agentid)
        yield PastCall(Request(id="earlier today", scopes=(), app=app, persons=persons), ended_seconds_ago=0)
