"""The whole state, taken and restored while the sandbox runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox.test_batch import HEAD, upload
from tests.sandbox.test_messages import BUTTON
from tests.sandbox.test_oauth import VISIT, authorize
from tests.sandbox.test_other_calls import PNG
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company, start_sandbox

LINES = {"Content-Type": "application/x-ndjson"}
PRIVATE = "snsapi_privateinfo"
ROBOT = {"key": "robot-key", "name": "日报"}


def take(sandbox: SandboxHandle) -> bytes:
    response = sandbox.session.get(f"{sandbox.base_url}/sandbox/api/snapshot", timeout=120)
    assert (response.status_code, response.headers["Content-Type"]) == (200, LINES["Content-Type"])
    return response.content


def put(sandbox: SandboxHandle, lines: bytes, headers: dict[str, str] | None = None) -> requests.Response:
    url = f"{sandbox.base_url}/sandbox/api/snapshot"
    return sandbox.session.put(url, data=lines, headers=headers or LINES, timeout=120)


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """All but the clock, which goes on, and what has no order."""
    rows = [json.loads(line) for line in lines.splitlines()]
    return [row for row in rows if not row.keys() & {"clock", "response_code", "token"}]


@pytest.fixture
def lived(api: Api, sandbox: SandboxHandle) -> dict[str, str]:
    """One of everything: messages, a card that was answered, a recalled one, a group, a robot's, a picture."""
    whole = {"scope": {"partyids": [1]}}
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", whole)
    sandbox.control("POST", f"companies/{CORPID}/robots", [ROBOT])
    card = api.send(msgtype="template_card", template_card=BUTTON)
    sandbox.control(
        "POST",
        f"companies/{CORPID}/members/lilei/click",
        {"msgid": card["msgid"], "key": BUTTON["button_list"][0]["key"], "selected": {}},
    )
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
    # The card, the picture for two, and what was recalled; the group and the robot do not count.
    assert api.post("message/get_statistics", {"time_type": 0})["statistics"][0]["count"] == 4


def test_a_snapshot_is_a_moment_to_go_back_to(api: Api, sandbox: SandboxHandle) -> None:
    before = api.send()["msgid"]
    saved = take(sandbox)
    api.send()
    sandbox.control("DELETE", f"companies/{CORPID}/members/jim")

    put(sandbox, saved)

    assert [one["msgid"] for one in sandbox.messages(CORPID, "lilei")] == [before]
    assert len(sandbox.control("GET", f"companies/{CORPID}")["members"]) == 3


def test_a_sign_in_goes_on_where_the_snapshot_was_taken(api: Api, sandbox: SandboxHandle) -> None:
    """The app's token, the person's code and consent, and the ticket that the code brings."""
    token = api.token()
    visit: dict[str, object] = {"redirect_uri": "http://localhost:3001/", "scope": "snsapi_privateinfo"}
    code = sandbox.authorize(CORPID, "lilei", agentid=AGENTID, **visit)["code"]
    saved = take(sandbox)
    sandbox.control("POST", "reset", {"companies": True})
    put(sandbox, saved)

    def ask(method: str, path: str, **values: Any) -> dict[str, Any]:
        query = {"access_token": token} | values.pop("query", {})
        return dict(api.raw(method, path, params=query, **values).json())

    found = ask("GET", "auth/getuserinfo", query={"code": code})
    put(sandbox, take(sandbox))
    detail = ask("POST", "auth/getuserdetail", json={"user_ticket": found["user_ticket"]})

    assert (found["errcode"], found["userid"]) == (0, "LiLei")
    assert (detail["errcode"], detail["userid"]) == (0, "LiLei")
    assert ask("GET", "auth/getuserinfo", query={"code": code})["errcode"] == 40029


def consent(phone: SandboxHandle) -> None:
    """To what snsapi_privateinfo tells the app."""
    url, query = f"{phone.base_url}/connect/oauth2/authorize", VISIT | {"scope": PRIVATE}
    phone.session.post(url, params=query, data={"answer": "allow"}, allow_redirects=False, timeout=60)


