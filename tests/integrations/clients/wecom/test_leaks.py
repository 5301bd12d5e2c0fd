"""Secrets, tokens and keys do not leak into logs or pages, at every failure, with every library at DEBUG."""

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.calls import Timeouts
from integrations.clients.wecom.client import WeComClient
from tests.integrations.clients.wecom.contract import KINDS, Case, open_client
from tests.integrations.clients.wecom.misbehaviour import BREAKS, drips_body, hangs
from tests.integrations.clients.wecom.server import WireServer, at_once
from tests.wecom import ENDPOINTS, ROBOT_KEY, SECRET, WeComAnswers, fixture, refusal, wecom_answers

TOKEN = "sim/token+with=signs 0123456789"
SHORT = Timeouts(connect_seconds=10, total_seconds=0.3, transfer_seconds=0.3)


# Contents of a request as a gateway might repeat them: in a URL, and bare.
CARRIED = {
    "app": f"https://a.invalid/x?access_token={quote(TOKEN, safe='')} {TOKEN} {SECRET}",
    "gettoken": f"https://a.invalid/x?corpid=ww1&corpsecret={SECRET} {SECRET}",
    "robot": f"https://a.invalid/x?key={ROBOT_KEY} {ROBOT_KEY}",
}
Logged = Callable[[], str]
Failure = Callable[[WeComAnswers, str, str], None]


def _refuses(code: int) -> Failure:
    return lambda wecom, endpoint, carried: wecom.says_anyway(endpoint, refusal(code, f"refused {carried}"))


def _sends_page(status: int) -> Failure:
    return lambda wecom, endpoint, carried: wecom.sends(endpoint, f"<p>{carried}</p>".encode(), status=status)


def _breaks(kind: type[Exception]) -> Failure:
    return lambda wecom, endpoint, carried: wecom.sends(endpoint, kind(f"failed with url: {carried}"))


FAILURES: dict[str, Failure] = {
    "busy": _refuses(-1),
    "rate": _refuses(45009),
    "setting": _refuses(60020),
    "recipient": _refuses(81013),
    "login": _refuses(40029),
    "bug": _refuses(40058),
    "unknown": _refuses(999999),
    "page": _sends_page(200),
    "status 403": _sends_page(403),
    "status 502": _sends_page(502),
    "time-out": _breaks(requests.ReadTimeout),
    "reset": _breaks(requests.ConnectionError),
    "no connection": _breaks(requests.ConnectTimeout),
    "wrong address": _breaks(requests.exceptions.InvalidURL),
}


class _Kept(logging.Handler):
    """A handler that keeps every record, also those that pytest's own leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    """A function that returns all that was logged so far by every library, with arguments and tracebacks."""
    for name in ("urllib3", "urllib3.connectionpool", "urllib3.util.retry", "requests", "redis", "charset_normalizer"):
        caplog.set_level(logging.DEBUG, logger=name)
    kept = _Kept()

    def logged() -> str:
        texts = []
        for record in kept.records:
            # An earlier handler may have formatted it.
            traceback = record.exc_text or (
                logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            )
            texts.append(f"{record.getMessage()} {record.args!r} {traceback}")
        return "\n".join(texts)

    logging.getLogger().addHandler(kept)
    yield logged
    logging.getLogger().removeHandler(kept)


def _shown(error: BaseException) -> str:
    """Return all that a log, a page or an error tool could print of an exception and its causes."""
    texts = []
    current: BaseException | None = error
    while current is not None:
        texts += [str(current), repr(current), repr(current.args), repr(vars(current))]
        texts += ["".join(traceback.format_exception(current))]
        current = current.__cause__ or current.__context__
    return "\n".join(texts)


def _assert_clean(text: str) -> None:
    for secret in (TOKEN, quote(TOKEN, safe=""), SECRET, ROBOT_KEY):
        assert secret not in text
    assert text


def _failed(case: Case, client: Any) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        case.call(client)
    # Log it as a task or a view does.
    logging.getLogger("product").error("failed: %r", caught.value, exc_info=caught.value)
    return caught.value


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.endpoint)
def test_no_failure_shows_a_secret(case: Case, failure: str, everything: Logged) -> None:
    client = open_client(case)
    with wecom_answers() as wecom:
        if not case.is_robot:
            wecom.says("gettoken", {**fixture("gettoken"), "access_token": TOKEN})
        FAILURES[failure](wecom, case.endpoint, CARRIED["robot" if case.is_robot else "app"])

        error = _failed(case, client)

    _assert_clean(_shown(error))
    _assert_clean(everything())
    _assert_clean(repr(client))


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_of_gettoken_shows_a_secret(failure: str, everything: Logged) -> None:
    with wecom_answers() as wecom:
        FAILURES[failure](wecom, "gettoken", CARRIED["gettoken"])

        error = _failed(KINDS[0], open_client())

    assert error.operation == "gettoken"
    _assert_clean(_shown(error))
    _assert_clean(everything())


@pytest.mark.parametrize("misbehave", [*BREAKS.values(), hangs, drips_body])
@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.endpoint)
@pytest.mark.usefixtures("clock")
def test_no_broken_connection_shows_a_secret(wire: WireServer, case: Case, misbehave: Any, everything: Logged) -> None:
    wire.valid_secret, wire.new_token = SECRET, TOKEN
    wire.misbehave[ENDPOINTS[case.endpoint][1]] = misbehave

    error = _failed(case, open_client(case, base_url=wire.url, timeouts=SHORT))

    _assert_clean(_shown(error))
    logged = everything()
    assert "Starting new HTTP connection" in logged
    _assert_clean(logged)


def test_no_success_shows_a_secret(wire: WireServer, everything: Logged) -> None:
    wire.valid_secret, wire.new_token = SECRET, TOKEN
    client = open_client(base_url=wire.url)
    assert isinstance(client, WeComClient)

    results = at_once(20, client.agent_get)

    assert [type(result).__name__ for result in results] == ["Agent"] * 20
    logged = everything()
    assert '"GET /cgi-bin/gettoken?… HTTP/1.1" 200' in logged
    assert '"GET /cgi-bin/agent/get?… HTTP/1.1" 200' in logged
    _assert_clean(logged)
