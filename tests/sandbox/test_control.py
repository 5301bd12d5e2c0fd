"""The control interface refuses what it cannot use: 400, and the field's name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.test_messages import TEXT_NOTICE, VOTE
from tests.sandbox.test_other_calls import MENU
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

COMPANY = f"companies/{CORPID}"
APP = f"{COMPANY}/apps/{AGENTID}"
LILEI = f"{COMPANY}/members/lilei"
HUGE = 10**400
# A hundred lists in each other.
DEEP: Any = 1
for _ in range(100):
    DEEP = [DEEP]

REFUSED: list[tuple[str, str, object, str]] = [
    ("PUT", "state", {"settings": []}, "settings"),
    ("PUT", "state", {"companies": {}}, "companies"),
    ("PUT", "state", {"companies": [None]}, "company"),
    ("POST", "companies", {"corpid": ["ww1234"], "name": "x"}, "company.corpid"),
    ("POST", "companies", {"corpid": "ww1234", "name": None}, "company.name"),
    ("POST", "companies", {"corpid": "ww1234", "name": "x", "account_limit": HUGE}, "company.account_limit"),
    ("POST", "companies", {"corpid": "ww1234", "name": "x", "members": {}}, "members"),
    ("PATCH", COMPANY, {"contacts_old_ips": "127.0.0.1"}, "company.contacts_old_ips"),
    ("PATCH", COMPANY, {"contacts_callback": {"url": 7}}, "company.contacts_callback.url"),
    ("POST", f"{COMPANY}/departments", [{"id": HUGE, "name": "x"}], ".id"),
    ("POST", f"{COMPANY}/departments", [{"id": None, "name": "x"}], ".id"),
    ("POST", f"{COMPANY}/departments", {}, "list"),
    ("POST", f"{COMPANY}/members", [{"userid": ["x"], "name": "x"}], ".userid"),
    ("POST", f"{COMPANY}/members", [{"userid": "x", "name": "x", "department": [[1]]}], ".department[0]"),
    ("POST", f"{COMPANY}/members", [{"userid": "x", "name": "x", "status": True}], ".status"),
    ("POST", f"{COMPANY}/members", [{"userid": "x", "name": "x", "extattr": {"a": DEEP}}], ".extattr"),
    ("POST", f"{COMPANY}/tags", [{"tagid": "1", "tagname": "x"}], ".tagid"),
    ("POST", f"{COMPANY}/robots", [{"key": None}], "robot.key"),
    ("POST", f"{COMPANY}/apps", [{"agentid": [5], "name": "x"}], ".agentid"),
    ("POST", f"{COMPANY}/apps", [{"agentid": 5, "name": "x", "menu": {"button": 7}}], ".menu"),
    ("PATCH", APP, {"menu": {"button": [MENU["button"][0] | {"type": ["view"]}]}}, ".menu"),
    ("PATCH", APP, {"menu": []}, ".menu"),
    ("PATCH", APP, {"trusted_ips": "127.0.0.1"}, ".trusted_ips"),
    ("PATCH", APP, {"scope": {"partyids": ["2"]}}, ".scope.partyids[0]"),
    ("PATCH", f"{APP}/console", {"home_url": ["http://a.example/"]}, "app.home_url"),
    ("PATCH", f"{APP}/console", {"trusted_ips": 7}, "app.trusted_ips"),
    ("PATCH", f"{APP}/console", {"trusted_ips": [1]}, "app.trusted_ips[0]"),
    ("PATCH", f"{APP}/console", {"callback": [1]}, "app.callback"),
    ("POST", f"{APP}/invalidate", {"code": [40014]}, "code"),
    ("POST", f"{APP}/invalidate", [40014], "code"),
    ("POST", f"{APP}/signature", {"url": ["x"]}, "url"),
    ("POST", f"{APP}/signature", {"signature": None}, "signature"),
    ("POST", f"{LILEI}/authorize", {"redirect_uri": ["http://localhost:3001/"]}, "redirect_uri"),
    ("POST", f"{LILEI}/authorize", {"redirect_uri": "http://localhost:3001/", "state": None}, "state"),
    ("POST", f"{LILEI}/rename", {"userid": ["x"]}, "userid"),
    ("POST", f"{LILEI}/click", {"msgid": ["x"], "key": "yes"}, "msgid"),
    ("POST", f"{LILEI}/click", {"msgid": "x", "key": None}, "key"),
    ("POST", f"{LILEI}/click", {"msgid": "x", "key": "yes", "selected": None}, "selected"),
    ("POST", f"{LILEI}/write", {"agentid": [AGENTID], "text": "x"}, "agentid"),
    ("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": ["x"]}, "text"),
    ("POST", f"{LILEI}/menu", {"agentid": {}, "path": [0]}, "agentid"),
    ("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [True]}, "path"),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": ["x"]}, "event"),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "x", "elements": [1]}, "elements"),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "x", "elements": {"a b": 1}}, "elements"),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "x", "elements": {"a": [{"<": 1}]}}, "elements"),
    ("POST", f"{LILEI}/event", {"agentid": AGENTID, "event": "x", "elements": {"a": DEEP}}, "elements"),
    ("POST", "faults", {"kind": ["busy"]}, "kind"),
    ("POST", "faults", {"kind": "busy", "endpoint": ["*"]}, "endpoint"),
    ("POST", "faults", {"kind": "busy", "corpid": []}, "corpid"),
    ("POST", "faults", {"kind": "busy", "agentid": "5"}, "agentid"),
    ("POST", "faults", {"kind": "busy", "count": True}, "count"),
    ("POST", "faults", {"kind": "errcode", "code": "x"}, "code"),
    ("POST", "faults", {"kind": "slow", "seconds": -1}, "seconds"),
    ("POST", "faults", {"kind": "slow", "seconds": HUGE}, "seconds"),
    ("POST", "faults", {"kind": "slow", "seconds": float("nan")}, "JSON"),
    ("POST", "faults", {"kind": "busy", "processed": "yes"}, "processed"),
    ("POST", "faults", {"kind": "busy", "id": 7}, "id"),
    ("POST", "clock/advance", {"seconds": HUGE}, "seconds"),
    ("POST", "clock/advance", {"seconds": float("nan")}, "JSON"),
    ("POST", "clock/advance", {"seconds": float("inf")}, "JSON"),
    ("POST", "clock/advance", {"seconds": [1]}, "seconds"),
    ("POST", "clock/advance", {"seconds": -1}, "seconds"),
    ("POST", "clock/advance", {"seconds": 1e308}, "seconds"),
    ("POST", "reset", {"companies": []}, "companies"),
    ("PATCH", "settings", {"token_seconds": HUGE}, "token_seconds"),
    ("PATCH", "settings", {"member_per_hour": 10**30}, "member_per_hour"),
    ("PATCH", "settings", {"latency_seconds": float("nan")}, "JSON"),
    ("PATCH", "settings", {"latency_seconds": float("inf")}, "JSON"),
    ("PATCH", "settings", {"latency_seconds": 1e10}, "latency_seconds"),
    ("PATCH", "settings", {"caller_ip": None}, "caller_ip"),
    ("PATCH", "settings", {"no_such_setting": 1}, "no_such_setting"),
]


@pytest.mark.parametrize(("method", "path", "document", "field"), REFUSED)
def test_what_it_cannot_use_is_refused_by_name(
    sandbox: SandboxHandle, method: str, path: str, document: object, field: str
) -> None:
    before = sandbox.control("GET", "state")

    response = sandbox.session.request(
        method,
        f"{sandbox.base_url}/sandbox/api/{path}",
        # Python's NaN and Infinity among it, which requests does not send as JSON.
        data=json.dumps(document),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )

    assert response.status_code == 400, response.text[:300]
    assert field in response.json()["error"]
    assert sandbox.control("GET", "state") == before
    assert sandbox.control("GET", "faults")["faults"] == []


@pytest.mark.parametrize("selected", [{"when": None}, {"when": [1]}, {"when": {"mon": 1}}, "mon", 7])
def test_choices_of_a_wrong_type(api: Api, sandbox: SandboxHandle, selected: object) -> None:
    msgid = api.send(msgtype="template_card", template_card=VOTE)["msgid"]
    body = {"msgid": msgid, "key": "submit", "selected": selected}

    response = sandbox.session.post(f"{sandbox.base_url}/sandbox/api/{LILEI}/click", json=body, timeout=60)

    assert response.status_code == 400
    assert "selected" in response.json()["error"]


@pytest.mark.parametrize("below", [None, "", 0, []])
def test_a_menu_entry_without_others_below_it(api: Api, sandbox: SandboxHandle, below: object) -> None:
    entry = {"type": "click", "name": "帮助", "key": "HELP", "sub_button": below}
    assert api.post("menu/create", {"button": [entry]}, agentid=AGENTID)["errcode"] == 0

    assert sandbox.control("POST", f"{LILEI}/menu", {"agentid": AGENTID, "path": [0]}) == {"url": ""}
    response = sandbox.session.post(
        f"{sandbox.base_url}/sandbox/api/{LILEI}/menu", json={"agentid": AGENTID, "path": [0, 0]}, timeout=60
    )
    assert (response.status_code, response.json()) == (400, {"error": "no such menu entry"})


def test_the_clock_ends_where_unix_seconds_get_an_eleventh_digit(api: Api, sandbox: SandboxHandle) -> None:
    now = sandbox.control("GET", "clock")["now"]
    response = sandbox.session.post(
        f"{sandbox.base_url}/sandbox/api/clock/advance", json={"seconds": 10**10 - now}, timeout=60
    )

    assert (response.status_code, "seconds" in response.json()["error"]) == (400, True)
    assert sandbox.control("GET", "clock")["now"] < now + 10**9  # it was not moved


def test_buttons_that_nobody_checked_cannot_be_pressed(api: Api, sandbox: SandboxHandle) -> None:
    """A card of another type may hold anything there: no key, and no HTTP 500 either."""
    odd = TEXT_NOTICE | {"button_list": [{"key": ["x"]}], "submit_button": {"key": {"x": 1}}}
    msgid = api.send(msgtype="template_card", template_card=odd)["msgid"]
    body = {"msgid": msgid, "key": "x"}

    response = sandbox.session.post(f"{sandbox.base_url}/sandbox/api/{LILEI}/click", json=body, timeout=60)

    assert (response.status_code, response.json()) == (400, {"error": "no such button"})
