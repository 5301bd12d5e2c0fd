"""Value types of the limiter: scopes, requests, permits. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scope:
    """What calls are counted for: an egress address, a company, a robot. 0 stands for no limit.

    `per_minute`, `per_hour`: calls in any 60 seconds, and in any hour. `parallel`: calls under way at once.
    `reserved_percent`: the share of all three that is kept for urgent messages.
    """

    key: str
    per_minute: int = 0
    per_hour: int = 0
    parallel: int = 0
    reserved_percent: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """The limits of one app towards each of its members, in messages; what WeCom gets above them it drops in silence.
    `app` names the app, 0 stands for no limit."""

    app: str
    per_minute: int = 0
    per_hour: int = 0

    @property
    def is_limited(self) -> bool:
        return bool(self.per_minute or self.per_hour)


@dataclass(frozen=True, slots=True)
class Budget:
    """Person-messages (a message to 1000 people counts 1000) of one app in a day, as days are counted in China.
    They are counted in any case; 0 stands for no limit. `reserved_percent`: the share kept for urgent messages."""

    app: str
    per_day: int = 0
    reserved_percent: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One call that wants to begin. `members` are the folded userids that it reaches, `persons` how many. `id`: of this
    call alone, or two would count as one."""

    id: str
    scopes: tuple[Scope, ...]
    is_urgent: bool = False
    member: Member | None = None
    members: tuple[str, ...] = ()
    budget: Budget | None = None
    persons: int = 0


@dataclass(frozen=True, slots=True)
class Permit:
    """One call may begin now. It counts as under way until `Gate.release` says that it ended, or its lease ends.

    `epoch`: of the store that granted it. One that came after it, empty or old, knows nothing of this call, unless it
    was told of it by a row (`Gate.is_known`).
    """

    request: Request
    epoch: str = ""
    granted_at: float = field(default_factory=time.monotonic)

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.granted_at


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of the last hours, as the rows remember it, for a store that has lost everything.

    `ended_seconds_ago` is negative for one that may be under way still.
    """

    request: Request
    ended_seconds_ago: float
    is_today: bool = True
