"""Connection tests: every answer of WeCom becomes a row and a sentence. Answers come over the wire (responses)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from cryptography.fernet import Fernet
from django.utils import timezone, translation
from pytest_django import Settings
from responses import matchers

from integrations import connection, links
from integrations.clients import token_store
from integrations.errors import ConfigurationError
from integrations.models import ConnectionTest, Corp
from integrations.tasks import run_connection_test
from integrations.wecom.tokens import FetchedToken
from tests.integrations.conftest import CORPID
from tests.sandbox import AGENTID, SECRET, company, start_sandbox
from tests.sandbox import CORPID as SANDBOX_CORPID

pytestmark = pytest.mark.django_db
API = "https://qyapi.weixin.qq.com/cgi-bin"
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
AGENT = {
    "errcode": 0,
    "errmsg": "ok",
    "agentid": 1000002,
    "name": "观远BI",
    "close": 0,
    "redirect_domain": "localhost:3001",
    "home_url": "http://localhost:3001/login/",
}


@pytest.fixture
def wecom() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock, translation.override("en"):
        yield mock


def gettoken(wecom: responses.RequestsMock, answer: object = None, **kwargs: Any) -> None:
    answer = answer or {"errcode": 0, "errmsg": "ok", "access_token": "sim-token", "expires_in": 7200}
    query = matchers.query_param_matcher({"corpid": CORPID, "corpsecret": "the-secret"})
    wecom.get(f"{API}/gettoken", **{"json": answer, "match": [query], **kwargs})


def agent_get(wecom: responses.RequestsMock, answer: object = None, **kwargs: Any) -> None:
    query = matchers.query_param_matcher({"access_token": "sim-token", "agentid": "1000002"})
    wecom.get(f"{API}/agent/get", **{"json": answer or AGENT, "match": [query], **kwargs})


def error(code: int, text: str) -> dict[str, Any]:
    hint = "hint: [1764000000123456789012345], from ip: 203.0.113.9, more info at https://open.work.weixin.qq.com/"
    return {"errcode": code, "errmsg": f"{text}, {hint}"}


def run(corp: Corp) -> ConnectionTest:
    test = connection.request_connection_test(corp=corp, now=NOW)
    assert (test.status, test.finished_at) == ("waiting", None)
    connection.run_connection_test(test_id=test.pk, clock=lambda: NOW + dt.timedelta(seconds=1))
    test.refresh_from_db()
    assert test.finished_at == NOW + dt.timedelta(seconds=1)
    return test


def test_a_right_connection_shows_what_wecom_knows_of_the_app(corp: Corp, wecom: responses.RequestsMock) -> None:
    gettoken(wecom)
    agent_get(wecom)

    test = run(corp)

    assert (test.status, test.problem, test.errcode, test.connection_version) == ("passed", "", None, 1)
    assert (test.app_name, test.app_redirect_domain) == ("观远BI", "localhost:3001")
    assert [(row.label, row.is_equal) for row in connection.comparisons(test)] == [
        ("Trusted domain", True),
        ("App home page", True),
    ]


def test_settings_that_differ_in_wecom_are_shown_beside_ours(corp: Corp, wecom: responses.RequestsMock) -> None:
    gettoken(wecom)
    agent_get(wecom, {**AGENT, "redirect_domain": "old.example.com", "home_url": ""})

    domain, home_page = connection.comparisons(run(corp))

    assert (domain.theirs, domain.ours, domain.is_equal) == ("old.example.com", "localhost:3001", False)
    assert (home_page.theirs, home_page.ours, home_page.is_equal) == ("", links.home_page_link(corp), False)


@pytest.mark.parametrize(
    ("code", "text"),
    [(40001, "invalid credential"), (40013, "invalid corpid"), (40091, "secret is invalid"), (50003, "app disabled")],
)
def test_refused_credentials(corp: Corp, wecom: responses.RequestsMock, code: int, text: str) -> None:
    gettoken(wecom, error(code, text))

    test = run(corp)

    assert (test.status, test.problem, test.errcode) == ("failed", "refused", code)
    assert (test.hint, test.caller_ip, test.message) == ("1764000000123456789012345", "203.0.113.9", text)
    assert len(wecom.calls) == 1


@pytest.mark.parametrize(
    ("code", "text"), [(301002, "invalid agentid"), (60020, "not allow to access from your ip"), (-1, "system busy")]
)
def test_a_refusal_to_read_the_app(corp: Corp, wecom: responses.RequestsMock, code: int, text: str) -> None:
    gettoken(wecom)
    agent_get(wecom, error(code, text))

    test = run(corp)

    assert (test.status, test.problem, test.errcode) == ("failed", "refused", code)
    assert (test.caller_ip, test.message) == ("203.0.113.9", text)


@pytest.mark.parametrize(
    ("answer", "problem", "what"),
    [
        ({**AGENT, "agentid": 1000009}, "other_app", "The Secret belongs to another app than the AgentId."),
        ({**AGENT, "close": 1}, "app_disabled", "The app is disabled in WeCom."),
    ],
)
def test_an_app_that_answers_and_is_not_the_right_one(
    corp: Corp, wecom: responses.RequestsMock, answer: object, problem: str, what: str
) -> None:
    gettoken(wecom)
    agent_get(wecom, answer)

    test = run(corp)

    assert (test.status, test.problem) == ("failed", problem)
    assert connection.explanation(test).what == what


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        ({"json": None, "body": "<html>Sign in to the network</html>"}, "not_wecom"),
        ({"json": None, "body": "<html>404</html>", "status": 404}, "not_wecom"),
        ({"json": {"errcode": 0, "access_token": "", "expires_in": 7200}}, "not_wecom"),
        ({"json": None, "body": "", "status": 502}, "unreachable"),
        ({"json": None, "body": requests.ConnectTimeout()}, "unreachable"),
        ({"json": None, "body": requests.ReadTimeout()}, "unreachable"),
        ({"json": None, "body": requests.ConnectionError()}, "unreachable"),
        ({"json": None, "body": requests.exceptions.InvalidProxyURL()}, "wrong_setting"),
    ],
)
def test_what_is_not_wecom_at_all(
    corp: Corp, wecom: responses.RequestsMock, trouble: dict[str, Any], problem: str
) -> None:
    gettoken(wecom, **trouble)

    test = run(corp)

    assert (test.status, test.problem, test.errcode) == ("failed", problem, None)
    assert all(vars(connection.explanation(test)).values())


def test_no_row_ever_holds_the_secret_or_an_address(corp: Corp, wecom: responses.RequestsMock) -> None:
    url = f"{API}/gettoken?corpid={CORPID}&corpsecret=the-secret"
    gettoken(wecom, json=None, body=requests.ConnectionError(f"Max retries exceeded with url: {url}"))

    test = run(corp)

    shown = " ".join(str(value) for value in ConnectionTest.objects.filter(pk=test.pk).values().get().values())
    assert "the-secret" not in shown
    assert "://" not in shown


def test_what_wecom_says_fits_into_the_row_whatever_it_is(corp: Corp, wecom: responses.RequestsMock) -> None:
    gettoken(wecom)
    agent_get(wecom, {**AGENT, "name": "a\x00b" + "长" * 500, "home_url": "x" * 9999, "redirect_domain": "y" * 999})

    test = run(corp)

    assert (test.app_name[:3], len(test.app_name)) == ("ab长", 128)
    assert (len(test.app_home_url), len(test.app_redirect_domain)) == (4096, 255)


def test_a_test_tries_the_secret_although_a_token_is_shared(corp: Corp, wecom: responses.RequestsMock) -> None:
    token_store().get(CORPID, 1000002, lambda: FetchedToken("still good", 7200))
    gettoken(wecom, error(40001, "invalid credential"))

    assert run(corp).status == "failed"
    assert token_store().get(CORPID, 1000002, fails) == "still good"


def fails() -> FetchedToken:
    raise ConfigurationError("wrong", system="wecom", operation="gettoken", code=40001)


def test_a_passed_test_ends_the_pause_after_a_wrong_secret(corp: Corp, wecom: responses.RequestsMock) -> None:
    with pytest.raises(ConfigurationError):
        token_store().get(CORPID, 1000002, fails)
    assert token_store().pause(CORPID, 1000002) is not None
    gettoken(wecom)
    agent_get(wecom)

    run(corp)

    assert token_store().pause(CORPID, 1000002) is None


def test_a_secret_that_no_key_opens(corp: Corp, settings: Settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    test = run(corp)

    assert (test.status, test.problem) == ("failed", "wrong_setting")
    assert "FIELD_ENCRYPTION_KEYS" in test.message


def test_the_connection_that_was_tried_is_noted_and_not_the_one_that_was_asked_for(
    corp: Corp, wecom: responses.RequestsMock
) -> None:
    gettoken(wecom)
    agent_get(wecom)
    test = connection.request_connection_test(corp=corp, now=NOW)
    Corp.objects.update(connection_version=5)

    connection.run_connection_test(test_id=test.pk, clock=timezone.now)

    test.refresh_from_db()
    assert test.connection_version == 5


def test_a_finished_test_is_not_run_again(corp: Corp, wecom: responses.RequestsMock) -> None:
    gettoken(wecom)
    agent_get(wecom)
    test = run(corp)

    run_connection_test(test.pk)

    assert len(wecom.calls) == 2


@pytest.mark.parametrize("gone", [Corp, ConnectionTest])
def test_a_test_that_is_gone_when_the_worker_comes_is_left_with_a_line_in_the_log(
    corp: Corp, gone: type[Corp | ConnectionTest], caplog: pytest.LogCaptureFixture
) -> None:
    test = connection.request_connection_test(corp=corp, now=NOW)
    gone.objects.all().delete()

    with caplog.at_level("INFO", logger="integrations"):
        run_connection_test(test.pk)

    assert [record.getMessage() for record in caplog.records] == [
        f"connection test {test.pk} is gone: its company was deleted, or newer tests have pushed it out"
    ]


def test_a_test_whose_worker_died_is_run_again(corp: Corp, wecom: responses.RequestsMock) -> None:
    gettoken(wecom)
    agent_get(wecom)
    test = connection.request_connection_test(corp=corp, now=NOW)
    ConnectionTest.objects.update(status="running")

    run_connection_test(test.pk)

    test.refresh_from_db()
    assert test.status == "passed"


def test_a_second_click_shows_the_test_under_way(corp: Corp) -> None:
    first = connection.request_connection_test(corp=corp, now=NOW)

    assert connection.request_connection_test(corp=corp, now=NOW + dt.timedelta(seconds=59)) == first
    assert connection.request_connection_test(corp=corp, now=NOW + dt.timedelta(seconds=61)) != first


def test_a_changed_connection_is_not_served_by_the_test_under_way(corp: Corp) -> None:
    first = connection.request_connection_test(corp=corp, now=NOW)
    Corp.objects.update(connection_version=2)
    corp.refresh_from_db()

    assert connection.request_connection_test(corp=corp, now=NOW) != first


def test_old_tests_are_forgotten(corp: Corp, other_corp: Corp) -> None:
    connection.request_connection_test(corp=other_corp, now=NOW)
    for minutes in range(0, 2 * connection.KEPT_TESTS + 10, 2):
        newest = connection.request_connection_test(corp=corp, now=NOW + dt.timedelta(minutes=minutes))

    assert corp.connection_tests.count() == connection.KEPT_TESTS
    assert corp.connection_tests.first() == newest
    assert other_corp.connection_tests.count() == 1


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, ("passed", "", None)),
        ({"secret": "another-secret"}, ("failed", "refused", 40001)),
        ({"agentid": AGENTID + 1}, ("failed", "refused", 301002)),
        ({"corpid": "ww" + "7" * 16}, ("failed", "refused", 40013)),
    ],
)
def test_against_the_sandbox_over_http(changes: dict[str, Any], outcome: tuple[Any, ...]) -> None:
    with start_sandbox(seed={"companies": [company()]}) as sandbox:
        columns = {"corpid": SANDBOX_CORPID, "agentid": AGENTID, "secret": SECRET, **changes}
        corp = Corp.objects.create(name="北山制造", api_base_url=sandbox.base_url, **columns)

        test = run(corp)

    assert (test.status, test.problem, test.errcode) == outcome
    assert test.app_name == ("观远BI" if test.status == "passed" else "")
