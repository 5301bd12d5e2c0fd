"""The control interface: it refuses unusable values by the field's name, and switches faults on."""

import copy
import json
import time
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.conftest import Api
from tests.sandbox.direct import MENU
from tests.sandbox.test_fuzzing import EXAMPLES, VALUES, places
from tests.sandbox.test_messages import TEXT_NOTICE
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

COMPANY = f"companies/{CORPID}"
APP = f"{COMPANY}/apps/{AGENTID}"
LILEI = f"{COMPANY}/members/lilei"
HUGE = 10**400
# A hundred nested lists.
DEEP: Any = 1
for _ in range(100):
    DEEP = [DEEP]

REFUSED: list[tuple[str, str, object, str]] = [
    ("PUT", "state", {"settings": []}, "settings"),
    ("PUT", "state", {"companies": [None]}, "company"),
    ("POST", "companies", {"corpid": ["ww1234"], "name": "x"}, "company.corpid"),
    ("POST", "companies", {"corpid": "ww1234", "name": "x", "members": {}}, "members"),
    ("PATCH", COMPANY, {"contacts_callback": {"url": 7}}, "company.contacts_callback.url"),
    ("POST", f"{COMPANY}/departments", {}, "list"),
    ("POST", f"{COMPANY}/members", [{"userid": ["x"], "name": "x"}], ".userid"),
    ("POST", f"{COMPANY}/members", [{"userid": "x", "name": "x", "extattr": {"a": DEEP}}], ".extattr"),
    ("PATCH", APP, {"menu": {"button": [MENU["button"][0] | {"type": ["view"]}]}}, ".menu"),
    ("PATCH", APP, {"scope": {"partyids": ["2"]}}, ".scope.partyids[0]"),
    ("PATCH", f"{APP}/console", {"trusted_ips": 7}, "app.trusted_ips"),
    ("POST", f"{APP}/signature", {"url": ["x"]}, "url"),
    ("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [True]}, "path"),
    ("POST", "faults", {"kind": "earthquake"}, "kind"),
    ("POST", "faults", 7, "fault"),
    ("POST", "faults", {"kind": "busy", "agentid": "5"}, "agentid"),
    ("POST", "faults", {"kind": "slow", "seconds": -1}, "seconds"),
    ("POST", "faults", {"kind": "slow", "seconds": float("nan")}, "JSON"),
    ("POST", "clock/advance", {"seconds": HUGE}, "seconds"),
    ("POST", "clock/advance", {"seconds": -1}, "seconds"),
    ("POST", "clock/advance", {"seconds": 10**10}, "seconds"),  # unix seconds of eleven digits
    ("POST", "reset", {"companies": []}, "companies"),
    ("PATCH", "settings", {"token_seconds": HUGE}, "token_seconds"),
    ("PATCH", "settings", {"no_such_setting": 1}, "no_such_setting"),
]


def write(sandbox: SandboxHandle, method: str, path: str, body: str | bytes) -> requests.Response:
    """Send a body that may hold Python's NaN and Infinity, which requests refuses as JSON."""
    url, headers = f"{sandbox.base_url}/sandbox/api/{path}", {"Content-Type": "application/json"}
    return sandbox.session.request(method, url, data=body, headers=headers, timeout=60)


@pytest.mark.parametrize(("method", "path", "document", "field"), REFUSED)
def test_what_it_cannot_use_is_refused_by_name(
    sandbox: SandboxHandle, method: str, path: str, document: object, field: str
) -> None:
    before = sandbox.control("GET", "state")

    response = write(sandbox, method, path, json.dumps(document))

    assert response.status_code == 400, response.text[:300]
    assert field in response.json()["error"]
    assert sandbox.control("GET", "state") == before
    assert sandbox.control("GET", "faults")["faults"] == []


@pytest.mark.parametrize("below", [None, "", 0, []])
def test_a_menu_entry_without_others_below_it(api: Api, sandbox: SandboxHandle, below: object) -> None:
    entry = {"type": "click", "name": "帮助", "key": "HELP", "sub_button": below}
    assert api.post("menu/create", {"button": [entry]}, agentid=AGENTID)["errcode"] == 0

    assert sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [0]}) == {"url": ""}
    response = sandbox.session.post(
        f"{sandbox.base_url}/sandbox/api/{LILEI}/menu", json={"agentid": AGENTID, "path": [0, 0]}, timeout=60
    )
    assert (response.status_code, response.json()) == (400, {"error": "no such menu entry"})


