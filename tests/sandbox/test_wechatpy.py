"""wechatpy, an independent program: its calls that the sandbox has get answers of the right shape.

The shape is no error, and the fields that wechatpy's users read, as in WeCom's examples and wechatpy's own fixtures.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from wechatpy.enterprise import WeChatClient
from wechatpy.exceptions import WeChatClientException

from tests.sandbox.direct import MENU, PNG
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle


@dataclass
class At:
    """An app's client, and the sandbox that it calls under WeCom's own address."""

    app: Any
    sandbox: SandboxHandle

    def chat(self) -> str:
        return str(self.app.appchat.create("abc", "周报", "lilei", ["lilei", "jim"])["chatid"])


# Path: the call, and the fields of its answer (of the first row, if it is a list).
CALLS: dict[str, tuple[Callable[[At], Any], set[str]]] = {
    "gettoken": (lambda at: at.app.fetch_access_token(), {"access_token", "expires_in"}),
    "getcallbackip": (lambda at: at.app.misc.get_wechat_ips(), set()),
    "get_jsapi_ticket": (lambda at: at.app.jsapi.get_ticket(), {"ticket", "expires_in"}),
    "ticket/get": (lambda at: at.app.jsapi.get_agent_ticket(), {"ticket", "expires_in"}),
    "agent/get": (
        lambda at: at.app.agent.get(AGENTID),
        {"agentid", "name", "square_logo_url", "description", "allow_userinfos", "allow_partys", "allow_tags", "close"},
    ),
    "agent/set": (lambda at: at.app.agent.set(AGENTID, description="公司的数据"), {"errcode"}),
    "appchat/create": (lambda at: at.app.appchat.create(None, "周报", "lilei", ["lilei", "jim"]), {"chatid"}),
    "appchat/get": (lambda at: at.app.appchat.get(at.chat()), {"chatid", "name", "owner", "userlist"}),
    "appchat/update": (lambda at: at.app.appchat.update(at.chat(), name="月报"), {"errcode"}),
    "appchat/send": (lambda at: at.app.appchat.send_text(at.chat(), "hello"), {"errcode"}),
    "department/list": (lambda at: at.app.department.get(), {"id", "name", "parentid", "order"}),
    "media/upload": (
        lambda at: at.app.media.upload("image", ("图.png", io.BytesIO(PNG))),
        {"type", "media_id", "created_at"},
    ),
    "menu/create": (lambda at: at.app.menu.create(AGENTID, MENU), {"errcode"}),
    "menu/get": (lambda at: (at.app.menu.create(AGENTID, MENU), at.app.menu.get(AGENTID))[1], {"button"}),
    "message/send": (
        lambda at: at.app.message.send_text(AGENTID, ["lilei", "ghost"], "hello"),
        {"invaliduser", "msgid"},
    ),
    "tag/get": (lambda at: at.app.tag.get_users(1), {"tagname", "userlist", "partylist"}),
    "user/get": (
        lambda at: at.app.user.get("lilei"),
        {"userid", "name", "department", "order", "position", "is_leader_in_dept", "status", "extattr"},
    ),
    "user/list": (lambda at: at.app.user.list(2), {"userid", "name", "department", "status"}),
    "user/simplelist": (lambda at: at.app.user.list(2, simple=True), {"userid", "name", "department"}),
}


@pytest.fixture
def at(wecom_hosts: SandboxHandle) -> At:
    """An app that sees all departments, which group chats need."""
    wecom_hosts.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    return At(WeChatClient(CORPID, SECRET, timeout=60), wecom_hosts)


@pytest.mark.parametrize("path", CALLS)
def test_a_call_is_answered_in_shape(at: At, path: str) -> None:
    call, fields = CALLS[path]

    answer = call(at)

    shown = answer[0] if isinstance(answer, list) and isinstance(answer[0], dict) else answer
    assert fields <= set(shown)
    assert [one["errcode"] for one in at.sandbox.calls(path)][-1] == 0


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_a_spoilt_token_is_fetched_anew_and_other_errors_are_raised(at: At, errcode: int) -> None:
    at.app.user.get("lilei")
    at.sandbox.control("POST", f"companies/{CORPID}/apps/{AGENTID}/invalidate", {"code": errcode})

    assert at.app.user.get("lilei")["name"] == "李雷"
    with pytest.raises(WeChatClientException) as caught:
        at.app.user.get("ghost")
    assert caught.value.errcode == 60111
    assert [call["errcode"] for call in at.sandbox.calls("user/get")] == [0, errcode, 0, 60111]
