"""Asks Valkey whether calls may begin. Each question is one script: no two workers count the same room twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from notifications.limiter.permits import Budget, Member, PastCall, Permit, Request, Scope

_SCRIPTS = Path(__file__).parent
_PREFIX = "push:limit:"
# Set once the store knows the calls of the past; it goes with everything else when the store is emptied.
_READY = f"{_PREFIX}ready"
_RESTORING = f"{_PREFIX}restoring"
_RESTORING_SECONDS = 120
_PAST_AT_ONCE = 500
# Members checked by one script, which holds Valkey up for 1 ms for each 250 or so.
MEMBERS_AT_ONCE = 5000
# How long a company that had too many calls under way (45033) is kept to fewer.
CEILING_SECONDS = 300


class StoreLostError(Exception):
    """The store knows nothing of the past, because it is new or was emptied: `Gate.restore` first."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many calls each window will have room for."""

    calls: Mapping[str, int]

    def of(self, *scopes: Scope) -> int | None:
        """What all of `scopes` have room for; None where none has a limit."""
        limited = [self.calls[scope.key] for scope in scopes if scope.per_minute or scope.per_hour]
        return min(limited) if limited else None


class Gate:
    """The limiter of all workers that share one Valkey.

    `lease_seconds`: how long a call may take at most; a killed worker's calls count that long. `now_ms` replaces
    Valkey's clock in tests.
    """

    def __init__(self, store: redis.Redis, *, lease_seconds: float, now_ms: Any = None) -> None:
        self._store = store
        self._lease_ms = round(lease_seconds * 1000)
        self._now_ms = now_ms

    def acquire(self, requests: Sequence[Request]) -> list[Permit | float]:
        """For each request a permit, or the seconds after which to ask again. Raises StoreLostError."""
        answers: list[Permit | float] = []
        for batch in _batches(requests):
            waits = self._asked(self._acquire, self._question(batch))
            answers += [_answer(request, wait) for request, wait in zip(batch, waits, strict=True)]
        return answers

    def release(self, permits: Iterable[Permit]) -> None:
        """The calls of `permits` ended now."""
        ended = [
            word for permit in permits for scope in permit.request.scopes for word in (_key(scope), permit.request.id)
        ]
        if ended:
            self._release(args=[self._json(ended=ended)])

    def cancel(self, permits: Iterable[Permit]) -> None:
        """No call was made with `permits`: they count no longer, but for members and hours, which that may cost a
        while."""
        pipeline = self._store.pipeline(transaction=False)
        for permit in permits:
            for scope in permit.request.scopes:
                pipeline.zrem(_key(scope), permit.request.id)
            if permit.request.budget is not None:
                pipeline.decrby(f"{_budget_key(permit.request.budget)}:{self._china_day()}", permit.request.persons)
        pipeline.execute()

    def hold(self, scope: Scope, *, seconds: float) -> None:
        """Nothing begins in `scope` for so long, whoever asks: the other side said that it has had too much."""
        until = self._now() + round(seconds * 1000)
        self._store.set(f"{_key(scope)}:hold", until, px=max(1, round(seconds * 1000)))

    def lower_parallel(self, scope: Scope) -> int:
        """Let half as many calls be under way in `scope` as are now, for some minutes. Returns how many."""
        flying = int(self._store.zcount(_key(scope), f"({self._now()}", "+inf"))
        ceiling = max(1, flying // 2)
        self._store.set(f"{_key(scope)}:ceiling", ceiling, ex=CEILING_SECONDS)
        return ceiling

    def room(self, scopes: Sequence[Scope], *, within_seconds: float, is_urgent: bool = False) -> Room:
        """What each window will have room for within so long. Takes nothing. Raises StoreLostError."""
        known = {scope.key: scope for scope in scopes}
        rooms = self._looked(
            within=round(within_seconds * 1000),
            scopes=[{**_scope(scope), "urgent": is_urgent} for scope in known.values()],
        )[0]
        return Room(dict(zip(known, rooms, strict=True)))

    def used_today(self, budgets: Sequence[Budget]) -> list[int]:
        """Person-messages of each app so far. Raises StoreLostError."""
        return [int(count) for count in self._looked(budgets=[_budget_key(budget) for budget in budgets])[1]]

    def member_waits(self, member: Member, userids: Sequence[str]) -> list[float]:
        """For each folded userid the seconds until the app may write to it again: 0 for now. Raises StoreLostError."""
        waits: list[float] = []
        for start in range(0, len(userids), MEMBERS_AT_ONCE):
            keys = [_member_prefix(member) + userid for userid in userids[start : start + MEMBERS_AT_ONCE]]
            found = self._looked(members=keys, per_minute=member.per_minute, per_hour=member.per_hour)[2]
            waits += [int(wait) / 1000 for wait in found]
        return waits

    def restore(self, calls: Iterable[PastCall]) -> bool:
        """Write the calls of the past into an empty store. False where another worker is at it."""
        if not self._store.set(_RESTORING, 1, nx=True, ex=_RESTORING_SECONDS):
            return False
        try:
            if not self._store.exists(_READY):
                past = iter(calls)
                while batch := [_past(call) for call in islice(past, _PAST_AT_ONCE)]:
                    self._restore(args=[self._json(calls=batch)])
                self._store.set(_READY, 1)
        finally:
            self._store.delete(_RESTORING)
        return True

    @cached_property
    def _acquire(self) -> Any:
        return self._script("acquire")

    @cached_property
    def _release(self) -> Any:
        return self._script("release")

    @cached_property
    def _look(self) -> Any:
        return self._script("look")

    @cached_property
    def _restore(self) -> Any:
        return self._script("restore")

    def _script(self, name: str) -> Any:
        return self._store.register_script((_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8"))

    def _looked(self, **question: Any) -> list[list[Any]]:
        usual: dict[str, Any] = {"scopes": [], "budgets": [], "members": [], "within": 0}
        return self._asked(self._look, {**usual, **question})

    def _asked(self, script: Any, question: Mapping[str, Any]) -> list[Any]:
        answer = script(keys=[_READY], args=[self._json(**question)])
        if answer is None:
            raise StoreLostError
        return list(answer)

    def _json(self, **question: Any) -> str:
        moment = {} if self._now_ms is None else {"now": self._now_ms()}
        return json.dumps({"lease": self._lease_ms, **moment, **question}, separators=(",", ":"))

    def _now(self) -> int:
        if self._now_ms is not None:
            return int(self._now_ms())
        seconds, microseconds = self._store.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _china_day(self) -> int:
        return (self._now() + 8 * 3_600_000) // 86_400_000

    def _question(self, requests: Sequence[Request]) -> dict[str, Any]:
        scopes = {scope.key: scope for request in requests for scope in request.scopes}
        positions = {key: number for number, key in enumerate(scopes, start=1)}
        return {
            "scopes": [_scope(scope) for scope in scopes.values()],
            "calls": [_call(request, positions) for request in requests],
        }


def _answer(request: Request, wait_ms: int) -> Permit | float:
    return Permit(request) if wait_ms == 0 else wait_ms / 1000


def _batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Requests in their order, so that one script sees a bounded number of members."""
    batch: list[Request] = []
    member_count = 0
    for request in requests:
        if batch and member_count + len(request.members) > MEMBERS_AT_ONCE:
            yield batch
            batch, member_count = [], 0
        batch.append(request)
        member_count += len(request.members)
    if batch:
        yield batch


def _key(scope: Scope) -> str:
    return _PREFIX + scope.key


def _budget_key(budget: Budget) -> str:
    return f"{_PREFIX}day:{budget.app}"


def _member_prefix(member: Member) -> str:
    return f"{_PREFIX}member:{member.app}:"


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        "key": _key(scope),
        "limit": scope.per_minute,
        "per_hour": scope.per_hour,
        "parallel": scope.parallel,
        "reserved": scope.reserved_percent,
    }


def _call(request: Request, positions: Mapping[str, int]) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "id": request.id,
        "urgent": request.is_urgent,
        "scopes": [positions[scope.key] for scope in request.scopes],
    }
    if request.budget is not None:
        asked |= {
            "budget": _budget_key(request.budget),
            "per_day": request.budget.per_day,
            "reserved_of_day": request.budget.reserved_percent,
            "persons": request.persons,
        }
    member = request.member
    if member is not None and member.is_limited:
        asked |= {
            "member_prefix": _member_prefix(member),
            "members": request.members,
            "per_minute": member.per_minute,
            "per_hour": member.per_hour,
        }
    return asked


def _past(call: PastCall) -> dict[str, Any]:
    request = call.request
    known: dict[str, Any] = {
        "id": request.id,
        "ago": round(call.ended_seconds_ago * 1000),
        "windows": [_key(scope) for scope in request.scopes],
        "hours": [_key(scope) for scope in request.scopes if scope.per_hour],
        "members": [] if request.member is None else [_member_prefix(request.member) + it for it in request.members],
    }
    if request.budget is not None and call.is_today:
        known |= {"budget": _budget_key(request.budget), "persons": request.persons}
    return known
