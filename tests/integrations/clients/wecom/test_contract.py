"""The contract at the wire: success and a stale token for every method, and failures for a method of each kind.

All methods share one path, so its failures are tried with a reading method, a sending one, and a robot's.
"""

from __future__ import annotations

import pytest
import requests

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    LoginRefusedError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)
from tests.integrations.clients.wecom.contract import CASES, KINDS, Case, open_client
from tests.wecom import CALLER_IP, ENDPOINTS, HINT, TOKEN, WeComAnswers, fixture, refusal, wecom_answers

EVERY_METHOD = pytest.mark.parametrize("case", CASES, ids=lambda case: case.endpoint)
EACH_KIND = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.endpoint)

REFUSALS = (
    (-1, None),
    (6000, TransientError),
    (45009, RateLimitedError),
    (45033, RateLimitedError),
    (60020, ConfigurationError),
    (48002, ConfigurationError),
    (301002, ConfigurationError),
    (60011, RecipientError),
    (40029, LoginRefusedError),
    (40058, BadRequestError),
    (999999, UnexpectedResponseError),
)
# Bytes that are no answer of WeCom, each with its status.
GARBAGE = (
    (b"", 200),
    (b"<html><body>502 Bad Gateway</body></html>", 200),
    (b'{"errcode":0,"errm', 200),
    (b"[]", 200),
    (b'"ok"', 200),
    (b"null", 200),
    (b"\xff\xfe\x00", 200),
    (b'{"errcode":"zero"}', 200),
    (b'{"errcode":true}', 200),
    (b'{"errcode":1.5}', 200),
    (b"[" * 100_000, 200),
    (b"not found", 404),
    (b"", 302),
)


def _answers(wecom: WeComAnswers, case: Case) -> None:
    if not case.is_robot:
        wecom.gives("gettoken")


def _success(wecom: WeComAnswers, case: Case, token: str = TOKEN) -> None:
    wecom.gives(case.endpoint, params=case.params, body=case.body, token=token)


def _error(case: Case) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        case.call(open_client(case))
    return caught.value


@EVERY_METHOD
def test_success(case: Case) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        _success(wecom, case)

        result = case.call(open_client(case))

    assert result == case.expected
    request = wecom.calls[-1]
    method, path = ENDPOINTS[case.endpoint]
    assert (request.method, request.url.partition("?")[0]) == (method, wecom.base_url + path)
    assert "Cookie" not in request.headers


@EACH_KIND
@pytest.mark.parametrize(("code", "expected"), REFUSALS)
def test_each_kind_of_refusal(case: Case, code: int, expected: type[IntegrationError] | None) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.refuses(case.endpoint, code, "sim text")

        error = _error(case)

    assert type(error) is (expected or (TransientError if case.is_repeatable else OutcomeUnknownError))
    assert (error.system, error.operation, error.code) == ("wecom", case.endpoint, code)
    assert (error.message, error.hint, error.caller_ip) == ("sim text", HINT, CALLER_IP)
    assert len(wecom.calls) == (1 if case.is_robot else 2)


@EACH_KIND
@pytest.mark.parametrize(("content", "status"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(case: Case, content: bytes, status: int) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.sends(case.endpoint, content, status=status)

        error = _error(case)

    assert type(error) is (ForeignAnswerError if case.is_repeatable else OutcomeUnknownError)
    assert (error.operation, error.code) == (case.endpoint, None)


@EACH_KIND
@pytest.mark.parametrize("failure", [429, 503, requests.ReadTimeout("read"), requests.ConnectionError("reset")])
def test_a_server_that_fails_and_a_connection_that_breaks_off(case: Case, failure: int | Exception) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        if isinstance(failure, int):
            wecom.sends(case.endpoint, b"<html>", status=failure)
        else:
            wecom.sends(case.endpoint, failure)

        error = _error(case)

    assert type(error) is (TransientError if case.is_repeatable else OutcomeUnknownError)


@EACH_KIND
def test_no_connection_is_certain(case: Case) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.sends(case.endpoint, requests.ConnectTimeout("no route"))

        error = _error(case)

    assert type(error) is TransientError


@EVERY_METHOD
def test_a_stale_token_is_replaced_once(case: Case) -> None:
    code = 40014
    if case.is_robot:
        with wecom_answers() as wecom:
            wecom.refuses(case.endpoint, code)
            assert _error(case).code == code
            assert len(wecom.calls) == 1
        return
    with wecom_answers() as wecom:
        wecom.says("gettoken", {**fixture("gettoken"), "access_token": "stale"})
        wecom.refuses(case.endpoint, code, token="stale")
        wecom.gives("gettoken")
        _success(wecom, case)

        result = case.call(open_client(case))

    assert result == case.expected
    assert len(wecom.calls) == 4


@EACH_KIND
@pytest.mark.parametrize("code", [42001, 40014])
def test_a_token_that_stays_stale_ends_after_one_repeat(case: Case, code: int) -> None:
    with wecom_answers() as wecom:
        _answers(wecom, case)
        wecom.refuses(case.endpoint, code)

        error = _error(case)

    assert (type(error), error.code) == (TransientError, code)
    assert len(wecom.calls) == (1 if case.is_robot else 4)


def test_no_call_is_made_with_a_token_that_was_refused() -> None:
    case = KINDS[0]
    with wecom_answers() as wecom:
        for token in ("first", "second", TOKEN):
            wecom.says("gettoken", {**fixture("gettoken"), "access_token": token})
        for token in ("first", "second"):
            wecom.refuses(case.endpoint, 40014, token=token)
        _success(wecom, case)
        client = open_client(case)
        with pytest.raises(IntegrationError):
            case.call(client)

        assert case.call(client) == case.expected

    assert len(wecom.calls) == 6


@pytest.mark.parametrize(("code", "expected"), [(40001, ConfigurationError), (-1, TransientError)])
def test_a_failure_of_gettoken_is_certain_and_goes_no_further(code: int, expected: type[IntegrationError]) -> None:
    with wecom_answers() as wecom:
        wecom.says("gettoken", refusal(code))

        error = _error(KINDS[1])

    assert (type(error), error.code, error.operation) == (expected, code, "gettoken")
    assert len(wecom.calls) == 1
