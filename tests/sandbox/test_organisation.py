"""The directory-sync assistant changes departments and members: what WeCom's directory cannot hold is refused."""

from __future__ import annotations

from typing import Any

import pytest
from wecom_sandbox.state.directory import BrokenRule, Department, Directory

from tests.sandbox.conftest import Api
from tests.sandbox_process import CORPID, SandboxHandle

MOST_ID = 2**31 - 1


LUCY: dict[str, Any] = {"userid": "Lucy", "name": "Lucy", "department": [2], "mobile": "13000000009"}


def create(contacts: Api, name: str, parentid: object = 1, **values: object) -> dict[str, Any]:
    return contacts.post("department/create", {"name": name, "parentid": parentid, **values})


def test_the_sync_assistant_changes_the_directory(contacts: Api, api: Api) -> None:
    assert create(contacts, "研发部", 2, id=7) == {"errcode": 0, "errmsg": "created", "id": 7}
    assert contacts.post("department/update", {"id": 7, "name": "开发部"}) == {"errcode": 0, "errmsg": "updated"}
    assert contacts.post("user/create", LUCY | {"department": [7]})["errmsg"] == "created"
    assert contacts.post("user/update", {"userid": "lucy", "name": "露西"})["errmsg"] == "updated"
    assert contacts.get("department/delete", id=7)["errcode"] == 60005

    assert api.get("user/get", userid="lucy")["name"] == "露西"
    assert api.get("department/get", id=7)["department"]["name"] == "开发部"
    assert contacts.get("user/delete", userid="lucy") == {"errcode": 0, "errmsg": "deleted"}
    assert contacts.get("department/delete", id=7) == {"errcode": 0, "errmsg": "deleted"}


def test_a_department_without_an_id_gets_the_next_one(contacts: Api) -> None:
    assert create(contacts, "一")["id"] == 5
    assert create(contacts, "二", "2")["id"] == 6
    assert create(contacts, "末", id=MOST_ID)["id"] == MOST_ID
    assert create(contacts, "三")["id"] == 7


def test_the_warning_about_the_json_follows_what_was_done(contacts: Api) -> None:
    body = '{"name": "研发部", "parentid": 2, "id": 7} rubbish'.encode()

    assert contacts.post("department/create", body)["errmsg"] == "created. Warning: wrong json format. "
    assert contacts.post("department/update", b'{"id": 7, "order": 3} x')["errmsg"].startswith("updated. Warning")


@pytest.mark.parametrize(
    ("path", "document", "errcode"),
    [
        ("user/create", {"userid": "LILEI", "name": "x"}, 60102),
        ("user/create", {"userid": "-", "name": "x"}, 40003),
        ("user/create", LUCY | {"department": [99]}, 60123),
        ("user/update", {"userid": "ghost"}, 60111),
        ("department/create", {"parentid": 1, "id": 2, "name": "x"}, 60008),
        ("department/create", {"parentid": 1, "id": 1, "name": "x"}, 60008),
        ("department/create", {"parentid": 1, "id": 0, "name": "x"}, 60123),
        ("department/create", {"parentid": 1, "id": -5, "name": "x"}, 60123),
        ("department/create", {"parentid": 1, "id": 2**31, "name": "x"}, 60123),
        ("department/create", {"parentid": 1, "id": "x", "name": "x"}, 40058),
        ("department/create", {"parentid": 1, "name": ""}, 60001),
        ("department/create", {"parentid": 1, "name": "部" * 33}, 60001),
        ("department/create", {"parentid": 1, "name": "销售部"}, 60008),
        ("department/create", {"parentid": 99, "name": "x"}, 60004),
        ("department/create", {"name": "x"}, 60004),
        ("department/create", {"parentid": 1, "name": "x", "order": -1}, 40058),
        ("department/create", {"parentid": 1, "name": "x", "order": 2**32}, 40058),
        ("department/update", {"id": 99}, 60003),
        ("department/update", {"name": "x"}, 60003),
        ("department/update", {"id": 2, "parentid": 3}, 60010),
        ("department/update", {"id": 2, "parentid": 2}, 60010),
        ("department/update", {"id": 2, "parentid": 99}, 60004),
        ("department/update", {"id": 4, "name": "销售部"}, 60008),
        ("department/update", {"id": 2, "name": ""}, 60001),
        ("department/update", {"id": 1, "name": ""}, 60001),
    ],
)
def test_refused_changes(contacts: Api, path: str, document: dict[str, Any], errcode: int) -> None:
    before = contacts.get("department/simplelist")

    assert contacts.post(path, document)["errcode"] == errcode
    assert contacts.get("department/simplelist") == before


