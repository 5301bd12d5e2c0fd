"""Attendance, approvals and customers: what an app reads of them, and that only an app to which they are open does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.test_oauth import authorize, code_of, hold_phone
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle, company

# 2026-11-02 08:30 in China
MORNING = 1793579400
DAY = 86_400
APP = f"companies/{CORPID}/apps/{AGENTID}"
PERIOD = {"starttime": MORNING - DAY, "endtime": MORNING + DAY, "useridlist": ["LILEI", "jim"]}
CONTENTS = [{"control": "Text", "id": "Text-1", "value": {"text": "事假"}}]
OFFICE: dict[str, Any] = {
    "checkin_groups": [{"groupid": 1, "groupname": "总部", "userids": ["lilei"], "option": {"need_photo": True}}],
    "checkin_records": [
        {"userid": "jim", "checkin_time": MORNING + 60, "checkin_type": "外出打卡"},
        {"userid": "LiLei", "checkin_time": MORNING, "groupid": 1, "groupname": "总部"},
        {"userid": "LiLei", "checkin_time": MORNING + 32_400, "checkin_type": "下班打卡", "exception_type": "时间异常"},
        {"userid": "hanmeimei", "checkin_time": MORNING},
    ],
    "approval_templates": [{"template_id": "T1", "name": "请假", "controls": [{"property": {"control": "Text"}}]}],
    "approvals": [
        {"sp_no": f"2026110200{n:02d}", "template_id": "T1", "userid": "LiLei", "apply_time": MORNING + n}
        for n in range(1, 4)
    ],
    "customers": [
        {"external_userid": "wmCUSTOMER1", "name": "王总", "openid": "oSANDBOXGUEST0001", "follow_users": ["lilei"]},
        {"external_userid": "wmCUSTOMER2", "name": "赵总", "follow_users": ["jim"]},
    ],
}


@pytest.fixture
def office(api: Api, sandbox: SandboxHandle) -> Api:
    sandbox.load({"companies": [company(office=OFFICE)]})
    sandbox.control("PATCH", APP, {"reads": ["checkin", "approval"]})
    return api


def test_check_ins_of_a_period(office: Api) -> None:
    rows = office.post("checkin/getcheckindata", {"opencheckindatatype": 3, **PERIOD})["checkindata"]
    outside = office.post("checkin/getcheckindata", {"opencheckindatatype": 2, **PERIOD})["checkindata"]
    inside = office.post("checkin/getcheckindata", {"opencheckindatatype": 1, **PERIOD})["checkindata"]

    assert [(row["userid"], row["checkin_type"]) for row in rows] == [
        ("LiLei", "上班打卡"),
        ("jim", "外出打卡"),
        ("LiLei", "下班打卡"),
    ]
    assert (len(outside), len(inside)) == (1, 2)
    assert (rows[0]["groupname"], rows[2]["exception_type"], rows[0]["mediaids"]) == ("总部", "时间异常", [])


def test_rules_of_people_and_of_the_company(office: Api) -> None:
    [one] = office.post("checkin/getcheckinoption", {"datetime": MORNING, "useridlist": ["lilei", "jim"]})["info"]
    [group] = office.post("checkin/getcorpcheckinoption", {})["group"]

    assert one == {
        "userid": "LiLei",
        "group": {"grouptype": 1, "groupid": 1, "groupname": "总部", "need_photo": True},
    }
    assert group["range"]["userid"] == ["lilei"]


def test_days_and_months(office: Api) -> None:
    days = office.post("checkin/getcheckin_daydata", PERIOD)["datas"]
    months = office.post("checkin/getcheckin_monthdata", PERIOD)["datas"]

    assert [(row["base_info"]["acctid"], row["base_info"]["date"]) for row in days] == [
        ("LiLei", MORNING - 30_600),
        ("jim", MORNING - 30_600),
    ]
    assert days[0]["summary_info"] == {
        "checkin_count": 2,
        "regular_work_sec": 32_400,
        "earliest_time": 30_600,
        "lastest_time": 63_000,
    }
    assert days[0]["base_info"]["rule_info"] == {"groupid": 1, "groupname": "总部"}
    assert [row["summary_info"] for row in months] == [
        {"work_days": 1, "except_days": 1},
        {"work_days": 1, "except_days": 0},
    ]
    assert office.post("checkin/getcheckinschedulist", PERIOD)["schedule_list"] == []


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"opencheckindatatype": 4}, 40058),
        ({"useridlist": []}, 301023),
        ({"useridlist": ["lilei"] * 101}, 301023),
        ({"useridlist": ["ghost"]}, 301021),
        ({"useridlist": "lilei"}, 40035),
        ({"starttime": 0}, 301024),
        ({"endtime": MORNING - 2 * DAY}, 301024),
        ({"endtime": MORNING + 31 * DAY}, 301024),
    ],
)
def test_refused_check_ins(office: Api, values: dict[str, Any], errcode: int) -> None:
    answer = office.post("checkin/getcheckindata", PERIOD | values)

    assert (answer["errcode"], answer["checkindata"]) == (errcode, [])


def test_approvals_page_by_page(office: Api) -> None:
    period = {"starttime": str(MORNING), "endtime": str(MORNING + 60), "size": 2}
    first = office.post("oa/getapprovalinfo", {**period, "new_cursor": ""})
    second = office.post("oa/getapprovalinfo", {**period, "new_cursor": first["new_next_cursor"]})
    older = office.post("oa/getapprovalinfo", {**period, "cursor": 0})

    assert first["sp_no_list"] == ["202611020001", "202611020002"]
    assert second == {"errcode": 0, "errmsg": "ok", "sp_no_list": ["202611020003"]}
    assert older["next_cursor"] == 2
    assert office.post("oa/getapprovalinfo", {**period, "new_cursor": "2"})["errcode"] == 50100


def test_approvals_in_the_older_way(office: Api) -> None:
    period = {"starttime": MORNING, "endtime": MORNING + 60}
    first = office.post("corp/getapprovaldata", period)
    later = office.post("corp/getapprovaldata", period | {"next_spnum": 202611020003})

    assert (first["count"], first["total"], "next_spnum" in first) == (3, 3, False)
    assert (later["count"], later["data"][0]["sp_num"]) == (1, "202611020003")
    assert first["data"][0] | {"approval_name": [], "notify_name": []} == {
        "spname": "请假",
        "apply_name": "李雷",
        "apply_org": "北山制造",
        "approval_name": [],
        "notify_name": [],
        "sp_status": 1,
        "sp_num": "202611020001",
        "apply_time": MORNING + 1,
        "apply_user_id": "LiLei",
        "comm": {"apply_data": "[]"},
    }


def test_the_older_way_reads_a_hundred_at_once(office: Api, sandbox: SandboxHandle) -> None:
    many = [
        {"sp_no": f"20261102{n:04d}", "template_id": "T1", "userid": "jim", "apply_time": MORNING} for n in range(101)
    ]
    sandbox.control("PATCH", f"companies/{CORPID}", {"office": {"approvals": many}})

    first = office.post("corp/getapprovaldata", {"starttime": MORNING, "endtime": MORNING})
    rest = {"starttime": MORNING, "endtime": MORNING, "next_spnum": first["next_spnum"]}

    assert (first["count"], first["next_spnum"]) == (100, 202611020100)
    assert office.post("corp/getapprovaldata", rest)["count"] == 1


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [("creator", "lilei", 3), ("creator", "jim", 0), ("template_id", "T1", 3), ("sp_status", "2", 0)],
)
def test_approvals_by_what_they_are(office: Api, key: str, value: str, count: int) -> None:
    period = {"starttime": MORNING, "endtime": MORNING + 60, "filters": [{"key": key, "value": value}]}

    assert len(office.post("oa/getapprovalinfo", period)["sp_no_list"]) == count


def test_one_approval_and_its_template(office: Api) -> None:
    info = office.post("oa/getapprovaldetail", {"sp_no": "202611020001"})["info"]
    template = office.post("oa/gettemplatedetail", {"template_id": "T1"})

    assert (info["sp_name"], info["sp_status"], info["applyer"]) == ("请假", 1, {"userid": "LiLei", "partyid": "1"})
    assert template["template_names"] == [{"text": "请假", "lang": "zh_CN"}]
    assert template["template_content"] == {"controls": [{"property": {"control": "Text"}}]}


def test_an_app_applies_for_a_member(office: Api) -> None:
    body = {
        "creator_userid": "lilei",
        "template_id": "T1",
        "use_template_approver": 0,
        "approver": [{"attr": 1, "userid": ["hanmeimei"]}],
        "apply_data": {"contents": CONTENTS},
        "summary_list": [],
    }

    number = office.post("oa/applyevent", body)["sp_no"]

    info = office.post("oa/getapprovaldetail", {"sp_no": number})["info"]
    assert (info["applyer"]["userid"], info["apply_data"]["contents"]) == ("LiLei", CONTENTS)
    assert info["sp_record"][0]["details"][0]["approver"] == {"userid": "hanmeimei"}


@pytest.mark.parametrize(
    ("path", "values", "errcode"),
    [
        ("oa/gettemplatedetail", {}, 301025),
        ("oa/gettemplatedetail", {"template_id": "T2"}, 301026),
        ("oa/getapprovaldetail", {"sp_no": "1"}, 301025),
        ("oa/getapprovalinfo", {"starttime": MORNING, "endtime": MORNING + 32 * DAY}, 301025),
        ("oa/getapprovalinfo", {"starttime": MORNING, "endtime": MORNING, "size": 101}, 301025),
        ("oa/getapprovalinfo", {"starttime": MORNING, "endtime": MORNING + 9, "filters": [{"key": "x"}]}, 301025),
        ("corp/getapprovaldata", {"starttime": MORNING, "endtime": MORNING + 32 * DAY}, 301025),
        ("oa/applyevent", {"template_id": "T2"}, 301026),
        ("oa/applyevent", {"template_id": "T1", "creator_userid": "ghost"}, 301025),
        ("oa/applyevent", {"template_id": "T1", "creator_userid": "lilei"}, 301025),
    ],
)
def test_refused_approvals(office: Api, path: str, values: dict[str, Any], errcode: int) -> None:
    assert office.post(path, values)["errcode"] == errcode


@pytest.mark.parametrize(
    ("path", "errcode"),
    [("checkin/getcheckindata", 48002), ("checkin/getcorpcheckinoption", 48002), ("oa/getapprovalinfo", 301055)]
    + [("corp/getapprovaldata", 301055)],
)
def test_an_app_to_which_they_are_not_open(api: Api, contacts: Api, path: str, errcode: int) -> None:
    assert api.post(path, PERIOD)["errcode"] == errcode
    assert contacts.post(path, PERIOD)["errcode"] == 48002


def test_customers_of_the_scope(office: Api) -> None:
    assert office.get("externalcontact/get_follow_user_list")["follow_user"] == ["LiLei"]
    assert office.get("externalcontact/list", userid="lilei")["external_userid"] == ["wmCUSTOMER1"]
    found = office.get("externalcontact/get", external_userid="wmCUSTOMER1")
    assert (found["external_contact"]["name"], found["follow_user"][0]["userid"]) == ("王总", "LiLei")


@pytest.mark.parametrize(
    ("path", "query", "errcode"),
    [
        ("externalcontact/list", {}, 41009),
        ("externalcontact/list", {"userid": "ghost"}, 60111),
        ("externalcontact/list", {"userid": "jim"}, 60011),
        ("externalcontact/list", {"userid": "hanmeimei"}, 84061),
        ("externalcontact/get", {}, 41035),
        ("externalcontact/get", {"external_userid": "wm"}, 40096),
        ("externalcontact/get", {"external_userid": "wmCUSTOMER2"}, 84061),
    ],
)
def test_customers_that_are_not_shown(office: Api, path: str, query: dict[str, str], errcode: int) -> None:
    assert office.get(path, **query)["errcode"] == errcode


@pytest.mark.parametrize("path", ["auth/getuserinfo", "user/getuserinfo"])
def test_a_customer_who_opens_a_page(office: Api, sandbox: SandboxHandle, path: str) -> None:
    hold_phone(sandbox, "~guest")
    assert office.get(path, code=code_of(authorize(sandbox)))["external_userid"] == "wmCUSTOMER1"

    sandbox.control("PATCH", f"companies/{CORPID}", {"office": {}})

    assert "external_userid" not in office.get(path, code=code_of(authorize(sandbox)))


def test_what_hangs_on_a_userid_follows_it(office: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/rename", {"userid": "lei"})

    kept = sandbox.control("GET", f"companies/{CORPID}")["office"]

    assert kept["checkin_groups"][0]["userids"] == ["lei"]
    assert [row["userid"] for row in kept["checkin_records"]] == ["jim", "lei", "lei", "hanmeimei"]
    assert {row["userid"] for row in kept["approvals"]} == {"lei"}
    assert kept["customers"][0]["follow_users"] == ["lei"]


def test_they_stand_in_the_state(office: Api, contacts: Api, sandbox: SandboxHandle) -> None:
    """Also who made a tag, an openid, and what stands on the workbench."""
    office.post("oa/calendar/add", {"calendar": {"organizer": "lilei", "summary": "值班", "color": "#FF3030"}})
    office.post("tag/create", {"tagname": "乒乓球"})
    office.post("user/convert_to_openid", {"userid": "lilei"})
    office.post(
        "agent/set_workbench_template", {"agentid": AGENTID, "type": "image", "image": {"url": "https://a.cn/p"}}
    )
    before = sandbox.control("GET", "state")

    sandbox.load(before)

    assert sandbox.control("GET", "state") == before
    assert office.post("tag/update", {"tagid": 2, "tagname": "台球"})["errcode"] == 0
    assert contacts.post("tag/update", {"tagid": 2, "tagname": "网球"})["errcode"] == 81011