def test_a_consent_outlasts_a_restored_snapshot(phone: SandboxHandle) -> None:
    assert authorize(phone, scope=PRIVATE).status_code == 200
    consent(phone)

    put(phone, take(phone))

    assert authorize(phone, scope=PRIVATE).status_code == 302


def test_jobs_and_tickets_for_pages_come_back(api: Api, contacts: Api, sandbox: SandboxHandle) -> None:
    jobid = contacts.post("batch/syncuser", {"media_id": upload(contacts, HEAD + "李雷,lilei,,,,,\n")})["jobid"]
    tickets = [api.get("get_jsapi_ticket")["ticket"], api.get("ticket/get", type="agent_config")["ticket"]]
    assert contacts.get("batch/getresult", jobid=jobid)["status"] == 1

    put(sandbox, take(sandbox))

    assert contacts.get("batch/getresult", jobid=jobid)["status"] == 3
    assert [api.get("get_jsapi_ticket")["ticket"], api.get("ticket/get", type="agent_config")["ticket"]] == tickets


def test_a_deleted_company_leaves_nothing(api: Api, phone: SandboxHandle, lived: dict[str, str]) -> None:
    sandbox = phone
    api.get("get_jsapi_ticket")
    consent(sandbox)
    contacts = Api(sandbox, secret="sandbox-secret-of-contacts")
    contacts.post("batch/syncuser", {"media_id": upload(contacts, HEAD + "李雷,lilei,,,,,\n")})
    sandbox.control("DELETE", f"companies/{CORPID}")

    saved = take(sandbox)
    assert [list(row) for row in parsed(saved)] == [["settings", "bi", "companies"]]
    assert put(sandbox, saved).json() == {"companies": 0, "messages": 0}
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


def test_the_file_of_the_end_holds_messages(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    arguments = ("--snapshot", str(path))
    with start_sandbox(seed={"companies": [company()]}, arguments=arguments) as handle:
        msgid = Api(handle).send()["msgid"]

    with start_sandbox(arguments=arguments) as handle:
        assert [one["msgid"] for one in handle.messages(CORPID, "lilei")] == [msgid]


def test_calls_go_on_while_a_full_ring_is_taken_and_restored(api: Api, sandbox: SandboxHandle) -> None:
    """A company's list holds as many messages as it may, and senders do not stop."""
    sandbox.control("PATCH", "settings", {"messages_kept": 2000, "limits_enabled": False})
    token = api.token()
    message = {"touser": "lilei|hanmeimei", "msgtype": "text", "agentid": AGENTID, "text": {"content": "x"}}
    for _ in range(2010):
        api.raw("POST", "message/send", params={"access_token": token}, json=message)
    ended = threading.Event()
    errcodes: set[int] = set()

    def go_on() -> None:
        with requests.Session() as session:
            while not ended.is_set():
                url = f"{sandbox.base_url}/cgi-bin/message/send"
                answer = session.post(url, params={"access_token": token}, json=message, timeout=60)
                errcodes.add(answer.json()["errcode"])

    sender = threading.Thread(target=go_on)
    sender.start()
    saved = take(sandbox)
    answer = put(sandbox, saved)
    ended.set()
    sender.join()

    assert errcodes == {0}
    assert len([row for row in parsed(saved) if "message" in row]) == 2000
    assert answer.json()["messages"] == 2000
    assert len(sandbox.listed(f"companies/{CORPID}/messages", "messages")) == 2000


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1)} if levels else {}


MESSAGE = {"touser": "lilei", "msgtype": "template_card", "agentid": AGENTID}
# Calls whose body is kept as it came, and how deep it is before what it holds begins.
KEPT_WHOLE: list[tuple[str, Callable[[dict[str, Any]], dict[str, Any]], int]] = [
    ("message/send", lambda inner: MESSAGE | {"template_card": BUTTON | {"main_title": {"title": "t", "x": inner}}}, 3),
    ("menu/create", lambda inner: {"button": [{"type": "click", "name": "n", "key": "k", "x": inner}]}, 3),
]


