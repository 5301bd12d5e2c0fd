"""Files, group chats, robots, JS-SDK tickets."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from wecom_sandbox.api import token

from tests.sandbox.conftest import Api
from tests.sandbox.direct import AMR, MP4, PNG, DirectApi
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"


def upload(api: Api, kind: str, body: bytes, name: str = "a.bin", path: str = "media/upload") -> dict[str, Any]:
    query = {"access_token": api.token(), "type": kind}
    return dict(api.raw("POST", path, params=query, files={"media": (name, body)}).json())


@pytest.mark.parametrize(("kind", "body"), [("image", PNG), ("voice", AMR), ("video", MP4), ("file", b"123456")])
def test_what_was_uploaded_comes_back(api: Api, sandbox: SandboxHandle, kind: str, body: bytes) -> None:
    answer = upload(api, kind, body, "测试.dat")
    media_id = answer["media_id"]
    query = {"access_token": api.token(), "media_id": media_id}

    response = api.raw("GET", "media/get", params=query)
    part = api.raw("GET", "media/get", params=query, headers={"Range": "bytes=2-4"})

    assert (answer["errcode"], answer["type"], answer["created_at"].isdecimal()) == (0, kind, True)
    assert response.content == body
    assert "filename*=utf-8''%E6%B5%8B%E8%AF%95.dat" in response.headers["Content-Disposition"]
    assert (part.status_code, part.content) == (206, body[2:5])
    assert part.headers["Content-Range"] == f"bytes 2-4/{len(body)}"
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 0
    assert sandbox.messages(CORPID, "lilei")[0][kind]["filename"] == "测试.dat"
    sandbox.advance(3 * 24 * 3600)
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 40007
    assert api.get("media/get", media_id=media_id)["errcode"] == 40007


def test_names_with_control_characters_come_back_without_them(api: Api) -> None:
    head = b'--\xff\r\nContent-Disposition: form-data; name="media"; filename="a\x01b\x7f.txt"\r\n'
    body = head + b"Content-Type: text/pl\x02ain\r\n\r\n0123456789\r\n--\xff--\r\n"
    query = {"access_token": api.token(), "type": "file"}
    headers = {"Content-Type": b"multipart/form-data; boundary=\xff"}
    media_id = api.raw("POST", "media/upload", params=query, data=body, headers=headers).json()["media_id"]

    response = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": media_id})

    assert (response.status_code, response.content) == (200, b"0123456789")
    assert response.headers["Content-Type"] == "text/pl ain"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="a b .txt"; ')


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
def test_forms_that_wecom_does_not_understand(direct: DirectApi, content_type: str, head: str) -> None:
    body = f"--B\r\nContent-Disposition: {head}\r\n\r\n0123456789\r\n--B--\r\n".encode()

    assert direct.errcode("media/upload", body, type="file", headers={"content_type": content_type}) == 44001


def test_group_chat(direct: DirectApi) -> None:
    assert (
        direct.errcode("appchat/create", {"userlist": ["lilei", "hanmeimei"]}) == 48002
    )  # it sees one department only
    direct.change_app(scope={"partyids": [1]})
    chatid = direct("appchat/create", {"name": "周报", "userlist": ["LILEI", "jim"], "owner": "jim"})["chatid"]

    info = direct("appchat/get", {"chatid": chatid})["chat_info"]
    assert info == {"chatid": chatid, "name": "周报", "owner": "jim", "userlist": ["LiLei", "jim"]}
    changes = {"chatid": chatid, "name": "月报", "add_user_list": ["hanmeimei"], "del_user_list": ["jim"]}
    assert direct.errcode("appchat/update", changes) == 0
    info = direct("appchat/get", {"chatid": chatid})["chat_info"]
    assert (info["name"], info["owner"], info["userlist"]) == ("月报", "LiLei", ["LiLei", "hanmeimei"])
    message = {"chatid": chatid, "msgtype": "text", "text": {"content": "hello"}}
    assert direct("appchat/send", message) == {"errcode": 0, "errmsg": "ok"}
    assert [one["chatid"] for one in direct.messages("hanmeimei")] == [chatid]
    assert direct.messages("jim") == []
    card = {"chatid": chatid, "msgtype": "template_card", "template_card": {}}
    assert direct.errcode("appchat/send", card) == 40008
    assert direct.errcode("appchat/create", {"userlist": ["lilei", "jim"], "chatid": chatid}) == 86215
    direct.change("apps", {"agentid": 5, "name": "五", "secret": "s5", "scope": {"partyids": [1]}})
    assert DirectApi("s5", direct.world).errcode("appchat/get", {"chatid": chatid}) == 86008


def push(api: Api, msgtype: str, key: str = "robot-key", **content: Any) -> dict[str, Any]:
    body = {"msgtype": msgtype, msgtype: content}
    return dict(api.raw("POST", "webhook/send", params={"key": key}, json=body).json())


def test_robots_that_may_not(direct: DirectApi) -> None:
    direct.company.robots["robot-key"].disabled = True
    text = {"msgtype": "text", "text": {"content": "x"}}
    assert [direct.errcode("webhook/send", text, key=one) for one in ("nobody", "robot-key")] == [93000, 93004]

    direct.company.robots["robot-key"].disabled = False
    assert [direct.errcode("webhook/send", text, key="robot-key") for _ in range(21)] == [0] * 20 + [45009]


def test_js_sdk_tickets_are_one_app_s(direct: DirectApi) -> None:
    """Catch caches keyed by the company alone, which mix tickets up (42012)."""
    direct.change("apps", {"agentid": 9, "name": "二", "secret": "second"})
    other = DirectApi("second", direct.world)
    signed = {"noncestr": "n", "timestamp": "1764000004", "url": "https://portal.example.com/m?a=1"}

    for kind, ask in (("config", ("get_jsapi_ticket", {})), ("agent_config", ("ticket/get", {"type": "agent_config"}))):
        ticket = direct(*ask)["ticket"]
        assert direct(*ask)["ticket"] == ticket
        assert other(*ask)["ticket"] != ticket
        text = f"jsapi_ticket={ticket}&noncestr=n&timestamp=1764000004&url={signed['url']}"
        signature = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        assert token.signed_with(direct.world, CORPID, AGENTID, signature, **signed) == kind
        assert token.signed_with(direct.world, CORPID, 9, signature, **signed) == ""


@pytest.mark.parametrize("limit", ["app_tickets_per_hour", "company_tickets_per_hour"])
def test_tickets_are_limited(direct: DirectApi, limit: str) -> None:
    direct.world.settings.change({limit: 2})

    assert [direct.errcode("get_jsapi_ticket") for _ in range(3)] == [0, 0, 45009]
