"""The limiter: asks Valkey whether calls may begin, in one script, so that no two workers use the same room."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import redis
from django.conf import settings

from integrations.clients.transport import read_boot_clock
from integrations.core.redis import valkey
from integrations.hooks import Hook


@dataclass(frozen=True, slots=True)
class Scope:
    """A unit that calls are counted for: an egress address, a company, a robot. 0 means no limit.

    `per_minute`, `per_hour`: calls in any 60 seconds, and in any hour. `parallel`: calls under way at once.
    `reserved_percent`: the share of all three that is kept for urgent messages.
    """

    key: str
    per_minute: int = 0
    per_hour: int = 0
    parallel: int = 0
    reserved_percent: int = 0


@dataclass(frozen=True, slots=True)
class AppLimits:
    """The limits of one app; 0 means no limit. `per_minute`, `per_hour`: messages to one member; WeCom silently drops
    the rest. `per_day`: person-messages of a day in China, which are counted even without a limit; a message to 1000
    people counts 1000. `reserved_percent`: the share of these kept for urgent messages."""

    name: str
    per_minute: int = 0
    per_hour: int = 0
    per_day: int = 0
    reserved_percent: int = 0

    @property
    def limits_members(self) -> bool:
        """Return whether messages to one person are counted at all."""
        return bool(self.per_minute or self.per_hour)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for the permit of one call. `members`: the userids that it reaches, in lower case (fold_userid);
    `persons`: how many people it reaches. `id` is unique."""

    id: str
    scopes: tuple[Scope, ...]
    is_urgent: bool = False
    app: AppLimits | None = None
    members: tuple[str, ...] = ()
    persons: int = 0


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission for one call to begin now. The call counts as under way until `Gate.release`, or until its lease ends.

    `epoch`: of the store that granted it. A later store, empty or old, knows this call only from its row
    (`Gate.are_known`).
    """

    request: Request
    epoch: str = ""
    granted_at: float = field(default_factory=read_boot_clock)

    @property
    def age_seconds(self) -> float:
        """Return the seconds since the permit was granted, by the machine's boot clock."""
        return read_boot_clock() - self.granted_at


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of the last hours, read from the rows, for a store that has lost everything.

    `ended_seconds_ago` is negative for a call that may be under way still.
    """

    request: Request
    ended_seconds_ago: float
    is_today: bool = True


T = TypeVar("T")
logger = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_PREFIX = "push:limit:"
# Set once the store knows past calls. It names the server under which it was set (epoch.lua), so it is invalid in a
# store that was emptied or came back with an old snapshot.
_READY = f"{_PREFIX}ready"
# The lock of the worker that fills the store. Each batch prolongs it; if the worker dies, it expires.
_RESTORING = f"{_PREFIX}restoring"
_RESTORING_SECONDS = 20
_PAST_AT_ONCE = 500
_CLEARED_AT_ONCE = 1000
# Keys that outlive a restore: waits that WeCom asked for, which expire by themselves.
_KEPT_SUFFIXES = (":hold", ":ceiling")
# Members checked by one script. It blocks Valkey for 1 ms per 250 members or so.
MEMBERS_AT_ONCE = 5000
# How long a company with too many parallel calls (45033) is limited to fewer.
CEILING_SECONDS = 300

# A larger move of the store's clock against the machine's boot clock means that it was set; less is drift.
STEP_MS = 250


class StoreLostError(Exception):
    """The store does not know past calls: it is new, was emptied, came back with an old snapshot, or its clock was set.
    Call `Gate.restore` first."""


class _Answers(NamedTuple):
    """The answers of read.lua: the epoch and time of the store, then one answer for each scope, budget and member.

    `rooms`: of scopes, in calls; `used`: of budgets, in person-messages; `waits`: of members, in milliseconds.
    """

    epoch: bytes
    now_ms: int
    rooms: list[Any]
    used: list[Any]
    waits: list[Any]


class Gate:
    """The limiter that all workers on one Valkey share.

    `lease_seconds`: how long a call may take; a killed worker's calls count that long. `now_ms` replaces Valkey's clock
    in tests.
    """

    def __init__(self, store: redis.Redis, *, lease_seconds: float, now_ms: Any = None) -> None:
        self._store = store
        self._lease_ms = round(lease_seconds * 1000)
        self._now_ms = now_ms
        # For each epoch, the least and most milliseconds by which the store is ahead of the boot clock.
        self._ahead: dict[bytes, tuple[float, float]] = {}
        epoch = (_FOLDER / "epoch.lua").read_text(encoding="utf-8")
        self._scripts: dict[str, Any] = {
            path.stem: store.register_script(f"{epoch}\n{path.read_text(encoding='utf-8')}")
            for path in _FOLDER.glob("*.lua")
        }

    def acquire(self, requests: Sequence[Request]) -> list[Permit | float]:
        """Return for each request a permit, or the seconds after which to ask again. Raises StoreLostError."""
        # Requests are split into batches, so that one script sees a bounded number of members.
        batches: list[list[Request]] = []
        member_count = 0
        for request in requests:
            member_count += len(request.members)
            if not batches or member_count > MEMBERS_AT_ONCE:
                batches.append([])
                member_count = len(request.members)
            batches[-1].append(request)
        answers: list[Permit | float] = []
        for batch in batches:
            scopes = {scope.key: scope for request in batch for scope in request.scopes}
            positions = {key: number for number, key in enumerate(scopes, start=1)}
            calls = []
            for request in batch:
                call: dict[str, Any] = {
                    "id": request.id,
                    "urgent": request.is_urgent,
                    "scopes": [positions[scope.key] for scope in request.scopes],
                }
                if (app := request.app) is not None:
                    call |= {"budget": _make_budget_key(app), "per_day": app.per_day}
                    call |= {"reserved_of_day": app.reserved_percent, "persons": request.persons}
                    if app.limits_members:
                        call |= {"member_prefix": _make_member_prefix(app), "members": request.members}
                        call |= {"per_minute": app.per_minute, "per_hour": app.per_hour}
                calls.append(call)
            asked = {"scopes": list(map(_describe_scope, scopes.values())), "calls": calls}
            epoch, _now, waits = self._run("acquire", asked)
            for request, wait_ms in zip(batch, waits, strict=True):
                answers.append(wait_ms / 1000 if wait_ms else Permit(request, epoch.decode()))
        return answers

    def release(self, permits: Iterable[Permit]) -> None:
        """Record that the calls of `permits` ended now."""
        ended = [
            word
            for permit in permits
            for scope in permit.request.scopes
            for word in (_make_key(scope), permit.request.id)
        ]
        if ended:
            self._scripts["release"](args=[self._write_question(ended=ended)])

    def cancel(self, permits: Iterable[Permit]) -> None:
        """Uncount calls that were not made. Windows of members and hours may keep counting them for a while."""
        unused = [_describe_counts(permit.request, epoch=permit.epoch) for permit in permits]
        self._scripts["cancel"](keys=[_READY], args=[self._write_question(unused=unused)])

    def are_known(self, permits: Sequence[Permit]) -> list[bool]:
        """Return, for each permit, whether the store still knows it. Ask once the call's row is committed, before the
        call: a store that is lost later learns of the call from the row."""
        epoch = self._scripts["known"](keys=[_READY])
        return [epoch is not None and permit.epoch == epoch.decode() for permit in permits]

    def hold_scopes(self, scopes: Iterable[Scope], *, seconds: float, halves_parallel: bool = False) -> None:
        """Let no call in `scopes` begin for so many seconds, because the other side limits its rate. `halves_parallel`:
        also limit each scope to half of its present parallel calls for CEILING_SECONDS."""
        until = self._read_clock() + round(seconds * 1000)
        for scope in scopes:
            self._store.set(f"{_make_key(scope)}:hold", until, px=max(1, round(seconds * 1000)))
            if halves_parallel:
                parallel_count = int(self._store.zcount(_make_key(scope), f"({self._read_clock()}", "+inf"))
                self._store.set(f"{_make_key(scope)}:ceiling", max(1, parallel_count // 2), ex=CEILING_SECONDS)

    def find_rooms(
        self, scopes: Sequence[Scope], *, within_seconds: float, is_urgent: bool = False, respects_hold: bool = True
    ) -> dict[Scope, int]:
        """Return how many calls of each scope may begin within so many seconds: very many without limits, none if the
        scope is held and `respects_hold`. Raises StoreLostError."""
        asked = [{**_describe_scope(scope), "urgent": is_urgent, "respects_hold": respects_hold} for scope in scopes]
        answers = self._ask(within=round(within_seconds * 1000), scopes=asked)
        return dict(zip(scopes, answers.rooms, strict=True))

    def count_used_today(self, apps: Sequence[AppLimits]) -> list[int]:
        """Return the person-messages of each app so far today. Raises StoreLostError."""
        return [int(count) for count in self._ask(budgets=list(map(_make_budget_key, apps))).used]

    def find_member_waits(self, app: AppLimits, userids: Sequence[str]) -> list[float]:
        """Return, for each userid in lower case, the seconds until the app may write to it again: 0 for now. Raises
        StoreLostError."""
        waits: list[float] = []
        for start in range(0, len(userids), MEMBERS_AT_ONCE):
            keys = _make_member_keys(app, userids[start : start + MEMBERS_AT_ONCE])
            answers = self._ask(members=keys, per_minute=app.per_minute, per_hour=app.per_hour)
            waits += [int(wait) / 1000 for wait in answers.waits]
        return waits

    def restore(self, calls: Iterable[PastCall]) -> bool:
        """Fill a store that does not know past calls: clear its counts, then write the calls. Return False if another
        worker is filling it, or it was lost meanwhile."""
        token = secrets.token_hex(8)
        identity = self._scripts["begin_restore"](keys=[_READY, _RESTORING], args=[token, _RESTORING_SECONDS])
        if identity is None or identity == b"known":
            return identity is not None
        mine = {"token": token, "identity": identity.decode(), "seconds": _RESTORING_SECONDS}
        counts = (key for key in self._scan_keys() if not key.endswith(_KEPT_SUFFIXES))
        for keys in _split_into_chunks(counts, _CLEARED_AT_ONCE):
            if not self._scripts["clear"](keys=[_RESTORING], args=[self._write_question(keys=keys, **mine)]):
                return False
        described = (
            _describe_counts(
                call.request,
                has_budget=call.is_today,
                ago=round(call.ended_seconds_ago * 1000),
                hours=[_make_key(scope) for scope in call.request.scopes if scope.per_hour],
                members=[] if call.request.app is None else _make_member_keys(call.request.app, call.request.members),
            )
            for call in calls
        )
        for past in _split_into_chunks(described, _PAST_AT_ONCE):
            if not self._scripts["restore"](keys=[_RESTORING], args=[self._write_question(calls=past, **mine)]):
                return False
        return bool(self._scripts["end_restore"](keys=[_READY, _RESTORING], args=[token, identity]))

    def _scan_keys(self) -> Iterator[str]:
        """Yield the limiter's keys in the store, except the lock of a restore."""
        for key in map(bytes.decode, self._store.scan_iter(f"{_PREFIX}*", count=_CLEARED_AT_ONCE)):
            if key != _RESTORING:
                yield key

    def _ask(self, **question: Any) -> _Answers:
        usual: dict[str, Any] = {"scopes": [], "budgets": [], "members": [], "within": 0}
        return _Answers(*self._run("read", {**usual, **question}))

    def _run(self, name: str, question: Mapping[str, Any]) -> list[Any]:
        asked_at = read_boot_clock()
        answer = self._scripts[name](keys=[_READY], args=[self._write_question(**question)])
        if answer is None:
            raise StoreLostError
        if self._now_ms is None:
            epoch, now_ms = answer[:2]
            # The least and most milliseconds by which the store is ahead of the boot clock. Its time is rounded down.
            least, most = now_ms - read_boot_clock() * 1000, now_ms + 1 - asked_at * 1000
            known_least, known_most = self._ahead.get(epoch, (least, most))
            step = max(0.0, least - known_most) or min(0.0, most - known_least)
            if abs(step) > STEP_MS:
                # The clock was set since the last question: windows are wrong, and what was just granted is void.
                kept = [key for key in self._scan_keys() if key.endswith(_KEPT_SUFFIXES)]
                lost = json.dumps({"epoch": epoch.decode(), "step": round(step), "kept": kept})
                if self._scripts["lose"](keys=[_READY], args=[lost]):
                    logger.warning("the clock of the limiter's store was set by %+.1f s", step / 1000)
                raise StoreLostError
            # A slow answer has wide bounds, so keep the known ones, moved by the drift.
            self._ahead = {epoch: (max(least, known_least + step), min(most, known_most + step))}
        return list(answer)

    def _write_question(self, **question: Any) -> str:
        moment = {} if self._now_ms is None else {"now": self._now_ms()}
        return json.dumps({"lease": self._lease_ms, **moment, **question}, separators=(",", ":"))

    def _read_clock(self) -> int:
        if self._now_ms is not None:
            return int(self._now_ms())
        seconds, microseconds = self._store.time()
        return int(seconds) * 1000 + int(microseconds) // 1000


