"""Which deliveries of a task may start now, by the limiter, and what a limiter that lost its store is told."""

from __future__ import annotations

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum

from integrations.clients.clock import read_boot_clock
from integrations.clients.wecom.errcodes import TOO_MANY_PARALLEL
from integrations.core.background import database_clock
from integrations.models import Corp
from notifications.delivery.channels import SENT, Requester, Sendable, channel_of
from notifications.delivery.channels.outcomes import Outcome
from notifications.delivery.channels.wecom_app import app_name
from notifications.delivery.limiter import Budget, PastCall, Permit, Request, Scope, StoreLostError, gate, query
from notifications.delivery.limiter.shared_gate import PERMIT_SECONDS
from notifications.delivery.sending.queue import pending
from notifications.models import Attempt, Channel, CorpQueue, Delivery

if TYPE_CHECKING:
    from notifications.delivery.sending.settle import Ended

logger = logging.getLogger(__name__)

# A task waits for the limiter no longer than this, in seconds: a longer wait is the row's.
PATIENCE_SECONDS = 2.0
# When to ask again while the limiter cannot be asked, in seconds.
UNREACHABLE_SECONDS = 5.0
RESTORING_SECONDS = 0.5
# A wait that WeCom imposes is kept by the rows; the limiter holds back the others of the company no longer than this.
HOLD_SECONDS_AT_MOST = 120


@dataclass
class Waiting:
    """A message that has not begun. `retry_at`, `waiting_since`: seconds of the boot clock."""

    delivery: Sendable
    request: Request
    retry_at: float = 0.0
    waiting_since: float | None = None


class Admission:
    """The messages of one task that have not begun."""

    def __init__(self, delivery_ids: Iterable[int]) -> None:
        self._waiting = {each.delivery.pk: each for each in _waiting(list(delivery_ids))}
        # Given back with a time of their own, in seconds.
        self._postponed: dict[int, float] = {}

    @property
    def has_waiting(self) -> bool:
        """Whether any of them has neither begun nor been given back."""
        return bool(self._waiting)

    def seconds_to_next(self) -> float:
        """How many seconds until it is worth asking again; 0 for now."""
        now = read_boot_clock()
        return max(0.0, min((each.retry_at for each in self._waiting.values()), default=now) - now)

    def admit(self, count: int) -> list[tuple[Waiting, Permit]]:
        """Up to `count` messages that may begin now, each with its permit. The others keep waiting, or are let go."""
        now = read_boot_clock()
        ready = [each for each in self._waiting.values() if each.retry_at <= now][:count]
        if not ready:
            return []
        admitted = []
        for each, answer in zip(ready, _answers([each.request for each in ready]), strict=True):
            if isinstance(answer, Permit):
                del self._waiting[each.delivery.pk]
                admitted.append((each, answer))
            else:
                self._wait(each, answer, now)
        return admitted

    def give_back(self, *, now: datetime, passed_over: Collection[int]) -> None:
        """Nobody has them in hand any more. Those that the limiter held back have a time before which not to try."""
        idle = [*self._waiting, *passed_over]
        if idle:
            _update_pending(idle, queued_until=None)
        by_wait: dict[float, list[int]] = defaultdict(list)
        for pk, seconds in self._postponed.items():
            by_wait[round(seconds, 1)].append(pk)
        for seconds, ids in by_wait.items():
            _update_pending(ids, queued_until=None, next_attempt_at=now + timedelta(seconds=seconds))

    def _wait(self, each: Waiting, seconds: float, now: float) -> None:
        each.waiting_since = each.waiting_since or now
        if now + seconds - each.waiting_since > PATIENCE_SECONDS:
            del self._waiting[each.delivery.pk]
            self._postponed[each.delivery.pk] = seconds
        else:
            each.retry_at = now + seconds


def release(permits: Sequence[Permit]) -> None:
    """Calls ended. Where that cannot be said they count until their leases end."""
    try:
        gate().release(permits)
    except redis.RedisError as error:
        logger.warning("the limiter could not be told of %d ended calls: %s", len(permits), type(error).__name__)


def cancel(permits: Sequence[Permit]) -> None:
    """Calls were not made: they count no longer. Where that cannot be said they count until their leases end."""
    if not permits:
        return
    try:
        gate().cancel(permits)
    except redis.RedisError as error:
        logger.warning("the limiter could not be told of %d unused permits: %s", len(permits), type(error).__name__)


def known(permits: Sequence[Permit]) -> list[bool]:
    """Whether each still counts, now that its call's row is committed. None does where that cannot be said."""
    if not permits:
        return []
    try:
        return gate().is_known(permits)
    except redis.RedisError as error:
        logger.warning("the limiter could not be asked for %d permits: %s", len(permits), type(error).__name__)
        return [False] * len(permits)


def slow_down(ended: Iterable[Ended]) -> None:
    """Where WeCom said that it has had too much, everybody waits; where it had too many at once, fewer go at once."""
    for each in ended:
        if not each.outcome.is_rate_limited:
            continue
        delivery = each.attempt.delivery
        hold(channel_of(delivery.channel).held_scopes(delivery), each.outcome)


def hold(scopes: Iterable[Scope], outcome: Outcome) -> None:
    """Nothing begins there for as long as the other side wants, at most HOLD_SECONDS_AT_MOST; without a limiter the
    rows alone wait."""
    for scope in scopes:
        try:
            gate().hold(scope, seconds=min(outcome.wait_seconds, HOLD_SECONDS_AT_MOST))
            if outcome.errcode == TOO_MANY_PARALLEL:
                gate().lower_parallel(scope)
        except redis.RedisError as error:
            logger.warning("the limiter could not be slowed down: %s", type(error).__name__)


