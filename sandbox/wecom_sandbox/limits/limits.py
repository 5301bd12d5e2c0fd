"""WeCom's frequency limits (page 访问频率限制) and the faults that a test switches on."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import asdict, dataclass

from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import typed
from wecom_sandbox.messages.inbox import count_days_in_china
from wecom_sandbox.settings import Settings

MINUTE, HOUR, DAY = 60, 3600, 86_400
GROUP_PER_MINUTE, GROUP_PER_DAY = 200, 10_000


@dataclass(slots=True)
class _Window:
    """Count of calls in a window. Above the limit, calls are refused for as long as a window, or until the day ends."""

    ends_at: float = 0.0
    count: int = 0
    blocked_until: float = 0.0

    def hit(self, *, now: float, seconds: int, limit: int, amount: int = 1) -> bool:
        """Count a call. Return False if it is refused. `seconds` DAY: the window ends with the day in China."""
        ends_at = _find_end_of_day(now) if seconds == DAY else now + seconds
        return self.hit_until(ends_at, now=now, limit=limit, amount=amount)

    def hit_until(self, ends_at: float, *, now: float, limit: int, amount: int = 1) -> bool:
        """Count a call. Return False if it is refused. A new count and a new block last until `ends_at`."""
        if now < self.blocked_until:
            return False
        if now >= self.ends_at:
            self.ends_at, self.count = ends_at, 0
        self.count += amount
        if self.count > limit:
            self.blocked_until = ends_at
            return False
        return True


def _find_end_of_day(now: float) -> float:
    """Return when the day of `now` ends in China, which is eight hours ahead of UTC."""
    return float((count_days_in_china(now) + 1) * DAY - 8 * HOUR)


class Limits:
    """Counters of one sandbox. Calls raise ApiError 45009 or 45033; surplus messages to a member are dropped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[tuple[object, ...], _Window] = {}
        self._parallel: dict[tuple[str, str], int] = {}
        self._members: dict[tuple[str, int, str], deque[float]] = {}
        self._days: dict[tuple[str, int], tuple[int, int]] = {}

    def check_call(self, *, corpid: str, ip: str, api: str, now: float) -> None:
        """Count one call of an API by a company and by an address. Raise ApiError 45009."""
        settings = self._settings
        if not settings.limits_enabled:
            return
        rules = (
            (("corp", corpid, api, MINUTE), MINUTE, settings.company_per_minute),
            (("corp", corpid, api, HOUR), HOUR, settings.company_per_hour),
            (("ip", ip, api, MINUTE), MINUTE, settings.ip_per_minute),
            (("ip", ip, api, HOUR), HOUR, settings.ip_per_hour),
        )
        results = [self._window(key).hit(now=now, seconds=seconds, limit=limit) for key, seconds, limit in rules]
        if not all(results):
            raise ApiError(45009)

    def check_special(self, *key: object, seconds: int, limit: int, now: float, amount: int = 1) -> None:
        """Count a call under a limit of its own (tickets, robots, group chats). Raise ApiError 45009."""
        if self._settings.limits_enabled and not self._window(key).hit(
            now=now, seconds=seconds, limit=limit, amount=amount
        ):
            raise ApiError(45009)

    def check_debug(self, corpid: str, *, now: float) -> None:
        """Count a call of any API with debug=1 in its query. Raise ApiError 45009."""
        self.check_special("debug", corpid, seconds=MINUTE, limit=self._settings.debug_per_minute, now=now)

    def check_group(self, corpid: str, *, people: int, now: float) -> None:
        """Count the recipients of a company's message to an app group. Raise ApiError 45009."""
        settings = self._settings
        rules = ((MINUTE, settings.group_per_minute), (HOUR, settings.group_per_hour))
        for seconds, limit in rules:
            self.check_special("appchat/send", corpid, seconds, seconds=seconds, limit=limit, now=now, amount=people)

    def check_blocked(self, *key: object, now: float) -> None:
        """Raise ApiError 45009 while this key is blocked by `count`."""
        window = self._windows.get(key)
        if self._settings.limits_enabled and window is not None and now < window.blocked_until:
            raise ApiError(45009)

    def count(self, *key: object, seconds: int, limit: int, now: float) -> None:
        """Count a failure (wrong secrets, telephone numbers). Above the limit the key is blocked for `seconds`."""
        self._window(key).hit_until(now + seconds, now=now, limit=limit)

    def enter(self, corpid: str, api: str) -> None:
        """Count a running call; `leave` must follow. Raise ApiError 45033 (then `leave` must not follow)."""
        running = self._parallel.get((corpid, api), 0)
        if self._settings.limits_enabled and running >= self._settings.parallel_calls:
            raise ApiError(45033)
        self._parallel[corpid, api] = running + 1

    def leave(self, corpid: str, api: str) -> None:
        self._parallel[corpid, api] -= 1
        if not self._parallel[corpid, api]:
            del self._parallel[corpid, api]

    def admit_message(self, corpid: str, agentid: int, folded: str, *, now: float) -> bool:
        """Count a message of an app to a member. Return False if WeCom drops it silently."""
        settings = self._settings
        if not settings.limits_enabled:
            return True
        key = (corpid, agentid, folded)
        sent = self._members.get(key)
        if sent is None or sent.maxlen != settings.member_per_hour:
            sent = self._members[key] = deque(sent or (), maxlen=settings.member_per_hour)
        while sent and now - sent[0] >= HOUR:
            sent.popleft()
        minute = settings.member_per_minute
        if len(sent) >= minute and (not minute or now - sent[-minute] < MINUTE):
            return False
        if len(sent) == settings.member_per_hour:
            return False
        sent.append(now)
        return True

    def admit_group_message(self, corpid: str, agentid: int, folded: str, *, now: float) -> bool:
        """Count a message in an app's group chats. Return False above 200 a minute or 10,000 a day for each member."""
        if not self._settings.limits_enabled:
            return True
        rules = ((MINUTE, GROUP_PER_MINUTE), (DAY, GROUP_PER_DAY))
        windows = [(self._window(("group", corpid, agentid, folded, rule[0])), rule) for rule in rules]
        return all(window.hit(now=now, seconds=rule[0], limit=rule[1]) for window, rule in windows)

    def check_daily(self, corpid: str, agentid: int, *, people: int, limit: int, now: float) -> None:
        """Count the recipients of an app's message today. Above `limit`, raise ApiError 45009 and count nothing."""
        if not self._settings.limits_enabled:
            return
        today = count_days_in_china(now)
        day, used = self._days.get((corpid, agentid), (today, 0))
        used = used if day == today else 0
        if used + people > limit:
            raise ApiError(45009)
        self._days[corpid, agentid] = (today, used + people)

    def _window(self, key: tuple[object, ...]) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        return window


