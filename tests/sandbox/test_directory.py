"""WeCom's directory: what apps and the sync assistant read, its limits, new userids, and the events of its changes."""

import pytest
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.pages.sign_in import Visit, make_code
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import Department, Directory
from wecom_sandbox.state.world import Company, World

from tests.sandbox.conftest import Api
from tests.sandbox.direct import CONTACTS, DirectApi
from tests.sandbox.receiver import Receiver
from tests.sandbox.test_messages import VOTE
from tests.sandbox.test_oauth import PRIVATE, VISIT
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company


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
        ({"members": [{"userid": "a", "name": "A", "department": [77]}]}, "unknown: [77]"),
        ({"members": [{"userid": "-a", "name": "A"}]}, "userid '-a'"),
        ({"members": [{"userid": "a", "name": 1}]}, "member a.name must be of type str"),
        ({"apps": [{"agentid": 1, "name": "x", "scope": {"party": [1]}}]}, "app 1.scope has no party"),
        ({"departments": [{"id": 5, "name": "x", "parentid": 6}]}, "departments [5] have unknown parents"),
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


@pytest.fixture
def place() -> Company:
    return administration.put_company(World(), company())


def put(place: Company, number: int, name: str = "研发部", parentid: int = 1, **values: int) -> None:
    administration.put_departments(World(), place, [{"id": number, "name": name, "parentid": parentid, **values}])


@pytest.mark.parametrize(
    ("number", "name", "parentid", "complaint"),
    [
        (0, "x", 1, "is not between 2 and"),
        (2**31, "x", 1, "is not between 2 and"),
        (9, "", 1, "must have 1 to 32 characters"),
        (9, "部" * 33, 1, "must have 1 to 32 characters"),
        *((9, f"研发{character}部", 1, "must not contain") for character in '\\:*?"<>|\n\x00'),
        (9, "销售部", 1, "has another 销售部 below it"),
        (9, "x", 99, "have unknown parents"),
        (2, "销售部", 3, "cannot be below itself"),
        (2, "销售部", 2, "cannot be below itself"),
    ],
)
def test_refused_departments(place: Company, number: int, name: str, parentid: int, complaint: str) -> None:
    before = administration.make_company_json(place)

    with pytest.raises(ValueError, match=complaint):
        put(place, number, name, parentid)
    assert administration.make_company_json(place) == before


def test_names_at_their_limits_and_names_that_are_free_again(place: Company) -> None:
    put(place, 9, "部" * 32)
    put(place, 10, "a b/c（d）")
    put(place, 11, "销售部", 4)
    put(place, 4, "资金部")
    put(place, 12, "财务部")
    administration.remove_department(World(), place, 12)
    put(place, 13, "财务部")
    put(place, 1, "北山集团", 4)

    assert (place.directory.departments[1].name, place.directory.departments[1].parentid) == ("北山集团", 0)
    with pytest.raises(ValueError, match="order of department 9"):
        put(place, 9, order=2**32)


@pytest.mark.parametrize(
    ("number", "complaint"), [(1, "the root department stays"), (2, "has members"), (9, "has departments below it")]
)
def test_departments_that_stay(place: Company, number: int, complaint: str) -> None:
    put(place, 9)
    put(place, 10, parentid=9)

    with pytest.raises(ValueError, match=complaint):
        administration.remove_department(World(), place, number)


def test_there_are_fifteen_levels_and_thirty_thousand_departments(place: Company) -> None:
    """Count the root as the first level."""
    for level in range(2, 16):
        put(place, 100 + level, parentid=1 if level == 2 else 99 + level)

    with pytest.raises(ValueError, match="would reach below level 15"):
        put(place, 200, parentid=115)
    put(place, 4, "财务部", 114)
    with pytest.raises(ValueError, match="would reach below level 15"):
        put(place, 2, "销售部", 114)

    directory = Directory()
    directory.put_department(Department(id=1, name="北山制造"))
    for number in range(2, 30_001):
        directory.put_department(Department(id=number, name=f"部门{number}"))
    with pytest.raises(ValueError, match="there are 30000 departments already"):
        directory.put_department(Department(id=30_001, name="多"))
    directory.put_department(Department(id=30_000, name="改名"))


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
    clicks.press_button(direct.world, direct.company, member, message, "submit", {"when": ["tue"]})

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
    target = Visit.from_query(VISIT | {"scope": PRIVATE}).check(direct.world, web_login=False)
    code = make_code(direct.world, target, "LiLei")

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
    before = administration.dump_seed(direct.world)

    with pytest.raises(ValueError, match="userid"):
        rename(direct, userid)
    assert administration.dump_seed(direct.world) == before


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
