"""The authorise page, the QR page, and their codes."""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.conftest import Api, hold_phone
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

APP, MEMBERS = f"companies/{CORPID}/apps/{AGENTID}", f"companies/{CORPID}/members"
CALLBACK, PRIVATE = "http://localhost:3001/cb", "snsapi_privateinfo"
WECOM = {"User-Agent": "Mozilla/5.0 (iPhone) Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1 Language/zh"}
CHROME = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130"}
VISIT = {
    "appid": CORPID,
    "redirect_uri": "http://localhost:3001/cb?path=%2Fa",
    "response_type": "code",
    "scope": "snsapi_base",
    "state": "S1",
    "agentid": str(AGENTID),
}


FOREIGN = (
    *("http://localhost/cb", "http://localhost:3001.example.com/cb", "", "http://localhost:3001@example.com/"),
    *("http://localhost:3001\\@example.com/", "javascript://localhost:3001/%0aalert(1)"),
)


def authorize(sandbox: SandboxHandle, headers: Mapping[str, str] = WECOM, **changes: str) -> requests.Response:
    url = f"{sandbox.base_url}/connect/oauth2/authorize"
    return sandbox.session.get(url, params=VISIT | changes, headers=headers, allow_redirects=False, timeout=60)


def consent(sandbox: SandboxHandle) -> requests.Response:
    """Consent to what snsapi_privateinfo tells the app."""
    url, query = f"{sandbox.base_url}/connect/oauth2/authorize", VISIT | {"scope": PRIVATE}
    return sandbox.session.post(url, params=query, data={"answer": "allow"}, allow_redirects=False, timeout=60)


def code_of(response: requests.Response) -> str:
    assert response.status_code == 302, response.text
    return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]


def test_a_silent_redirect_brings_a_code_for_once(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "lilei")

    response = authorize(sandbox)

    code = code_of(response)
    assert response.headers["Location"] == f"http://localhost:3001/cb?path=%2Fa&code={code}&state=S1"
    assert api.get("auth/getuserinfo", code=code) == {"errcode": 0, "errmsg": "ok", "userid": "LiLei"}
    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029
    assert authorize(sandbox, CHROME).status_code == 302  # a browser with a phone counts as WeCom's
    empty = authorize(sandbox, state="", redirect_uri="https://localhost:3001#frag")
    assert empty.headers["Location"] == f"https://localhost:3001?code={code_of(empty)}&state=#frag"


@pytest.mark.parametrize("status", [2, 5, None, "late"])
def test_a_code_of_somebody_who_left_or_of_six_minutes_ago_is_of_no_use(
    sandbox: SandboxHandle, api: Api, status: int | str | None
) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri=CALLBACK)["code"]
    if status == "late":
        sandbox.advance(300)
    elif status is None:
        sandbox.control("DELETE", f"{MEMBERS}/lilei", {})
    else:
        sandbox.control("POST", MEMBERS, [{"userid": "lilei", "status": status}])

    answer = api.get("auth/getuserinfo", code=code)
    assert (answer["errcode"], set(answer)) == (40029, {"errcode", "errmsg"})


def test_who_gets_a_leaver_s_userid_gets_nothing_else_of_hers(sandbox: SandboxHandle, api: Api) -> None:
    """Treat the new owner as another person: old codes and tickets are void, and consent is asked for again."""
    hold_phone(sandbox, "lilei")
    ticket = api.get("auth/getuserinfo", code=code_of(consent(sandbox)))["user_ticket"]
    code = code_of(authorize(sandbox, scope=PRIVATE))
    sandbox.control("POST", MEMBERS, [{"userid": "lilei", "status": 5}])
    assert api.post("auth/getuserdetail", {"user_ticket": ticket})["errcode"] == 60011
    sandbox.control("DELETE", f"{MEMBERS}/lilei")
    sandbox.control("POST", MEMBERS, [{"userid": "LiLei", "name": "李蕾", "department": [2]}])

    assert api.get("auth/getuserinfo", code=code)["errcode"] == 40029
    assert api.post("auth/getuserdetail", {"user_ticket": ticket})["errcode"] == 84015
    assert authorize(sandbox, scope=PRIVATE).status_code == 200


def test_a_code_of_another_domain_is_not_taken(sandbox: SandboxHandle, api: Api, contacts: Api) -> None:
    code = sandbox.authorize(CORPID, "lilei", redirect_uri=CALLBACK)["code"]

    assert contacts.get("auth/getuserinfo", code=code)["errcode"] == 50001
    sandbox.control("PATCH", APP, {"trusted_domain": "bi.example.com"})
    assert api.get("auth/getuserinfo", code=code)["errcode"] == 50001
    sandbox.control("PATCH", APP, {"trusted_domain": "localhost:3001"})
    assert api.get("auth/getuserinfo", code=code)["userid"] == "LiLei"


@pytest.mark.parametrize(("holder", "who"), [("jim", {"userid": "jim"}), ("~guest", {"openid": "oSANDBOXGUEST0001"})])
def test_members_outside_the_scope_and_guests_get_codes_too(
    sandbox: SandboxHandle, api: Api, holder: str, who: dict[str, str]
) -> None:
    hold_phone(sandbox, holder)

    assert api.get("auth/getuserinfo", code=code_of(authorize(sandbox))) == {"errcode": 0, "errmsg": "ok", **who}


