"""Reading the directory: what an app sees, what the sync assistant sees."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

APP = f"companies/{CORPID}/apps/{AGENTID}"


def test_a_member_as_a_new_app_sees_it(api: Api) -> None:
    assert api.get("user/get", userid="LILEI") == {
        "errcode": 0,
        "errmsg": "ok",
        "userid": "LiLei",
        "name": "李雷",
        "department": [2],
        "order": [0],
        "position": "经理",
        "is_leader_in_dept": [0],
        "direct_leader": [],
        "telephone": "",
        "alias": "",
        "status": 1,
        "enable": 1,
        "main_department": 2,
        "extattr": {"attrs": []},
    }


def test_an_older_app_sees_personal_details(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", APP, {"created_after_2022_06_20": False})

    member = api.get("user/get", userid="lilei")

    assert member["mobile"] == "13000000001"
    assert member["gender"] == "0"


def test_only_visible_departments_of_a_member_are_shown(api: Api) -> None:
    assert api.get("user/get", userid="hanmeimei")["department"] == [3]


@pytest.mark.parametrize(("userid", "errcode"), [("", 41009), ("!x", 40003), ("ghost", 60111), ("jim", 60011)])
def test_user_get_refusals(api: Api, userid: str, errcode: int) -> None:
    assert api.get("user/get", userid=userid)["errcode"] == errcode


def test_lists_hold_direct_members_only(api: Api) -> None:
    assert api.get("user/simplelist", department_id=2)["userlist"] == [
        {"userid": "LiLei", "name": "李雷", "department": [2]}
    ]
    assert [row["userid"] for row in api.get("user/list", department_id=2, fetch_child=1)["userlist"]] == ["LiLei"]


def test_fetch_child_can_be_honoured(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"fetch_child_honoured": True})

    rows = api.get("user/list", department_id=2, fetch_child=1)["userlist"]

    assert [row["userid"] for row in rows] == ["LiLei", "hanmeimei"]


@pytest.mark.parametrize(("number", "errcode"), [("4", 60011), ("99", 60003), ("x", 60003)])
def test_departments_that_are_not_seen(api: Api, number: str, errcode: int) -> None:
    answer = api.get("user/simplelist", department_id=number)

    assert (answer["errcode"], answer["userlist"]) == (errcode, [])
    assert api.get("department/list", id=number)["errcode"] == errcode
    assert api.get("department/get", id=number)["errcode"] == errcode


def test_departments_of_the_scope(api: Api) -> None:
    assert [(row["id"], row["parentid"]) for row in api.get("department/list")["department"]] == [(2, 1), (3, 2)]
    assert api.get("department/simplelist", id=3)["department_id"] == [{"id": 3, "parentid": 2, "order": 0}]
    assert api.get("department/get", id=2)["department"]["name"] == "销售部"


def test_scope_of_members_and_tags(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", APP, {"scope": {"userids": ["JIM"], "tagids": [1]}})

    assert api.get("user/get", userid="jim")["errcode"] == 0
    assert api.get("user/get", userid="lilei")["errcode"] == 0
    assert [row["id"] for row in api.get("department/list")["department"]] == [3]


def test_the_sync_assistant_lists_ids_page_by_page(contacts: Api) -> None:
    first = contacts.post("user/list_id", {"limit": 3})
    second = contacts.post("user/list_id", {"limit": 3, "cursor": first["next_cursor"]})

    assert first["dept_user"] == [
        {"userid": "LiLei", "department": 2},
        {"userid": "hanmeimei", "department": 3},
        {"userid": "hanmeimei", "department": 4},
    ]
    assert (second["dept_user"], second["next_cursor"]) == ([{"userid": "jim", "department": 4}], "")


@pytest.mark.parametrize("cursor", ["nonsense", "sim-2", "2", "2-", "2-00000000000000000000000000000000"])
def test_an_invented_cursor_is_told(contacts: Api, cursor: str) -> None:
    assert contacts.post("user/list_id", {"cursor": cursor})["errcode"] == 50100


def test_a_cursor_is_of_no_use_to_another_company(contacts: Api, sandbox: SandboxHandle) -> None:
    cursor = contacts.post("user/list_id", {"limit": 3})["next_cursor"]
    sandbox.control("POST", "companies", company(corpid="ww0000000000000002"))
    other = Api(sandbox, "ww0000000000000002", contacts.secret)

    assert other.post("user/list_id", {"limit": 3, "cursor": cursor})["errcode"] == 50100
    assert other.post("user/list_id", {"limit": 3})["errcode"] == 0


def test_a_cursor_beyond_the_end_is_told(contacts: Api, sandbox: SandboxHandle) -> None:
    cursor = contacts.post("user/list_id", {"limit": 3})["next_cursor"]
    for userid in ("jim", "hanmeimei"):
        sandbox.control("DELETE", f"companies/{CORPID}/members/{userid}", {})

    assert contacts.post("user/list_id", {"cursor": cursor})["errcode"] == 50100


def test_rights_of_the_two_kinds_of_secret(api: Api, contacts: Api) -> None:
    assert api.post("user/list_id", {})["errcode"] == 48002
    assert contacts.post("message/send", {"agentid": AGENTID})["errcode"] == 48002
    assert contacts.get("agent/get", agentid=AGENTID)["errcode"] == 48002


def test_details_are_closed_to_the_sync_assistant_at_a_new_address(contacts: Api, sandbox: SandboxHandle) -> None:
    assert contacts.get("user/get", userid="jim")["errcode"] == 48009
    assert contacts.get("department/list")["errcode"] == 48009
    assert len(contacts.get("department/simplelist")["department_id"]) == 4

    sandbox.control("PATCH", f"companies/{CORPID}", {"contacts_old_ips": ["127.0.0.1"]})

    assert contacts.get("user/get", userid="jim")["email"] == ""


def test_people_by_mobile_and_mail(api: Api) -> None:
    assert api.post("user/getuserid", {"mobile": "13000000001"})["userid"] == "LiLei"
    assert api.post("user/get_userid_by_email", {"email": "HAN@example.com", "email_type": 2})["userid"] == "hanmeimei"
    assert api.post("user/get_userid_by_email", {"email": "han@example.com", "email_type": 1})["errcode"] == 46004
    assert api.post("user/getuserid", {"mobile": "1"})["errcode"] == 46004


def test_too_many_wrong_numbers_block_the_call_for_a_day(api: Api, sandbox: SandboxHandle) -> None:
    codes = [api.post("user/getuserid", {"mobile": number})["errcode"] for number in ("1", "2", "13000000001")]
    sandbox.advance(24 * 3600)

    assert codes == [46004, 46004, 45009]
    assert api.post("user/getuserid", {"mobile": "13000000001"})["errcode"] == 0


def test_tags(api: Api) -> None:
    assert api.get("tag/get", tagid=1) == {
        "errcode": 0,
        "errmsg": "ok",
        "tagname": "值班",
        "userlist": [{"userid": "LiLei", "name": "李雷"}],
        "partylist": [3],
    }
    assert api.get("tag/get", tagid=9)["errcode"] == 40068


def test_members_move_and_leave(api: Api, sandbox: SandboxHandle) -> None:
    people = f"companies/{CORPID}/members"
    sandbox.control("POST", people, [{"userid": "jim", "department": [3]}, {"userid": "Lucy", "name": "Lucy"}])
    sandbox.control("DELETE", f"{people}/LILEI")

    assert api.get("user/get", userid="jim")["name"] == "Jim"
    assert api.get("user/get", userid="lilei")["errcode"] == 60111
    assert [row["userid"] for row in api.get("user/simplelist", department_id=3)["userlist"]] == ["hanmeimei", "jim"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"nickname": "x"}, "company has no nickname"),
        ({"members": [{"userid": "a", "name": "A", "department": [77]}]}, "unknown departments [77]"),
        ({"members": [{"userid": "-a", "name": "A"}]}, "userid '-a'"),
        ({"members": [{"userid": "a", "name": 1}]}, "member a.name must be of type str"),
        ({"apps": [{"agentid": 1, "name": "x", "scope": {"party": [1]}}]}, "app 1.scope has no party"),
        ({"departments": [{"id": 5, "name": "x", "parentid": 6}]}, "departments [5] hang on unknown parents"),
        ({"corpid": "xx1"}, "corpid must be ww"),
    ],
)
def test_a_slip_in_a_seed_is_told_and_nothing_changes(
    sandbox: SandboxHandle, change: dict[str, object], complaint: str
) -> None:
    response = sandbox.session.put(
        f"{sandbox.base_url}/sandbox/api/state", json={"companies": [company(**change)]}, timeout=60
    )

    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert len(sandbox.control("GET", f"companies/{CORPID}")["members"]) == 3
