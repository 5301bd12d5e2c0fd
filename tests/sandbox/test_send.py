"""message/send: its recipients, who is named in the answer, duplicates, and limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.direct import DirectApi


def test_valid_recipients_get_it_and_invalid_ones_are_told_in_small_letters(direct: DirectApi) -> None:
    answer = direct.send("LILEI| Ghost |jim", toparty="3 | 4|x", totag="1|9")

    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")
    assert (answer["invaliduser"], answer["invalidparty"], answer["invalidtag"]) == ("ghost|jim", "4|x", "9")
    [message] = direct.messages("lilei")
    assert (message["msgid"], message["text"]) == (answer["msgid"], {"content": "hello"})
    direct.send("@all", toparty="4")
    assert direct.receivers() == [["lilei", "hanmeimei"]] * 2
    assert direct.messages("jim") == []


def test_nobody_valid(direct: DirectApi) -> None:
    answer = direct.send("Ghost", toparty="4")

    assert (answer["errcode"], answer["invaliduser"], answer["invalidparty"]) == (81013, "ghost", "4")
    assert "msgid" not in answer
    assert direct.receivers() == []


@pytest.mark.parametrize(
    "named", [{"toparty": "5"}, {"totag": "2"}, {"totag": "3"}, {"touser": "ghost", "toparty": "5"}, {"toparty": "6"}]
)
def test_a_department_or_a_tag_of_the_scope_is_valid_even_where_nobody_is(
    direct: DirectApi, named: dict[str, str]
) -> None:
    direct.change(
        "departments", {"id": 5, "name": "新部门", "parentid": 2}, {"id": 6, "name": "停用部门", "parentid": 2}
    )
    direct.change("members", {"userid": "off", "name": "停", "department": [6], "status": 2})
    gone = {"tagid": 3, "tagname": "离职者", "userids": ["gone"], "partyids": [5]}
    direct.change("tags", {"tagid": 2, "tagname": "空"}, gone)

    answer = direct.send(**{"touser": "", **named})

    assert (answer["errcode"], bool(answer["msgid"])) == (0, True)
    assert (answer["invalidparty"], answer["invalidtag"]) == ("", "")
    assert direct.receivers() == [[]]


def test_a_tag_that_holds_nobody_of_the_scope_is_not_permitted(direct: DirectApi) -> None:
    direct.change("departments", {"id": 5, "name": "出纳", "parentid": 4})
    direct.change("tags", {"tagid": 2, "tagname": "财务", "userids": ["jim"], "partyids": [5]})

    for totag, touser, errcode in (("2", "", 81013), ("2|1", "lilei", 0)):
        answer = direct.send(touser, totag=totag)
        assert (answer["errcode"], answer["invalidtag"]) == (errcode, "2")
    assert direct.receivers() == [["lilei", "hanmeimei"]]


@pytest.mark.parametrize(("scope", "errcode"), [({}, 81013), ({"partyids": [5]}, 0)])
def test_everybody_of_a_scope_that_is_empty(direct: DirectApi, scope: dict[str, list[int]], errcode: int) -> None:
    direct.change("departments", {"id": 5, "name": "新部门", "parentid": 2})
    direct.change_app(scope=scope)

    assert direct.send("@all")["errcode"] == errcode


def test_a_thousand_recipients_are_not_too_many(direct: DirectApi) -> None:
    users = "|".join(["lilei", *(f"u{number}" for number in range(999))])

    assert len(direct.send(users)["invaliduser"].split("|")) == 999


def test_members_without_a_licence_and_disabled_ones(direct: DirectApi) -> None:
    direct.change("members", {"userid": "lilei", "unlicensed": True})

    answers = [direct.send("LiLei|hanmeimei|ghost"), direct.send("LiLei")]

    assert [(answer["errcode"], answer["unlicenseduser"]) for answer in answers] == [(0, "lilei")] * 2
    assert answers[0]["invaliduser"] == "ghost"
    assert direct.messages("lilei") == []
    direct.change("members", {"userid": "lilei", "status": 2})
    assert direct.send("lilei|hanmeimei")["invaliduser"] == "lilei"


def test_the_identical_request_is_delivered_once(direct: DirectApi) -> None:
    for seconds in (60, 60, 61):
        direct.send(enable_duplicate_check=1, duplicate_check_interval=seconds)
    assert direct.send(enable_duplicate_check=1, duplicate_check_interval=60) == {"errcode": 0, "errmsg": "ok"}
    direct.advance(60)
    direct.send(enable_duplicate_check=1, duplicate_check_interval=60)
    direct.send()
    direct.send()

    assert len(direct.messages("lilei")) == 5


def test_a_refused_request_is_not_the_first_of_two(direct: DirectApi) -> None:
    direct.world.settings.daily_messages_per_account = 0
    assert direct.send(enable_duplicate_check=1)["errcode"] == 45009
    direct.world.settings.daily_messages_per_account = 200

    assert direct.send(enable_duplicate_check=1)["msgid"]


def test_the_interval_is_at_most_four_hours(direct: DirectApi) -> None:
    values: dict[str, Any] = {"enable_duplicate_check": 1, "duplicate_check_interval": 14_400}
    for seconds in (14_200, 200, 0):
        direct.send(**values)
        direct.advance(seconds)

    assert len(direct.messages("lilei")) == 2


def test_above_thirty_a_minute_a_member_gets_nothing_and_nobody_is_told(direct: DirectApi) -> None:
    for number in range(31):
        assert direct.send("lilei|hanmeimei" if number < 2 else "lilei")["errcode"] == 0
    late = direct.send("lilei|hanmeimei")

    assert late["invaliduser"] == ""
    assert (len(direct.messages("lilei")), len(direct.messages("hanmeimei"))) == (30, 3)
    last = direct.world.mail.messages[late["msgid"]]
    assert (last.receivers, last.dropped) == (("hanmeimei",), ("lilei",))
    direct.advance(60)
    direct.send()
    assert len(direct.messages("lilei")) == 31


def test_above_a_thousand_an_hour_too(direct: DirectApi) -> None:
    direct.world.settings.change({"member_per_minute": 5, "member_per_hour": 7})
    for number in range(10):
        direct.advance(61 if number == 5 else 0)
        direct.send()

    assert len(direct.messages("lilei")) == 7


def test_the_app_s_day(direct: DirectApi) -> None:
    direct.company.account_limit = 1
    direct.world.settings.daily_messages_per_account = 3

    assert [direct.send(one)["errcode"] for one in ("lilei|hanmeimei", "lilei|hanmeimei", "lilei")] == [0, 45009, 0]
