"""The control interface refuses unusable values with 400 and the field's name."""

from __future__ import annotations

import copy
import json
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
