"""Whatever the control interface is given, it answers 200, 400 or 404 in JSON, and its state stays one that it takes.

Over the wire, against a sandbox in its own process. HYPOTHESIS_PROFILE=nightly for 10,000 examples.
"""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import quote

import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.conftest import Api
from tests.sandbox.test_fuzzing import EXAMPLES, VALUES, places
from tests.sandbox.test_messages import VOTE
from tests.sandbox.test_other_calls import MENU
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

SEED: dict[str, Any] = {
    "companies": [company(robots=[{"key": "robot-key", "name": "日报"}])],
    "settings": {"callback_attempts": 1},
}
COMPANY, APP = f"companies/{CORPID}", f"companies/{CORPID}/apps/{AGENTID}"
LILEI = f"{COMPANY}/members/lilei"
CALLBACK = {"url": "", "token": "t", "aes_key": "k"}
NEW_APP = {
    **{"agentid": 5, "name": "五", "secret": "s5", "home_url": "http://localhost/", "trusted_domain": "localhost"},
    **{"trusted_ips": ["127.0.0.1"], "scope": {"userids": ["lilei"], "partyids": [2], "tagids": [1]}, "menu": MENU},
    **{"callback": CALLBACK, "disabled": False, "isreportenter": 1, "mini_program_appid": "wx1"},
}
NEW_MEMBER = {
    **{"userid": "lucy", "name": "Lucy", "department": [2, 3], "order": [1], "is_leader_in_dept": [1], "status": 1},
    **{"direct_leader": ["lilei"], "mobile": "1", "main_department": 3, "extattr": {"attrs": []}, "unlicensed": True},
}
VISIT = {"redirect_uri": "http://localhost:3001/cb", "state": "s", "agentid": AGENTID, "scope": "snsapi_base"}
ELEMENTS = {"Latitude": 1.5, "ScanCodeInfo": {"ScanType": "qrcode"}, "PicList": [{"item": "x"}]}
# What is right, to be spoilt in one or two places.
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "state", SEED),
    ("POST", "reset", {"companies": False}),
    ("POST", "companies", company(corpid="ww0000000000000002")),
    (
        "PATCH",
        COMPANY,
        {"name": "南海", "contacts_callback": CALLBACK, "contacts_old_ips": ["::1"], "account_limit": 5},
    ),
    ("DELETE", COMPANY, {}),
    ("POST", f"{COMPANY}/departments", [{"id": 9, "name": "研发部", "parentid": 2, "order": 1}, {"id": 2, "order": 3}]),
    ("DELETE", f"{COMPANY}/departments/4", {}),
    ("POST", f"{COMPANY}/members", [NEW_MEMBER, {"userid": "lilei", "department": [3]}]),
    ("DELETE", f"{COMPANY}/members/jim", {}),
    ("POST", f"{COMPANY}/tags", [{"tagid": 2, "tagname": "x", "userids": ["jim"], "partyids": [3]}]),
    ("POST", f"{COMPANY}/robots", [{"key": "k", "name": "n", "disabled": True}]),
    ("POST", f"{COMPANY}/apps", [NEW_APP]),
    ("PATCH", APP, {name: value for name, value in NEW_APP.items() if name != "agentid"}),
    (
        "PATCH",
        f"{APP}/console",
        {"home_url": "http://a/", "trusted_domain": "a.b", "trusted_ips": ["::1"], "scope": {}},
    ),
    ("POST", f"{APP}/secret", {}),
    ("POST", f"{APP}/callback/verify", {}),
    ("POST", f"{COMPANY}/contacts/callback/verify", {}),
    ("POST", f"{APP}/signature", {"signature": "x", "noncestr": "n", "timestamp": 1, "url": "http://a/"}),
    ("POST", f"{APP}/invalidate", {"code": 42001}),
    ("POST", f"{LILEI}/authorize", VISIT),
    ("POST", f"{LILEI}/click", {"msgid": "CARD", "key": "submit", "selected": {"when": ["mon"]}}),
    ("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": "x"}),
    ("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [1, 0]}),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "LOCATION", "elements": ELEMENTS}),
    ("POST", f"{LILEI}/rename", {"userid": "lilei2"}),
    ("POST", "clock/advance", {"seconds": 1}),
    (
        "POST",
        "faults",
        {"kind": "slow", "endpoint": "user/get", "count": 2, "corpid": CORPID, "agentid": 1, "seconds": 0},
    ),
    ("PATCH", "settings", {"caller_ip": "", "token_seconds": 7200, "latency_seconds": 0.0, "rotate_tokens": True}),
]
ODD = VALUES | st.sampled_from(
    [10**400, -(10**30), 10**18, float("nan"), float("inf"), 1e308, "x" * 300, "\x00", "\r\n"]
)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, str, Any]:
    """A good write in which one or two places hold something else, or something else altogether."""
    method, path, body = copy.deepcopy(draw(st.sampled_from(WRITES)))
    if not places(body) or draw(st.integers(0, 9)) == 0:
        return method, path, draw(ODD)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(body)))
        part = body
        try:
            for step in way:
                part = part[step]
            part[last] = draw(ODD)
        except (KeyError, IndexError, TypeError):
            continue
    return method, path, body


