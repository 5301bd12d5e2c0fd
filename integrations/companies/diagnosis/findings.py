"""What a check is asked, what it finds, and which failed check keeps others from being tried."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
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
from integrations.core.validators import without_invisible
from integrations.models import CheckRun, Corp

if TYPE_CHECKING:
    from datetime import datetime

Status = CheckRun.Status
TEXT_AT_MOST = 1000
# The limit of a fact: links are the longest.
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
    """What a check is asked: about `corp`, at `now`. `subject`: the run's, such as the receiver of a test message."""

    corp: Corp
    now: datetime
    run_id: int
    subject: str


@dataclass(frozen=True, slots=True)
class Step:
    """An interval between tries, for runs younger than `age`, counted from when the run was asked for."""

    age: timedelta
    every: timedelta


# WeCom takes about a minute until a change in its console counts; meanwhile somebody may be looking at the page.
BRIEFLY = (Step(timedelta(minutes=10), timedelta(seconds=20)),)
# A refused address: after ten minutes rarely, in case another department has to approve the entry.
FOR_A_DAY = (*BRIEFLY, Step(timedelta(hours=24), timedelta(minutes=5)))


@dataclass(frozen=True)
class Check:
    """One check. `label`, `purpose` and the explanations are English sentences to be translated.

    `run` lets errors of the client pass where they mean to it what they mean to every check (`judge_error`).
    `subject`: what of ours it is about; a result counts as long as this is the same, and always where it is empty.
    `retries`: how a finding that heals is tried again. `is_repeatable`: a run whose worker died may be run once more.
    `copied`: the fact that an administrator copies into WeCom's console. `help_links`: pages of WeCom that explain it.
    """

    name: str
    label: str
    purpose: str
    run: Callable[[Question], Finding]
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    subject: Callable[[Corp], str] = lambda _corp: ""
    retries: Sequence[Step] = BRIEFLY
    is_repeatable: bool = True
    copied: str = ""
    help_links: Sequence[str] = ()

    @property
    def guide(self) -> str:
        """Its place on the guides' page of errors."""
        return f"check-{self.name.replace('_', '-')}"


# --- Making a finding -------------------------------------------------------------------------------------------------

Facts = Mapping[str, Any]
NO_FACTS: Facts = MappingProxyType({})


def ok(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """Find it in order. `problem` names the explanation that says what was seen."""
    return Finding(Status.OK, problem, facts)


def warning(problem: str, facts: Facts = NO_FACTS, *, heals: bool = False) -> Finding:
    """Find that it works, and that somebody should look at it. `heals`: it is tried again by itself."""
    return Finding(Status.WARNING, problem, facts, heals=heals)


def wrong(problem: str, facts: Facts = NO_FACTS, *, heals: bool = True, detail: str = "") -> Finding:
    """Find it wrong. `heals`: it is tried again by itself. `detail`: technical, shown small."""
    return Finding(Status.WRONG, problem, facts, detail=detail, heals=heals)


def skip(problem: str, facts: Facts = NO_FACTS) -> Finding:
    """Try nothing, because there is nothing to try or something else is in the way."""
    return Finding(Status.SKIPPED, problem, facts)


def fail(error: IntegrationError, problem: str, status: Status, *, heals: bool, facts: Facts = NO_FACTS) -> Finding:
    """Keep what is known of a failure. `problem`: "refused" where the sentences are those of WeCom's number."""
    code, detail = error.code, error.message
    if code is not None and abs(code) > LARGEST_ERRCODE:
        code, problem, detail = None, "not_wecom", f"errcode {code}: {detail}"
    hint, address = clip(error.hint, 64), parse_ip_address(error.caller_ip)
    return Finding(status, problem, facts, code, hint, address, clip(detail), heals)


def clip(text: str, length: int = TEXT_AT_MOST) -> str:
    """Return text of the other side as a column takes it: no NUL, which PostgreSQL refuses, and not too long."""
    return without_invisible(text)[:length]


def clip_fact(fact: Any) -> Any:
    """Return a fact, or a collection of them, whose texts a column takes."""
    if isinstance(fact, str):
        return clip(fact, FACT_AT_MOST)
    if isinstance(fact, Mapping):
        return {name: clip_fact(value) for name, value in fact.items()}
    return [clip_fact(one) for one in fact] if isinstance(fact, list | tuple) else fact


def parse_ip_address(text: str) -> str | None:
    """Return the address in its usual spelling; None for what is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


# --- What stands in the way -------------------------------------------------------------------------------------------


class BlockingCheck(StrEnum):
    """The checks whose failure keeps others from being tried, so that one cause is reported once."""

    NETWORK = "network"
    TOKEN = "token"  # noqa: S105  # the name of a check
    IP = "ip"
    AGENTID = "agentid"


IP_REFUSED = frozenset({errcodes.IP_NOT_TRUSTED, 301042})
OTHER_APP = frozenset({301002, 40056})
NOT_OF_AN_APP = 48002
APP_DISABLED = 50003


def ask_site_admin(what: str, where: str) -> Explanation:
    """Explain what the administrator of this site puts right, and where."""
    return Explanation(what, SITE_ADMIN, where)


def ask_network_admin(what: str, where: str) -> Explanation:
    """Explain what the administrator of the server's network puts right, and where."""
    return Explanation(what, NETWORK_ADMIN, where)


def ask_wecom_admin(what: str, where: str) -> Explanation:
    """Explain what the administrator of WeCom puts right, and where."""
    return Explanation(what, WECOM_ADMIN, where)


# Said by every check: `by` is the check that has to be put right first.
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
        _("Look whether the message arrived; then start it again."),
    ),
    "died": ask_site_admin(
        _("Each worker that ran this check ended before it was done, so it was given up."),
        _("Look into the worker's log, and whether it has memory enough; then start the check again."),
    ),
    "too_late": ask_site_admin(
        _("Not sent: ten minutes after the click it would have surprised its reader."), _("Send it again.")
    ),
}


