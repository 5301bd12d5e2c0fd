"""Calls of the installed wechatpy, made by its own methods: those that the sandbox has are answered in shape.

In shape: no error, and the fields that wechatpy's users read, as in WeCom's examples (and wechatpy's own fixtures).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from wechatpy.enterprise import WeChatClient
from wechatpy.exceptions import WeChatClientException

from tests.sandbox.test_batch import HEAD
from tests.sandbox.test_other_calls import MENU, PNG
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

CALLBACK = ("http://127.0.0.1:9/", "token", "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aQ")
PARTIES = "部门名称,部门ID,父部门ID,排序\n北山制造,1,,\n"


@dataclass
class At:
    """Two clients of one company: an app's, and the sync assistant's."""

    app: Any
    contacts: Any
    sandbox: SandboxHandle

    def code(self) -> str:
        return self.sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]

    def tag(self) -> int:
        return int(self.app.tag.create("乒乓球")["tagid"])

    def chat(self) -> str:
        return str(self.app.appchat.create("abc", "周报", "lilei", ["lilei", "jim"])["chatid"])

    def media(self, body: bytes = PNG, kind: str = "image") -> str:
        return str(self.contacts.media.upload(kind, ("p.dat", io.BytesIO(body)))["media_id"])

    def job(self) -> str:
        return str(self.contacts.batch.sync_user(*CALLBACK, self.media(HEAD.encode(), "file"))["jobid"])


# Path: the call, and the fields of its answer (of its first row, where it is a list).
CALLS: dict[str, tuple[Callable[[At], Any], set[str]]] = {
    "gettoken": (lambda at: at.app.fetch_access_token(), {"access_token", "expires_in"}),
    "getcallbackip": (lambda at: at.app.misc.get_wechat_ips(), set()),
    "get_jsapi_ticket": (lambda at: at.app.jsapi.get_ticket(), {"ticket", "expires_in"}),
    "ticket/get": (lambda at: at.app.jsapi.get_agent_ticket(), {"ticket", "expires_in"}),
    "agent/get": (
        lambda at: at.app.agent.get(AGENTID),
        {"agentid", "name", "square_logo_url", "description", "allow_userinfos", "allow_partys", "allow_tags", "close"},
    ),
    "agent/list": (lambda at: at.app.agent.list(), {"agentid", "name", "square_logo_url"}),
    "agent/set": (lambda at: at.app.agent.set(AGENTID, description="公司的数据"), {"errcode"}),
    "appchat/create": (lambda at: at.app.appchat.create(None, "周报", "lilei", ["lilei", "jim"]), {"chatid"}),
    "appchat/get": (lambda at: at.app.appchat.get(at.chat()), {"chatid", "name", "owner", "userlist"}),
    "appchat/update": (lambda at: at.app.appchat.update(at.chat(), name="月报"), {"errcode"}),
    "appchat/send": (lambda at: at.app.appchat.send_text(at.chat(), "hello"), {"errcode"}),
    "batch/invite": (
        lambda at: at.app.batch.invite(user=["lilei", "ghost"]),
        {"invaliduser", "invalidparty", "invalidtag"},
    ),
    "batch/syncuser": (
        lambda at: at.contacts.batch.sync_user(*CALLBACK, at.media(HEAD.encode(), "file")),
        {"jobid"},
    ),
    "batch/replaceuser": (
        lambda at: at.contacts.batch.replace_user(*CALLBACK, at.media(HEAD.encode(), "file")),
        {"jobid"},
    ),
    "batch/replaceparty": (
        lambda at: at.contacts.batch.replace_party(*CALLBACK, at.media(PARTIES.encode(), "file")),
        {"jobid"},
    ),
    "batch/getresult": (
        lambda at: at.contacts.batch.get_result(at.job()),
        {"status", "type", "total", "percentage", "result"},
    ),
    "department/create": (lambda at: at.contacts.department.create("研发部"), {"id"}),
    "department/update": (lambda at: at.contacts.department.update(2, "销售一部"), {"errcode"}),
    "department/delete": (
        lambda at: at.contacts.department.delete(at.contacts.department.create("空")["id"]),
        {"errcode"},
    ),
    "department/list": (lambda at: at.app.department.get(), {"id", "name", "parentid", "order"}),
    "media/upload": (
        lambda at: at.app.media.upload("image", ("图.png", io.BytesIO(PNG))),
        {"type", "media_id", "created_at"},
    ),
    "media/uploadimg": (lambda at: at.app.media.upload_img(("图.png", io.BytesIO(PNG))), {"url"}),
    "menu/create": (lambda at: at.app.menu.create(AGENTID, MENU), {"errcode"}),
    "menu/get": (lambda at: (at.app.menu.create(AGENTID, MENU), at.app.menu.get(AGENTID))[1], {"button"}),
    "menu/delete": (lambda at: at.app.menu.delete(AGENTID), {"errcode"}),
    "message/send": (
        lambda at: at.app.message.send_text(AGENTID, ["lilei", "ghost"], "hello"),
        {"invaliduser", "msgid"},
    ),
    "tag/create": (lambda at: at.app.tag.create("乒乓球"), {"tagid"}),
    "tag/update": (lambda at: at.app.tag.update(at.tag(), "台球"), {"errcode"}),
    "tag/delete": (lambda at: at.app.tag.delete(at.tag()), {"errcode"}),
    "tag/get": (lambda at: at.app.tag.get_users(1), {"tagname", "userlist", "partylist"}),
    "tag/list": (lambda at: at.app.tag.list(), {"tagid", "tagname"}),
    "tag/addtagusers": (lambda at: at.app.tag.add_users(at.tag(), ["lilei", "ghost"]), {"invalidlist"}),
    "tag/deltagusers": (lambda at: at.app.tag.delete_users(at.tag(), ["lilei", "ghost"]), {"invalidlist"}),
    "user/get": (
        lambda at: at.app.user.get("lilei"),
        {"userid", "name", "department", "order", "position", "is_leader_in_dept", "status", "extattr"},
    ),
    "user/create": (
        lambda at: at.contacts.user.create("Lucy", "露西", department=[2], mobile="13000000009"),
        {"errcode"},
    ),
    "user/update": (lambda at: at.contacts.user.update("lilei", "李磊"), {"errcode"}),
    "user/delete": (lambda at: at.contacts.user.delete("jim"), {"errcode"}),
    "user/batchdelete": (lambda at: at.contacts.user.batch_delete(["jim", "lilei"]), {"errcode"}),
    "user/list": (lambda at: at.app.user.list(2), {"userid", "name", "department", "status"}),
    "user/simplelist": (lambda at: at.app.user.list(2, simple=True), {"userid", "name", "department"}),
    "user/convert_to_openid": (lambda at: at.app.user.convert_to_openid("lilei"), {"openid"}),
    "user/convert_to_userid": (
        lambda at: {at.app.user.convert_to_user_id(at.app.user.convert_to_openid("lilei")["openid"]): 1},
        {"LiLei"},
    ),
    "user/authsucc": (lambda at: at.contacts.user.verify("lilei"), {"errcode"}),
    "user/getuserinfo": (lambda at: at.app.user.get_info(AGENTID, at.code()), {"UserId", "DeviceId"}),
}


@pytest.fixture
def at(wecom_hosts: SandboxHandle) -> At:
    # The app sees all (group chats need that); the sync assistant's address is an old one.
    own = company(contacts_old_ips=["127.0.0.1"])
    wecom_hosts.load({"companies": [own]})
    wecom_hosts.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    secrets = (SECRET, "sandbox-secret-of-contacts")
    app, contacts = (WeChatClient(CORPID, secret, timeout=60) for secret in secrets)
    return At(app, contacts, wecom_hosts)


@pytest.mark.parametrize("path", CALLS)
def test_a_call_is_answered_in_shape(at: At, path: str) -> None:
    call, fields = CALLS[path]

    answer = call(at)

    shown = answer[0] if isinstance(answer, list) and isinstance(answer[0], dict) else answer
    assert fields <= set(shown)
    assert [one["errcode"] for one in at.sandbox.calls(path)][-1] == 0


def test_what_the_sandbox_does_not_have_is_an_error_and_counted(at: At) -> None:
    with pytest.raises(WeChatClientException) as caught:
        at.app.external_contact.list("lilei")

    assert caught.value.response.status_code == 404
    wanted = [row["path"] for row in at.sandbox.control("GET", "missing")["missing"]]
    assert wanted == ["/cgi-bin/externalcontact/list"]
