"""wechatpy's client for WeCom, a program we did not write, works against the sandbox as against WeCom."""

from __future__ import annotations

import io
from typing import Any

import pytest
from wechatpy.enterprise import WeChatClient
from wechatpy.exceptions import WeChatClientException

from tests.sandbox.test_other_calls import PNG
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle


def connect(secret: str = SECRET) -> Any:
    """As it is: WeCom's address stands in its code."""
    return WeChatClient(CORPID, secret, timeout=60)


@pytest.fixture
def sandbox(wecom_hosts: SandboxHandle) -> SandboxHandle:
    return wecom_hosts


@pytest.fixture
def client(sandbox: SandboxHandle) -> Any:
    return connect()


def test_directory(client: Any) -> None:
    assert client.user.get("lilei")["name"] == "李雷"
    assert [row["id"] for row in client.department.get()] == [2, 3]
    assert [row["userid"] for row in client.user.list(2)] == ["LiLei"]
    assert client.tag.get_users(1)["tagname"] == "值班"
    assert client.agent.get(AGENTID)["name"] == "观远BI"


def test_errors_arrive_as_errors(client: Any) -> None:
    with pytest.raises(WeChatClientException) as caught:
        client.user.get("ghost")
    assert caught.value.errcode == 60111


def test_messages(client: Any, sandbox: SandboxHandle) -> None:
    picture = client.media.upload("image", ("图.png", io.BytesIO(PNG), "image/png"))["media_id"]
    url = "https://portal.example.com/m"

    client.message.send_text(AGENTID, ["lilei", "hanmeimei"], "文本")
    client.message.send_text_card(AGENTID, "lilei", "标题", "说明", url)
    client.message.send_image(AGENTID, "lilei", picture)
    client.message.send_markdown(AGENTID, "lilei", "**粗**")
    client.message.send_articles(AGENTID, "lilei", [{"title": "一", "description": "", "url": url, "image": ""}])

    kinds = [message["msgtype"] for message in sandbox.messages(CORPID, "lilei")]
    assert kinds == ["text", "textcard", "image", "markdown", "news"]
    assert sandbox.messages(CORPID, "lilei")[2]["image"]["filename"] == "图.png"
    assert client.media.download(picture).content == PNG


def test_sign_in(client: Any, sandbox: SandboxHandle) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]

    assert client.oauth.get_user_info(code)["UserId"] == "LiLei"


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_a_spoilt_token_is_fetched_anew(client: Any, sandbox: SandboxHandle, errcode: int) -> None:
    client.user.get("lilei")
    sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/invalidate", {"code": errcode})

    assert client.user.get("lilei")["name"] == "李雷"
    assert [call["errcode"] for call in sandbox.calls("user/get")] == [0, errcode, 0]


def test_menu_tickets_and_addresses(client: Any) -> None:
    buttons = {"button": [{"type": "click", "name": "帮助", "key": "HELP"}]}
    client.menu.create(AGENTID, buttons)

    assert client.menu.get(AGENTID)["button"] == buttons["button"]
    assert client.jsapi.get_ticket()["ticket"]
    assert client.misc.get_wechat_ips()


def test_the_sync_assistant(sandbox: SandboxHandle) -> None:
    contacts = connect("sandbox-secret-of-contacts")

    contacts.user.create("Lucy", "露西", department=[2], mobile="13000000009")
    contacts.user.delete("Lucy")

    with pytest.raises(WeChatClientException) as caught:
        contacts.user.delete("Lucy")
    assert caught.value.errcode == 60111