@pytest.mark.parametrize(("path", "body", "around"), KEPT_WHOLE)
def test_what_a_call_may_leave_can_be_restored(
    path: str, body: Callable[[dict[str, Any]], dict[str, Any]], around: int, api: Api, sandbox: SandboxHandle
) -> None:
    """As deep as a body may be; a deeper one is refused."""
    assert api.post(path, body(nested(16 - around)), agentid=AGENTID)["errcode"] == 0
    assert put(sandbox, take(sandbox)).status_code == 200
    refused = api.post(path, body(nested(17 - around)), agentid=AGENTID)
    assert (refused["errcode"], refused["errmsg"].partition(", hint")[0]) == (
        40058,
        "invalid Request Parameter: body is nested too deeply",
    )


SEED_LINE = json.dumps({"companies": [company()]}).encode()
GOOD: dict[str, Any] = {
    **{"msgid": "m", "corpid": CORPID, "agentid": AGENTID, "msgtype": "text", "content": {"content": "x"}},
    **{"sent_at": 1.0, "receivers": ["lilei"], "dropped": [], "views": {}},
}
CODE = {"value": "v", "msgid": "m", "expires_at": 1.0, "folded": "", "used": False}
CHAT = {"chatid": "c", "corpid": CORPID, "agentid": 1, "name": "n", "owner": "lilei", "members": ["lilei"]}
TOKEN = {"value": "t", "corpid": CORPID, "agentid": AGENTID, "expires_at": 1.0, "secret": "s"}
JOB: dict[str, Any] = {"corpid": CORPID, "agentid": None, "kind": "sync_user", "total": 1, "result": []}
MEDIA = {
    **{"media_id": "x", "corpid": CORPID, "kind": "file", "filename": "f", "content_type": "text/plain"},
    **{"expires_at": 1.0, "body": "AAAA"},
}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"message": GOOD | {"corpid": "ww9"}}, "there is no company ww9"),
        ({"message": GOOD | {"receivers": "lilei"}}, "receivers must be a list of texts"),
        ({"message": GOOD | {"views": []}}, "message.views must be an object"),
        ({"message": GOOD | {"weight": 1}}, "message has no weight"),
        ({"message": {"msgid": "m"}}, "an object with receivers, dropped, views is expected"),
        ({"response_code": CODE | {"msgid": "other"}}, "and the msgid of a message above"),
        ({"response_code": {"msgid": "m"}}, "response_code must have expires_at, folded, used, value"),
        ({"chat": {"members": []}}, "chat must have agentid"),
        ({"chat": CHAT | {"corpid": "ww9"}}, "there is no company ww9"),
        ({"media": MEDIA | {"body": "é"}}, "media.body must be base64"),
        ({"media": {"body": ""}}, "media must have content_type"),
        ({"clock": True}, "clock must be a number"),
        ({"clock": 1e300}, "must not take the clock beyond"),
        (
            {"robot": {}},
            "it must be an object with one of clock, token, code, user_ticket, js_ticket, consent, job",
        ),
        ({"token": {"value": "t"}}, "token: "),
        ({"token": TOKEN | {"corpid": "ww9"}}, "there is no company ww9"),
        ({"token": TOKEN | {"expires_at": "soon"}}, "token.expires_at must be of type float"),
        ({"job": JOB | {"result": [1]}}, "job.result[0] must be of type dict"),
        ({"consent": {"until": 1.0}}, "consent: "),
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
    assert put(sandbox, lines).status_code == 400


def test_another_site_s_page_cannot_restore(sandbox: SandboxHandle) -> None:
    """Browsers send plain text and JSON-less forms across sites without asking first."""
    answer = put(sandbox, SEED_LINE, {"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()) == (415, {"error": "Content-Type must be application/x-ndjson"})