@pytest.mark.parametrize("character", list('\\:*?"<>|') + ["\n", "\x00"])
def test_characters_that_no_name_may_hold(contacts: Api, character: str) -> None:
    assert create(contacts, f"研发{character}部")["errcode"] == 60009


def test_names_at_their_limits(contacts: Api) -> None:
    assert create(contacts, "部" * 32)["errcode"] == 0
    assert create(contacts, "a b/c（d）")["errcode"] == 0
    assert create(contacts, "销售部", 4)["errcode"] == 0


def test_the_root_may_take_another_name(contacts: Api) -> None:
    assert contacts.post("department/update", {"id": 1, "name": "北山集团", "parentid": 4})["errcode"] == 0
    root = contacts.get("department/get", id=1)["department"]
    assert (root["name"], root["parentid"]) == ("北山集团", 0)


def test_a_name_is_free_again_when_its_department_took_another_or_went(contacts: Api) -> None:
    assert contacts.post("department/update", {"id": 4, "name": "资金部"})["errcode"] == 0
    assert create(contacts, "财务部")["id"] == 5
    assert contacts.get("department/delete", id=5)["errcode"] == 0
    assert create(contacts, "财务部")["errcode"] == 0


@pytest.mark.parametrize(("number", "errcode"), [("1", 60007), ("2", 60005), ("99", 60003), ("x", 60003), ("", 60003)])
def test_departments_that_stay(contacts: Api, number: str, errcode: int) -> None:
    assert contacts.get("department/delete", id=number)["errcode"] == errcode


def test_a_department_with_others_below_stays(contacts: Api) -> None:
    create(contacts, "外", 4, id=9)
    create(contacts, "内", 9)

    assert contacts.get("department/delete", id=9)["errcode"] == 60006


def test_there_are_fifteen_levels(contacts: Api) -> None:
    """The root is the first one."""
    parent = 1
    for level in range(2, 16):
        parent = create(contacts, f"第{level}层", parent)["id"]

    assert create(contacts, "第16层", parent)["errcode"] == 81002
    assert contacts.post("department/update", {"id": 2, "parentid": parent})["errcode"] == 81002
    above = contacts.get("department/get", id=parent)["department"]["parentid"]
    assert contacts.post("department/update", {"id": 4, "parentid": above})["errcode"] == 0
    assert contacts.post("department/update", {"id": 2, "parentid": above})["errcode"] == 81002


def test_thirty_thousand_departments_are_the_most() -> None:
    directory = Directory()
    directory.put_department(Department(id=1, name="北山制造"))
    for number in range(2, 30_001):
        directory.put_department(Department(id=number, name=f"部门{number}"))

    with pytest.raises(BrokenRule) as caught:
        directory.put_department(Department(id=30_001, name="多"))
    assert caught.value.code == 81001
    directory.put_department(Department(id=30_000, name="改名"))


def test_the_console_keeps_the_same_rules(sandbox: SandboxHandle) -> None:
    url = f"{sandbox.base_url}/sandbox/api/companies/{CORPID}/departments"

    answer = sandbox.session.post(url, json=[{"id": 9, "name": "a|b"}], timeout=60)

    assert answer.status_code == 400
    assert answer.json()["error"] == 'the name of department 9 must hold no \\ : * ? " < > |'
