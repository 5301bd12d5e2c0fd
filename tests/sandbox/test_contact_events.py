"""Events of directory changes for apps and the sync assistant: subscribe, unsubscribe, change_contact."""

from __future__ import annotations

from tests.sandbox.conftest import Api
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP = f"companies/{CORPID}/apps/{AGENTID}"


def test_scope_changes(sandbox: SandboxHandle, receiver: Receiver) -> None:
    sandbox.control("PATCH", APP, {"scope": {"partyids": [3, 4]}})
    receiver.wait(2)

    received = sorted((str(event["Event"]), str(event["FromUserName"])) for event in receiver.events)
    assert received == [("subscribe", "jim"), ("unsubscribe", "LiLei")]


def test_joining_disabling_and_leaving(sandbox: SandboxHandle, receiver: Receiver) -> None:
    people = f"companies/{CORPID}/members"
    sandbox.control("POST", people, [{"userid": "Lucy", "name": "Lucy", "department": [2]}])
    receiver.wait(1)
    sandbox.control("POST", people, [{"userid": "lilei", "status": 2}])
    receiver.wait(2)
    sandbox.control("DELETE", f"{people}/hanmeimei")

    received = [(str(event["Event"]), str(event["FromUserName"])) for event in receiver.wait(3)]
    assert received == [("subscribe", "Lucy"), ("unsubscribe", "LiLei"), ("unsubscribe", "hanmeimei")]


def test_the_directory_s_changes(sandbox: SandboxHandle, directory_receiver: Receiver) -> None:
    people = f"companies/{CORPID}/members"
    steps = [
        ("POST", people, [{"userid": "Lucy", "name": "Lucy", "department": [2, 3]}]),
        ("POST", people, [{"userid": "lucy", "department": [3], "name": "露西"}]),
        ("POST", f"{people}/lucy/rename", {"userid": "Lucy2"}),
        ("DELETE", f"{people}/Lucy2", {}),
        ("POST", f"companies/{CORPID}/departments", [{"id": 9, "name": "研发部", "parentid": 2}]),
        ("DELETE", f"companies/{CORPID}/departments/9", {}),
        ("POST", f"companies/{CORPID}/tags", [{"tagid": 1, "userids": ["jim"], "partyids": [3]}]),
    ]
    for number, step in enumerate(steps, start=1):
        sandbox.control(*step)
        directory_receiver.wait(number)

    events = [
        {name: value for name, value in event.items() if name not in ("CreateTime", "ToUserName", "MsgType")}
        for event in directory_receiver.events
    ]
    base = {"FromUserName": "sys", "Event": "change_contact"}
    assert events == [
        base | {"ChangeType": "create_user", "UserID": "Lucy", "Department": "2,3"},
        base | {"ChangeType": "update_user", "UserID": "Lucy", "Department": "3"},
        base | {"ChangeType": "update_user", "UserID": "Lucy", "NewUserID": "Lucy2"},
        base | {"ChangeType": "delete_user", "UserID": "Lucy2"},
        base | {"ChangeType": "create_party", "Id": "9", "ParentId": "2"},
        base | {"ChangeType": "delete_party", "Id": "9"},
        base | {"ChangeType": "update_tag", "TagId": "1", "AddUserItems": "jim", "DelUserItems": "LiLei"},
    ]
    assert directory_receiver.agentids == [None] * 7


def test_whoever_leaves_leaves_the_tags_and_scopes(
    api: Api, sandbox: SandboxHandle, directory_receiver: Receiver
) -> None:
    sandbox.control("PATCH", APP, {"scope": {"userids": ["LILEI", "hanmeimei"], "partyids": [4]}})
    sandbox.control("DELETE", f"companies/{CORPID}/members/LiLei")
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "hanmeimei", "department": [2]}])
    sandbox.control("DELETE", f"companies/{CORPID}/departments/3")

    # Several are under way at once, so their order means nothing.
    received = sorted((str(one["ChangeType"]), one.get("DelUserItems")) for one in directory_receiver.wait(4))
    assert received == [("delete_party", None), ("delete_user", None), ("update_tag", "LiLei"), ("update_user", None)]
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "name": "另一个李雷"}])
    company = sandbox.control("GET", f"companies/{CORPID}")
    assert (company["tags"][0]["userids"], company["tags"][0]["partyids"]) == ([], [])
    assert company["apps"][0]["scope"] == {"userids": ["hanmeimei"], "partyids": [4], "tagids": []}
    assert api.get("tag/get", tagid=1)["userlist"] == []


def test_older_callbacks_carry_everything_that_changed_and_apps_may_hear_it(
    sandbox: SandboxHandle, receiver: Receiver, directory_receiver: Receiver
) -> None:
    sandbox.control("PATCH", "settings", {"contact_events_minimal": False, "apps_get_contact_events": True})
    change = {"userid": "jim", "position": "主管", "department": [4, 1]}
    sandbox.control("POST", f"companies/{CORPID}/members", [change])

    event = directory_receiver.wait(1)[0]
    assert (event["Position"], event["Department"], "Name" in event) == ("主管", "4,1", False)
    assert receiver.wait(1)[0]["ChangeType"] == "update_user"
