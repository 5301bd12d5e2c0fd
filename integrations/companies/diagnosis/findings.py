"""The parts that all checks share: Question (input), Finding (result), Check, explanations, errors of calls."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    Explanation,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
    UnreadableSecretError,
)
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.errcodes import NETWORK_ADMIN, SITE_ADMIN, SUPPORT, WECOM_ADMIN
from integrations.clients.wecom.errcodes import gettext_noop as _
from integrations.core.validators import remove_invisible
from integrations.models import CheckRun, Corp

if TYPE_CHECKING:
    from datetime import datetime

Status = CheckRun.Status
# The check that sends a message, which only a person requests.
MESSAGE = "message"
TEXT_AT_MOST = 1000
# The limit of a fact; links are the longest.
FACT_AT_MOST = 4096
# The column's limit; WeCom's codes have at most seven digits.
LARGEST_ERRCODE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check. `problem`: key of the matching explanation. `facts`: plain values, nothing secret.

    `heals`: somebody may fix it elsewhere, so the check is repeated automatically.
    """

    status: Status
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    errcode: int | None = None
    hint: str = ""
    caller_ip: str | None = None
    detail: str = ""
    heals: bool = False

    @property
    def columns(self) -> dict[str, Any]:
        """The values for the columns of CheckRun."""
        names = ("status", "problem", "errcode", "hint", "caller_ip", "detail")
        return {"facts": clip_fact(self.facts), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Question:
    """The input of a check. `subject`: the checked value (Check.subject), or the recipient of a test message."""

    corp: Corp
    now: datetime
    subject: str


# Pairs of an age and an interval: a run is tried at this interval until its request is so old.
Retries = Sequence[tuple[timedelta, timedelta]]
# A change in WeCom's console takes about a minute to apply; meanwhile somebody may watch the page.
BRIEFLY: Retries = ((timedelta(minutes=10), timedelta(seconds=20)),)
# For a refused address: rarely after ten minutes, in case another department has to approve the entry.
FOR_A_DAY: Retries = (*BRIEFLY, (timedelta(hours=24), timedelta(minutes=5)))


@dataclass(frozen=True)
class Check:
    """A check. `label`, `purpose` and the explanations are English sentences to be translated.

    `run` need not catch the client's errors: `judge_error` makes findings of them. `subject`: returns the value of ours
    that is checked; a result counts only while it is unchanged. `retries`: when a check whose finding heals is
    repeated. `copied_fact`: the fact that an administrator copies into WeCom's console. `help_links`: WeCom's pages
    that explain it.
    """

    name: str
    label: str
    purpose: str
    run: Callable[[Question], Finding]
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    subject: Callable[[Corp], str] = lambda _corp: ""
    retries: Retries = BRIEFLY
    copied_fact: str = ""
    help_links: Sequence[str] = ()

    @property
    def guide(self) -> str:
        """The anchor on the guides' page of errors."""
        return f"check-{self.name.replace('_', '-')}"


def check(
    name: str,
    *,
    explanations: Mapping[str, str | Explanation] = MappingProxyType({}),
    problems: Mapping[str, str] = MappingProxyType({}),
    fix: tuple[str, str] = ("", ""),
    **options: Any,
) -> Callable[[Callable[[Question], Finding]], Check]:
    """Decorate a function that checks something: return a Check that runs it. `options`: other fields of Check.

    `explanations`: a plain sentence if nobody has to act. `problems`: sentences with the same `fix`: who, where.
    """
    known = {key: one if isinstance(one, Explanation) else Explanation(one) for key, one in explanations.items()}
    known |= {key: Explanation(what, *fix) for key, what in problems.items()}
    return lambda run: Check(name=name, run=run, explanations=known, **options)


# --- Making a finding -------------------------------------------------------------------------------------------------

Facts = Mapping[str, Any]
NO_FACTS: Facts = MappingProxyType({})


def ok(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """Return the finding that all is in order. `problem`: the key of the explanation of what was seen."""
    return Finding(Status.OK, problem, facts)


def warning(problem: str, facts: Facts = NO_FACTS, *, heals: bool = False) -> Finding:
    """Return the finding that something works but needs attention. `heals`: the check is repeated automatically."""
    return Finding(Status.WARNING, problem, facts, heals=heals)


def wrong(problem: str, facts: Facts = NO_FACTS, *, heals: bool = True, detail: str = "") -> Finding:
    """Return the finding that something is wrong. `heals`: the check is repeated automatically. `detail`: technical."""
    return Finding(Status.WRONG, problem, facts, detail=detail, heals=heals)


def skip(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """Return the finding of a check that was not tried, because it is not needed or is blocked."""
    return Finding(Status.SKIPPED, problem, facts)


def fail(error: IntegrationError, problem: str, status: Status, *, heals: bool, facts: Facts = NO_FACTS) -> Finding:
    """Return the finding of a failed call. `problem`: "refused" is explained by WeCom's error code."""
    code, detail = error.code, error.message
    if code is not None and abs(code) > LARGEST_ERRCODE:
        code, problem, detail = None, "not_wecom", f"errcode {code}: {detail}"
    hint, address = clip(error.hint, 64), parse_ip_address(error.caller_ip)
    return Finding(status, problem, facts, code, hint, address, clip(detail), heals)


def clip(text: str, length: int = TEXT_AT_MOST) -> str:
    """Return text of another system for a column: without NUL, which PostgreSQL refuses, and not too long."""
    return remove_invisible(text)[:length]


def clip_fact(fact: Any) -> Any:
    """Return a fact, or a collection of facts, with texts clipped for a column."""
    if isinstance(fact, str):
        return clip(fact, FACT_AT_MOST)
    if isinstance(fact, Mapping):
        return {name: clip_fact(value) for name, value in fact.items()}
    return [clip_fact(one) for one in fact] if isinstance(fact, list | tuple) else fact


def parse_ip_address(text: str) -> str | None:
    """Return the address in its usual spelling; None if it is invalid."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


# --- Explanations, and errors of calls --------------------------------------------------------------------------------

IP_REFUSED = frozenset({errcodes.IP_NOT_TRUSTED, 301042})  # these four: error codes of WeCom
OTHER_APP = frozenset({301002, 40056})
NOT_OF_AN_APP = 48002
APP_DISABLED = 50003


def ask_site_admin(what: str, where: str) -> Explanation:
    """Return an explanation of something that the administrator of this site fixes."""
    return Explanation(what, SITE_ADMIN, where)


def ask_network_admin(what: str, where: str) -> Explanation:
    """Return an explanation of something that the administrator of the server's network fixes."""
    return Explanation(what, NETWORK_ADMIN, where)


def ask_wecom_admin(what: str, where: str) -> Explanation:
    """Return an explanation of something that the administrator of WeCom fixes."""
    return Explanation(what, WECOM_ADMIN, where)


# Explanations of every check. `by_label`: the check to fix first.
SHARED_EXPLANATIONS = {
    "blocked": Explanation(_("Not tried: “%(by_label)s” has to be in order first.")),
    "wrong_setting": ask_site_admin(
        _("The API address, the proxy, the CA bundle or an encryption key is wrong."),
        _("Check the fields under “Advanced”; the detail below says what did not fit."),
    ),
    "unreachable": ask_network_admin(
        _("WeCom could not be reached, or did not answer in time."),
        _("Check that the server reaches the API address, directly or through the proxy under “Advanced”."),
    ),
    "not_wecom": ask_network_admin(
        _("What answered is not WeCom: a login page of the network, a proxy or another server."),
        _("Check the API address and the proxy under “Advanced”."),
    ),
    "crashed": Explanation(
        _("The check itself failed: this is a mistake of the program."),
        SUPPORT,
        _("Export the diagnosis as text and send it to support."),
    ),
    "lost": ask_site_admin(
        _("The worker that ran this check ended before it was done, and it is not run twice."),
        _("Check whether the message arrived; then start it again."),
    ),
    "died": ask_site_admin(
        _("Each worker that ran this check ended before it was done, so it was given up."),
        _("Check the worker's log and its memory; then start the check again."),
    ),
    "too_late": ask_site_admin(
        _("Not sent: the click was more than ten minutes ago, and a late message would surprise its reader."),
        _("Send it again."),
    ),
}


def judge_error(error: IntegrationError) -> Finding:
    """Return the finding for a failed call. It heals if the check may be repeated.

    A long rate limit does not heal: repeats prolong it, and too many wrong Secrets block the address for an hour. An
    unknown code or a mistake of ours does not heal either: WeCom forbids repeats, and the answer would be the same.
    """
    if error.code is None:
        heals = True
    elif isinstance(error, RateLimitedError):
        heals = error.retry_after_seconds <= BRIEFLY[0][1].total_seconds()
    elif error.operation == "gettoken" or isinstance(error, UnreadableSecretError):
        heals = is_temporary_refusal(error.code)
    else:
        is_refused_again = error.code in errcodes.STALE_TOKEN_CODES  # WeCom refused even a new token
        heals = not is_refused_again and not isinstance(error, UnexpectedResponseError | BadRequestError)
    facts = {"operation": error.operation} if error.operation == "gettoken" else NO_FACTS
    return fail(error, name_problem(error), Status.WRONG, heals=heals, facts=facts)


def name_problem(error: IntegrationError) -> str:
    """Return "refused" if WeCom gave the reason, else the key of the matching shared explanation."""
    if error.code is not None:
        return "refused"
    if isinstance(error, TransientError | OutcomeUnknownError):
        return "unreachable"
    return "wrong_setting" if isinstance(error, ConfigurationError) else "not_wecom"


def is_temporary_refusal(code: int | None) -> bool:
    """Return whether gettoken may soon succeed after this refusal, because the Secret is not the cause.

    A disabled app may be enabled at any moment.
    """
    return code == APP_DISABLED or (code is not None and errcodes.find_error_class(code) is TransientError)
