"""Testing a connection: fetch a token, read the app, and say in plain words what came of it."""

from __future__ import annotations

import ipaddress
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from integrations import links
from integrations.clients import testing_client, token_store
from integrations.errors import ConfigurationError, IntegrationError, TransientError
from integrations.models import ConnectionTest, Corp
from integrations.validators import without_invisible
from integrations.wecom import errcodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from integrations.wecom.schemas import Agent

logger = logging.getLogger(__name__)

# A second click while a test is under way shows that one, unless it seems lost.
UNDER_WAY_SECONDS = 60
KEPT_TESTS = 20

Problem = ConnectionTest.Problem
Status = ConnectionTest.Status


@dataclass(frozen=True)
class Explanation:
    """What happened, who can fix it, where to click: translated sentences, empty where there is nothing to say."""

    what: str
    who: str = ""
    where: str = ""


@dataclass(frozen=True)
class Comparison:
    """One value of WeCom's console beside ours."""

    label: str
    theirs: str
    ours: str
    is_equal: bool


@dataclass(frozen=True)
class _Outcome:
    """The columns of ConnectionTest that a finished test fills."""

    problem: str = ""
    columns: dict[str, object] = field(default_factory=dict)


def request_connection_test(*, corp: Corp, now: datetime) -> ConnectionTest:
    """A test to run in the background; the one under way, if there is one. Keeps the last KEPT_TESTS of the corp."""
    recent = now - timedelta(seconds=UNDER_WAY_SECONDS)
    under_way = ConnectionTest.objects.unfinished().current(corp).filter(requested_at__gte=recent).first()
    if under_way is not None:
        return under_way
    test = ConnectionTest.objects.create(corp=corp, connection_version=corp.connection_version, requested_at=now)
    kept = ConnectionTest.objects.filter(corp=corp).values_list("pk", flat=True)[:KEPT_TESTS]
    ConnectionTest.objects.filter(corp=corp).exclude(pk__in=list(kept)).delete()
    return test


def run_connection_test(*, test_id: int, clock: Callable[[], datetime]) -> None:
    """Try the corp's credentials and note what came of it. A finished test is left as it is; safe to run twice.

    The test uses no shared token, so it tries the Secret itself; having passed, it ends a pause after a wrong Secret.
    """
    unfinished = ConnectionTest.objects.unfinished().filter(pk=test_id)
    seen = Corp.objects.filter(connection_tests=test_id).values_list("pk", "connection_version").first()
    if seen is None:
        _log_gone(test_id)
        return
    corp_id, version = seen
    if not unfinished.update(status=Status.RUNNING, connection_version=version):
        return
    try:
        outcome = _tried(corp_id)
    except Corp.DoesNotExist:
        _log_gone(test_id)
        return
    status = Status.FAILED if outcome.problem else Status.PASSED
    unfinished.update(status=status, finished_at=clock(), problem=outcome.problem, **outcome.columns)


def give_up_unqueued(*, test: ConnectionTest, clock: Callable[[], datetime]) -> None:
    """End a test that could not be queued. What failed without a Problem was never tried."""
    ConnectionTest.objects.unfinished().filter(pk=test.pk).update(status=Status.FAILED, finished_at=clock())


def _log_gone(test_id: int) -> None:
    logger.info("connection test %s is gone: its company was deleted, or newer tests have pushed it out", test_id)


def _tried(corp_id: int) -> _Outcome:
    try:
        corp = Corp.objects.get(pk=corp_id)
        agent = testing_client(corp).agent_get()
    except IntegrationError as error:
        return _of_error(error)
    except ImproperlyConfigured as error:  # no key opens the stored Secret; the text names the setting
        return _Outcome(Problem.WRONG_SETTING, {"message": str(error)})
    if agent.agentid == corp.agentid and not agent.is_closed:
        with suppress(TransientError):
            token_store().forget(corp.corpid, corp.agentid)
    return _of_agent(corp, agent)