def judge_error(error: IntegrationError, *, check_name: str) -> Finding:
    """Return what `error` means to the check `check_name`: its own finding, or that another check comes first."""
    blocking = find_blocking_check(error)
    if blocking and blocking != check_name:
        return fail(error, "blocked", Status.SKIPPED, heals=False, facts={"by": blocking})
    return fail(error, name_problem(error), Status.WRONG, heals=error.code is None or _may_heal(error, check_name))


def name_problem(error: IntegrationError) -> str:
    """Return "refused" where WeCom says why, else which of the shared explanations fits."""
    if error.code is not None:
        return "refused"
    if isinstance(error, TransientError | OutcomeUnknownError):
        return "unreachable"
    return "wrong_setting" if isinstance(error, ConfigurationError) else "not_wecom"


def find_blocking_check(error: IntegrationError) -> BlockingCheck | None:
    """Return the check whose own sentences say what is wrong; None where each check has its own."""
    if error.code is None:
        return BlockingCheck.NETWORK
    if error.operation == "gettoken" or isinstance(error, UnreadableSecretError):
        return BlockingCheck.TOKEN
    if error.code in IP_REFUSED:
        return BlockingCheck.IP
    if error.code in OTHER_APP or (error.code == NOT_OF_AN_APP and error.operation == "agent_get"):
        return BlockingCheck.AGENTID
    return None


def _may_heal(error: IntegrationError, check_name: str) -> bool:
    """Whether trying again by itself is worth it, and allowed.

    Not a limit: asking again makes it longer, since too many wrong Secrets block the address for an hour. Not an
    unknown code or a mistake of ours: WeCom asks for it, and the next answer would be the same.
    """
    if isinstance(error, RateLimitedError):
        return error.retry_after_seconds <= BRIEFLY[0].every.total_seconds()
    if check_name == BlockingCheck.TOKEN:
        return is_passing(error.code)
    if error.code in errcodes.STALE_TOKEN_CODES:  # refused although the token was new
        return False
    return not isinstance(error, UnexpectedResponseError | BadRequestError)


def is_passing(code: int | None) -> bool:
    """Whether gettoken may give a token soon though it has just refused one: the Secret is not what it refused.

    A disabled app may be enabled while somebody looks.
    """
    return code == APP_DISABLED or (code is not None and errcodes.error_class(code) is TransientError)
