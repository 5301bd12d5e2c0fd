"""The plan of what is broken when. A seed decides it before anything runs. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

WORKERS, BEATS, CHARTS = ("worker-1", "worker-2"), ("beat-1", "beat-2"), "charts"
# The connections from the programs to database and broker, and the PgBouncer that some programs use.
NETWORK, POOLER = "network", "pooler"
PROGRAMS = ("web", *WORKERS, *BEATS, CHARTS)
COMPANIES = 3
# A round's disturbances spread over this time; a killed program stays away for the other.
SPAN_SECONDS, AWAY_SECONDS = 5.0, (0.2, 3.0)
DISTURBANCES = (3, 7)
# A stopped program sleeps through its leases, or not; a stopped server does not. It is full or read-only for a moment.
ASLEEP_SECONDS, STOPPED_SECONDS, FULL_SECONDS = (1.0, 8.0), (1.0, 4.0), (0.5, 4.0)
# How many people leave a company at once.
LEAVERS = [1.0, 2.0, 3.0, 4.0, 5.0]
# The orders of a round, by number, on which an administrator acts.
ORDERS = [str(number) for number in range(14)]
JUMPS_SECONDS = [-600, -30, 45, 90, 900, 2 * 3600, 4 * 3600]
# The error of the time of day of one program's host, or of Valkey's, until the round ends.
STEPS_SECONDS = [-25 * 3600, -660, -20, 20, 45, 75, 3 * 3600]
# How long a machine sleeps: WeCom recognises a repeated message for four hours.
SLEEP_SECONDS = [9 * 1800]
# Faults of the sandbox on message/send, and for how many calls at most.
_FAULTS: tuple[dict[str, Any], ...] = (
    *({"kind": kind} for kind in ("busy", "rate_limited", "concurrent", "ip_refused", "wrong_json_warning")),
    *({"kind": kind} for kind in ("close_before", "close_after", "token_revoked")),
    {"kind": "token_revoked", "code": 42001},
    {"kind": "errcode", "code": 40001},
    *(
        {"kind": kind, "processed": processed}
        for kind in ("http_500", "html", "broken_json", "hang")
        for processed in (False, True)
    ),
    {"kind": "slow", "seconds": 1.5},
    {"kind": "drip", "seconds": 0.02},
)
FAULTS = [{"endpoint": "message/send", **fault} for fault in _FAULTS]
TOKEN_FAULTS: tuple[dict[str, Any], ...] = (
    *({"kind": kind, "endpoint": "gettoken"} for kind in ("busy", "html", "close_before", "close_after")),
    {"kind": "slow", "seconds": 1.0, "endpoint": "gettoken"},
)
CALLS_AT_MOST = 12


@dataclass(frozen=True)
class Disturbance:
    """An event `at` seconds after a round's beginning. `target` is a program, a server or a company."""

    at: float
    kind: str
    target: str = ""
    seconds: float = 0.0
    fault: dict[str, Any] = field(default_factory=dict)

    @property
    def is_step_of_valkey(self) -> bool:
        return (self.kind, self.target) == ("step", "broker")

    @property
    def makes_valkey_forget(self) -> bool:
        return self.target == "broker" and self.kind in {"kill", "restart", "flush", "old_snapshot", "step"}

    def __str__(self) -> str:
        words = [f"{self.at:.1f} s", self.kind, self.target, str(self.fault or "")]
        return " ".join(word for word in [*words, f"{self.seconds:g} s" if self.seconds else ""] if word)


class DisturbanceKind(NamedTuple):
    """A kind of disturbance, and from what its values are drawn. `seconds`: two bounds, or a list to choose from."""

    name: str
    targets: Sequence[str] = ("",)
    seconds: tuple[float, float] | list[Any] = (0, 0)
    # Some come early, because later everything is already sent.
    share_of_span: float = 1.0
    faults: Sequence[dict[str, Any]] = ()
    calls_at_most: int = CALLS_AT_MOST

    def draw(self, chance: random.Random) -> Disturbance:
        at = chance.uniform(0, SPAN_SECONDS) * self.share_of_span
        is_list = isinstance(self.seconds, list)
        seconds = chance.choice(self.seconds) if is_list else chance.uniform(*self.seconds)
        fault = {**chance.choice(self.faults), "count": chance.randint(1, self.calls_at_most)} if self.faults else {}
        return Disturbance(at, self.name, chance.choice(self.targets), seconds, fault)


