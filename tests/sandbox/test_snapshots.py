"""The whole state, saved and restored while the sandbox runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox.direct import PNG
from tests.sandbox.test_messages import BUTTON
from tests.sandbox.test_oauth import PRIVATE, authorize, code_of, consent
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company, start_sandbox

LINES = {"Content-Type": "application/x-ndjson"}
ROBOT = {"key": "robot-key", "name": "日报"}


def take(sandbox: SandboxHandle) -> bytes:
    response = sandbox.session.get(f"{sandbox.base_url}/sandbox/api/snapshot", timeout=120)
    assert (response.status_code, response.headers["Content-Type"]) == (200, LINES["Content-Type"])
    return response.content


def put(sandbox: SandboxHandle, lines: bytes, headers: dict[str, str] | None = None) -> requests.Response:
    url = f"{sandbox.base_url}/sandbox/api/snapshot"
    return sandbox.session.put(url, data=lines, headers=headers or LINES, timeout=120)


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """Return the rows without the clock, which goes on, and without those in no order."""
    rows = [json.loads(line) for line in lines.splitlines()]
    return [row for row in rows if not row.keys() & {"clock", "response_code", "token"}]


@pytest.fixture
def lived(api: Api, sandbox: SandboxHandle) -> dict[str, str]:
    """A state with messages, an answered and a recalled card, a group, a robot's message and a picture."""
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    sandbox.control("POST", f"companies/{CORPID}/robots", [ROBOT])
    card = api.send(msgtype="template_card", template_card=BUTTON)
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/click", {"msgid": card["msgid"], "key": "yes"})
    files = {"media": ("图.png", PNG, "image/png")}
    query = {"access_token": api.token(), "type": "image"}
    media_id = api.raw("POST", "media/upload", params=query, files=files).json()["media_id"]
    api.send("lilei|hanmeimei", msgtype="image", image={"media_id": media_id})
    api.post("message/recall", {"msgid": api.send("jim")["msgid"]})
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1", "name": "群"})
    api.post("appchat/send", {"chatid": "c1", "msgtype": "text", "text": {"content": "in the group"}})
    text = {"msgtype": "text", "text": {"content": "from the robot"}}
    api.raw("POST", "webhook/send", params={"key": ROBOT["key"]}, json=text)
    return {"response_code": card["response_code"], "media_id": media_id}


def test_everything_comes_back(api: Api, sandbox: SandboxHandle, lived: dict[str, str]) -> None:
    saved = take(sandbox)
    sandbox.control("POST", "reset", {"companies": True})

    answer = put(sandbox, saved)

    assert answer.json() == {"companies": 1, "messages": 5}
    assert parsed(take(sandbox)) == parsed(saved)
    assert [one["msgtype"] for one in sandbox.messages(CORPID, "lilei")] == ["template_card", "image", "text"]
    assert sandbox.messages(CORPID, "jim")[0]["recalled"] is True
    picture = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": lived["media_id"]})
    assert picture.content == PNG
    assert api.get("appchat/get", chatid="c1")["chat_info"]["userlist"] == ["LiLei", "jim"]
    update = {"agentid": AGENTID, "atall": 1, "response_code": lived["response_code"], "button": {"replace_name": "好"}}
    assert api.post("message/update_template_card", update)["errcode"] == 0
    assert api.send(msgtype="template_card", template_card=BUTTON)["errcode"] == 42014


def test_a_sign_in_goes_on_where_the_snapshot_was_taken(api: Api, phone: SandboxHandle) -> None:
    """Keep the app's token, the person's code and consent, the ticket of the code, and the tickets of pages."""
    assert authorize(phone, scope=PRIVATE).status_code == 200
    token, code = api.token(), code_of(consent(phone))
    tickets = [api.get("get_jsapi_ticket")["ticket"], api.get("ticket/get", type="agent_config")["ticket"]]
    before = api.send()["msgid"]
    saved = take(phone)
    api.send()
    phone.control("POST", "reset", {"companies": True})
    put(phone, saved)

    def ask(method: str, path: str, document: object = None, **query: str) -> dict[str, Any]:
        return dict(api.raw(method, path, params={"access_token": token, **query}, json=document).json())

    found = ask("GET", "auth/getuserinfo", code=code)
    put(phone, take(phone))
    detail = ask("POST", "auth/getuserdetail", {"user_ticket": found["user_ticket"]})

    assert [(one["errcode"], one["userid"]) for one in (found, detail)] == [(0, "LiLei")] * 2
    assert ask("GET", "auth/getuserinfo", code=code)["errcode"] == 40029
    assert authorize(phone, scope=PRIVATE).status_code == 302
    assert [
        ask("GET", "get_jsapi_ticket")["ticket"],
        ask("GET", "ticket/get", type="agent_config")["ticket"],
    ] == tickets
    assert [one["msgid"] for one in phone.messages(CORPID, "lilei")] == [before]