def call(sandbox: SandboxHandle, method: str, path: str, body: object) -> requests.Response:
    """With Python's NaN and Infinity, which requests does not send as JSON."""
    return sandbox.session.request(
        method,
        f"{sandbox.base_url}/sandbox/api/{path}",
        data=json.dumps(body),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )


def assert_answered(response: requests.Response) -> None:
    assert response.status_code in (200, 400, 404), response.text[:500]
    answer = json.loads(response.text, parse_constant=lambda name: f"{name} is no JSON")
    assert "is no JSON" not in str(answer)
    if response.status_code != 200:
        assert list(answer) == ["error"]
        assert answer["error"]


def assert_usable(sandbox: SandboxHandle) -> None:
    """What stands there now can be told, and taken again; calls of the API, the phone and the console work."""
    state = call(sandbox, "GET", "state", None)
    assert state.status_code == 200, state.text[:500]
    assert call(sandbox, "PUT", "state", state.json()).status_code == 200, state.text
    credentials = {"corpid": CORPID, "corpsecret": SEED["companies"][0]["apps"][0]["secret"]}
    assert (
        sandbox.session.get(f"{sandbox.base_url}/cgi-bin/gettoken", params=credentials, timeout=60).status_code == 200
    )
    for page in ("console/log", f"console/{CORPID}", f"console/{CORPID}/apps/{AGENTID}"):
        assert sandbox.session.get(f"{sandbox.base_url}/{page}", timeout=60).status_code in (200, 404), page


@EXAMPLES
@given(spoilt())
def test_any_write_is_answered(running_sandbox: SandboxHandle, case: tuple[str, str, Any]) -> None:
    method, path, body = case
    running_sandbox.load(SEED)
    if path.endswith(("/click", "/menu")):
        api = Api(running_sandbox)
        api.post("menu/create", MENU, agentid=AGENTID)
        msgid = api.send(msgtype="template_card", template_card=VOTE)["msgid"]
        if isinstance(body, dict) and body.get("msgid") == "CARD":
            body["msgid"] = msgid

    assert_answered(call(running_sandbox, method, path, body))

    if path == "settings":
        # A slow sandbox is what was asked for; here nobody has the time.
        running_sandbox.control("PATCH", "settings", {"latency_seconds": 0})
    running_sandbox.control("DELETE", "faults")
    assert_usable(running_sandbox)


PARTS = st.sampled_from(
    ["companies", CORPID, "apps", str(AGENTID), "members", "lilei", "messages", "faults", "departments", "2", "calls"]
    + ["settings", "console", "callback", "verify", "click", "..", "%00", "9" * 13, "٣", "-1", "callbacks", "clock"]
) | st.text(max_size=6)


@EXAMPLES
@given(st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE"]), st.lists(PARTS, max_size=6), st.text(max_size=20))
def test_any_path_is_answered(running_sandbox: SandboxHandle, method: str, parts: list[str], query: str) -> None:
    running_sandbox.load(SEED)
    path = "/".join(quote(part, safe="") for part in parts)

    response = call(running_sandbox, method, f"{path}?endpoint={quote(query)}", {})

    assert response.status_code in (200, 400, 404, 405), response.text[:500]
    assert_usable(running_sandbox)


@EXAMPLES
@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_any_body_is_answered(running_sandbox: SandboxHandle, body: bytes) -> None:
    running_sandbox.load(SEED)

    response = running_sandbox.session.put(
        f"{running_sandbox.base_url}/sandbox/api/state",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=60,
    )

    # {} is a seed without companies.
    assert response.status_code in (200, 400), response.text[:500]
    assert list(response.json()) == (["error"] if response.status_code == 400 else ["companies", "warnings"])
