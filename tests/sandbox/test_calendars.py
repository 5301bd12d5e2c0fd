"""Calendars and what stands in them: kept for members by the app that made them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import CORPID, SandboxHandle

CALENDAR: dict[str, Any] = {
    "organizer": "LILEI",
    "summary": "值班",
    "color": "#FF3030",
    "description": "每周",
    "readonly": 1,
    "shares": [{"userid": "hanmeimei"}, {"userid": "jim", "readonly": 1}],
}
REVIEW: dict[str, Any] = {
    "organizer": "lilei",
    "start_time": 1793579400,
    "end_time": 1793583000,
    "summary": "评审",
    "attendees": [{"userid": "hanmeimei"}],
    "reminders": {"is_remind": 1, "remind_before_event_secs": 3600},
    "location": "会议室一",
}


def calendar(api: Api, **values: object) -> dict[str, Any]:
    return api.post("oa/calendar/add", {"calendar": CALENDAR | values})


def schedule(api: Api, **values: object) -> dict[str, Any]:
    return api.post("oa/schedule/add", {"schedule": REVIEW | values})


def test_a_calendar_is_made_changed_and_deleted(api: Api) -> None:
    cal_id = calendar(api)["cal_id"]

    [found] = api.post("oa/calendar/get", {"cal_id_list": [cal_id]})["calendar_list"]
    assert found == {
        "cal_id": cal_id,
        "organizer": "LiLei",
        "readonly": 1,
        "summary": "值班",
        "color": "#FF3030",
        "description": "每周",
        "shares": [{"userid": "hanmeimei", "readonly": 0}, {"userid": "jim", "readonly": 1}],
    }
    changed = {"cal_id": cal_id, "summary": "休假", "color": "#00FF00"}
    assert api.post("oa/calendar/update", {"calendar": changed}) == {"errcode": 0, "errmsg": "ok"}
    [found] = api.post("oa/calendar/get", {"cal_id_list": [cal_id]})["calendar_list"]
    assert (found["summary"], found["organizer"], found["shares"]) == ("休假", "LiLei", [])
    assert api.post("oa/calendar/del", {"cal_id": cal_id})["errcode"] == 0
    assert api.post("oa/calendar/get", {"cal_id_list": [cal_id]})["errcode"] == 90459


def test_what_stands_in_a_calendar(api: Api) -> None:
    cal_id = calendar(api)["cal_id"]
    ids = [schedule(api, cal_id=cal_id, summary=name)["schedule_id"] for name in ("一", "二", "三")]
    alone = schedule(api)["schedule_id"]

    page = api.post("oa/schedule/get_by_calendar", {"cal_id": cal_id, "offset": 1, "limit": 1})["schedule_list"]
    assert [row["schedule_id"] for row in page] == [ids[1]]
    [found] = api.post("oa/schedule/get", {"schedule_id_list": [alone]})["schedule_list"]
    assert found == {
        "schedule_id": alone,
        "organizer": "LiLei",
        "summary": "评审",
        "description": "",
        "reminders": REVIEW["reminders"],
        "location": "会议室一",
        "cal_id": "",
        "start_time": 1793579400,
        "end_time": 1793583000,
        "attendees": [{"userid": "hanmeimei", "response_status": 0}],
        "status": 0,
    }
    later = REVIEW | {"schedule_id": ids[0], "end_time": 1793590000}
    assert api.post("oa/schedule/update", {"schedule": later})["errcode"] == 0
    assert api.post("oa/schedule/del", {"schedule_id": ids[2]})["errcode"] == 0
    left = api.post("oa/schedule/get_by_calendar", {"cal_id": cal_id})["schedule_list"]
    assert [(row["schedule_id"], row["end_time"]) for row in left] == [(ids[0], 1793590000), (ids[1], 1793583000)]
    api.post("oa/calendar/del", {"cal_id": cal_id})
    assert api.post("oa/schedule/get", {"schedule_id_list": [ids[0]]})["errcode"] == 90460


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"organizer": ""}, 90456),
        ({"organizer": "ghost"}, 60111),
        ({"summary": ""}, 40058),
        ({"summary": "字" * 129}, 40058),
        ({"color": ""}, 90473),
        ({"color": "red"}, 90473),
        ({"readonly": 2}, 40058),
        ({"shares": [{"userid": "ghost"}]}, 60111),
        ({"shares": [{"userid": "jim"}] * 2001}, 90464),
    ],
)
def test_refused_calendars(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert calendar(api, **values)["errcode"] == errcode


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({"organizer": ""}, 90456),
        ({"organizer": "ghost"}, 60111),
        ({"start_time": 0}, 40058),
        ({"end_time": 1793579399}, 40058),
        ({"cal_id": "wc"}, 90457),
        ({"location": "字" * 129}, 40058),
        ({"attendees": [{"userid": "ghost"}]}, 60111),
        ({"attendees": [{"userid": "jim"}] * 1001}, 90464),
    ],
)
def test_refused_schedules(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert schedule(api, **values)["errcode"] == errcode


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("oa/calendar/get", {}, 90458),
        ("oa/calendar/get", {"cal_id_list": "x"}, 40035),
        ("oa/calendar/get", {"cal_id_list": ["x"]}, 90457),
        ("oa/calendar/update", {}, 40058),
        ("oa/calendar/update", {"calendar": {"cal_id": "{cal_id}", "organizer": "jim"}}, 90463),
        ("oa/calendar/del", {}, 90457),
        ("oa/schedule/get", {"schedule_id_list": []}, 90462),
        ("oa/schedule/get", {"schedule_id_list": ["x"]}, 90461),
        ("oa/schedule/update", {"schedule": {"schedule_id": "{schedule_id}", "organizer": "jim"}}, 90468),
        ("oa/schedule/get_by_calendar", {"cal_id": "{cal_id}", "limit": 1001}, 90469),
        ("oa/schedule/get_by_calendar", {"cal_id": "{cal_id}", "offset": -1}, 90470),
    ],
)
def test_refused_calls(api: Api, path: str, body: dict[str, Any], errcode: int) -> None:
    ids = {"{cal_id}": calendar(api)["cal_id"], "{schedule_id}": schedule(api)["schedule_id"]}
    inner = {name: {k: ids.get(v, v) for k, v in one.items()} for name, one in body.items() if isinstance(one, dict)}
    outer = {name: ids.get(one, one) for name, one in body.items() if isinstance(one, str)}

    assert api.post(path, body | inner | outer)["errcode"] == errcode


def test_another_apps_and_another_organizers(api: Api, sandbox: SandboxHandle) -> None:
    cal_id = calendar(api)["cal_id"]
    sandbox.control("POST", f"companies/{CORPID}/apps", [{"agentid": 5, "name": "五", "secret": "s5"}])
    other = Api(sandbox, secret="s5")

    assert other.post("oa/calendar/get", {"cal_id_list": [cal_id]})["errcode"] == 90466
    assert schedule(api, organizer="jim", cal_id=cal_id)["errcode"] == 90475


def test_they_follow_another_userid(api: Api, sandbox: SandboxHandle) -> None:
    cal_id = calendar(api)["cal_id"]
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/rename", {"userid": "lei"})

    assert schedule(api, organizer="lei", cal_id=cal_id)["errcode"] == 0
