"""Saving an app as in WeCom's console: stricter and slower than the control interface."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from wecom_sandbox.api import load_endpoints
from wecom_sandbox.api.call import ENDPOINTS, OPEN_ENDPOINTS
from wecom_sandbox.limits.limits import KINDS

from tests.sandbox.conftest import Api, hold_phone
from tests.sandbox.receiver import listening
from tests.sandbox.test_oauth import authorize
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

load_endpoints()
APP = f"companies/{CORPID}/apps/{AGENTID}"


def save(sandbox: SandboxHandle, **values: object) -> requests.Response:
    return sandbox.session.patch(f"{sandbox.base_url}/sandbox/api/{APP}/console", json=values, timeout=60)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"trusted_domain": "https://bi.example.com"}, "域名不能带 http:// 或 https://。"),
        ({"trusted_domain": "bi.example.com/path"}, "域名只能是主机名"),
        ({"trusted_domain": "192.0.2.1"}, "域名只能是主机名"),
        ({"callback_domain": "a_b.example.com"}, "域名只能是主机名"),
        ({"callback_domain": 7}, "域名只能是主机名"),
        ({"home_url": "bi.example.com"}, "应用主页必须以 http:// 或 https:// 开头。"),
        ({"trusted_ips": ["1.2.3"]}, "1.2.3 不是 IP 地址"),
        ({"trusted_ips": ["192.0.2.1"], "trusted_domain": ""}, "须先设置可信域名或接收消息服务器"),
        ({"secret": "x"}, "the body must be an object of"),
        ({"callback": {"url": "http://127.0.0.1:1/", "token": "t", "aes_key": "x" * 43}}, "40057"),
        ({"callback": {"url": "http://127.0.0.1:1/", "token": "t", "aes_key": "x"}}, "43 characters"),
    ],
)
def test_refused(sandbox: SandboxHandle, values: dict[str, Any], complaint: str) -> None:
    before = sandbox.control("GET", f"companies/{CORPID}")

    response = save(sandbox, **values)

    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert sandbox.control("GET", f"companies/{CORPID}") == before


def test_a_new_domain_is_of_no_use_until_it_is_verified(sandbox: SandboxHandle) -> None:
    hold_phone(sandbox, "lilei")
    with listening(CORPID) as site:
        assert save(sandbox, callback=site.callback).ok
        assert sandbox.control("GET", f"companies/{CORPID}")["apps"][0]["callback"] == site.callback
        domain = site.url.split("/")[2]
        save(sandbox, trusted_domain="localhost:3001")
        assert authorize(sandbox).status_code == 302

        save(sandbox, trusted_domain=domain.replace("127.0.0.1", "localhost"))
        uri = f"http://{domain.replace('127.0.0.1', 'localhost')}/cb"
        assert authorize(sandbox, redirect_uri=uri).status_code == 200
        assert sandbox.control("POST", f"{APP}/domain/verify", {})["problem"] == ""
        assert authorize(sandbox, redirect_uri=uri).status_code == 302


def test_a_new_address_takes_a_minute(sandbox: SandboxHandle, api: Api) -> None:
    sandbox.control("PATCH", "settings", {"caller_ip": "203.0.113.9"})
    save(sandbox, trusted_ips=["203.0.113.9", "192.0.2.1"])

    assert api.get("user/get", userid="lilei")["errcode"] == 60020
    sandbox.advance(60)
    assert api.get("user/get", userid="lilei")["errcode"] == 0
    save(sandbox, trusted_ips=["203.0.113.9"])
    assert api.get("user/get", userid="lilei")["errcode"] == 0


def test_an_app_whose_callers_are_not_checked_is_told(sandbox: SandboxHandle) -> None:
    def is_warned() -> bool:
        return '<p class="error">当前不检查该应用的调用 IP' in sandbox.session.get(page, timeout=60).text

    page = f"{sandbox.base_url}/console/{CORPID}/apps/{AGENTID}"
    assert is_warned()
    sandbox.control("PATCH", "settings", {"trusted_ips_required": True})
    assert not is_warned()
    sandbox.control("PATCH", "settings", {"trusted_ips_required": False})
    save(sandbox, trusted_ips=[])
    assert not is_warned()


def test_what_is_handed_out(sandbox: SandboxHandle, api: Api) -> None:
    secret = sandbox.control("POST", f"{APP}/secret", {})["secret"]
    file = sandbox.session.get(f"{sandbox.base_url}/sandbox/verification/{CORPID}/{AGENTID}", timeout=60)

    assert len(secret) == 43
    assert Api(sandbox, secret=secret).get("user/get", userid="lilei")["errcode"] == 0
    assert api.raw("GET", "gettoken", params={"corpid": CORPID, "corpsecret": api.secret}).json()["errcode"] == 40001
    assert file.headers["Content-Disposition"].split('"')[1] == f"WW_verify_{file.text}.txt"
    assert len(file.text) == 16


def test_the_page_of_faults_offers_every_fault_and_every_call(sandbox: SandboxHandle) -> None:
    text = sandbox.session.get(f"{sandbox.base_url}/console/faults", timeout=60).text

    assert set(re.findall(r'<option value="([a-z0-9_]+)">', text)) == set(KINDS)
    assert set(re.findall(r"<option>(.*?)</option>", text)) == {*ENDPOINTS, *OPEN_ENDPOINTS, "callback"}


def test_departments_are_shown_as_a_tree_and_not_without_end(sandbox: SandboxHandle) -> None:
    rows = [{"id": number, "name": f"组{number}", "parentid": 3} for number in range(10, 260)]
    sandbox.control("POST", f"companies/{CORPID}/departments", rows)

    text = sandbox.session.get(f"{sandbox.base_url}/console/{CORPID}", timeout=60).text

    names = re.findall(r"<td>(\u3000*[^<>]+)</td><td>\d", text)
    assert names[:3] == ["\u3000销售部", "\u3000\u3000华东区", "\u3000\u3000\u3000组10"]
    assert len(names) == 199
    assert "共 254 个部门，显示 200 个。" in text


def shown(sandbox: SandboxHandle, path: str, pattern: str) -> tuple[list[str], str]:
    """Return what a page of the console lists, by a pattern, and the address of its link to more."""
    page = sandbox.session.get(f"{sandbox.base_url}/console/{path}", timeout=60)
    assert page.status_code == 200
    link = re.search(r'href="(\?[^"]*from=\d+)"', page.text)
    return re.findall(pattern, page.text), link[1].replace("&amp;", "&") if link else ""


def test_lists_are_shown_page_by_page(api: Api, sandbox: SandboxHandle) -> None:
    rows = [{"userid": f"u{number}", "name": f"员工 {number}", "department": [4]} for number in range(60)]
    sandbox.control("POST", f"companies/{CORPID}/members", rows)
    path, pattern = f"{CORPID}/members", r"<code>(\w+)</code>"
    first, more = shown(sandbox, f"{path}?q=员工", pattern)
    assert first == [f"u{number}" for number in range(50)]
    assert shown(sandbox, path + more, pattern) == ([f"u{number}" for number in range(50, 60)], "")

    token = api.token()
    for _ in range(104):
        api.raw("GET", "department/list", params={"access_token": token})
    pattern = r"GET /cgi-bin/(\w+)"
    first, more = shown(sandbox, "log", pattern)
    assert (first, more) == (["department"] * 100, "?from=100")
    assert shown(sandbox, f"log{more}", pattern) == (["department"] * 4 + ["gettoken"], "")
    for place in ("-1", "x", "9" * 18, "٣"):
        assert shown(sandbox, f"log?from={place}", "<h1>")[0] == ["<h1>"]
        assert shown(sandbox, f"{CORPID}/members?from={place}", "<h1>")[0] == ["<h1>"]


def test_the_log_shows_what_was_asked_for_and_is_missing(sandbox: SandboxHandle) -> None:
    def get(path: str) -> requests.Response:
        return sandbox.session.get(f"{sandbox.base_url}/{path}", timeout=60)

    assert "请求过但沙箱没有" not in get("console/log").text
    for _ in range(2):
        get("cgi-bin/kf/<b>")

    assert "请求过但沙箱没有" in get("console/log").text
    assert "<td>GET /cgi-bin/kf/&lt;b&gt;</td><td>2</td>" in get("console/log").text
    missing = ("console/wwnone", f"console/{CORPID}/apps/9", f"console/{CORPID}/apps/x")
    assert [get(path).status_code for path in missing] == [404] * 3
