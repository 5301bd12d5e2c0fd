"""What every answer of the API looks like, and in which order a call is checked."""

from __future__ import annotations

import re

import pytest
import requests
from wecom_sandbox.state.world import Missing

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


def test_success_has_no_error_headers(api: Api) -> None:
    response = api.raw("GET", "user/get", params={"access_token": api.token(), "userid": "lilei"})

    assert response.json()["errmsg"] == "ok"
    assert "Error-Code" not in response.headers


@pytest.mark.parametrize("userid", ["a\x00b", "a\x01b", "a\r\nX-Injected: 1", "a\x7fb", "李雷"])
def test_an_error_text_with_control_characters_is_answered(contacts: Api, userid: str) -> None:
    """The text stands in a header, too."""
    response = contacts.raw(
        "POST", "user/update", params={"access_token": contacts.token()}, json={"userid": userid, "name": "x"}
    )

    assert (response.status_code, response.json()["errcode"]) == (200, 60111)
    assert f"`{userid}`" in response.json()["errmsg"]
    assert response.headers["Error-Code"] == "60111"
    assert "X-Injected" not in response.headers


@pytest.mark.parametrize("msgtype", ["taskcard", "interactive_taskcard"])
def test_types_that_wecom_gave_up_do_not_exist(api: Api, sandbox: SandboxHandle, msgtype: str) -> None:
    card = {"title": "请假", "description": "d", "task_id": "t1", "btn": [{"key": "yes", "name": "同意"}]}
    message = {"touser": "lilei", "agentid": AGENTID, "msgtype": msgtype, msgtype: card}

    assert api.post("message/send", message)["errcode"] == 40008
    query = {"access_token": api.token()}
    assert api.raw("POST", "message/update_taskcard", params=query, json={}).status_code == 404
    assert sandbox.messages(CORPID, "lilei") == []


