"""Reading the directory as an app and as the sync assistant; what a seed may not hold."""

from __future__ import annotations

import pytest
from wecom_sandbox.state import administration

from tests.sandbox.direct import CONTACTS, DirectApi
from tests.sandbox_process import CORPID, SandboxHandle, company


def test_an_older_app_sees_personal_details(direct: DirectApi) -> None:
    direct.change_app(created_after_2022_06_20=False)

    member = direct("user/get", {"userid": "lilei"})

    assert (member["mobile"], member["gender"]) == ("13000000001", "0")


def test_what_lies_outside_the_scope_is_not_shown(direct: DirectApi) -> None:
    assert direct("user/get", {"userid": "hanmeimei"})["department"] == [3]
    found = [(row["id"], row["parentid"]) for row in direct("department/list")["department"]]
    assert found == [(2, 1), (3, 2)]
    direct.change_app(scope={"userids": ["JIM"], "tagids": [1]})
    assert [direct.errcode("user/get", {"userid": one}) for one in ("jim", "lilei", "hanmeimei")] == [0, 0, 0]
    assert [row["id"] for row in direct("department/list")["department"]] == [3]


@pytest.mark.parametrize(("is_honoured", "userids"), [(False, ["LiLei"]), (True, ["LiLei", "hanmeimei"])])
def test_lists_hold_direct_members_unless_fetch_child_is_honoured(
    direct: DirectApi, is_honoured: bool, userids: list[str]
) -> None:
    direct.world.settings.fetch_child_honoured = is_honoured

    rows = direct("user/list", {"department_id": 2, "fetch_child": 1})["userlist"]

    assert [row["userid"] for row in rows] == userids


def test_the_sync_assistant_lists_ids_page_by_page(direct: DirectApi) -> None:
    direct.secret = CONTACTS
    first = direct("user/list_id", {"limit": 3})
    second = direct("user/list_id", {"limit": 3, "cursor": first["next_cursor"]})

    assert first["dept_user"] == [
        {"userid": "LiLei", "department": 2},
        {"userid": "hanmeimei", "department": 3},
        {"userid": "hanmeimei", "department": 4},
    ]
    assert (second["dept_user"], second["next_cursor"]) == ([{"userid": "jim", "department": 4}], "")
    for userid in ("jim", "hanmeimei"):
        administration.remove_member(direct.world, direct.company, userid)
    assert direct.errcode("user/list_id", {"cursor": first["next_cursor"]}) == 50100


@pytest.mark.parametrize("cursor", ["nonsense", "sim-2", "2", "2-", "2-00000000000000000000000000000000", "another's"])
def test_an_invented_cursor_and_another_company_s_are_told(direct: DirectApi, cursor: str) -> None:
    direct.secret = CONTACTS
    if cursor == "another's":
        cursor = str(direct("user/list_id", {"limit": 3})["next_cursor"])
        direct.company.corpid = "ww0000000000000002"

    assert direct.errcode("user/list_id", {"cursor": cursor}) == 50100


def test_details_are_open_to_the_sync_assistant_at_an_old_address(direct: DirectApi) -> None:
    direct.secret = CONTACTS
    assert len(direct("department/simplelist")["department_id"]) == 4

    direct.company.contacts_old_ips = ["127.0.0.1"]

    assert direct("user/get", {"userid": "jim"})["email"] == ""


def test_members_move_and_leave(direct: DirectApi) -> None:
    direct.change("members", {"userid": "jim", "department": [3]}, {"userid": "Lucy", "name": "Lucy"})
    administration.remove_member(direct.world, direct.company, "LILEI")

    assert direct("user/get", {"userid": "jim"})["name"] == "Jim"
    assert direct.errcode("user/get", {"userid": "lilei"}) == 60111
    listed = direct("user/simplelist", {"department_id": 3})["userlist"]
    assert [row["userid"] for row in listed] == ["hanmeimei", "jim"]


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

    assert (response.status_code, complaint in response.json()["error"]) == (400, True)
    assert len(sandbox.control("GET", f"companies/{CORPID}")["members"]) == 3