def permits(requests: Sequence[Request], *, call_seconds: float | None = None) -> list[Permit | float]:
    """For one call each, waiting up to PATIENCE_SECONDS for them; else the seconds until it is worth asking again.
    `call_seconds`: how long a call may take, where that is not WECOM_TOTAL_TIMEOUT_SECONDS."""
    until = read_boot_clock() + PATIENCE_SECONDS
    answers: list[Permit | float] = [0.0] * len(requests)
    asked = list(range(len(requests)))
    while asked:
        found = _answers([requests[place] for place in asked], call_seconds=call_seconds)
        for place, answer in zip(asked, found, strict=True):
            answers[place] = answer
        waits = {place: answer for place in asked if not isinstance(answer := answers[place], Permit)}
        asked = [place for place, seconds in waits.items() if read_boot_clock() + seconds <= until]
        if asked:
            time.sleep(min(waits[place] for place in asked))
    return answers


def permit(request: Request, *, call_seconds: float | None = None) -> Permit | float:
    """The same for one call."""
    [answer] = permits([request], call_seconds=call_seconds)
    return answer


def _answers(requests: Sequence[Request], *, call_seconds: float | None = None) -> Sequence[Permit | float]:
    """Without a limiter nothing begins: whoever sends blindly is blocked for everybody."""
    try:
        return query(lambda _usual: gate(call_seconds=call_seconds).acquire(requests))
    except StoreLostError:  # another worker fills it just now
        return [RESTORING_SECONDS] * len(requests)
    except redis.RedisError as error:
        logger.error("the limiter cannot be asked: %s", type(error).__name__)
        return [UNREACHABLE_SECONDS] * len(requests)


def _waiting(ids: Sequence[int]) -> Iterator[Waiting]:
    """Each delivery with what it asks of the limiter, in the order of `ids`. Left out is what waits no longer."""
    rows = {row.pk: row for row in pending(ids)}
    corps = Corp.objects.only("corpid", "agentid", "proxy_url").in_bulk({row.corp_id for row in rows.values()})
    budgets = CorpQueue.objects.filter(corp__in=corps).daily_budgets() if rows else {}
    requesters: dict[tuple[str, int], Requester] = {}
    # Why not the id of the attempt? Another task may be given the same message: what it does with its permit, as giving
    # it back, must not touch this one.
    task = secrets.token_hex(4)
    for row in (rows[pk] for pk in ids if pk in rows):
        way = (row.channel, row.corp_id)
        if way not in requesters:
            budget = budgets.get(row.corp_id, 0)
            requesters[way] = channel_of(row.channel).requester(corps[row.corp_id], daily_budget=budget)
        request = requesters[way](row)
        yield Waiting(row, replace(request, id=f"{request.id}.{task}"))


@transaction.atomic
def _update_pending(ids: Collection[int], **fields: datetime | None) -> None:
    """Locked in the order of their keys, as everywhere: otherwise two that share rows could wait in a circle."""
    rows = Delivery.objects.filter(pk__in=ids, status=Delivery.Status.PENDING).order_by("pk")
    held = list(rows.select_for_update().values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=held).update(**fields)


# --- What a limiter whose store was emptied, or is old, learns from the attempts ---

# Nothing counts longer towards a minute or an hour.
HOUR = timedelta(hours=1, minutes=1)
CHINA = ZoneInfo("Asia/Shanghai")


def calls_until_now() -> Iterator[PastCall]:
    """Registered with notifications.delivery.limiter."""
    return past_calls(now=database_clock()())


def past_calls(*, now: datetime) -> Iterator[PastCall]:
    """Every attempt of the last hour; of today's others, for the budgets, one sum for each app."""
    made = Attempt.objects.exclude(outcome=Attempt.Outcome.NOT_SENT, errcode__isnull=True)
    midnight = now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    yield from _calls(made.filter(started_at__gte=now - HOUR), midnight, now)
    yield from _sums(made.filter(started_at__gte=midnight, started_at__lt=now - HOUR))


def _calls(attempts: QuerySet[Attempt], midnight: datetime, now: datetime) -> Iterator[PastCall]:
    corps = Corp.objects.only("corpid", "agentid", "proxy_url").in_bulk()
    longest = timedelta(seconds=settings.WECOM_TOTAL_TIMEOUT_SECONDS + PERMIT_SECONDS)
    requesters: dict[tuple[str, int], Requester] = {}
    columns = ("number", "started_at", "finished_at", *(f"delivery__{name}" for name in SENT))
    rows = attempts.order_by("pk").values_list(*columns).iterator(chunk_size=500)
    for number, started_at, finished_at, *sent in rows:
        delivery = Sendable(*sent)
        delivery.attempt_count = number - 1
        way = (delivery.channel, delivery.corp_id)
        if way not in requesters:
            requesters[way] = channel_of(delivery.channel).requester(corps[delivery.corp_id], daily_budget=0)
        ended_at = finished_at or started_at + longest
        yield PastCall(requesters[way](delivery), (now - ended_at).total_seconds(), is_today=started_at >= midnight)


def _sums(attempts: QuerySet[Attempt]) -> Iterator[PastCall]:
    apps = attempts.filter(delivery__channel=Channel.WECOM).order_by().values("delivery__corpid", "delivery__agentid")
    for corpid, agentid, persons in apps.annotate(persons=Sum("delivery__recipient_count")).values_list(
        "delivery__corpid", "delivery__agentid", "persons"
    ):
        budget = Budget(app_name(corpid, agentid))
        yield PastCall(Request(id="earlier today", scopes=(), budget=budget, persons=persons), ended_seconds_ago=0)