_COMPANIES = [str(number) for number in range(COMPANIES)]
_FAULT = DisturbanceKind("fault", share_of_span=1 / 3, faults=FAULTS)
_LEAVE = DisturbanceKind("leave", _COMPANIES, LEAVERS)
_KINDS = (
    DisturbanceKind("kill", WORKERS, AWAY_SECONDS),
    _FAULT,
    DisturbanceKind("kill", ["database"], AWAY_SECONDS),
    DisturbanceKind("disable", _COMPANIES, AWAY_SECONDS, 1 / 2),
    DisturbanceKind("kill", ["broker"], AWAY_SECONDS),
    DisturbanceKind("jump", ["clock"], JUMPS_SECONDS),
    DisturbanceKind("kill", PROGRAMS, AWAY_SECONDS),
    DisturbanceKind("invalidate", _COMPANIES, share_of_span=1 / 2),
    DisturbanceKind("restart", ["database"]),
    _FAULT,
    DisturbanceKind("freeze", ["sandbox"], STOPPED_SECONDS),
    DisturbanceKind("stop", WORKERS),
    DisturbanceKind("reset_secret", _COMPANIES, share_of_span=1 / 2),
    DisturbanceKind("restart", ["broker"]),
    DisturbanceKind("fault", share_of_span=1 / 3, faults=TOKEN_FAULTS, calls_at_most=3),
    DisturbanceKind("disable_member", _COMPANIES, share_of_span=1 / 2),
    DisturbanceKind("kill", ["sandbox"], AWAY_SECONDS),
    _FAULT,
    # Before rendering, while sending, after arrival.
    DisturbanceKind("recall", ORDERS),
    DisturbanceKind("resend", ORDERS),
    DisturbanceKind("old_snapshot", ["broker"], AWAY_SECONDS),
    _LEAVE,
    DisturbanceKind("freeze", WORKERS, ASLEEP_SECONDS),
    DisturbanceKind("read_only", ["database"], FULL_SECONDS),
    DisturbanceKind("flush", ["broker"]),
    DisturbanceKind("edit", ORDERS),
    DisturbanceKind("freeze", ["web", *BEATS, CHARTS], ASLEEP_SECONDS),
    DisturbanceKind("full", ["database"], FULL_SECONDS),
    _LEAVE,
    DisturbanceKind("crowd", ["database"], FULL_SECONDS),
    DisturbanceKind("cut", ["database"]),
    DisturbanceKind("full", ["broker"], FULL_SECONDS),
    DisturbanceKind("kill", [CHARTS], AWAY_SECONDS),
    DisturbanceKind("freeze", ["broker"], STOPPED_SECONDS),
    DisturbanceKind("freeze", ["database"], STOPPED_SECONDS),
    DisturbanceKind("freeze", [NETWORK], ASLEEP_SECONDS),
    DisturbanceKind("step", BEATS, STEPS_SECONDS),
    DisturbanceKind("step", ["broker"], STEPS_SECONDS),
    DisturbanceKind("sleep", WORKERS, SLEEP_SECONDS, 1 / 3),
    DisturbanceKind("kill", [POOLER], AWAY_SECONDS),
    DisturbanceKind("promote", ["database"]),
    DisturbanceKind("step", ["web", *WORKERS, CHARTS], STEPS_SECONDS),
    DisturbanceKind("freeze", [POOLER], ASLEEP_SECONDS),
)


def plan(seed: int, number: int) -> list[Disturbance]:
    """Return the disturbances of one round in order. The same seed and number give the same."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  # to be repeated, not to be secret
    count = chance.randint(*DISTURBANCES)
    # Every kind comes first in some round; the others beside it are chosen at random.
    kinds = [_KINDS[number % len(_KINDS)], *chance.choices(_KINDS, k=count - 1)]
    found = [kind.draw(chance) for kind in kinds]
    if any(each.makes_valkey_forget for each in found):
        # A lost store is filled from rows with times of the database's clock, which are wrong if it moves in that
        # minute.
        found = [each for each in found if each.kind != "jump"]
    return sorted(found, key=lambda each: each.at)
