"""wechatpy's client for WeCom, a program we did not write, works against the sandbox as against WeCom."""

from __future__ import annotations

from typing import Any

import pytest
from wechatpy.enterprise import WeChatClient
from wechatpy.exceptions import WeChatClientException

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


def test_errors_arrive_as_errors(client: Any) -> None:
    with pytest.raises(WeChatClientException) as caught:
        client.user.get("ghost")
    assert caught.value.errcode == 60111


def test_sign_in(client: Any, sandbox: SandboxHandle) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]

    assert client.oauth.get_user_info(code)["UserId"] == "LiLei"


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_a_spoilt_token_is_fetched_anew(client: Any, sandbox: SandboxHandle, errcode: int) -> None:
    client.user.get("lilei")
    sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/invalidate", {"code": errcode})

    assert client.user.get("lilei")["name"] == "李雷"
    assert [call["errcode"] for call in sandbox.calls("user/get")] == [0, errcode, 0]