def test_other_browsers_are_turned_away_and_wecom_without_a_person_asks_who_it_is(sandbox: SandboxHandle) -> None:
    assert '<h1 lang="zh-hans">请在企业微信客户端打开链接</h1>' in authorize(sandbox, CHROME).text
    response = authorize(sandbox)
    chooser = sandbox.session.get(sandbox.base_url + response.headers["Location"], headers=WECOM, timeout=60)

    wanted = "/phone?corpid=ww0000000000000001&amp;userid=LiLei&amp;next=/connect/oauth2/authorize%3F"
    assert wanted in chooser.text.replace("%2F", "/")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({"redirect_uri": uri}, "redirect_uri参数错误") for uri in FOREIGN),
        *(({name: "wwnobody"}, "该链接无法访问") for name in ("appid", "agentid", "scope", "response_type")),
        ({"state": "a-b"}, "state参数错误"),
    ],
)
def test_wrong_visits_stay_on_a_page(sandbox: SandboxHandle, changes: dict[str, str], words: str) -> None:
    hold_phone(sandbox, "lilei")

    response = authorize(sandbox, WECOM, **changes)

    assert (response.status_code, f'<h1 lang="zh-hans">{words}</h1>' in response.text) == (200, True)


def test_personal_details_need_consent_and_scope(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "hanmeimei")
    assert authorize(sandbox, scope=PRIVATE).status_code == 200
    info = api.get("auth/getuserinfo", code=code_of(consent(sandbox)))
    detail = api.post("auth/getuserdetail", {"user_ticket": info["user_ticket"]})

    assert (detail["userid"], detail["email"]) == ("hanmeimei", "han@example.com")
    assert authorize(sandbox, scope=PRIVATE).status_code == 302
    sandbox.advance(1801)
    assert api.post("auth/getuserdetail", {"user_ticket": info["user_ticket"]})["errcode"] == 84014
    hold_phone(sandbox, "jim")
    assert "不在该应用的可见范围内" in authorize(sandbox, scope=PRIVATE).text


def scan(
    sandbox: SandboxHandle, document: object, content_type: str | None = "application/json", **changes: str
) -> requests.Response:
    url = f"{sandbox.base_url}/wwlogin/sso/login"
    query = {"login_type": "CorpApp", **VISIT, **changes}
    body = json.dumps(document)
    return sandbox.session.post(url, params=query, data=body, headers={"Content-Type": content_type}, timeout=60)


def test_scanning_the_qr_code(sandbox: SandboxHandle, api: Api) -> None:
    answer = scan(sandbox, {"userid": "lilei", "answer": "approve"}).json()
    refused = scan(sandbox, {"userid": "lilei", "answer": "refuse"}).json()

    assert answer["url"] == f"http://localhost:3001/cb?path=%2Fa&code={answer['code']}&state=S1"
    assert api.get("auth/getuserinfo", code=answer["code"])["userid"] == "LiLei"
    assert refused == {"code": "", "url": "http://localhost:3001/cb?path=%2Fa&state=S1"}


@pytest.mark.parametrize(
    ("document", "content_type", "status", "error"),
    [
        ([1], "application/json", 400, ""),
        ({"userid": "ghost", "answer": "approve"}, "application/json", 400, ""),
        ({"userid": "lilei"}, "application/json", 400, ""),
        ({"userid": "jim", "answer": "approve"}, "application/json", 403, "无权限"),
        # A page of another site can post a form or plain text here, but not JSON.
        ({"userid": "lilei", "answer": "approve"}, "text/plain", 415, "Content-Type must be application/json"),
        ({"userid": "lilei", "answer": "approve"}, None, 415, "Content-Type must be application/json"),
    ],
)
def test_scans_that_are_refused(
    sandbox: SandboxHandle, document: object, content_type: str | None, status: int, error: str
) -> None:
    response = scan(sandbox, document, content_type)

    assert (response.status_code, error in response.json()["error"]) == (status, True)


@pytest.mark.parametrize("path", ["/wwlogin/sso/login", "/wwopen/sso/qrConnect"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, 'data-userid="LiLei"'),
        ({"redirect_uri": "http://other.example.com/"}, "redirect_uri 与配置的授权完成回调域名不一致"),
        *(({name: "x"}, "该链接无法访问") for name in ("redirect_uri", "agentid", "appid")),
    ],
)
def test_the_qr_page(sandbox: SandboxHandle, path: str, changes: dict[str, str], words: str) -> None:
    response = sandbox.session.get(sandbox.base_url + path, params=VISIT | changes, timeout=60)

    assert (response.status_code, words in response.text) == (200, True)
    assert "frame-ancestors *" in response.headers["Content-Security-Policy"]


def test_the_callback_domain_serves_the_qr_page_only(sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", APP, {"callback_domain": "login.example.com"})
    hold_phone(sandbox, "lilei")

    assert scan(sandbox, {"userid": "lilei", "answer": "refuse"}, redirect_uri="https://login.example.com/").ok
    assert authorize(sandbox, redirect_uri="https://login.example.com/").status_code == 200


def test_a_tap_on_the_phone_passes_the_qr_page_once(sandbox: SandboxHandle, api: Api) -> None:
    hold_phone(sandbox, "lilei")
    sandbox.session.cookies.set("sandbox_tapped", "1", domain="127.0.0.1", path="/")
    url = f"{sandbox.base_url}/wwlogin/sso/login"

    first, second = (sandbox.session.get(url, params=VISIT, allow_redirects=False, timeout=60) for _ in range(2))

    assert api.get("auth/getuserinfo", code=code_of(first))["userid"] == "LiLei"
    assert second.status_code == 200