def test_a_deleted_company_leaves_nothing(api: Api, phone: SandboxHandle, lived: dict[str, str]) -> None:
    api.get("get_jsapi_ticket")
    consent(phone)
    phone.control("DELETE", f"companies/{CORPID}")

    saved = take(phone)
    assert [list(row) for row in parsed(saved)] == [["settings", "bi", "companies"]]
    assert put(phone, saved).json() == {"companies": 0, "messages": 0}
    assert lived["media_id"].encode() not in saved


def test_the_clock_goes_on(sandbox: SandboxHandle) -> None:
    saved = take(sandbox)
    sandbox.advance(1000)
    now = sandbox.control("GET", "clock")["now"]
    later = take(sandbox)

    put(sandbox, saved)
    assert sandbox.control("GET", "clock")["now"] >= now
    with start_sandbox() as other:
        put(other, later)
        assert other.control("GET", "clock")["now"] >= now


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1)} if levels else {}


def test_what_a_call_may_leave_can_be_restored(api: Api, sandbox: SandboxHandle) -> None:
    """Restore bodies of the greatest depth, 16 levels; refuse deeper ones."""
    menu = {"type": "click", "name": "n", "key": "k"}
    assert api.post("menu/create", {"button": [menu | nested(14)]}, agentid=AGENTID)["errcode"] == 0
    assert put(sandbox, take(sandbox)).status_code == 200
    refused = api.post("menu/create", {"button": [menu | nested(15)]}, agentid=AGENTID)
    assert refused["errcode"] == 40058
    assert refused["errmsg"].startswith("invalid Request Parameter: body is nested too deeply")


SEED_LINE = json.dumps({"companies": [company()]}).encode()
GOOD: dict[str, Any] = {
    **{"msgid": "m", "corpid": CORPID, "agentid": AGENTID, "msgtype": "text", "content": {"content": "x"}},
    **{"sent_at": 1.0, "receivers": ["lilei"], "dropped": [], "views": {}},
}
CODE = {"value": "v", "msgid": "m", "expires_at": 1.0, "folded": "", "used": False}
TOKEN = {"value": "t", "corpid": CORPID, "agentid": AGENTID, "expires_at": 1.0, "secret": "s"}
MEDIA = {
    **{"media_id": "x", "corpid": CORPID, "kind": "file", "filename": "f", "content_type": "text/plain"},
    **{"expires_at": 1.0, "body": "AAAA"},
}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"message": GOOD | {"corpid": "ww9"}}, "there is no company ww9"),
        ({"message": GOOD | {"receivers": "lilei"}}, "receivers must be a list of texts"),
        ({"response_code": CODE | {"msgid": "other"}}, "and the msgid of a message above"),
        ({"response_code": {"msgid": "m"}}, "response_code must have expires_at, folded, used, value"),
        ({"media": MEDIA | {"body": "é"}}, "media.body must be base64"),
        ({"clock": True}, "clock must be a number"),
        ({"robot": {}}, "it must be an object with one of clock, token, code, user_ticket, js_ticket, consent"),
        ({"token": TOKEN | {"expires_at": "soon"}}, "token.expires_at must be of type float"),
        ([], "it must be an object"),
    ],
)
def test_a_wrong_line_is_told_and_changes_nothing(sandbox: SandboxHandle, line: object, complaint: str) -> None:
    before = parsed(take(sandbox))

    answer = put(sandbox, SEED_LINE + b"\n" + json.dumps(line).encode())

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("line 2: ")
    assert complaint in answer.json()["error"]
    assert parsed(take(sandbox)) == before


@pytest.mark.parametrize("lines", [b"", b"{broken", b'{"companies": [{}]}', SEED_LINE + b"\n\xff"])
def test_what_is_no_snapshot_is_told(sandbox: SandboxHandle, lines: bytes) -> None:
    """Refuse plain text, which browsers send across sites without asking first."""
    assert put(sandbox, lines).status_code == 400
    assert put(sandbox, lines, {"Content-Type": "text/plain"}).status_code == 415
