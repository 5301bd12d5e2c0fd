"""Around a member's account: deleting many, openids, the company's own check, the code to join, who is active."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import CORPID, SandboxHandle

DAY = 86_400


def test_many_are_deleted_at_once(contacts: Api, sandbox: SandboxHandle) -> None:
    answer = contacts.post("user/batchdelete", {"useridlist": ["LILEI", "jim", "lilei"]})

    assert answer == {"errcode": 0, "errmsg": "deleted"}
    assert [row["userid"] for row in sandbox.control("GET", f"companies/{CORPID}")["members"]] == ["hanmeimei"]


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({}, 40031),
        ({"useridlist": []}, 40031),
        ({"useridlist": ["lilei", "ghost"]}, 40031),
        ({"useridlist": "lilei"}, 40035),
        ({"useridlist": ["lilei"] * 201}, 40032),
    ],
)
def test_all_are_deleted_or_none(contacts: Api, sandbox: SandboxHandle, values: Any, errcode: int) -> None:
    assert contacts.post("user/batchdelete", values)["errcode"] == errcode
    assert len(sandbox.control("GET", f"companies/{CORPID}")["members"]) == 3


def test_an_openid_stays_the_members(api: Api, contacts: Api) -> None:
    openid = api.post("user/convert_to_openid", {"userid": "LILEI"})["openid"]
    contacts.post("user/update", {"userid": "lilei", "new_userid": "lei"})

    assert (len(openid), openid[0]) == (28, "o")
    assert api.post("user/convert_to_openid", {"userid": "lei"})["openid"] == openid
    assert api.post("user/convert_to_userid", {"openid": openid}) == {"errcode": 0, "errmsg": "ok", "userid": "lei"}


@pytest.mark.parametrize(
    ("path", "values", "errcode"),
    [
        ("user/convert_to_openid", {}, 41009),
        ("user/convert_to_openid", {"userid": "ghost"}, 60111),
        ("user/convert_to_openid", {"userid": "jim"}, 60011),
        ("user/convert_to_userid", {}, 40063),
        ("user/convert_to_userid", {"openid": "oNOBODY"}, 40073),
    ],
)
def test_openids_that_are_not_given(api: Api, path: str, values: dict[str, str], errcode: int) -> None:
    assert api.post(path, values)["errcode"] == errcode


def test_an_openid_of_somebody_outside_the_scope(api: Api, contacts: Api) -> None:
    openid = contacts.post("user/convert_to_openid", {"userid": "jim"})["openid"]

    assert api.post("user/convert_to_userid", {"openid": openid})["errcode"] == 60011


def test_who_passes_the_companys_own_check_enters(contacts: Api, api: Api) -> None:
    lucy = {"userid": "Lucy", "name": "Lucy", "department": [2], "mobile": "13000000009"}
    contacts.post("user/create", lucy)
    assert api.post("user/convert_to_openid", {"userid": "lucy"})["errcode"] == 43004

    assert contacts.get("user/authsucc", userid="LUCY") == {"errcode": 0, "errmsg": "ok"}

    assert api.get("user/get", userid="lucy")["status"] == 1
    assert api.post("user/convert_to_openid", {"userid": "lucy"})["errcode"] == 0
    assert contacts.get("user/authsucc", userid="ghost")["errcode"] == 60111
    assert contacts.get("user/authsucc")["errcode"] == 41009


def test_the_code_to_join(contacts: Api) -> None:
    assert contacts.get("corp/get_join_qrcode")["join_qrcode"].endswith("qr_size=1")
    assert contacts.get("corp/get_join_qrcode", size_type=4)["join_qrcode"].startswith("https://work.weixin.qq.com/")
    assert contacts.get("corp/get_join_qrcode", size_type=5)["errcode"] == 40058


@pytest.mark.parametrize("date", ["", "2026/11/01", "2020-01-01", "2999-01-01", "2026-02-30"])
def test_days_without_numbers(contacts: Api, date: str) -> None:
    assert contacts.post("user/get_active_stat", {"date": date})["errcode"] == 40058


def test_who_is_active(contacts: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "jim", "status": 2}])
    now = sandbox.control("GET", "clock")["now"]
    today, first, before = (china_date(now - days * DAY) for days in (0, 30, 31))

    assert contacts.post("user/get_active_stat", {"date": today})["active_cnt"] == 2
    assert contacts.post("user/get_active_stat", {"date": first})["errcode"] == 0
    assert contacts.post("user/get_active_stat", {"date": before})["errcode"] == 40058


def china_date(moment: float) -> str:
    return datetime.fromtimestamp(moment + 8 * 3600, tz=UTC).date().isoformat()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "user/batchdelete"),
        ("GET", "user/authsucc"),
        ("GET", "corp/get_join_qrcode"),
        ("POST", "user/get_active_stat"),
    ],
)
def test_calls_of_the_sync_assistant_alone(api: Api, method: str, path: str) -> None:
    call = api.get if method == "GET" else api.post
    assert call(path)["errcode"] == 48002