def test_buttons_that_nobody_checked_cannot_be_pressed(api: Api, sandbox: SandboxHandle) -> None:
    """Press buttons of another card type, which may hold anything: they have no key, and cause no HTTP 500."""
    odd = TEXT_NOTICE | {"button_list": [{"key": ["x"]}], "submit_button": {"key": {"x": 1}}}
    msgid = api.send(msgtype="template_card", template_card=odd)["msgid"]
    body = {"msgid": msgid, "key": "x"}

    response = sandbox.session.post(f"{sandbox.base_url}/sandbox/api/{LILEI}/click", json=body, timeout=60)

    assert (response.status_code, response.json()) == (400, {"error": "no such button"})


SEED: dict[str, Any] = {
    "companies": [company(robots=[{"key": "robot-key", "name": "日报"}])],
    "settings": {"callback_attempts": 1, "latency_seconds": 0.0},
}
# Valid values, to be spoilt in one or two places.
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "state", SEED),
    ("POST", f"{COMPANY}/members", [{"userid": "lucy", "name": "L", "department": [2, 3], "order": [1], "status": 1}]),
    ("POST", f"{COMPANY}/apps", [SEED["companies"][0]["apps"][0] | {"menu": MENU, "trusted_ips": ["::1"]}]),
    ("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [1, 0]}),
    ("POST", "faults", {"kind": "slow", "endpoint": "user/get", "count": 2, "corpid": CORPID, "seconds": 0}),
]
ODD = VALUES | st.sampled_from([HUGE, 10**18, float("nan"), float("inf"), 1e308, "x" * 300, "\x00", "\r\n"])
PARTS = st.sampled_from(["companies", CORPID, "apps", "lilei", "members", "..", "%00", "9" * 13, "٣", "-1", "calls"])


@EXAMPLES
@given(
    case=st.sampled_from(WRITES).flatmap(lambda case: st.tuples(st.just(case), st.sampled_from(places(case[2])), ODD)),
    parts=st.lists(PARTS | st.text(max_size=6), max_size=6),
    raw=st.binary(max_size=80),
)
def test_whatever_it_is_given_it_answers_and_keeps_a_state_that_it_takes(
    running_sandbox: SandboxHandle,
    case: tuple[tuple[str, str, Any], tuple[Any, ...], object],
    parts: list[str],
    raw: bytes,
) -> None:
    running_sandbox.load(SEED)
    (method, path, body), (*way, last), odd = copy.deepcopy(case)
    part = body
    for step in way:
        part = part[step]
    part[last] = odd
    anywhere = "/".join(quote(one, safe="") for one in parts)

    for call in ((method, path, json.dumps(body)), ("POST", anywhere, "{}"), ("PUT", "state", raw)):
        response = write(running_sandbox, *call)
        assert response.status_code in (200, 400, 404, 405), response.text[:500]
        if response.status_code in (400, 404) and call[1] is path:
            assert list(response.json()) == ["error"]

    running_sandbox.control("PATCH", "settings", {"latency_seconds": 0})
    running_sandbox.control("DELETE", "faults")
    state = running_sandbox.control("GET", "state")
    running_sandbox.control("PUT", "state", state)
    for page in ("console/log", f"console/{CORPID}", f"console/{CORPID}/apps/{AGENTID}"):
        assert running_sandbox.session.get(f"{running_sandbox.base_url}/{page}", timeout=60).status_code in (200, 404)


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
