"""What a check is, and what it finds."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from integrations.clients.explanations import Explanation
from integrations.core.validators import without_invisible
from integrations.models import CheckRun, Corp

if TYPE_CHECKING:
    from datetime import datetime

    from integrations.clients.errors import IntegrationError

Status = CheckRun.Status
TEXT_AT_MOST = 1000
# Of a fact: links are the longest.
FACT_AT_MOST = 4096
# What the column takes; WeCom's have at most seven digits.
LARGEST_ERRCODE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `problem`: which of the check's explanations fits. `facts`: plain values, nothing secret.

    `heals`: somebody may put it right elsewhere, so it is worth trying again by itself.
    """

    status: Status
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    errcode: int | None = None
    hint: str = ""
    caller_ip: str | None = None
    detail: str = ""
    heals: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What a check is asked: about `corp`, at `now`. `subject`: of the run, as for whom a test message is."""

    corp: Corp
    now: datetime
    run_id: int
    subject: str


@dataclass(frozen=True, slots=True)
class Step:
    """For runs younger than `age`, counted from when the run was asked for: try again every so often."""

    age: timedelta
    every: timedelta


# WeCom takes about a minute until a change in its console counts; meanwhile somebody may be looking at the page.
BRIEFLY = (Step(timedelta(minutes=10), timedelta(seconds=20)),)
# A refused address: after ten minutes rarely, in case another department has to approve the entry.
FOR_A_DAY = (*BRIEFLY, Step(timedelta(hours=24), timedelta(minutes=5)))


def no_subject(_corp: Corp) -> str:
    """For checks whose results count whatever is saved."""
    return ""


@dataclass(frozen=True)
class Check:
    """One check. `label`, `purpose` and the explanations are English sentences to be translated.

    `subject`: what of ours it is about; a result counts as long as this is the same. `retries`: how a finding that
    heals is tried again. `is_repeatable`: a run whose worker died may be run once more. `copied`: the fact that an
    administrator copies into WeCom's console. `help_links`: pages of WeCom that explain it.
    """

    name: str
    label: str
    purpose: str
    run: Callable[[Question], Finding]
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    subject: Callable[[Corp], str] = no_subject
    retries: Sequence[Step] = BRIEFLY
    is_repeatable: bool = True
    copied: str = ""
    help_links: Sequence[str] = ()

    @property
    def guide(self) -> str:
        """Its place on the guides' page of errors."""
        return f"check-{self.name.replace('_', '-')}"


Facts = Mapping[str, Any]
NO_FACTS: Facts = MappingProxyType({})


def ok(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """In order. `problem` names the explanation that says what was seen."""
    return Finding(Status.OK, problem, facts)


def warning(problem: str, facts: Facts = NO_FACTS, *, heals: bool = False) -> Finding:
    """Works, and somebody should look at it all the same. `heals`: it is tried again by itself."""
    return Finding(Status.WARNING, problem, facts, heals=heals)


def wrong(problem: str, facts: Facts = NO_FACTS, *, heals: bool = True, detail: str = "") -> Finding:
    """Not in order. `heals`: it is tried again by itself. `detail`: technical, shown small."""
    return Finding(Status.WRONG, problem, facts, detail=detail, heals=heals)


def skipped(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """Not tried, because there is nothing to try or something else is in the way."""
    return Finding(Status.SKIPPED, problem, facts)


def failed(error: IntegrationError, problem: str, status: Status, *, heals: bool, facts: Facts = NO_FACTS) -> Finding:
    """A failure, and what is known of it. `problem`: "refused" where the sentences are those of WeCom's number."""
    code, detail = error.code, error.message
    if code is not None and abs(code) > LARGEST_ERRCODE:
        code, problem, detail = None, "not_wecom", f"errcode {code}: {detail}"
    hint, address = clipped(error.hint, 64), ip_address(error.caller_ip)
    return Finding(status, problem, facts, code, hint, address, clipped(detail), heals)


def clipped(text: str, length: int = TEXT_AT_MOST) -> str:
    """Text of the other side as a column takes it: no NUL, which PostgreSQL refuses, and not too long."""
    return without_invisible(text)[:length]


def storable(fact: Any) -> Any:
    """A fact, or a collection of them, whose texts a column takes."""
    if isinstance(fact, str):
        return clipped(fact, FACT_AT_MOST)
    if isinstance(fact, Mapping):
        return {name: storable(value) for name, value in fact.items()}
    return [storable(one) for one in fact] if isinstance(fact, list | tuple) else fact


def ip_address(text: str) -> str | None:
    """The address in its usual spelling; None for what is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