def test_an_answer_that_would_be_too_large_is_a_fault_on_request(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.fault("errcode", "user/list", code=45029)

    answer = api.get("user/list", department_id=2)

    assert (answer["errcode"], answer["errmsg"].partition(",")[0]) == (45029, "response is too large")
    assert api.get("user/list", department_id=2)["errcode"] == 0


def test_a_call_that_is_not_there_says_so_and_is_counted(api: Api, sandbox: SandboxHandle) -> None:
    responses = [api.raw("GET", "user/nothing"), api.raw("POST", "kf/sync_msg"), api.raw("GET", "user/nothing")]

    assert [response.status_code for response in responses] == [404] * 3
    assert responses[1].text.startswith("404: the WeCom sandbox has no POST /cgi-bin/kf/sync_msg.")
    assert sandbox.control("GET", "missing")["missing"] == [
        {"method": "GET", "path": "/cgi-bin/user/nothing", "count": 2},
        {"method": "POST", "path": "/cgi-bin/kf/sync_msg", "count": 1},
    ]
    sandbox.control("DELETE", "missing", {})
    assert sandbox.control("GET", "missing") == {"missing": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/connect/qrconnect"), ("POST", "/wxa/getwxacode"), ("GET", "/wwopen/mng/login?x=1"), ("GET", "/cgi-bin")],
)
def test_other_paths_of_wecom_that_are_not_there_are_counted_too(
    sandbox: SandboxHandle, method: str, path: str
) -> None:
    response = requests.request(method, sandbox.base_url + path, timeout=60)

    bare = path.partition("?")[0]
    assert (response.status_code, response.text.partition(". ")[0]) == (
        404,
        f"404: the WeCom sandbox has no {method} {bare}",
    )
    assert sandbox.control("GET", "missing")["missing"] == [{"method": method, "path": bare, "count": 1}]


@pytest.mark.parametrize("path", ["/sandbox/api/nothing", "/phone/nothing", "/favicon.ico", "/console/a/b/c"])
def test_what_is_missing_of_the_sandbox_itself_is_not_counted(sandbox: SandboxHandle, path: str) -> None:
    assert requests.get(sandbox.base_url + path, timeout=60).status_code == 404
    assert sandbox.control("GET", "missing") == {"missing": []}


def test_under_wecom_s_own_names_what_is_missing_is_counted(wecom_hosts: SandboxHandle) -> None:
    response = requests.get("https://open.work.weixin.qq.com/wwopen/nothing", timeout=60)

    assert response.status_code == 404
    assert wecom_hosts.control("GET", "missing")["missing"][0]["path"] == "/wwopen/nothing"


def test_of_what_is_missing_no_more_than_a_thousand_paths_are_kept() -> None:
    missing = Missing()
    for number in range(1100):
        missing.note("GET", f"/cgi-bin/{number}")
    missing.note("GET", "/cgi-bin/100")

    rows = missing.as_json()

    assert len(rows) == 1000
    assert rows[0] == {"method": "GET", "path": "/cgi-bin/100", "count": 2}


def test_expired_token_has_no_hint(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    sandbox.advance(7201)

    answer = api.raw("GET", "user/get", params={"access_token": token, "userid": "lilei"}).json()

    assert answer["errcode"] == 42001
    assert answer["errmsg"] == (
        "access_token expired, more info at https://open.work.weixin.qq.com/devtool/query?e=42001"
    )


@pytest.mark.parametrize(
    ("query", "body", "errcode"),
    [
        ({}, None, 41001),
        ({"access_token": "nonsense"}, None, 40014),
        ({"access_token": "T"}, b"", 40063),
        ({"access_token": "T"}, b"\xff\xfe", 40033),
        ({"access_token": "T"}, b"[1]", 40058),
        ({"access_token": "T"}, b"nonsense", 40058),
        ({"access_token": "T"}, b'{"touser":"lilei","msgtype":"text","text":{"content":"x"}}', 41011),
        ({"access_token": "T"}, b'{"touser":"lilei","agentid":"x","msgtype":"text","text":{"content":"x"}}', 40056),
        ({"access_token": "T"}, b'{"touser":"lilei","agentid":3,"msgtype":"text","text":{"content":"x"}}', 301002),
    ],
)
def test_what_is_wrong_is_told(api: Api, query: dict[str, str], body: bytes | None, errcode: int) -> None:
    query = {name: api.token() if value == "T" else value for name, value in query.items()}

    assert api.raw("POST", "message/send", params=query, data=body).json()["errcode"] == errcode


@pytest.mark.parametrize(("method", "path", "errcode"), [("GET", "message/send", 40058), ("POST", "user/get", 40063)])
def test_wrong_method_is_refused(api: Api, method: str, path: str, errcode: int) -> None:
    assert api.raw(method, path, params={"access_token": api.token()}).json()["errcode"] == errcode


def test_token_in_the_body_is_not_seen(api: Api) -> None:
    body = {"access_token": api.token(), "touser": "lilei", "msgtype": "text", "agentid": AGENTID}

    assert api.raw("POST", "message/send", json=body).json()["errcode"] == 41001


def test_body_with_rubbish_behind_it_is_carried_out_with_a_warning(api: Api, sandbox: SandboxHandle) -> None:
    body = b'{"touser":"lilei","agentid":1000002,"msgtype":"text","text":{"content":"first\nsecond"}} trailing'

    answer = api.post("message/send", body)

    assert (answer["errcode"], answer["errmsg"]) == (0, "ok. Warning: wrong json format. ")
    assert sandbox.messages(CORPID, "lilei")[0]["text"]["content"] == "first\nsecond"


def test_warning_stands_before_an_error(api: Api) -> None:
    answer = api.post("message/send", b'{"touser":"lilei","agentid":3,"msgtype":"text","text":{"content":"x"}} x')

    assert answer["errcode"] == 301002
    assert answer["errmsg"].startswith("Warning: wrong json format. not allow operate another agent")


def test_untrusted_ip_is_told_its_address(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": ["192.0.2.7"]})

    answer = api.get("getcallbackip")

    assert answer["errcode"] == 60020
    assert answer["ip_list"] == []
    assert "from ip: 127.0.0.1," in answer["errmsg"]


def test_the_ip_is_checked_before_right_and_parameters(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": []})

    assert api.post("user/list_id", {})["errcode"] == 60020
    assert api.post("message/send", b"nonsense")["errcode"] == 60020


def test_an_app_without_a_list_of_addresses_is_told_and_refused_where_that_is_wished(
    api: Api, sandbox: SandboxHandle
) -> None:
    answer = sandbox.control("PUT", "state", {"companies": [company()]})

    assert answer["companies"] == 1
    assert [f"{CORPID}: no trusted_ips for app {AGENTID}," in warning for warning in answer["warnings"]] == [True]
    assert api.get("user/get", userid="lilei")["errcode"] == 0
    sandbox.control("PATCH", "settings", {"trusted_ips_required": True})
    assert api.get("user/get", userid="lilei")["errcode"] == 60020
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": ["127.0.0.1"]})
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_there_is_no_warning_where_nothing_is_laxer_than_at_wecom(sandbox: SandboxHandle) -> None:
    seed = {"companies": [company()], "settings": {"trusted_ips_required": True}}

    assert sandbox.control("PUT", "state", seed) == {"companies": 1, "warnings": []}


@pytest.mark.parametrize(
    ("path", "document", "foreign", "wrong", "errcode"),
    [
        ("message/send", {"touser": "lilei", "msgtype": "text", "text": {"content": "x"}}, 301002, {"text": {}}, 44004),
        ("message/update_template_card", {"button": {"replace_name": "x"}}, 42015, {"button": 1}, 40058),
        ("agent/set", {"name": "x"}, 301002, {"name": ""}, 45022),
        ("menu/create", {"button": [{"type": "click", "name": "n", "key": "k"}]}, 301002, {"button": []}, 40016),
    ],
)
def test_parameters_are_checked_before_the_agentid(
    api: Api, path: str, document: dict[str, object], foreign: int, wrong: dict[str, object], errcode: int
) -> None:
    assert api.post(path, {"agentid": 3, **document}, agentid=3)["errcode"] == foreign
    assert api.post(path, {"agentid": 3, **document, **wrong}, agentid=3)["errcode"] == errcode


def test_caller_ip_can_be_set(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"caller_ip": "203.0.113.9"})
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_ips": ["203.0.113.9"]})

    assert api.get("user/get", userid="lilei")["errcode"] == 0
    assert "from ip: 203.0.113.9," in api.get("user/get", userid="ghost")["errmsg"]


def test_the_log_of_calls_keeps_the_newest(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", "settings", {"calls_kept": 1})
    api.get("user/get", userid="lilei")
    api.get("user/get", userid="ghost")

    assert [call["errcode"] for call in sandbox.calls()] == [60111]


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
