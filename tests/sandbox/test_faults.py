"""Faults on request, and the control interface that switches them on."""

from __future__ import annotations

import time

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

ENDPOINT = "message/send"
MESSAGE = {"touser": "lilei", "msgtype": "text", "agentid": AGENTID, "text": {"content": "hello"}}


def send(api: Api, timeout: float = 10) -> requests.Response:
    url = f"{api.sandbox.base_url}/cgi-bin/{ENDPOINT}"
    return requests.post(url, params={"access_token": api.token()}, json=MESSAGE, timeout=timeout)


def delivered(sandbox: SandboxHandle) -> int:
    return len(sandbox.messages(CORPID, "lilei"))


@pytest.mark.parametrize(
    ("kind", "values", "errcode"),
    [
        ("busy", {}, -1),
        ("rate_limited", {}, 45009),
        ("concurrent", {}, 45033),
        ("ip_refused", {}, 60020),
        ("errcode", {"code": 48006}, 48006),
        ("token_revoked", {}, 40014),
        ("token_revoked", {"code": 42001}, 42001),
    ],
)
def test_errcodes_come_once_and_nothing_is_sent(
    api: Api, sandbox: SandboxHandle, kind: str, values: dict[str, object], errcode: int
) -> None:
    sandbox.fault(kind, ENDPOINT, **values)

    assert send(api).json()["errcode"] == errcode
    assert delivered(sandbox) == 0
    assert send(api).json()["errcode"] == 0


@pytest.mark.parametrize("processed", [True, False])
@pytest.mark.parametrize(("kind", "status"), [("http_500", 500), ("html", 200), ("broken_json", 200)])
def test_what_comes_instead_of_json(api: Api, sandbox: SandboxHandle, kind: str, status: int, processed: bool) -> None:
    sandbox.fault(kind, ENDPOINT, processed=processed)

    response = send(api)

    assert (response.status_code, response.headers["Content-Type"] == "text/html; charset=utf-8") == (
        status,
        kind != "broken_json",
    )
    with pytest.raises(requests.JSONDecodeError):
        response.json()
    assert delivered(sandbox) == int(processed)


@pytest.mark.parametrize(("kind", "expected"), [("close_before", 0), ("close_after", 1)])
def test_closed_connections(api: Api, sandbox: SandboxHandle, kind: str, expected: int) -> None:
    sandbox.fault(kind, ENDPOINT)

    with pytest.raises(requests.ConnectionError):
        send(api)
    assert delivered(sandbox) == expected
    call = sandbox.calls(ENDPOINT)[0]
    assert (call["fault"], call["errcode"], call["agentid"]) == (kind, 0 if expected else -1, AGENTID)


def test_hanging(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.fault("hang", ENDPOINT)

    with pytest.raises(requests.ReadTimeout):
        send(api, timeout=0.3)
    assert delivered(sandbox) == 0


def test_slow_and_dripping_answers_come_whole(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.fault("slow", ENDPOINT, seconds=0.3)
    sandbox.fault("drip", ENDPOINT, seconds=0.002)
    started = time.monotonic()

    assert send(api).json()["errcode"] == 0
    assert time.monotonic() - started >= 0.3
    assert send(api).json()["errcode"] == 0
    sandbox.fault("wrong_json_warning", ENDPOINT)
    assert send(api).json()["errmsg"] == "ok. Warning: wrong json format. "
    assert delivered(sandbox) == 3


def test_count_endpoint_company_and_app_are_respected(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.fault("busy", "/cgi-bin/user/get", count=2)
    sandbox.fault("busy", corpid="ww0000000000000002", count=None)
    sandbox.fault("busy", ENDPOINT, agentid=3, count=None)

    assert [api.get("user/get", userid="lilei")["errcode"] for _ in range(3)] == [-1, -1, 0]
    assert send(api).json()["errcode"] == 0
    assert len(sandbox.control("GET", "faults")["faults"]) == 2


def test_faults_without_end_go_when_they_are_cleared(api: Api, sandbox: SandboxHandle) -> None:
    first = sandbox.fault("busy", "user/get", count=None)
    sandbox.fault("ip_refused", "user/get", count=None)

    assert api.get("user/get", userid="lilei")["errcode"] == -1
    assert sandbox.control("DELETE", f"faults/{first['id']}") == {"removed": 1}
    assert api.get("user/get", userid="lilei")["errcode"] == 60020
    assert sandbox.control("DELETE", "faults") == {"removed": 1}
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_a_write_needs_json_s_content_type(sandbox: SandboxHandle) -> None:
    """Refuse what a page of another site can post here: a form or plain text, but not JSON."""
    url = f"{sandbox.base_url}/sandbox/api/reset"

    assert sandbox.session.post(url, data='{"companies": true}', timeout=60).status_code == 415
    assert sandbox.control("GET", "health") == {"sandbox": True, "companies": 1}


@pytest.mark.parametrize("path", ["companies/wwnone", "companies/wwnone/members/x", "faults/9"])
def test_what_is_not_there_is_404(sandbox: SandboxHandle, path: str) -> None:
    response = sandbox.session.delete(f"{sandbox.base_url}/sandbox/api/{path}", json={}, timeout=60)

    assert response.status_code == 404


def test_reset_keeps_companies_unless_told(api: Api, sandbox: SandboxHandle) -> None:
    api.send()
    sandbox.control("POST", "reset", {})
    assert delivered(sandbox) == 0
    assert api.token()

    sandbox.control("POST", "reset", {"companies": True})
    assert sandbox.control("GET", "companies") == {"companies": []}
