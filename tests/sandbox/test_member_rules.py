"""What user/create and user/update refuse, by WeCom's table of errors; another id for a member."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

LUCY: dict[str, Any] = {"userid": "Lucy", "name": "Lucy", "department": [2], "mobile": "13000000009"}
PROFILE: dict[str, Any] = {
    "external_corp_name": "北山",
    "external_attr": [{"type": 0, "name": "分机", "text": {"value": "801"}}],
}


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"name": None}, 60112),
        ({"name": ""}, 60112),
        ({"name": "字" * 65}, 60112),
        ({"department": None}, 60127),
        ({"department": []}, 60127),
        ({"department": 2}, 40066),
        ({"department": [99]}, 60123),
        ({"department": [2] * 21}, 60110),
        ({"is_leader_in_dept": [1, 0]}, 60132),
        ({"order": [1, 0]}, 40058),
        ({"mobile": None}, 60129),
        ({"mobile": "", "email": ""}, 60129),
        ({"mobile": "138x"}, 60103),
        ({"mobile": "1" * 33}, 60103),
        ({"mobile": "13000000001"}, 60104),
        ({"mobile": "+86 13000000001"}, 60104),
        ({"mobile": "+8613000000001"}, 60104),
        ({"email": "lucy"}, 60105),
        ({"email": f"{'l' * 60}@a.cn"}, 60105),
        ({"email": "HAN@example.com"}, 60106),
        ({"biz_mail": "lucy"}, 60143),
        ({"alias": "字" * 33}, 40058),
        ({"position": "字" * 129}, 40058),
        ({"telephone": "0755x"}, 40058),
        ({"external_position": "字" * 13}, 40058),
        ({"external_profile": "x"}, 40058),
        ({"main_department": "2x"}, 40058),
    ],
)
def test_refused_members(contacts: Api, values: dict[str, Any], errcode: int) -> None:
    body = {name: value for name, value in (LUCY | values).items() if value is not None}

    assert contacts.post("user/create", body)["errcode"] == errcode
    assert contacts.post("user/update", {"userid": "Lucy"})["errcode"] == 60111


@pytest.mark.parametrize(
    "values",
    [
        {"name": "字" * 64},
        {"mobile": "+86 13000000009"},
        {"mobile": "", "email": "lucy@example.com"},
        {"email": f"{'l' * 59}@a.cn"},
        {"telephone": "0755-1,2"},
        {"department": [2, 4], "order": [1, 2], "is_leader_in_dept": [0, 1]},
    ],
)
def test_members_at_the_limits(contacts: Api, values: dict[str, Any]) -> None:
    assert contacts.post("user/create", LUCY | values) == {"errcode": 0, "errmsg": "created"}


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"name": ""}, 60112),
        ({"department": []}, 60127),
        ({"mobile": ""}, 60129),
        ({"mobile": "13000000001"}, 60104),
        ({"mobile": "x"}, 60103),
        ({"email": "x"}, 60105),
        ({"email": "han@example.com"}, 60106),
        ({"biz_mail": "biz@example.com"}, 60145),
        ({"is_leader_in_dept": [1, 0], "department": [2]}, 60132),
        ({"new_userid": "lilei"}, 60102),
        ({"new_userid": "!"}, 40003),
    ],
)
def test_refused_changes_of_a_member(
    contacts: Api, sandbox: SandboxHandle, values: dict[str, Any], errcode: int
) -> None:
    contacts.post("user/create", LUCY)
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "jim", "biz_mail": "biz@example.com"}])
    before = sandbox.control("GET", f"companies/{CORPID}")["members"]

    assert contacts.post("user/update", {"userid": "lucy", **values})["errcode"] == errcode
    assert sandbox.control("GET", f"companies/{CORPID}")["members"] == before


def test_a_member_without_mobile_and_email_may_get_another_name(contacts: Api, sandbox: SandboxHandle) -> None:
    assert contacts.post("user/update", {"userid": "jim", "name": "吉姆"})["errcode"] == 0
    assert contacts.post("user/update", {"userid": "lilei", "mobile": "13000000001"})["errcode"] == 0


def test_the_mobile_of_somebody_active_stays(contacts: Api, sandbox: SandboxHandle) -> None:
    contacts.post("user/create", LUCY)

    assert contacts.post("user/update", {"userid": "lilei", "mobile": "13000000007", "name": "李磊"})["errcode"] == 0
    assert contacts.post("user/update", {"userid": "lilei", "mobile": "x"})["errcode"] == 0
    assert contacts.post("user/update", {"userid": "lucy", "mobile": "13000000008"})["errcode"] == 0

    found = {row["userid"]: row for row in sandbox.control("GET", f"companies/{CORPID}")["members"]}
    assert (found["LiLei"]["mobile"], found["LiLei"]["name"]) == ("13000000001", "李磊")
    assert found["Lucy"]["mobile"] == "13000000008"


def test_a_member_gets_another_id(contacts: Api, api: Api, sandbox: SandboxHandle) -> None:
    api.send("lilei")

    answer = contacts.post("user/update", {"userid": "LILEI", "new_userid": "Lei.Li", "name": "李磊"})

    assert answer == {"errcode": 0, "errmsg": "updated"}
    assert api.get("user/get", userid="lilei")["errcode"] == 60111
    assert api.get("user/get", userid="lei.li")["name"] == "李磊"
    assert len(sandbox.messages(CORPID, "lei.li")) == 1


def test_an_id_changes_only_once(contacts: Api, api: Api) -> None:
    contacts.post("user/update", {"userid": "lilei", "new_userid": "lei.li"})

    assert contacts.post("user/update", {"userid": "lei.li", "new_userid": "lei"})["errcode"] == 40003
    assert contacts.post("user/update", {"userid": "lei.li", "name": "李磊"})["errcode"] == 0
    assert api.get("user/get", userid="lei.li")["name"] == "李磊"


def test_the_letters_of_an_id_may_change(contacts: Api, api: Api) -> None:
    assert contacts.post("user/update", {"userid": "lilei", "new_userid": "lilei"})["errcode"] == 0

    assert api.get("user/get", userid="LILEI")["userid"] == "lilei"


def test_what_customers_see_of_a_member(contacts: Api, api: Api) -> None:
    contacts.post("user/create", LUCY | {"external_position": "顾问", "external_profile": PROFILE})

    member = api.get("user/get", userid="lucy")

    assert (member["external_position"], member["external_profile"]) == ("顾问", PROFILE)
    assert "external_position" not in api.get("user/get", userid="lilei")
    assert api.get("agent/get", agentid=AGENTID)["errcode"] == 0
