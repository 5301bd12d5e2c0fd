"""Apprise, a program we did not write, sends as an app and as a group robot; WeCom's address stands in its code."""

from __future__ import annotations

from typing import Any

import apprise
import pytest

from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle

ROBOT = {"key": "robot-key", "name": "日报"}


@pytest.fixture
def sandbox(wecom_hosts: SandboxHandle) -> SandboxHandle:
    wecom_hosts.control("POST", f"companies/{CORPID}/robots", [ROBOT])
    return wecom_hosts


def service(url: str) -> Any:
    """What Apprise makes of a URL of its own. It waits five seconds between two calls, here not."""
    found: Any = apprise.Apprise.instantiate(url)
    found.request_rate_per_sec = 0
    return found


@pytest.mark.parametrize(
    "url", ["wecombot://robot-key", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=robot-key"]
)
def test_a_robot(sandbox: SandboxHandle, url: str) -> None:
    assert service(url).notify(title="日报", body="一切正常\n**好**") is True

    [shown] = sandbox.listed(f"companies/{CORPID}/messages", "messages")
    assert (shown["robot"], shown["msgtype"]) == ("robot-key", "text")
    assert shown["text"]["content"] == "日报\r\n一切正常\n**好**"


def test_an_app_sends_to_people_departments_and_tags(sandbox: SandboxHandle) -> None:
    url = f"wechat://{CORPID}:{SECRET}@{AGENTID}"

    sent = [service(f"{url}/{target}").notify(body=target) for target in ("@lilei", "%233", "%2B1", "ghost")]

    assert sent == [True, True, True, False]
    assert [one["text"]["content"] for one in sandbox.messages(CORPID, "lilei")] == ["@lilei", "%2B1"]
    assert [one["text"]["content"] for one in sandbox.messages(CORPID, "hanmeimei")] == ["%233", "%2B1"]
    assert [one["errcode"] for one in sandbox.calls("message/send")] == [0, 0, 0, 81013]


def test_an_app_fetches_another_token_when_its_own_is_spoilt(sandbox: SandboxHandle) -> None:
    app = service(f"wechat://{CORPID}:{SECRET}@{AGENTID}/@lilei")
    assert app.notify(body="1") is True
    sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/invalidate", {"code": 42001})

    app.notify(body="2")
    assert app.notify(body="3") is True
    assert 42001 in [one["errcode"] for one in sandbox.calls("message/send")]


def test_a_wrong_secret_is_a_failure(sandbox: SandboxHandle) -> None:
    assert service(f"wechat://{CORPID}:wrong@{AGENTID}/@lilei").notify(body="x") is False
    assert [one["errcode"] for one in sandbox.calls("gettoken")] == [40001]
