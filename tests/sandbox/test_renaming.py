"""Another userid for the same person: whatever was hers stays hers, and no app hears that somebody came or went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from wecom_sandbox.testing import ControlError

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver, listening
from tests.sandbox.test_messages import VOTE
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"


@pytest.fixture
def receiver(sandbox: SandboxHandle) -> Iterator[Receiver]:
    """The app's callback address; the app sees 李雷 (named singly, and by a tag) and nobody by a department."""
    with listening(CORPID) as found:
        scope = {"userids": ["lilei"], "tagids": [1]}
        sandbox.control("PATCH", APP, {"callback": found.callback, "scope": scope})
        yield found


def rename(sandbox: SandboxHandle, userid: str, new_userid: str) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members/{userid}/rename", {"userid": new_userid})


def company(sandbox: SandboxHandle) -> dict[str, Any]:
    return dict(sandbox.control("GET", f"companies/{CORPID}"))


def test_scopes_tags_and_leaders_name_the_new_userid(sandbox: SandboxHandle, api: Api) -> None:
    sandbox.control("PATCH", APP, {"scope": {"userids": ["lilei"]}})
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "jim", "direct_leader": ["LILEI"]}])
    sandbox.control("POST", f"companies/{CORPID}/departments", [{"id": 2, "department_leader": ["LiLei"]}])

    rename(sandbox, "lilei", "LiLei2")

    now = company(sandbox)
    assert [member["userid"] for member in now["members"]] == ["LiLei2", "hanmeimei", "jim"]
    assert now["members"][2]["direct_leader"] == ["LiLei2"]
    assert now["apps"][0]["scope"]["userids"] == ["LiLei2"]
    assert now["tags"][0]["userids"] == ["LiLei2"]
    assert now["departments"][1]["department_leader"] == ["LiLei2"]
    assert api.get("user/get", userid="lilei2")["name"] == "李雷"
    assert api.get("user/get", userid="lilei")["errcode"] == 60111
    assert [row["userid"] for row in api.get("tag/get", tagid=1)["userlist"]] == ["LiLei2"]


def test_messages_votes_and_later_updates_stay(sandbox: SandboxHandle, api: Api) -> None:
    sent = api.send("lilei|hanmeimei", msgtype="template_card", template_card=VOTE)
    click = {"msgid": sent["msgid"], "key": "submit", "selected": {"when": ["tue"]}}
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/click", click)

    rename(sandbox, "lilei", "lilei2")

    assert sandbox.messages(CORPID, "lilei2")[0]["selected"] == {"when": ["tue"]}
    update = {"agentid": AGENTID, "userids": ["lilei2"], "response_code": sent["response_code"]}
    assert api.post("message/update_template_card", {**update, "button": {"replace_name": "已投"}})["invaliduser"] == []
    assert sandbox.messages(CORPID, "lilei2")[0]["replace_name"] == "已投"
    api.send("lilei2")
    assert [one["msgtype"] for one in sandbox.messages(CORPID, "lilei2")] == ["template_card", "text"]


def test_groups_codes_and_tickets_stay(sandbox: SandboxHandle, api: Api) -> None:
    sandbox.control("PATCH", APP, {"scope": {"partyids": [1]}})
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "owner": "lilei", "chatid": "c1"})
    visit = {"redirect_uri": "http://localhost:3001/", "agentid": AGENTID, "scope": "snsapi_privateinfo"}
    code = sandbox.authorize(CORPID, "lilei", **visit)["code"]

    rename(sandbox, "lilei", "lilei2")

    info = api.get("appchat/get", chatid="c1")["chat_info"]
    assert (info["owner"], info["userlist"]) == ("lilei2", ["lilei2", "jim"])
    who = api.get("auth/getuserinfo", code=code)
    assert who["userid"] == "lilei2"
    assert api.post("auth/getuserdetail", {"user_ticket": who["user_ticket"]})["userid"] == "lilei2"


def test_no_app_hears_that_somebody_left_and_came(sandbox: SandboxHandle, receiver: Receiver) -> None:
    before = len(receiver.events)
    rename(sandbox, "lilei", "lilei2")
    sandbox.control("POST", f"companies/{CORPID}/members/lilei2/write", {"agentid": AGENTID, "text": "x"})

    received = receiver.wait(before + 1)[before:]
    assert [(event["MsgType"], event["FromUserName"]) for event in received] == [("text", "lilei2")]


def test_only_the_letters_change(sandbox: SandboxHandle, api: Api) -> None:
    api.send("lilei")
    rename(sandbox, "LiLei", "lilei")

    assert api.get("user/get", userid="LILEI")["userid"] == "lilei"
    assert len(sandbox.messages(CORPID, "lilei")) == 1


@pytest.mark.parametrize("userid", ["jim", "JIM", "-x", ""])
def test_refused_userids_change_nothing(sandbox: SandboxHandle, userid: str) -> None:
    before = company(sandbox)

    with pytest.raises(ControlError, match="400"):
        rename(sandbox, "lilei", userid)

    assert company(sandbox) == before
