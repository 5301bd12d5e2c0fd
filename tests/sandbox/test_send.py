"""message/send: recipients, refusals, duplicates, limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


def names(sandbox: SandboxHandle) -> list[list[str]]:
    """Receivers of every message so far."""
    return [message["receivers"] for message in sandbox.control("GET", f"companies/{CORPID}/messages")["messages"]]


def test_valid_recipients_get_it_and_invalid_ones_are_told_in_small_letters(api: Api, sandbox: SandboxHandle) -> None:
    answer = api.send("LILEI| Ghost |jim", toparty="3 | 4|x", totag="1|9")

    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")
    assert (answer["invaliduser"], answer["invalidparty"], answer["invalidtag"]) == ("ghost|jim", "4|x", "9")
    assert names(sandbox) == [["lilei", "hanmeimei"]]
    message = sandbox.messages(CORPID, "lilei")[0]
    assert (message["msgid"], message["text"]) == (answer["msgid"], {"content": "hello"})
    assert sandbox.messages(CORPID, "jim") == []


def test_everybody(api: Api, sandbox: SandboxHandle) -> None:
    api.send("@all", toparty="4")

    assert names(sandbox) == [["lilei", "hanmeimei"]]


def test_an_agentid_of_digits_is_taken(api: Api) -> None:
    assert api.send(agentid=str(AGENTID), safe="")["errcode"] == 0


def test_nobody_valid(api: Api, sandbox: SandboxHandle) -> None:
    answer = api.send("Ghost", toparty="4")

    assert (answer["errcode"], answer["invaliduser"], answer["invalidparty"]) == (81013, "ghost", "4")
    assert "msgid" not in answer
    assert names(sandbox) == []


@pytest.mark.parametrize(
    "named", [{"toparty": "5"}, {"totag": "2"}, {"totag": "3"}, {"touser": "ghost", "toparty": "5"}, {"toparty": "6"}]
)
def test_a_department_or_a_tag_of_the_scope_is_valid_even_where_nobody_is(
    api: Api, sandbox: SandboxHandle, named: dict[str, str]
) -> None:
    departments = [{"id": 5, "name": "新部门", "parentid": 2}, {"id": 6, "name": "停用部门", "parentid": 2}]
    sandbox.control("POST", f"companies/{CORPID}/departments", departments)
    off = {"userid": "off", "name": "停", "department": [6], "status": 2}
    sandbox.control("POST", f"companies/{CORPID}/members", [off])
    tags = [{"tagid": 2, "tagname": "空"}, {"tagid": 3, "tagname": "离职者", "userids": ["gone"], "partyids": [5]}]
    sandbox.control("POST", f"companies/{CORPID}/tags", tags)

    answer = api.send("", **named) if "touser" not in named else api.send(named["touser"], toparty="5")

    assert answer["errcode"] == 0
    assert answer["msgid"]
    assert (answer["invalidparty"], answer["invalidtag"]) == ("", "")
    assert names(sandbox) == [[]]


def test_a_tag_that_holds_nobody_of_the_scope_is_not_permitted(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/departments", [{"id": 5, "name": "出纳", "parentid": 4}])
    tags = [{"tagid": 2, "tagname": "财务", "userids": ["jim"], "partyids": [5]}]
    sandbox.control("POST", f"companies/{CORPID}/tags", tags)

    answer = api.send("", totag="2")
    assert (answer["errcode"], answer["invalidtag"]) == (81013, "2")
    answer = api.send("lilei", totag="2|1")
    assert (answer["errcode"], answer["invalidtag"]) == (0, "2")
    assert names(sandbox) == [["lilei", "hanmeimei"]]


@pytest.mark.parametrize(("scope", "errcode"), [({}, 81013), ({"partyids": [5]}, 0)])
def test_everybody_of_a_scope_that_is_empty(
    api: Api, sandbox: SandboxHandle, scope: dict[str, list[int]], errcode: int
) -> None:
    sandbox.control("POST", f"companies/{CORPID}/departments", [{"id": 5, "name": "新部门", "parentid": 2}])
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": scope})

    assert api.send("@all")["errcode"] == errcode


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"touser": " | "}, 82001),
        ({"touser": "|".join(f"u{n}" for n in range(1001))}, 40032),
        ({"touser": "", "toparty": "|".join(str(n) for n in range(101))}, 82002),
        ({"touser": "", "totag": "|".join(str(n) for n in range(101))}, 82003),
        ({"msgtype": "telegram", "telegram": {}}, 40008),
        ({"msgtype": ""}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": "hello"}, 40058),
        ({"safe": 2}, 40058),
        ({"duplicate_check_interval": "x", "enable_duplicate_check": 1}, 40058),
        ({"duplicate_check_interval": 14_401, "enable_duplicate_check": 1}, 40058),
        ({"duplicate_check_interval": 14_401}, 40058),
        ({"duplicate_check_interval": -1}, 40058),
        ({"enable_duplicate_check": 2}, 40058),
        ({"enable_duplicate_check": -1}, 40058),
        ({"enable_id_trans": 2}, 40058),
        ({"enable_id_trans": "x"}, 40058),
    ],
)
def test_refusals_send_nothing(api: Api, sandbox: SandboxHandle, values: dict[str, Any], errcode: int) -> None:
    body = {"touser": "lilei", "msgtype": "text", "agentid": AGENTID, "text": {"content": "x"}, **values}

    assert api.post("message/send", body)["errcode"] == errcode
    assert names(sandbox) == []


def test_a_thousand_recipients_are_not_too_many(api: Api) -> None:
    users = "|".join(["lilei", *(f"u{number}" for number in range(999))])

    assert len(api.send(users)["invaliduser"].split("|")) == 999


def test_members_without_a_licence(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "unlicensed": True}])

    answers = [api.send("LiLei|hanmeimei|ghost"), api.send("LiLei")]

    assert [answer["unlicenseduser"] for answer in answers] == ["lilei", "lilei"]
    assert [answer["errcode"] for answer in answers] == [0, 0]
    assert answers[0]["invaliduser"] == "ghost"
    assert sandbox.messages(CORPID, "lilei") == []


def test_members_who_are_disabled_or_gone_are_invalid(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "status": 2}])

    assert api.send("lilei|hanmeimei")["invaliduser"] == "lilei"


def test_the_identical_request_is_delivered_once(api: Api, sandbox: SandboxHandle) -> None:
    first = api.send(enable_duplicate_check=1, duplicate_check_interval=60)
    second = api.send(enable_duplicate_check=1, duplicate_check_interval=60)
    api.send(enable_duplicate_check=1, duplicate_check_interval=61)
    sandbox.advance(60)
    api.send(enable_duplicate_check=1, duplicate_check_interval=60)
    api.send()
    api.send()

    assert first["msgid"]
    assert second == {"errcode": 0, "errmsg": "ok"}
    assert len(sandbox.messages(CORPID, "lilei")) == 5


def test_a_refused_request_is_not_the_first_of_two(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"daily_messages_per_account": 0})
    assert api.send(enable_duplicate_check=1)["errcode"] == 45009
    sandbox.control("PATCH", "settings", {"daily_messages_per_account": 200})

    assert api.send(enable_duplicate_check=1)["msgid"]


def test_the_interval_is_at_most_four_hours(api: Api, sandbox: SandboxHandle) -> None:
    values: dict[str, Any] = {"enable_duplicate_check": 1, "duplicate_check_interval": 14_400}
    api.send(**values)
    sandbox.advance(14_200)
    api.send(**values)
    sandbox.advance(200)
    api.send(**values)

    assert len(sandbox.messages(CORPID, "lilei")) == 2


def test_above_thirty_a_minute_a_member_gets_nothing_and_nobody_is_told(api: Api, sandbox: SandboxHandle) -> None:
    answers = {api.send("lilei|hanmeimei" if number < 2 else "lilei")["errcode"] for number in range(31)}
    late = api.send("lilei|hanmeimei")

    assert answers == {0}
    assert late["invaliduser"] == ""
    assert len(sandbox.messages(CORPID, "lilei")) == 30
    assert len(sandbox.messages(CORPID, "hanmeimei")) == 3
    last = sandbox.control("GET", f"companies/{CORPID}/messages")["messages"][-1]
    assert (last["receivers"], last["dropped"]) == (["hanmeimei"], ["lilei"])
    sandbox.advance(60)
    api.send()
    assert len(sandbox.messages(CORPID, "lilei")) == 31


def test_above_a_thousand_an_hour_too(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"member_per_minute": 5, "member_per_hour": 7})
    for _ in range(5):
        api.send()
    sandbox.advance(61)
    for _ in range(5):
        api.send()

    assert len(sandbox.messages(CORPID, "lilei")) == 7


def test_the_company_s_minute(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"company_per_minute": 3})
    codes = [api.send()["errcode"] for _ in range(3)]
    token = api.token

    sandbox.control("PATCH", "settings", {"wrong_secrets_per_hour": 5})
    assert codes == [0, 0, 0]
    answer = api.raw("GET", "gettoken", params={"corpid": CORPID, "corpsecret": api.secret}).json()
    assert answer["errcode"] == 45009
    sandbox.advance(61)
    assert token()


def test_limits_can_be_switched_off(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"company_per_minute": 1, "member_per_minute": 1, "limits_enabled": False})

    assert [api.send()["errcode"] for _ in range(3)] == [0, 0, 0]
    assert len(sandbox.messages(CORPID, "lilei")) == 3


def test_the_app_s_day(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}", {"account_limit": 1})
    sandbox.control("PATCH", "settings", {"daily_messages_per_account": 3})

    assert [api.send("lilei|hanmeimei")["errcode"], api.send("lilei|hanmeimei")["errcode"]] == [0, 45009]
    assert api.send("lilei")["errcode"] == 0
