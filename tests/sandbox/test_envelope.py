"""The form of every answer of the API, and the order of a call's checks."""

from __future__ import annotations

import re

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

ERROR = re.compile(
    r"no privilege to access/modify contact/party/agent, hint: \[\d{25}\], from ip: 127\.0\.0\.1, "
    r"more info at https://open\.work\.weixin\.qq\.com/devtool/query\?e=60011"
)


def test_error_is_http_200_with_hint_ip_and_headers(api: Api) -> None:
    response = api.raw("GET", "user/get", params={"access_token": api.token(), "userid": "jim"})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert response.headers["Server"] == "nginx"
    assert response.json()["errcode"] == 60011
    assert ERROR.fullmatch(response.json()["errmsg"])
    assert response.headers["Error-Code"] == "60011"
    assert response.headers["Error-Msg"] == response.json()["errmsg"]
    right = api.raw("GET", "user/get", params={"access_token": api.token(), "userid": "lilei"})
    assert (right.json()["errmsg"], "Error-Code" in right.headers) == ("ok", False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/cgi-bin/user/nothing"), ("POST", "/cgi-bin/message/update_taskcard"), ("GET", "/cgi-bin")),
        *(("GET", "/connect/qrconnect"), ("POST", "/wxa/getwxacode"), ("GET", "/wwopen/mng/login?x=1")),
    ],
)
def test_what_wecom_has_and_the_sandbox_has_not_says_so_and_is_counted(
    sandbox: SandboxHandle, method: str, path: str
) -> None:
    responses = [requests.request(method, sandbox.base_url + path, timeout=60) for _ in range(2)]
    for own in ("/sandbox/api/nothing", "/phone/nothing", "/favicon.ico", "/console/a/b/c"):
        assert requests.get(sandbox.base_url + own, timeout=60).status_code == 404

    bare = path.partition("?")[0]
    assert [response.status_code for response in responses] == [404, 404]
    assert responses[0].text.startswith(f"404: the WeCom sandbox has no {method} {bare}. ")
    assert sandbox.control("GET", "missing")["missing"] == [{"method": method, "path": bare, "count": 2}]


def test_body_with_rubbish_behind_it_is_carried_out_with_a_warning(api: Api, sandbox: SandboxHandle) -> None:
    body = b'{"touser":"lilei","agentid":1000002,"msgtype":"text","text":{"content":"first\nsecond"}} trailing'

    answer = api.post("message/send", body)

    assert (answer["errcode"], answer["errmsg"]) == (0, "ok. Warning: wrong json format. ")
    assert sandbox.messages(CORPID, "lilei")[0]["text"]["content"] == "first\nsecond"


def test_warning_stands_before_an_error(api: Api) -> None:
    answer = api.post("message/send", b'{"touser":"lilei","agentid":3,"msgtype":"text","text":{"content":"x"}} x')

    assert answer["errcode"] == 301002
    assert answer["errmsg"].startswith("Warning: wrong json format. not allow operate another agent")


def test_the_ip_is_checked_before_right_and_parameters_and_told(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": ["203.0.113.9"]})

    assert api.post("user/list_id", {})["errcode"] == 60020
    assert api.post("message/send", b"nonsense")["errcode"] == 60020
    answer = api.get("getcallbackip")
    assert (answer["errcode"], answer["ip_list"], "from ip: 127.0.0.1," in answer["errmsg"]) == (60020, [], True)
    sandbox.control("PATCH", "settings", {"caller_ip": "203.0.113.9"})
    assert "from ip: 203.0.113.9," in api.get("user/get", userid="ghost")["errmsg"]


def test_an_app_without_a_list_of_addresses_is_told_and_refused_where_that_is_wished(
    api: Api, sandbox: SandboxHandle
) -> None:
    answer = sandbox.control("PUT", "state", {"companies": [company()]})

    assert answer["companies"] == 1
    assert [f"{CORPID}: no trusted_ips for app {AGENTID}," in warning for warning in answer["warnings"]] == [True]
    assert api.get("user/get", userid="lilei")["errcode"] == 0
    strict = {"companies": [company()], "settings": {"trusted_ips_required": True}}
    assert sandbox.control("PUT", "state", strict) == {"companies": 1, "warnings": []}
    assert api.get("user/get", userid="lilei")["errcode"] == 60020
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": ["127.0.0.1"]})
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_calls_are_logged_without_secrets(api: Api, sandbox: SandboxHandle) -> None:
    api.get("user/get", userid="lilei")
    api.get("user/get", userid="ghost")

    log = [(call["path"], call["errcode"], call["corpid"]) for call in sandbox.calls()]
    assert log == [
        ("/cgi-bin/gettoken", 0, CORPID),
        ("/cgi-bin/user/get", 0, CORPID),
        ("/cgi-bin/gettoken", 0, CORPID),
        ("/cgi-bin/user/get", 60111, CORPID),
    ]
    assert SECRET not in repr(sandbox.calls())
    assert api.token() not in repr(sandbox.calls())
    sandbox.control("PATCH", "settings", {"calls_kept": 1})
    api.get("user/get", userid="ghost")
    assert [call["errcode"] for call in sandbox.calls()] == [60111]
