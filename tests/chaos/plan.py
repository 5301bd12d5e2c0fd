"""The plan of what is broken when. A seed decides it before anything runs. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WORKERS, BEATS, CHARTS = ("worker-1", "worker-2"), ("beat-1", "beat-2"), "charts"
# The connections from the programs to database and broker, and the PgBouncer that some programs use.
NETWORK, POOLER = "network", "pooler"
PROGRAMS = ("web", *WORKERS, *BEATS, CHARTS)
# A round's disturbances spread over this time; a killed program stays away for the other.
SPAN_SECONDS, AWAY_SECONDS = 5.0, (0.2, 3.0)
DISTURBANCES = (3, 7)
# A stopped program sleeps through its leases, or not. A server is full or read-only for a moment.
ASLEEP_SECONDS, FULL_SECONDS = (1.0, 8.0), (0.5, 4.0)
# How many people leave a company at once.
LEAVERS = 5
# The orders of a round, by number, on which an administrator acts.
ORDERS = 14
JUMPS_SECONDS = (-600, -30, 45, 90, 900, 2 * 3600, 4 * 3600)
# The error of the time of day of one program's host, or of Valkey's, until the round ends.
STEPS_SECONDS = (-25 * 3600, -660, -20, 20, 45, 75, 3 * 3600)
# How long a machine sleeps: WeCom recognises a repeated message for four hours.
SLEEP_SECONDS = 9 * 1800
# Faults of the sandbox on message/send, and for how many calls at most.
FAULTS: tuple[dict[str, Any], ...] = (
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


def plan(seed: int, number: int, *, companies: int) -> list[Disturbance]:
    """Return the disturbances of one round in order. The same seed and number give the same."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  # to be repeated, not to be secret
    count = chance.randint(*DISTURBANCES)
    # Every kind comes first in some round; the others beside it are chosen at random.
    kinds = [_KINDS[number % len(_KINDS)], *chance.choices(_KINDS, k=count - 1)]
    found = [make(chance, chance.uniform(0, SPAN_SECONDS), companies) for make in kinds]
    if any(each.makes_valkey_forget for each in found):
        # A lost store is filled from rows with times of the database's clock, which are wrong if it moves in that
        # minute.
        found = [each for each in found if each.kind != "jump"]
    return sorted(found, key=lambda each: each.at)


def _kill_worker(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at, "kill", chance.choice(WORKERS), _away(chance))


def _kill_any(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at, "kill", chance.choice(PROGRAMS), _away(chance))


def _stop_worker(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at, "stop", chance.choice(WORKERS))


def _server(kind: str, target: str) -> Callable[[random.Random, float, int], Disturbance]:
    return lambda chance, at, _companies: Disturbance(at, kind, target, _away(chance))


def _order(kind: str) -> Callable[[random.Random, float, int], Disturbance]:
    # Early and late: before rendering, while sending, after arrival.
    return lambda chance, at, _companies: Disturbance(at, kind, str(chance.randrange(ORDERS)))


def _freeze(*targets: str) -> Callable[[random.Random, float, int], Disturbance]:
    def make(chance: random.Random, at: float, _companies: int) -> Disturbance:
        target = chance.choice(targets)
        return Disturbance(
            at,
            "freeze",
            target,
            chance.uniform(*(ASLEEP_SECONDS if target in {*PROGRAMS, NETWORK, POOLER} else (1, 4))),
        )

    return make


def _ill(kind: str, target: str) -> Callable[[random.Random, float, int], Disturbance]:
    return lambda chance, at, _companies: Disturbance(at, kind, target, chance.uniform(*FULL_SECONDS))


def _at_once(kind: str, target: str = "") -> Callable[[random.Random, float, int], Disturbance]:
    return lambda _chance, at, _companies: Disturbance(at, kind, target)


def _leave(chance: random.Random, at: float, companies: int) -> Disturbance:
    return Disturbance(at, "leave", f"company-{chance.randrange(companies)}", float(chance.randrange(1, LEAVERS + 1)))


def _jump(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at, "jump", "clock", chance.choice(JUMPS_SECONDS))


def _step(*targets: str) -> Callable[[random.Random, float, int], Disturbance]:
    return lambda chance, at, _companies: Disturbance(at, "step", chance.choice(targets), chance.choice(STEPS_SECONDS))


def _sleep(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at / 3, "sleep", chance.choice(WORKERS), SLEEP_SECONDS)


def _fault(chance: random.Random, at: float, _companies: int) -> Disturbance:
    # Early, because later everything is already sent.
    values = {**chance.choice(FAULTS), "count": chance.randint(1, CALLS_AT_MOST), "endpoint": "message/send"}
    return Disturbance(at / 3, "fault", fault=values)


def _token_fault(chance: random.Random, at: float, _companies: int) -> Disturbance:
    return Disturbance(at / 3, "fault", fault={**chance.choice(TOKEN_FAULTS), "count": chance.randint(1, 3)})


def _company(kind: str) -> Callable[[random.Random, float, int], Disturbance]:
    return lambda chance, at, companies: Disturbance(at / 2, kind, str(chance.randrange(companies)), _away(chance))


def _away(chance: random.Random) -> float:
    return chance.uniform(*AWAY_SECONDS)


_KINDS: tuple[Callable[[random.Random, float, int], Disturbance], ...] = (
    _kill_worker,
    _fault,
    _server("kill", "database"),
    _company("disable"),
    _server("kill", "broker"),
    _jump,
    _kill_any,
    _company("invalidate"),
    _server("restart", "database"),
    _fault,
    _freeze("sandbox"),
    _stop_worker,
    _company("reset_secret"),
    _server("restart", "broker"),
    _token_fault,
    _company("disable_member"),
    _server("kill", "sandbox"),
    _fault,
    _order("recall"),
    _order("resend"),
    _server("old_snapshot", "broker"),
    _leave,
    _freeze(*WORKERS),
    _ill("read_only", "database"),
    _at_once("flush", "broker"),
    _order("edit"),
    _freeze("web", *BEATS, CHARTS),
    _ill("full", "database"),
    _leave,
    _ill("crowd", "database"),
    _at_once("cut", "database"),
    _ill("full", "broker"),
    _server("kill", CHARTS),
    _freeze("broker"),
    _freeze("database"),
    _freeze(NETWORK),
    _step(*BEATS),
    _step("broker"),
    _sleep,
    _server("kill", POOLER),
    _at_once("promote", "database"),
    _step("web", *WORKERS, CHARTS),
    _freeze(POOLER),
)