# kind: effect, in the order of docs/en/sandbox.md
FAULT_KINDS: dict[str, str] = {
    "busy": "errcode -1, nothing done",
    "errcode": "the error of `code`, nothing done",
    "token_revoked": "the caller's token becomes unknown (40014) or, with `code` 42001, expired; nothing done",
    "rate_limited": "errcode 45009, nothing done",
    "concurrent": "errcode 45033, nothing done",
    "ip_refused": "errcode 60020, nothing done",
    "http_500": "HTTP 500 with a page",
    "html": "HTTP 200 with a page instead of JSON",
    "broken_json": "HTTP 200, the JSON ends in the middle",
    "wrong_json_warning": "done, with WeCom's warning in errmsg",
    "hang": "no answer until the caller gives up, at most `seconds` (default 600)",
    "slow": "done, answered after `seconds` (default 5)",
    "drip": "done, answered byte by byte, one each `seconds` (default 1)",
    "close_before": "connection closed, nothing done",
    "close_after": "done, then the connection is closed without an answer",
    "duplicate_callback": "an event is delivered twice (endpoint: callback)",
}
# Faults for which `processed` says whether the call is carried out.
_BEFORE_OR_AFTER = frozenset({"http_500", "html", "broken_json", "hang"})
_ERRCODES = {"busy": -1, "rate_limited": 45009, "concurrent": 45033, "ip_refused": 60020}
_SECONDS_MOST = 86_400
# Fields of a fault in JSON; the sandbox sets the id.
FAULT_FIELDS = frozenset({"kind", "endpoint", "count", "corpid", "agentid", "code", "seconds", "processed"})
_serial = itertools.count(1)


@dataclass(slots=True)
class Fault:
    """Fault to inject. `count` None: until removed. `endpoint`: without /cgi-bin/, "*" for all, or "callback"."""

    kind: str
    endpoint: str = "*"
    count: int | None = 1
    corpid: str = ""
    agentid: int | None = None
    code: int = 0
    seconds: float | None = None
    processed: bool = False
    id: int = 0

    @classmethod
    def from_json(cls, values: object) -> Fault:
        """Make a fault from JSON. Raise ValueError."""
        fault = typed.build(cls, values, path="fault", allowed=FAULT_FIELDS)
        if fault.kind not in FAULT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(FAULT_KINDS)}")
        if fault.count is not None and fault.count < 1:
            raise ValueError("count must be a positive number, or null for no end")
        if fault.seconds is not None and not 0 <= fault.seconds <= _SECONDS_MOST:
            raise ValueError(f"seconds must be between 0 and {_SECONDS_MOST}")
        if fault.kind == "errcode" and not fault.code:
            raise ValueError("errcode needs code")
        fault.endpoint = fault.endpoint.removeprefix("/").removeprefix("cgi-bin/")
        fault.id = next(_serial)
        return fault

    @property
    def errcode(self) -> int | None:
        """The error answered instead of carrying out the call; None for other faults."""
        return self.code if self.kind == "errcode" else _ERRCODES.get(self.kind)

    @property
    def carries_out(self) -> bool:
        """Return whether the call is carried out although its answer is faulty."""
        return self.processed if self.kind in _BEFORE_OR_AFTER else self.kind in {"slow", "drip", "close_after"}

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class FaultBoard:
    """The active faults. A call uses the oldest one that fits."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.active.append(fault)

    def clear(self, number: int | None = None) -> int:
        """Remove one fault by id, or all. Return how many were removed."""
        before = len(self.active)
        self.active = [fault for fault in self.active if number is not None and fault.id != number]
        return before - len(self.active)

    def claim(self, endpoint: str, *, corpid: str = "", agentid: int | None = None) -> Fault | None:
        """Claim a fault for `endpoint` (without /cgi-bin/) and count it down. Return None if none fits."""
        for fault in self.active:
            fits = fault.endpoint == endpoint or (fault.endpoint == "*" and endpoint != "callback")
            if fits and fault.corpid in {"", corpid} and fault.agentid in {None, agentid}:
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count == 0:
                        self.active.remove(fault)
                return fault
        return None