def _of_agent(corp: Corp, agent: Agent) -> _Outcome:
    problem = ""
    if agent.agentid != corp.agentid:
        problem = Problem.OTHER_APP
    elif agent.is_closed:
        problem = Problem.APP_DISABLED
    return _Outcome(
        problem,
        {
            "app_name": _clipped(agent.name, 128),
            "app_home_url": _clipped(agent.home_url, 4096),
            "app_redirect_domain": _clipped(agent.redirect_domain, 255),
        },
    )


def _of_error(error: IntegrationError) -> _Outcome:
    if error.code is not None:
        problem = Problem.REFUSED
    elif isinstance(error, TransientError):
        problem = Problem.UNREACHABLE
    elif isinstance(error, ConfigurationError):
        problem = Problem.WRONG_SETTING
    else:
        problem = Problem.NOT_WECOM
    return _Outcome(
        problem,
        {
            "errcode": error.code,
            "hint": _clipped(error.hint, 64),
            "caller_ip": _ip_address(error.caller_ip),
            "message": _clipped(error.message, 1000),
        },
    )


def _clipped(text: str, length: int) -> str:
    """Text of the other side as a column takes it: no NUL, which PostgreSQL refuses, and not too long."""
    return without_invisible(text)[:length]


def _ip_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class TokenPause:
    """Why no token is fetched for a corp at the moment, in the active language, and for how many seconds more."""

    seconds: int
    what: str
    where: str


def token_pause(corp: Corp) -> TokenPause | None:
    """The pause that all processes keep after WeCom refused the corp's Secret; None where nothing stands in the way."""
    try:
        pause = token_store().pause(corp.corpid, corp.agentid)
    except TransientError:  # the store is down: the page opens all the same, and /healthz says so
        return None
    if pause is None or pause.code is None:
        return None
    advice = errcodes.explain(pause.code)
    return TokenPause(max(1, round(pause.remaining_seconds)), _(advice.what), _(advice.where))


def explanation(test: ConnectionTest) -> Explanation:
    """What a failed test means, in the active language."""
    if test.errcode is not None:
        advice = errcodes.explain(test.errcode)
        return Explanation(_(advice.what), _(advice.who), _(advice.where))
    return {
        Problem.UNREACHABLE.value: Explanation(
            _("WeCom could not be reached, or did not answer in time."),
            _("The administrator of this server's network."),
            _("Check that the server reaches the API address, directly or through the proxy under “Advanced”."),
        ),
        Problem.WRONG_SETTING.value: Explanation(
            _("The API address, the proxy, the CA bundle or an encryption key is wrong."),
            _("The administrator of this site."),
            _("Check the fields under “Advanced”; the detail below says what did not fit."),
        ),
        Problem.NOT_WECOM.value: Explanation(
            _("What answered is not WeCom: a login page of the network, a proxy or another server."),
            _("The administrator of this server's network."),
            _("Check the API address and the proxy under “Advanced”."),
        ),
        Problem.OTHER_APP.value: Explanation(
            _("The Secret belongs to another app than the AgentId."),
            _("The administrator of this site."),
            _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app."),
        ),
        Problem.APP_DISABLED.value: Explanation(
            _("The app is disabled in WeCom."),
            _("The administrator of WeCom."),
            _("WeCom's console → App management → the app → enable it."),
        ),
    }.get(test.problem, unqueued())


def unqueued() -> Explanation:
    """Why work in the background does not begin, in the active language."""
    return Explanation(
        _("The queue cannot be reached: is Valkey running?"),
        _("The administrator of this site."),
        _("Start Valkey, then try again. The health page /healthz says what does not answer."),
    )


def comparisons(test: ConnectionTest) -> list[Comparison]:
    """The app's settings in WeCom, as the test found them, beside what they should be."""
    corp = test.corp
    domain = links.trusted_domain(corp)
    found = test.app_redirect_domain.strip().lower()
    home_page = links.home_page_link(corp)
    return [
        Comparison(_("Trusted domain"), test.app_redirect_domain, domain, found == domain),
        Comparison(_("App home page"), test.app_home_url, home_page, links.is_own_home_page(corp, test.app_home_url)),
    ]
