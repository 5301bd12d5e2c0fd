"""Files, the app's own settings and menu, group chats, robots, JS-SDK tickets."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from wecom_sandbox.api import token

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40
AMR = b"#!AMR\n" + (b"\x3c" + b"0" * 31) * 50
MP4 = b"\x00\x00\x00\x18ftypmp42" + b"0" * 20
APP = f"companies/{CORPID}/apps/{AGENTID}"


def upload(api: Api, kind: str, body: bytes, name: str = "a.bin", path: str = "media/upload") -> dict[str, Any]:
    query = {"access_token": api.token(), "type": kind}
    return dict(api.raw("POST", path, params=query, files={"media": (name, body)}).json())


@pytest.mark.parametrize(("kind", "body"), [("image", PNG), ("voice", AMR), ("video", MP4), ("file", b"123456")])
def test_what_was_uploaded_comes_back(api: Api, sandbox: SandboxHandle, kind: str, body: bytes) -> None:
    answer = upload(api, kind, body, "测试.dat")
    media_id = answer["media_id"]

    response = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": media_id})

    assert (answer["errcode"], answer["type"], answer["created_at"].isdecimal()) == (0, kind, True)
    assert response.content == body
    assert "filename*=utf-8''%E6%B5%8B%E8%AF%95.dat" in response.headers["Content-Disposition"]
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 0
    assert sandbox.messages(CORPID, "lilei")[0][kind]["filename"] == "测试.dat"
    sandbox.advance(3 * 24 * 3600)
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 40007
    assert api.get("media/get", media_id=media_id)["errcode"] == 40007


def test_names_with_control_characters_come_back(api: Api) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="media"; filename="a\x01b\x7f.txt"\r\n'
        b"Content-Type: text/pl\x02ain\r\n\r\n0123456789\r\n--B--\r\n"
    )
    query = {"access_token": api.token(), "type": "file"}
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    media_id = api.raw("POST", "media/upload", params=query, data=body, headers=headers).json()["media_id"]

    response = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": media_id})

    assert (response.status_code, response.content) == (200, b"0123456789")
    assert response.headers["Content-Type"] == "text/pl ain"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="a b .txt"; ')


def test_a_boundary_that_is_no_text(api: Api) -> None:
    headers = {"Content-Type": b"multipart/form-data; boundary=\xff"}
    query = {"access_token": api.token(), "type": "file"}
    body = b'--\xff\r\nContent-Disposition: form-data; name="media"; filename="a"\r\n\r\n0123456789\r\n--\xff--\r\n'

    assert api.raw("POST", "media/upload", params=query, data=body, headers=headers).json()["errcode"] == 0


def test_a_part_of_a_file(api: Api) -> None:
    media_id = upload(api, "file", b"0123456789")["media_id"]

    response = api.raw(
        "GET",
        "media/get",
        params={"access_token": api.token(), "media_id": media_id},
        headers={"Range": "bytes=2-4"},
    )

    assert (response.status_code, response.content) == (206, b"234")
    assert response.headers["Content-Range"] == "bytes 2-4/10"


@pytest.mark.parametrize(
    ("kind", "body", "errcode"),
    [
        ("picture", PNG, 40005),
        ("file", b"12345", 40006),
        ("file", b"", 44001),
        ("file", b"0" * (20 * 1024 * 1024 + 1), 45001),
        ("image", b"GIF89a-not-taken", 40123),
        ("image", PNG + b"0" * (10 * 1024 * 1024), 40009),
        ("voice", b"ID3-an-mp3", 301017),
        ("voice", b"#!AMR\n" + (b"\x3c" + b"0" * 31) * 3001, 45007),
        ("video", b"0" * 20, 40004),
        ("video", MP4 + b"0" * (10 * 1024 * 1024), 40011),
    ],
)
def test_refused_files(api: Api, kind: str, body: bytes, errcode: int) -> None:
    assert upload(api, kind, body)["errcode"] == errcode


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        ("multipart/form-data; boundary=B", "form-data; name=\"media\"; filename*=utf-8''a.txt"),
        ("multipart/form-data; boundary=B", 'form-data; name="file"; filename="a.txt"'),
        ("multipart/form-data; boundary=B", 'form-data; name="media"'),
        ("multipart/form-data", 'form-data; name="media"; filename="a.txt"'),
        ("multipart/form-data; boundary=C", 'form-data; name="media"; filename="a.txt"'),
        ("application/octet-stream", 'form-data; name="media"; filename="a.txt"'),
    ],
)
def test_forms_that_wecom_does_not_understand(api: Api, content_type: str, head: str) -> None:
    body = f"--B\r\nContent-Disposition: {head}\r\n\r\n0123456789\r\n--B--\r\n".encode()
    query = {"access_token": api.token(), "type": "file"}

    answer = api.raw("POST", "media/upload", params=query, data=body, headers={"Content-Type": content_type}).json()

    assert answer["errcode"] == 44001


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"media_type": "image", "attachment_type": "1"}, 0),
        ({"media_type": "image", "attachment_type": "2"}, 0),
        ({"media_type": "video", "attachment_type": "2"}, 40004),
        ({"media_type": "image", "attachment_type": "3"}, 40005),
        ({"media_type": "image"}, 40005),
        ({"attachment_type": "1"}, 40005),
    ],
)
def test_attachments(api: Api, query: dict[str, str], errcode: int) -> None:
    params = {"access_token": api.token(), **query}
    answer = api.raw("POST", "media/upload_attachment", params=params, files={"media": ("p.png", PNG)}).json()

    assert answer["errcode"] == errcode
    if not errcode:
        assert (answer["type"], type(answer["created_at"])) == ("image", int)
        assert (
            api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": answer["media_id"]}).content
            == PNG
        )


def test_pictures_that_stay(api: Api, sandbox: SandboxHandle) -> None:
    url = upload(api, "", PNG, path="media/uploadimg")["url"]

    assert url.startswith(f"{sandbox.base_url}/sandbox/media/")
    assert sandbox.session.get(url, timeout=60).content == PNG
    assert upload(api, "", b"no picture", path="media/uploadimg")["errcode"] == 40123


def test_agent_set_changes_what_is_sent_only(api: Api) -> None:
    assert api.post("agent/set", {"agentid": AGENTID, "description": "公司的数据", "isreportenter": 1})["errcode"] == 0

    agent = api.get("agent/get", agentid=AGENTID)
    assert (agent["name"], agent["description"], agent["isreportenter"]) == ("观远BI", "公司的数据", 1)


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"agentid": 9}, 301002),
        ({"agentid": "x"}, 40056),
        ({"report_location_flag": 2}, 40059),
        ({"name": ""}, 45022),
        ({"name": "n" * 33}, 45022),
        ({"description": "abc"}, 45004),
        ({"home_url": "example.com"}, 40094),
        ({"redirect_domain": "other.example.com"}, 85005),
        ({"logo_mediaid": "gone"}, 40007),
    ],
)
def test_agent_set_refusals(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert api.post("agent/set", {"agentid": AGENTID, **values})["errcode"] == errcode


MENU: dict[str, Any] = {
    "button": [
        {"type": "view", "name": "首页", "url": "https://portal.example.com/m"},
        {"name": "更多", "sub_button": [{"type": "click", "name": "帮助", "key": "HELP"}]},
    ]
}


def test_menu(api: Api) -> None:
    assert api.get("menu/get", agentid=AGENTID)["errcode"] == 46003
    assert api.post("menu/create", MENU, agentid=AGENTID)["errcode"] == 0
    assert api.get("menu/get", agentid=AGENTID)["button"] == MENU["button"]
    assert api.get("menu/delete", agentid=AGENTID)["errcode"] == 0
    assert api.get("menu/get", agentid=AGENTID)["errcode"] == 46003


CLICK = {"type": "click", "name": "n", "key": "k"}


@pytest.mark.parametrize(
    ("buttons", "errcode"),
    [
        ([], 40016),
        ([CLICK] * 4, 40016),
        ([CLICK | {"type": "dance"}], 40017),
        ([CLICK | {"name": "六个汉字太长"}], 40018),
        ([CLICK | {"key": "k" * 129}], 40019),
        ([{"type": "view", "name": "n", "url": "https://a.example/" + "x" * 1024}], 40020),
        ([{"type": "view", "name": "n", "url": "a.example"}], 40094),
        ([{"name": "n", "sub_button": [CLICK] * 6}], 40023),
        ([{"name": "n", "sub_button": [CLICK | {"sub_button": [CLICK]}]}], 40022),
        ([{"name": "n", "sub_button": [CLICK | {"type": ""}]}], 40024),
        ([{"name": "n", "sub_button": [CLICK | {"name": "字" * 14}]}], 40025),
        ([{"name": "n", "sub_button": [CLICK | {"key": ""}]}], 40026),
    ],
)
def test_refused_menus(api: Api, buttons: list[Any], errcode: int) -> None:
    assert api.post("menu/create", {"button": buttons}, agentid=AGENTID)["errcode"] == errcode


@pytest.fixture
def whole(api: Api, sandbox: SandboxHandle) -> Api:
    """The app sees the root department: only such apps may make group chats."""
    sandbox.control("PATCH", APP, {"scope": {"partyids": [1]}})
    return api


def test_group_chat(whole: Api, sandbox: SandboxHandle) -> None:
    created = whole.post("appchat/create", {"name": "周报", "userlist": ["LILEI", "jim"], "owner": "jim"})
    chatid = created["chatid"]

    assert whole.get("appchat/get", chatid=chatid)["chat_info"] == {
        "chatid": chatid,
        "name": "周报",
        "owner": "jim",
        "userlist": ["LiLei", "jim"],
    }
    changes = {"chatid": chatid, "name": "月报", "add_user_list": ["hanmeimei"], "del_user_list": ["jim"]}
    assert whole.post("appchat/update", changes)["errcode"] == 0
    info = whole.get("appchat/get", chatid=chatid)["chat_info"]
    assert (info["name"], info["owner"], info["userlist"]) == ("月报", "LiLei", ["LiLei", "hanmeimei"])
    message = {"chatid": chatid, "msgtype": "text", "text": {"content": "hello"}}
    assert whole.post("appchat/send", message) == {"errcode": 0, "errmsg": "ok"}
    assert [one["chatid"] for one in sandbox.messages(CORPID, "hanmeimei")] == [chatid]
    assert sandbox.messages(CORPID, "jim") == []


def test_an_app_of_one_department_may_not(api: Api) -> None:
    assert api.post("appchat/create", {"userlist": ["lilei", "hanmeimei"]})["errcode"] == 48002


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"userlist": ["lilei"]}, 86204),
        ({"userlist": "lilei|jim"}, 40035),
        ({"userlist": [f"u{n}" for n in range(2001)]}, 86006),
        ({"userlist": ["lilei", "ghost"]}, 86007),
        ({"owner": "hanmeimei"}, 86207),
        ({"chatid": "a-b"}, 86001),
        ({"chatid": "a" * 33}, 86205),
        ({"name": "n" * 51}, 40058),
    ],
)
def test_refused_group_chats(whole: Api, values: dict[str, Any], errcode: int) -> None:
    assert whole.post("appchat/create", {"userlist": ["lilei", "jim"], **values})["errcode"] == errcode


def test_group_chats_that_are_not_ours(whole: Api, sandbox: SandboxHandle) -> None:
    chat = {"userlist": ["lilei", "jim"], "chatid": "abc"}
    whole.post("appchat/create", chat)
    sandbox.control(
        "POST", f"companies/{CORPID}/apps", [{"agentid": 5, "name": "五", "secret": "s5", "scope": {"partyids": [1]}}]
    )
    other = Api(sandbox, secret="s5")

    assert whole.post("appchat/create", chat)["errcode"] == 86215
    assert other.get("appchat/get", chatid="abc")["errcode"] == 86008
    assert whole.get("appchat/get", chatid="nope")["errcode"] == 86003
    card = {"chatid": "abc", "msgtype": "template_card", "template_card": {}}
    assert whole.post("appchat/send", card)["errcode"] == 40008


@pytest.fixture
def robot(api: Api, sandbox: SandboxHandle) -> Api:
    sandbox.control("POST", f"companies/{CORPID}/robots", [{"key": "robot-key", "name": "日报"}])
    return api


def push(api: Api, msgtype: str, key: str = "robot-key", **content: Any) -> dict[str, Any]:
    body = {"msgtype": msgtype, msgtype: content}
    return dict(api.raw("POST", "webhook/send", params={"key": key}, json=body).json())


def test_robot_messages(robot: Api, sandbox: SandboxHandle) -> None:
    picture: dict[str, Any] = {
        "base64": base64.b64encode(PNG).decode(),
        "md5": hashlib.md5(PNG, usedforsecurity=False).hexdigest(),
    }
    query = {"key": "robot-key", "type": "file"}
    uploaded = robot.raw("POST", "webhook/upload_media", params=query, files={"media": ("a.txt", b"123456")}).json()
    card: dict[str, Any] = {
        "card_type": "text_notice",
        "sub_title_text": "x",
        "card_action": {"type": 1, "url": "https://a.example/"},
    }

    answers = [
        push(robot, "text", content="hello"),
        push(robot, "markdown", content="**b**"),
        push(robot, "image", "robot-key", **picture),
        push(robot, "news", articles=[{"title": "t", "url": "https://a.example/"}]),
        push(robot, "file", media_id=uploaded["media_id"]),
        push(robot, "template_card", **card),
    ]

    assert [answer["errcode"] for answer in answers] == [0] * 6
    kinds = [one["msgtype"] for one in sandbox.control("GET", f"companies/{CORPID}/messages")["messages"]]
    assert kinds == ["text", "markdown", "image", "news", "file", "template_card"]


@pytest.mark.parametrize(
    ("msgtype", "content", "errcode"),
    [
        ("text", {"content": "x" * 2049}, 40058),
        ("text", {}, 44004),
        ("markdown", {"content": "x" * 4097}, 40058),
        ("image", {"base64": "AAAA", "md5": "0"}, 40058),
        ("voice", {"media_id": "x"}, 40007),
        ("template_card", {"card_type": "vote_interaction"}, 42014),
        ("textcard", {"title": "x"}, 40008),
    ],
)
def test_refused_robot_messages(robot: Api, msgtype: str, content: dict[str, Any], errcode: int) -> None:
    assert push(robot, msgtype, **content)["errcode"] == errcode


def test_robots_that_may_not(robot: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/robots", [{"key": "off", "disabled": True}])

    assert push(robot, "text", key="nobody", content="x")["errcode"] == 93000
    assert push(robot, "text", key="off", content="x")["errcode"] == 93004
    codes = [push(robot, "text", content="x")["errcode"] for _ in range(21)]
    assert codes == [0] * 20 + [45009]


def test_js_sdk_tickets(api: Api, sandbox: SandboxHandle) -> None:
    company, own = api.get("get_jsapi_ticket"), api.get("ticket/get", type="agent_config")
    signed = {"noncestr": "n", "timestamp": "1764000004", "url": "https://portal.example.com/m?a=1"}

    assert company["ticket"] != own["ticket"]
    assert api.get("get_jsapi_ticket")["ticket"] == company["ticket"]
    assert api.get("ticket/get", type="wx_card")["errcode"] == 91040
    for kind, ticket in (("config", company["ticket"]), ("agent_config", own["ticket"])):
        text = f"jsapi_ticket={ticket}&noncestr=n&timestamp=1764000004&url={signed['url']}"
        signature = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        assert sandbox.control("POST", f"{APP}/signature", {**signed, "signature": signature}) == {"ticket": kind}
    assert sandbox.control("POST", f"{APP}/signature", {**signed, "signature": "0" * 40}) == {"ticket": ""}


def test_a_js_sdk_ticket_is_of_no_use_to_another_app(api: Api, sandbox: SandboxHandle) -> None:
    """Caches keyed by the company alone mix them up (42012)."""
    sandbox.control("POST", f"companies/{CORPID}/apps", [{"agentid": 1000009, "name": "二", "secret": "second"}])
    other = replace(api, secret="second")
    signed = {"noncestr": "n", "timestamp": "1764000004", "url": "https://portal.example.com/"}

    for kind in ("config", "agent_config"):
        call = partial(Api.get, path="get_jsapi_ticket" if kind == "config" else "ticket/get", type=kind)
        call(api)
        body = {**signed, "signature": token.signature(call(other)["ticket"], **signed)}
        assert sandbox.control("POST", f"{APP}/signature", body) == {"ticket": ""}
        assert sandbox.control("POST", f"companies/{CORPID}/apps/1000009/signature", body) == {"ticket": kind}


@pytest.mark.parametrize("limit", ["app_tickets_per_hour", "company_tickets_per_hour"])
def test_tickets_are_limited(api: Api, sandbox: SandboxHandle, limit: str) -> None:
    sandbox.control("PATCH", "settings", {limit: 2})

    assert [api.get("get_jsapi_ticket")["errcode"] for _ in range(3)] == [0, 0, 45009]
