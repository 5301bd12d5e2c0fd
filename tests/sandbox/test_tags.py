"""Tags: who may make and change them, who carries them, and what that does to scopes and events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


def create(api: Api, name: str = "乒乓球", **values: object) -> dict[str, Any]:
    return api.post("tag/create", {"tagname": name, **values})


def test_an_app_makes_changes_and_deletes_its_tag(api: Api) -> None:
    assert create(api) == {"errcode": 0, "errmsg": "created", "tagid": 2}
    assert create(api, "羽毛球", tagid=12)["tagid"] == 12
    assert create(api, "网球")["tagid"] == 13
    assert api.post("tag/update", {"tagid": 2, "tagname": "台球"}) == {"errcode": 0, "errmsg": "updated"}
    assert api.get("tag/delete", tagid=12) == {"errcode": 0, "errmsg": "deleted"}

    assert [(row["tagid"], row["tagname"]) for row in api.get("tag/list")["taglist"]] == [
        (1, "值班"),
        (2, "台球"),
        (13, "网球"),
    ]


def test_people_are_tagged_and_untagged(api: Api) -> None:
    create(api, tagid=12)

    added = api.post("tag/addtagusers", {"tagid": 12, "userlist": ["LILEI", "hanmeimei"], "partylist": [3]})
    api.post("tag/addtagusers", {"tagid": 12, "userlist": ["lilei"], "partylist": [3]})
    tag = api.get("tag/get", tagid=12)

    assert added == {"errcode": 0, "errmsg": "ok"}
    assert [row["userid"] for row in tag["userlist"]] == ["LiLei", "hanmeimei"]
    assert (tag["tagname"], tag["partylist"]) == ("乒乓球", [3])
    removed = api.post("tag/deltagusers", {"tagid": 12, "userlist": ["lilei"], "partylist": [3]})
    assert removed == {"errcode": 0, "errmsg": "deleted"}
    left = api.get("tag/get", tagid=12)
    assert ([row["userid"] for row in left["userlist"]], left["partylist"]) == (["hanmeimei"], [])


@pytest.mark.parametrize(("path", "errmsg"), [("tag/addtagusers", "ok"), ("tag/deltagusers", "deleted")])
def test_what_cannot_be_found_is_named(api: Api, path: str, errmsg: str) -> None:
    """jim and department 4 stand outside the app's scope."""
    create(api, tagid=12)

    answer = api.post(path, {"tagid": 12, "userlist": ["lilei", "ghost", "jim"], "partylist": [3, 4, 99]})

    assert answer == {"errcode": 0, "errmsg": errmsg, "invalidlist": "ghost|jim", "invalidparty": [4, 99]}


@pytest.mark.parametrize(
    ("path", "values", "errcode"),
    [
        ("tag/create", {}, 41018),
        ("tag/create", {"tagname": ""}, 41018),
        ("tag/create", {"tagname": "字" * 33}, 40072),
        ("tag/create", {"tagname": "值班"}, 40071),
        ("tag/create", {"tagname": "新", "tagid": 1}, 40068),
        ("tag/create", {"tagname": "新", "tagid": -1}, 40068),
        ("tag/create", {"tagname": "新", "tagid": 2**31}, 40068),
        ("tag/update", {"tagname": "新"}, 41017),
        ("tag/update", {"tagid": 99, "tagname": "新"}, 40068),
        ("tag/update", {"tagid": 1, "tagname": "新"}, 81011),
        ("tag/update", {"tagid": 12, "tagname": "值班"}, 40071),
        ("tag/update", {"tagid": 12}, 41018),
        ("tag/addtagusers", {"tagid": 1, "userlist": ["lilei"]}, 81011),
        ("tag/addtagusers", {"tagid": 12}, 40035),
        ("tag/addtagusers", {"tagid": 12, "userlist": "lilei|jim"}, 40035),
        ("tag/addtagusers", {"tagid": 12, "partylist": ["3"]}, 40035),
        ("tag/addtagusers", {"tagid": 12, "userlist": ["u"] * 1001}, 40035),
        ("tag/addtagusers", {"tagid": 12, "partylist": [3] * 101}, 40035),
        ("tag/addtagusers", {"tagid": 12, "userlist": ["ghost"], "partylist": [4]}, 40070),
        ("tag/deltagusers", {"tagid": 12, "userlist": ["ghost"]}, 40031),
        ("tag/deltagusers", {"userlist": ["lilei"]}, 41017),
    ],
)
def test_refused_tags(api: Api, path: str, values: dict[str, Any], errcode: int) -> None:
    create(api, tagid=12)
    before = api.get("tag/list"), api.get("tag/get", tagid=12)

    assert api.post(path, values)["errcode"] == errcode
    assert (api.get("tag/list"), api.get("tag/get", tagid=12)) == before


def test_each_changes_its_own_tags(api: Api, contacts: Api) -> None:
    """The sync assistant also those of the console."""
    create(api, tagid=12)

    assert contacts.post("tag/update", {"tagid": 12, "tagname": "x"})["errcode"] == 81011
    assert contacts.get("tag/delete", tagid=12)["errcode"] == 81011
    assert contacts.post("tag/update", {"tagid": 1, "tagname": "值日"})["errcode"] == 0
    assert contacts.post("tag/addtagusers", {"tagid": 1, "userlist": ["jim"]})["errcode"] == 0
    assert api.get("tag/delete", tagid=1)["errcode"] == 81011


def test_a_deleted_tag_is_gone_from_the_scope(contacts: Api, api: Api, sandbox: SandboxHandle) -> None:
    app = f"companies/{CORPID}/apps/{AGENTID}"
    sandbox.control("PATCH", app, {"scope": {"partyids": [4], "tagids": [1]}})
    assert api.get("user/get", userid="lilei")["errcode"] == 0

    contacts.get("tag/delete", tagid=1)

    assert api.get("user/get", userid="lilei")["errcode"] == 60011
    assert api.get("agent/get", agentid=AGENTID)["allow_tags"] == {"tagid": []}


def test_whom_a_change_is_told_to(
    contacts: Api, api: Api, sandbox: SandboxHandle, directory_receiver: Receiver
) -> None:
    """The sync assistant hears of an app's changes, not of its own."""
    create(api, tagid=12)
    contacts.post("tag/addtagusers", {"tagid": 1, "userlist": ["jim"]})
    api.post("tag/addtagusers", {"tagid": 12, "userlist": ["lilei"], "partylist": [3]})

    [event] = directory_receiver.wait(1)

    assert (event["ChangeType"], event["TagId"]) == ("update_tag", "12")
    assert (event["AddUserItems"], event["AddPartyItems"]) == ("LiLei", "3")
