"""What an app shows on the workbench, for all and for single members."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

KEYDATA: dict[str, Any] = {
    "type": "keydata",
    "keydata": {"items": [{"key": "待审批", "data": "2", "jump_url": "https://a.example/"}]},
}
IMAGE: dict[str, Any] = {"type": "image", "image": {"url": "https://a.example/p.png"}}


def template(api: Api, **values: object) -> dict[str, Any]:
    return api.post("agent/set_workbench_template", {"agentid": AGENTID, **values})


def shown(sandbox: SandboxHandle) -> dict[str, Any]:
    """What was set for single members."""
    [app] = sandbox.control("GET", f"companies/{CORPID}")["apps"]
    return dict(app["workbench_data"])


def test_a_template_is_set_read_and_taken_back(api: Api) -> None:
    read = {"agentid": AGENTID}
    assert api.post("agent/get_workbench_template", read) == {"errcode": 0, "errmsg": "ok", "type": "normal"}

    assert template(api, **KEYDATA) == {"errcode": 0, "errmsg": "ok"}
    assert api.post("agent/get_workbench_template", read) == {
        "errcode": 0,
        "errmsg": "ok",
        **KEYDATA,
        "replace_user_data": False,
    }
    template(api, type="normal")
    assert api.post("agent/get_workbench_template", read)["type"] == "normal"


def test_members_see_their_own(api: Api, sandbox: SandboxHandle) -> None:
    template(api, type="keydata")
    one = api.post("agent/set_workbench_data", {"agentid": AGENTID, "userid": "LILEI", **KEYDATA})
    body = {"agentid": AGENTID, "userid_list": ["lilei", "hanmeimei"], "data": KEYDATA}

    assert one == {"errcode": 0, "errmsg": "ok"}
    assert shown(sandbox) == {"lilei": KEYDATA}
    assert api.post("agent/batch_set_workbench_data", body)["errcode"] == 0
    assert shown(sandbox) == {"lilei": KEYDATA, "hanmeimei": KEYDATA}
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/rename", {"userid": "lei"})
    sandbox.control("DELETE", f"companies/{CORPID}/members/hanmeimei", {})
    assert shown(sandbox) == {"lei": KEYDATA}
    template(api, **KEYDATA, replace_user_data=True)
    assert shown(sandbox) == {}


@pytest.mark.parametrize(
    ("values", "errcode"),
    [
        ({}, 40058),
        ({"type": "table"}, 40058),
        ({"type": "image", "image": {"jump_url": "https://a.example/"}}, 41010),
        ({"type": "image", "image": {"url": "a.example"}}, 45034),
        ({"type": "keydata", "keydata": {"items": []}}, 40058),
        ({"type": "keydata", "keydata": {"items": [{"key": "k", "data": "1"}] * 5}}, 40058),
        ({"type": "keydata", "keydata": {"items": [{"key": "k"}]}}, 40058),
        ({"type": "list", "list": {"items": [{"title": "t"}] * 4}}, 40058),
        ({**IMAGE, "replace_user_data": "yes"}, 40058),
        ({**IMAGE, "agentid": 5}, 301002),
    ],
)
def test_refused_templates(api: Api, values: dict[str, Any], errcode: int) -> None:
    assert template(api, **values)["errcode"] == errcode


@pytest.mark.parametrize(
    ("path", "values", "errcode"),
    [
        ("set", {"userid": "lilei", **IMAGE}, 40058),
        ("set", {"userid": "lilei", "type": "keydata"}, 40058),
        ("set", {**KEYDATA}, 41009),
        ("set", {"userid": "ghost", **KEYDATA}, 60111),
        ("set", {"userid": "jim", **KEYDATA}, 60011),
        ("set", {"userid": "lilei", **KEYDATA, "agentid": 5}, 301002),
        ("batch_set", {"userid_list": [], "data": KEYDATA}, 40031),
        ("batch_set", {"userid_list": ["u"] * 1001, "data": KEYDATA}, 40032),
        ("batch_set", {"userid_list": ["lilei"]}, 40058),
        ("batch_set", {"userid_list": ["lilei", "ghost"], "data": KEYDATA}, 60111),
    ],
)
def test_refused_data(api: Api, sandbox: SandboxHandle, path: str, values: dict[str, Any], errcode: int) -> None:
    template(api, type="keydata")

    assert api.post(f"agent/{path}_workbench_data", {"agentid": AGENTID, **values})["errcode"] == errcode
    assert shown(sandbox) == {}


def test_without_a_template_there_is_no_data(api: Api) -> None:
    body = {"agentid": AGENTID, "userid": "lilei", **KEYDATA}

    assert api.post("agent/set_workbench_data", body)["errcode"] == 40058
