"""The authorise page, the QR page, and the codes that come from them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

WECOM = {"User-Agent": "Mozilla/5.0 (iPhone) Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1 Language/zh"}
VISIT = {
    "appid": CORPID,
    "redirect_uri": "http://localhost:3001/cb?path=%2Fa",
    "response_type": "code",
    "scope": "snsapi_base",
    "state": "S1",
    "agentid": str(AGENTID),
}


def authorize(sandbox: SandboxHandle, headers: Mapping[str, str] = WECOM, **changes: str) -> requests.Response:
    url = f"{sandbox.base_url}/connect/oauth2/authorize"
    return sandbox.session.get(url, params=VISIT | changes, headers=headers, allow_redirects=False, timeout=60)


def hold_phone(sandbox: SandboxHandle, userid: str) -> None:
    sandbox.session.get(f"{sandbox.base_url}/phone", params={"corpid": CORPID, "userid": userid}, timeout=60)


def code_of(response: requests.Response) -> str:
    assert response.status_code == 302, response.text
    return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]


def test_silent_redirect_inside_wecom(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "lilei")

    response = authorize(sandbox)

    code = code_of(response)
    assert response.headers["Location"] == f"http://localhost:3001/cb?path=%2Fa&code={code}&state=S1"
    assert api.get("auth/getuserinfo", code=code) == {"errcode": 0, "errmsg": "ok", "userid": "LiLei"}


def test_a_code_is_for_once(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "lilei")
    code = code_of(authorize(sandbox))
    api.get("auth/getuserinfo", code=code)

    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029


def test_a_code_lives_five_minutes(sandbox: SandboxHandle, api: Api) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]
    sandbox.advance(300)

    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029


@pytest.mark.parametrize("path", ["auth/getuserinfo", "user/getuserinfo"])
@pytest.mark.parametrize("status", [2, 5, None])
def test_a_code_of_somebody_who_left_is_of_no_use(
    sandbox: SandboxHandle, api: Api, path: str, status: int | None
) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]
    if status is None:
        sandbox.control("DELETE", f"companies/{CORPID}/members/lilei", {})
    else:
        sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "status": status}])

    answer = api.get(path, code=code)

    assert (answer["errcode"], set(answer)) == (40029, {"errcode", "errmsg"})


def test_a_ticket_of_somebody_who_left_is_of_no_use(sandbox: SandboxHandle, api: Api) -> None:
    visit = {"redirect_uri": "http://localhost:3001/cb", "scope": "snsapi_privateinfo", "agentid": str(AGENTID)}
    code = sandbox.authorize(CORPID, "lilei", **visit)["code"]
    ticket = api.get("auth/getuserinfo", code=code)["user_ticket"]
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "status": 5}])

    assert api.post("auth/getuserdetail", {"user_ticket": ticket})["errcode"] == 60011


def test_who_gets_a_leaver_s_userid_gets_nothing_else_of_hers(sandbox: SandboxHandle, api: Api) -> None:
    """Another person: not signed in by an old code, not shown for an old ticket, asked for consent again."""
    hold_phone(sandbox, "lilei")
    private = {"scope": "snsapi_privateinfo"}
    url = f"{sandbox.base_url}/connect/oauth2/authorize"
    allowed = sandbox.session.post(
        url, params=VISIT | private, data={"answer": "allow"}, headers=WECOM, allow_redirects=False, timeout=60
    )
    ticket = api.get("auth/getuserinfo", code=code_of(allowed))["user_ticket"]
    code = code_of(authorize(sandbox, scope=private["scope"]))
    sandbox.control("DELETE", f"companies/{CORPID}/members/lilei")
    sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "LiLei", "name": "李蕾", "department": [2]}])

    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029
    assert api.post("auth/getuserdetail", {"user_ticket": ticket})["errcode"] == 84015
    assert authorize(sandbox, scope=private["scope"]).status_code == 200


def test_the_older_spelling(sandbox: SandboxHandle, api: Api) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]

    assert api.get("user/getuserinfo", code=code) == {
        "errcode": 0,
        "errmsg": "ok",
        "UserId": "LiLei",
        "DeviceId": "",
    }


@pytest.mark.parametrize(("code", "errcode"), [("", 41008), ("nonsense", 40029)])
def test_codes_that_are_none(api: Api, code: str, errcode: int) -> None:
    assert api.get("auth/getuserinfo", code=code)["errcode"] == errcode


def test_a_code_of_another_domain_is_not_taken(sandbox: SandboxHandle, api: Api, contacts: Api) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri="http://localhost:3001/cb")["code"]
    app = f"companies/{CORPID}/apps/{AGENTID}"

    assert contacts.get("auth/getuserinfo", code=code)["errcode"] == 50001
    sandbox.control("PATCH", app, {"trusted_domain": "bi.example.com"})
    assert api.get("auth/getuserinfo", code=code)["errcode"] == 50001
    sandbox.control("PATCH", app, {"trusted_domain": "localhost:3001"})
    assert api.get("auth/getuserinfo", code=code)["userid"] == "LiLei"


def test_members_outside_the_scope_and_guests_get_codes_too(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "jim")
    assert api.get("auth/getuserinfo", code=code_of(authorize(sandbox)))["userid"] == "jim"

    hold_phone(sandbox, "~guest")
    answer = api.get("auth/getuserinfo", code=code_of(authorize(sandbox)))
    assert answer == {"errcode": 0, "errmsg": "ok", "openid": "oSANDBOXGUEST0001"}


def test_other_browsers_are_turned_away(sandbox: SandboxHandle) -> None:
    response = authorize(sandbox, headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130"})

    assert response.status_code == 200
    assert '<h1 lang="zh-hans">请在企业微信客户端打开链接</h1>' in response.text


def test_a_browser_with_a_phone_counts_as_wecom(sandbox: SandboxHandle) -> None:
    hold_phone(sandbox, "lilei")

    assert authorize(sandbox, headers={"User-Agent": "Mozilla/5.0 Chrome/130"}).status_code == 302


def test_wecom_without_a_person_asks_who_it_is_and_goes_on(sandbox: SandboxHandle) -> None:
    response = authorize(sandbox)
    chooser = sandbox.session.get(sandbox.base_url + response.headers["Location"], headers=WECOM, timeout=60)

    assert (
        "/phone?corpid=ww0000000000000001&amp;userid=LiLei&amp;next=/connect/oauth2/authorize%3F"
        in chooser.text.replace("%2F", "/")
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redirect_uri": "http://localhost/cb"}, "redirect_uri参数错误"),
        ({"redirect_uri": "http://localhost:3001.example.com/cb"}, "redirect_uri参数错误"),
        ({"redirect_uri": "http://localhost:3001@example.com/"}, "redirect_uri参数错误"),
        ({"redirect_uri": "http://localhost:3001\\@example.com/"}, "redirect_uri参数错误"),
        ({"redirect_uri": "javascript://localhost:3001/%0aalert(1)"}, "redirect_uri参数错误"),
        ({"redirect_uri": ""}, "redirect_uri参数错误"),
        ({"appid": "wwnobody"}, "该链接无法访问"),
        ({"agentid": "77"}, "该链接无法访问"),
        ({"scope": "snsapi_userinfo"}, "该链接无法访问"),
        ({"response_type": "token"}, "该链接无法访问"),
        ({"state": "a-b"}, "state参数错误"),
    ],
)
def test_wrong_visits_stay_on_a_page(sandbox: SandboxHandle, changes: dict[str, str], words: str) -> None:
    hold_phone(sandbox, "lilei")

    response = authorize(sandbox, WECOM, **changes)

    assert response.status_code == 200
    assert f'<h1 lang="zh-hans">{words}</h1>' in response.text


def test_an_empty_state_comes_back_empty(sandbox: SandboxHandle) -> None:
    hold_phone(sandbox, "lilei")

    response = authorize(sandbox, state="", redirect_uri="https://localhost:3001#frag")

    assert response.headers["Location"] == f"https://localhost:3001?code={code_of(response)}&state=#frag"


def test_personal_details_need_consent_and_scope(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "hanmeimei")
    answer = authorize(sandbox, scope="snsapi_privateinfo")
    url = f"{sandbox.base_url}/connect/oauth2/authorize"
    query = VISIT | {"scope": "snsapi_privateinfo"}
    given = sandbox.session.post(url, params=query, data={"answer": "allow"}, allow_redirects=False, timeout=60)
    info = api.get("auth/getuserinfo", code=code_of(given))
    detail = api.post("auth/getuserdetail", {"user_ticket": info["user_ticket"]})

    assert answer.status_code == 200
    assert (detail["userid"], detail["email"]) == ("hanmeimei", "han@example.com")
    assert authorize(sandbox, scope="snsapi_privateinfo").status_code == 302
    sandbox.advance(1801)
    assert api.post("auth/getuserdetail", {"user_ticket": info["user_ticket"]})["errcode"] == 84014
    assert api.post("auth/getuserdetail", {"user_ticket": "x"})["errcode"] == 84015

    hold_phone(sandbox, "jim")
    assert "不在该应用的可见范围内" in authorize(sandbox, scope="snsapi_privateinfo").text


def scan(sandbox: SandboxHandle, document: object, **changes: str) -> requests.Response:
    url = f"{sandbox.base_url}/wwlogin/sso/login"
    query = {"login_type": "CorpApp", **VISIT, **changes}
    return sandbox.session.post(url, params=query, json=document, timeout=60)


def test_scanning_the_qr_code(sandbox: SandboxHandle, api: Api) -> None:
    answer = scan(sandbox, {"userid": "lilei", "answer": "approve"}).json()

    assert answer["url"] == f"http://localhost:3001/cb?path=%2Fa&code={answer['code']}&state=S1"
    assert api.get("auth/getuserinfo", code=answer["code"])["userid"] == "LiLei"


def test_refusing_brings_the_state_only(sandbox: SandboxHandle) -> None:
    answer = scan(sandbox, {"userid": "lilei", "answer": "refuse"}).json()

    assert answer == {"code": "", "url": "http://localhost:3001/cb?path=%2Fa&state=S1"}


def test_scanning_outside_the_scope(sandbox: SandboxHandle) -> None:
    response = scan(sandbox, {"userid": "jim", "answer": "approve"})

    assert (response.status_code, response.json()) == (403, {"error": "无权限"})


@pytest.mark.parametrize("document", [[1], {"userid": "ghost", "answer": "approve"}, {"userid": "lilei"}])
def test_a_scan_that_makes_no_sense(sandbox: SandboxHandle, document: object) -> None:
    assert scan(sandbox, document).status_code == 400


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_scan_needs_json_s_content_type(sandbox: SandboxHandle, content_type: str | None) -> None:
    """A page of another site can post a form or plain text here, but not JSON."""
    response = sandbox.session.post(
        f"{sandbox.base_url}/wwlogin/sso/login",
        params={"login_type": "CorpApp", **VISIT},
        data=b'{"userid": "lilei", "answer": "approve"}',
        headers={"Content-Type": content_type},
        timeout=60,
    )

    assert (response.status_code, response.json()) == (415, {"error": "Content-Type must be application/json"})


@pytest.mark.parametrize("path", ["/wwlogin/sso/login", "/wwopen/sso/qrConnect"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, 'data-userid="LiLei"'),
        ({"redirect_uri": "http://other.example.com/"}, "redirect_uri 与配置的授权完成回调域名不一致"),
        ({"redirect_uri": "x"}, "该链接无法访问"),
        ({"agentid": ""}, "该链接无法访问"),
        ({"appid": "wwnobody"}, "该链接无法访问"),
    ],
)
def test_the_qr_page(sandbox: SandboxHandle, path: str, changes: dict[str, str], words: str) -> None:
    response = sandbox.session.get(sandbox.base_url + path, params=VISIT | changes, timeout=60)

    assert response.status_code == 200
    assert words in response.text
    assert "frame-ancestors *" in response.headers["Content-Security-Policy"]


def test_the_callback_domain_serves_the_qr_page_only(sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"callback_domain": "login.example.com"})
    hold_phone(sandbox, "lilei")

    assert scan(sandbox, {"userid": "lilei", "answer": "refuse"}, redirect_uri="https://login.example.com/").ok
    assert authorize(sandbox, redirect_uri="https://login.example.com/").status_code == 200


def test_a_tap_on_the_phone_passes_the_qr_page_once(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "lilei")
    sandbox.session.cookies.set("sandbox_tapped", "1", domain="127.0.0.1", path="/")
    url = f"{sandbox.base_url}/wwlogin/sso/login"

    first = sandbox.session.get(url, params=VISIT, allow_redirects=False, timeout=60)
    second = sandbox.session.get(url, params=VISIT, allow_redirects=False, timeout=60)

    assert api.get("auth/getuserinfo", code=code_of(first))["userid"] == "LiLei"
    assert second.status_code == 200
