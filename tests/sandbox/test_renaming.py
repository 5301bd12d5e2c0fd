"""A new userid for the same person: their data stays theirs, and no app is told that somebody came or left."""

from __future__ import annotations

import pytest
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.pages.sign_in import Visit, code_for
from wecom_sandbox.state import administration

from tests.sandbox.direct import DirectApi
from tests.sandbox.test_messages import VOTE
from tests.sandbox.test_oauth import PRIVATE, VISIT
from tests.sandbox_process import AGENTID


def rename(direct: DirectApi, new_userid: str) -> None:
    administration.rename_member(direct.world, direct.company, "lilei", new_userid)


def test_scopes_tags_and_leaders_name_the_new_userid(direct: DirectApi) -> None:
    direct.change_app(scope={"userids": ["lilei"]})
    direct.change("members", {"userid": "jim", "direct_leader": ["LILEI"]})
    direct.change("departments", {"id": 2, "department_leader": ["LiLei"]})

    rename(direct, "LiLei2")

    directory = direct.company.directory
    assert [member.userid for member in directory.members.values()] == ["LiLei2", "hanmeimei", "jim"]
    assert directory.members["jim"].direct_leader == ["LiLei2"]
    assert direct.app.scope.userids == ["LiLei2"]
    assert directory.tags[1].userids == ["LiLei2"]
    assert directory.departments[2].department_leader == ["LiLei2"]
    assert direct("user/get", {"userid": "lilei2"})["name"] == "李雷"
    assert direct.errcode("user/get", {"userid": "lilei"}) == 60111


def test_messages_votes_and_later_updates_stay(direct: DirectApi) -> None:
    sent = direct.send("lilei|hanmeimei", msgtype="template_card", template_card=VOTE)
    message, member = direct.world.mail.messages[sent["msgid"]], direct.company.directory.members["lilei"]
    clicks.click(direct.world, direct.company, member, message, "submit", {"when": ["tue"]})

    rename(direct, "lilei2")

    assert direct.messages("lilei2")[0]["selected"] == {"when": ["tue"]}
    update = {"agentid": AGENTID, "userids": ["lilei2"], "response_code": sent["response_code"]}
    answer = direct("message/update_template_card", {**update, "button": {"replace_name": "已投"}})
    assert (answer["invaliduser"], direct.messages("lilei2")[0]["replace_name"]) == ([], "已投")
    direct.send("lilei2")
    assert [one["msgtype"] for one in direct.messages("lilei2")] == ["template_card", "text"]


def test_groups_codes_and_tickets_stay(direct: DirectApi) -> None:
    direct.change_app(scope={"partyids": [1]})
    direct("appchat/create", {"userlist": ["lilei", "jim"], "owner": "lilei", "chatid": "c1"})
    target = Visit.from_query(VISIT | {"scope": PRIVATE}).checked(direct.world, web_login=False)
    code = code_for(direct.world, target, "LiLei")

    rename(direct, "lilei2")

    info = direct("appchat/get", {"chatid": "c1"})["chat_info"]
    assert (info["owner"], info["userlist"]) == ("lilei2", ["lilei2", "jim"])
    who = direct("auth/getuserinfo", {"code": code})
    assert who["userid"] == "lilei2"
    assert direct("auth/getuserdetail", {"user_ticket": who["user_ticket"]})["userid"] == "lilei2"


def test_no_app_hears_that_somebody_left_and_came(direct: DirectApi) -> None:
    callback = {"url": "http://127.0.0.1:9/", "token": "t", "aes_key": "k"}
    direct.change_app(callback=callback, scope={"userids": ["lilei"], "tagids": [1]})
    before = direct.world.outbox.waiting

    rename(direct, "lilei2")

    assert direct.world.outbox.waiting == before
    administration.rename_member(direct.world, direct.company, "LILEI2", "LiLei2")  # only the case changes
    assert direct("user/get", {"userid": "lilei2"})["userid"] == "LiLei2"


@pytest.mark.parametrize("userid", ["jim", "JIM", "-x", ""])
def test_refused_userids_change_nothing(direct: DirectApi, userid: str) -> None:
    before = administration.dump(direct.world)

    with pytest.raises(ValueError, match="userid"):
        rename(direct, userid)
    assert administration.dump(direct.world) == before