def _split_into_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _make_key(scope: Scope) -> str:
    return _PREFIX + scope.key


def _make_budget_key(app: AppLimits) -> str:
    return f"{_PREFIX}day:{app.name}"


def _make_member_prefix(app: AppLimits) -> str:
    return f"{_PREFIX}member:{app.name}:"


def _make_member_keys(app: AppLimits, userids: Iterable[str]) -> list[str]:
    return [_make_member_prefix(app) + userid for userid in userids]


def _describe_scope(scope: Scope) -> dict[str, Any]:
    return {
        "key": _make_key(scope),
        "limit": scope.per_minute,
        "per_hour": scope.per_hour,
        "parallel": scope.parallel,
        "reserved": scope.reserved_percent,
    }


def _describe_counts(request: Request, *, has_budget: bool = True, **facts: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"id": request.id, "windows": [_make_key(scope) for scope in request.scopes], **facts}
    if request.app is not None and has_budget:
        described |= {"budget": _make_budget_key(request.app), "persons": request.persons}
    return described


# The time from a permit to the start of its thread, added to the call's own total deadline.
PERMIT_SECONDS = 10

# Functions that return the past calls. They are called when a store does not know past calls.
past_call_sources: Hook[[], Iterable[PastCall]] = Hook()


def get_gate(*, call_seconds: float | None = None) -> Gate:
    """Return the gate on settings.VALKEY_URL. `call_seconds`: how long a call may take, if not
    WECOM_TOTAL_TIMEOUT_SECONDS."""
    longest = settings.WECOM_TOTAL_TIMEOUT_SECONDS if call_seconds is None else call_seconds
    return _make_gate(settings.VALKEY_URL, longest + PERMIT_SECONDS)


def ask_gate(question: Callable[[Gate], T]) -> T:
    """Return the gate's answer. A store that does not know past calls is first filled from the attempts. Raises
    StoreLostError while another worker fills the store."""
    try:
        return question(get_gate())
    except StoreLostError:
        if not get_gate().restore(chain.from_iterable(past_call_sources())):
            raise
        logger.warning(
            "the limiter's store was empty, old or another one, or its clock was set: it begins from the attempts "
            "of the last hour and day"
        )
    return question(get_gate())


def find_member_waits(app: AppLimits, userids: Sequence[str]) -> list[float]:
    """Return, for each userid in lower case, the seconds until the app may write to it again: 0 for now. If the limiter
    cannot be asked, all are 0, because it is asked again before the call."""
    try:
        return ask_gate(lambda gate: gate.find_member_waits(app, userids))
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the limiter could not be asked before freezing: %s", type(error).__name__)
        return [0.0] * len(userids)


@cache
def _make_gate(_url: str, lease_seconds: float) -> Gate:
    """Return the gate. The address is only part of the cache's key."""
    return Gate(valkey(), lease_seconds=lease_seconds)
