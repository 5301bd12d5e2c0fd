"""Calls of the API: tokens, recipients, limits, files, group chats, robots, tickets, and the form of every answer."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from wecom_sandbox.api import token
from wecom_sandbox.api.token import TOKENS_MOST

from tests.sandbox.conftest import Api
from tests.sandbox.direct import AMR, CONTACTS, MP4, PNG, TEXT, DirectApi
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

RIGHT = {"corpid": CORPID, "corpsecret": SECRET}


@pytest.mark.parametrize(
    "given", [{"params": RIGHT}, {"params": RIGHT, "json": {}}, {"json": RIGHT}, {"data": RIGHT}], ids=range(4)
)
def test_gettoken_by_post(api: Api, given: dict[str, Any]) -> None:
    assert api.raw("POST", "gettoken", **given).json()["access_token"] == api.token()


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (None, 41002),
        ({"corpid": CORPID}, 41004),
        ({"corpid": 7, "corpsecret": SECRET}, 40013),
        ({"corpid": CORPID, "corpsecret": ["x"]}, 40001),
        (b"[]", 40058),
    ],
)
def test_gettoken_by_post_refused(direct: DirectApi, body: object, errcode: int) -> None:
    assert direct.errcode("gettoken", body, method="POST") == errcode


def use(direct: DirectApi, value: str) -> int:
    return direct.errcode("user/get", {"userid": "lilei"}, access_token=value)


def test_the_same_token_comes_again_and_counts_down_until_it_is_over(direct: DirectApi) -> None:
    first = direct("gettoken", RIGHT)
    direct.advance(100)
    second = direct("gettoken", RIGHT)

    assert first["expires_in"] == 7200
    assert second["access_token"] == first["access_token"]
    assert 7098 <= second["expires_in"] <= 7100
    direct.advance(7100)
    assert direct.token() != first["access_token"]
    answer = direct("user/get", {"access_token": first["access_token"]})
    assert answer["errmsg"] == (
        "access_token expired, more info at https://open.work.weixin.qq.com/devtool/query?e=42001"
    )


def test_rotating_tokens_stay_good_but_for_the_oldest(direct: DirectApi) -> None:
    other = DirectApi(CONTACTS, direct.world).token()
    direct.world.settings.change({"rotate_tokens": True, "limits_enabled": False})
    tokens = [direct.token() for _ in range(TOKENS_MOST + 1)]

    assert [use(direct, one) for one in (tokens[0], tokens[1], tokens[-1])] == [40014, 0, 0]
    assert other in direct.world.tokens


@pytest.mark.parametrize("errcode", [40014, 42001])
def test_tokens_can_be_spoilt(direct: DirectApi, errcode: int) -> None:
    old = direct.token()
    assert token.invalidate_tokens(direct.world, CORPID, AGENTID, code=errcode) == 1

    assert use(direct, old) == errcode
    assert use(direct, direct.token()) == 0


def test_what_is_missing_or_invented_is_no_token(direct: DirectApi, api: Api) -> None:
    assert (use(direct, ""), use(direct, "nonsense")) == (41001, 40014)
    assert api.raw("POST", "message/send", json={"access_token": api.token()}).json()["errcode"] == 41001


@pytest.mark.parametrize(
    ("change", "used", "asked"),
    [({"secret": "another-secret"}, 40001, 40001), ({"disabled": True}, 50003, 50003), ({"trusted_ips": []}, 60020, 0)],
)
def test_what_spoils_a_token_and_gettoken(direct: DirectApi, change: dict[str, Any], used: int, asked: int) -> None:
    """Let gettoken ignore the trusted IPs."""
    old = direct.token()
    direct.change_app(**change)

    assert use(direct, old) == used
    answer = direct("gettoken", RIGHT)
    assert (answer["errcode"], "access_token" in answer) == (asked, asked == 0)


def test_wrong_secrets_block_the_address_for_an_hour(direct: DirectApi) -> None:
    direct.world.settings.wrong_secrets_per_hour = 2
    wrong = RIGHT | {"corpsecret": "wrong"}

    assert [direct.errcode("gettoken", one) for one in (wrong, wrong, wrong, RIGHT)] == [40001, 40001, 40001, 45009]
    direct.advance(3601)
    assert direct.errcode("gettoken", RIGHT) == 0


def test_valid_recipients_get_it_and_invalid_ones_are_told_in_small_letters(direct: DirectApi) -> None:
    answer = direct.send("LILEI| Ghost |jim", toparty="3 | 4|x", totag="1|9")

    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")
    assert (answer["invaliduser"], answer["invalidparty"], answer["invalidtag"]) == ("ghost|jim", "4|x", "9")
    [message] = direct.messages("lilei")
    assert (message["msgid"], message["text"]) == (answer["msgid"], {"content": "hello"})
    direct.send("@all", toparty="4")
    assert direct.receivers() == [["lilei", "hanmeimei"]] * 2
    assert direct.messages("jim") == []


def test_nobody_valid(direct: DirectApi) -> None:
    answer = direct.send("Ghost", toparty="4")

    assert (answer["errcode"], answer["invaliduser"], answer["invalidparty"]) == (81013, "ghost", "4")
    assert "msgid" not in answer
    assert direct.receivers() == []


@pytest.mark.parametrize(
    "named", [{"toparty": "5"}, {"totag": "2"}, {"totag": "3"}, {"touser": "ghost", "toparty": "5"}, {"toparty": "6"}]
)
def test_a_department_or_a_tag_of_the_scope_is_valid_even_where_nobody_is(
    direct: DirectApi, named: dict[str, str]
) -> None:
    direct.change(
        "departments", {"id": 5, "name": "新部门", "parentid": 2}, {"id": 6, "name": "停用部门", "parentid": 2}
    )
    direct.change("members", {"userid": "off", "name": "停", "department": [6], "status": 2})
    gone = {"tagid": 3, "tagname": "离职者", "userids": ["gone"], "partyids": [5]}
    direct.change("tags", {"tagid": 2, "tagname": "空"}, gone)

    answer = direct.send(**{"touser": "", **named})

    assert (answer["errcode"], bool(answer["msgid"])) == (0, True)
    assert (answer["invalidparty"], answer["invalidtag"]) == ("", "")
    assert direct.receivers() == [[]]


def test_a_tag_that_holds_nobody_of_the_scope_is_not_permitted(direct: DirectApi) -> None:
    direct.change("departments", {"id": 5, "name": "出纳", "parentid": 4})
    direct.change("tags", {"tagid": 2, "tagname": "财务", "userids": ["jim"], "partyids": [5]})

    for totag, touser, errcode in (("2", "", 81013), ("2|1", "lilei", 0)):
        answer = direct.send(touser, totag=totag)
        assert (answer["errcode"], answer["invalidtag"]) == (errcode, "2")
    assert direct.receivers() == [["lilei", "hanmeimei"]]


@pytest.mark.parametrize(("scope", "errcode"), [({}, 81013), ({"partyids": [5]}, 0)])
def test_everybody_of_a_scope_that_is_empty(direct: DirectApi, scope: dict[str, list[int]], errcode: int) -> None:
    direct.change("departments", {"id": 5, "name": "新部门", "parentid": 2})
    direct.change_app(scope=scope)

    assert direct.send("@all")["errcode"] == errcode


def test_a_thousand_recipients_are_not_too_many(direct: DirectApi) -> None:
    users = "|".join(["lilei", *(f"u{number}" for number in range(999))])

    assert len(direct.send(users)["invaliduser"].split("|")) == 999


def test_members_without_a_licence_and_disabled_ones(direct: DirectApi) -> None:
    direct.change("members", {"userid": "lilei", "unlicensed": True})

    answers = [direct.send("LiLei|hanmeimei|ghost"), direct.send("LiLei")]

    assert [(answer["errcode"], answer["unlicenseduser"]) for answer in answers] == [(0, "lilei")] * 2
    assert answers[0]["invaliduser"] == "ghost"
    assert direct.messages("lilei") == []
    direct.change("members", {"userid": "lilei", "status": 2})
    assert direct.send("lilei|hanmeimei")["invaliduser"] == "lilei"


def test_the_identical_request_is_delivered_once(direct: DirectApi) -> None:
    for seconds in (60, 60, 61):
        direct.send(enable_duplicate_check=1, duplicate_check_interval=seconds)
    assert direct.send(enable_duplicate_check=1, duplicate_check_interval=60) == {"errcode": 0, "errmsg": "ok"}
    direct.advance(60)
    direct.send(enable_duplicate_check=1, duplicate_check_interval=60)
    direct.send()
    direct.send()

    assert len(direct.messages("lilei")) == 5


def test_a_refused_request_is_not_the_first_of_two(direct: DirectApi) -> None:
    direct.world.settings.daily_messages_per_account = 0
    assert direct.send(enable_duplicate_check=1)["errcode"] == 45009
    direct.world.settings.daily_messages_per_account = 200

    assert direct.send(enable_duplicate_check=1)["msgid"]


def test_the_interval_is_at_most_four_hours(direct: DirectApi) -> None:
    values: dict[str, Any] = {"enable_duplicate_check": 1, "duplicate_check_interval": 14_400}
    for seconds in (14_200, 200, 0):
        direct.send(**values)
        direct.advance(seconds)

    assert len(direct.messages("lilei")) == 2


def test_above_thirty_a_minute_a_member_gets_nothing_and_nobody_is_told(direct: DirectApi) -> None:
    for number in range(31):
        assert direct.send("lilei|hanmeimei" if number < 2 else "lilei")["errcode"] == 0
    late = direct.send("lilei|hanmeimei")

    assert late["invaliduser"] == ""
    assert (len(direct.messages("lilei")), len(direct.messages("hanmeimei"))) == (30, 3)
    last = direct.world.mail.messages[late["msgid"]]
    assert (last.receivers, last.dropped) == (("hanmeimei",), ("lilei",))
    direct.advance(60)
    direct.send()
    assert len(direct.messages("lilei")) == 31


def test_above_a_thousand_an_hour_too(direct: DirectApi) -> None:
    direct.world.settings.change({"member_per_minute": 5, "member_per_hour": 7})
    for number in range(10):
        direct.advance(61 if number == 5 else 0)
        direct.send()

    assert len(direct.messages("lilei")) == 7


def test_the_app_s_day(direct: DirectApi) -> None:
    direct.company.account_limit = 1
    direct.world.settings.daily_messages_per_account = 3

    assert [direct.send(one)["errcode"] for one in ("lilei|hanmeimei", "lilei|hanmeimei", "lilei")] == [0, 45009, 0]


DAY, CHINA = 86_400, 8 * 3600
BODY = b'{"touser":"lilei","msgtype":"text","agentid":1000002,"text":{"content":"x"}}'


@pytest.fixture
def whole(direct: DirectApi) -> DirectApi:
    """An app that sees the root department, which making group chats requires."""
    direct.change_app(scope={"partyids": [1]})
    return direct


def go_to(direct: DirectApi, hour_in_china: float) -> None:
    """Move the clock forward to the next time at which it is this hour in China."""
    direct.advance((hour_in_china * 3600 - (direct.world.now() + CHINA)) % DAY)


def test_app_messages_do_not_count_in_the_basic_frequency(direct: DirectApi) -> None:
    direct.world.settings.change({"company_per_minute": 6, "company_per_hour": 8, "ip_per_minute": 8})

    assert [direct.errcode("message/send", TEXT) for _ in range(5)] == [0] * 5
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 0
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 45009
    direct.advance(61)
    assert direct.errcode("gettoken", {"corpid": CORPID, "corpsecret": SECRET}) == 0


class Slow:
    """A message/send whose body lacks its last byte."""

    def __init__(self, base_url: str, token: str) -> None:
        parts = urlsplit(base_url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        head = (
            f"POST /cgi-bin/message/send?access_token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + BODY[:-1])

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def finish(self) -> bytes:
        """Send the last byte. Return the whole answer."""
        self._socket.sendall(BODY[-1:])
        return b"".join(iter(lambda: self._socket.recv(65_536), b""))


def send_with(api: Api, token: str) -> int:
    return int(api.raw("POST", "message/send", params={"access_token": token}, data=BODY).json()["errcode"])


def test_the_301st_parallel_call_of_a_company_is_refused(api: Api, sandbox: SandboxHandle) -> None:
    token = api.token()
    with ExitStack() as stack:
        calls = [stack.enter_context(Slow(sandbox.base_url, token)) for _ in range(299)]
        assert {send_with(api, token) for _ in range(20)} == {0}

        calls.append(stack.enter_context(Slow(sandbox.base_url, token)))
        deadline = time.monotonic() + 60
        while send_with(api, token) != 45033:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # a question under way when a slow call arrives would take its place
        assert b'"errcode":0' in calls[0].finish()
        assert send_with(api, token) == 0
        assert all(b'"errcode":0' in call.finish() for call in calls[1:])


def test_a_day_s_rule_blocks_until_the_day_ends_in_china(whole: DirectApi) -> None:
    go_to(whole, 23)
    people = {"userlist": ["lilei", "jim"]}
    for _ in range(1000):
        whole.errcode("appchat/create", {"userlist": ["lilei"]})

    assert whole.errcode("appchat/create", people) == 45009
    whole.advance(1800)
    assert whole.errcode("appchat/create", people) == 45009
    whole.advance(1800)
    assert whole.errcode("appchat/create", people) == 0


@pytest.mark.parametrize(("setting", "seconds"), [("group_per_minute", 61), ("group_per_hour", 3601)])
def test_group_messages_have_a_minute_and_an_hour(whole: DirectApi, setting: str, seconds: int) -> None:
    whole("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "abc"})
    message = {"chatid": "abc", "msgtype": "text", "text": {"content": "x"}}
    whole.world.settings.change({setting: 5})

    assert [whole.errcode("appchat/send", message) for _ in range(3)] == [0, 0, 45009]
    whole.advance(seconds - 10)
    assert whole.errcode("appchat/send", message) == 45009
    whole.advance(10 + seconds)
    assert whole.errcode("appchat/send", message) == 0


def test_a_group_member_above_two_hundred_a_minute_gets_nothing(whole: DirectApi) -> None:
    whole("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1"})
    whole("appchat/create", {"userlist": ["lilei", "hanmeimei"], "chatid": "c2"})
    message = {"chatid": "c1", "msgtype": "text", "text": {"content": "x"}}
    for _ in range(200):
        whole("appchat/send", message)

    assert whole("appchat/send", {**message, "chatid": "c2"}) == {"errcode": 0, "errmsg": "ok"}

    last = list(whole.world.mail.messages.values())[-1]
    assert (last.receivers, last.dropped) == (("hanmeimei",), ("lilei",))


def test_debug_mode_is_for_five_calls_a_minute(direct: DirectApi) -> None:
    right = {"corpid": CORPID, "corpsecret": SECRET}
    codes = [direct.errcode("message/send", TEXT, debug="1") for _ in range(3)]
    codes += [direct.errcode("gettoken", right, debug="1") for _ in range(3)]

    assert codes == [0, 0, 0, 0, 0, 45009]
    assert [direct.errcode("message/send", TEXT, debug=one) for one in "10"] == [45009, 0]
    direct.advance(61)
    assert direct.errcode("message/send", TEXT, debug="1") == 0


APP = f"companies/{CORPID}/apps/{AGENTID}"


def upload(api: Api, kind: str, body: bytes, name: str = "a.bin", path: str = "media/upload") -> dict[str, Any]:
    query = {"access_token": api.token(), "type": kind}
    return dict(api.raw("POST", path, params=query, files={"media": (name, body)}).json())


@pytest.mark.parametrize(("kind", "body"), [("image", PNG), ("voice", AMR), ("video", MP4), ("file", b"123456")])
def test_what_was_uploaded_comes_back(api: Api, sandbox: SandboxHandle, kind: str, body: bytes) -> None:
    answer = upload(api, kind, body, "测试.dat")
    media_id = answer["media_id"]
    query = {"access_token": api.token(), "media_id": media_id}

    response = api.raw("GET", "media/get", params=query)
    part = api.raw("GET", "media/get", params=query, headers={"Range": "bytes=2-4"})

    assert (answer["errcode"], answer["type"], answer["created_at"].isdecimal()) == (0, kind, True)
    assert response.content == body
    assert "filename*=utf-8''%E6%B5%8B%E8%AF%95.dat" in response.headers["Content-Disposition"]
    assert (part.status_code, part.content) == (206, body[2:5])
    assert part.headers["Content-Range"] == f"bytes 2-4/{len(body)}"
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 0
    assert sandbox.messages(CORPID, "lilei")[0][kind]["filename"] == "测试.dat"
    sandbox.advance(3 * 24 * 3600)
    assert api.send("lilei", msgtype=kind, **{kind: {"media_id": media_id}})["errcode"] == 40007
    assert api.get("media/get", media_id=media_id)["errcode"] == 40007


def test_names_with_control_characters_come_back_without_them(api: Api) -> None:
    head = b'--\xff\r\nContent-Disposition: form-data; name="media"; filename="a\x01b\x7f.txt"\r\n'
    body = head + b"Content-Type: text/pl\x02ain\r\n\r\n0123456789\r\n--\xff--\r\n"
    query = {"access_token": api.token(), "type": "file"}
    headers = {"Content-Type": b"multipart/form-data; boundary=\xff"}
    media_id = api.raw("POST", "media/upload", params=query, data=body, headers=headers).json()["media_id"]

    response = api.raw("GET", "media/get", params={"access_token": api.token(), "media_id": media_id})

    assert (response.status_code, response.content) == (200, b"0123456789")
    assert response.headers["Content-Type"] == "text/pl ain"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="a b .txt"; ')


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        ("multipart/form-data; boundary=B", "form-data; name=\"media\"; filename*=utf-8''a.txt"),
        ("multipart/form-data; boundary=B", 'form-data; name="file"; filename="a.txt"'),
        ("multipart/form-data; boundary=B", 'form-data; name="media"'),
        ("multipart/form-data", 'form-data; name="media"; filename="a.txt"'),
        ("multipart/form-data; boundary=C", 'form-data; name="media"; filename="a.txt"'),
        ("application/octet-stream", 'form-data; name="media"; filename="a.txt"'),
    ],
)
def test_forms_that_wecom_does_not_understand(direct: DirectApi, content_type: str, head: str) -> None:
    body = f"--B\r\nContent-Disposition: {head}\r\n\r\n0123456789\r\n--B--\r\n".encode()

    assert direct.errcode("media/upload", body, type="file", headers={"content_type": content_type}) == 44001


def test_group_chat(direct: DirectApi) -> None:
    assert (
        direct.errcode("appchat/create", {"userlist": ["lilei", "hanmeimei"]}) == 48002
    )  # it sees one department only
    direct.change_app(scope={"partyids": [1]})
    chatid = direct("appchat/create", {"name": "周报", "userlist": ["LILEI", "jim"], "owner": "jim"})["chatid"]

    info = direct("appchat/get", {"chatid": chatid})["chat_info"]
    assert info == {"chatid": chatid, "name": "周报", "owner": "jim", "userlist": ["LiLei", "jim"]}
    changes = {"chatid": chatid, "name": "月报", "add_user_list": ["hanmeimei"], "del_user_list": ["jim"]}
    assert direct.errcode("appchat/update", changes) == 0
    info = direct("appchat/get", {"chatid": chatid})["chat_info"]
    assert (info["name"], info["owner"], info["userlist"]) == ("月报", "LiLei", ["LiLei", "hanmeimei"])
    message = {"chatid": chatid, "msgtype": "text", "text": {"content": "hello"}}
    assert direct("appchat/send", message) == {"errcode": 0, "errmsg": "ok"}
    assert [one["chatid"] for one in direct.messages("hanmeimei")] == [chatid]
    assert direct.messages("jim") == []
    card = {"chatid": chatid, "msgtype": "template_card", "template_card": {}}
    assert direct.errcode("appchat/send", card) == 40008
    assert direct.errcode("appchat/create", {"userlist": ["lilei", "jim"], "chatid": chatid}) == 86215
    direct.change("apps", {"agentid": 5, "name": "五", "secret": "s5", "scope": {"partyids": [1]}})
    assert DirectApi("s5", direct.world).errcode("appchat/get", {"chatid": chatid}) == 86008


def push(api: Api, msgtype: str, key: str = "robot-key", **content: Any) -> dict[str, Any]:
    body = {"msgtype": msgtype, msgtype: content}
    return dict(api.raw("POST", "webhook/send", params={"key": key}, json=body).json())


def test_robots_that_may_not(direct: DirectApi) -> None:
    direct.company.robots["robot-key"].disabled = True
    text = {"msgtype": "text", "text": {"content": "x"}}
    assert [direct.errcode("webhook/send", text, key=one) for one in ("nobody", "robot-key")] == [93000, 93004]

    direct.company.robots["robot-key"].disabled = False
    assert [direct.errcode("webhook/send", text, key="robot-key") for _ in range(21)] == [0] * 20 + [45009]


def test_js_sdk_tickets_are_one_app_s(direct: DirectApi) -> None:
    """Catch caches keyed by the company alone, which mix tickets up (42012)."""
    direct.change("apps", {"agentid": 9, "name": "二", "secret": "second"})
    other = DirectApi("second", direct.world)
    signed = {"noncestr": "n", "timestamp": "1764000004", "url": "https://portal.example.com/m?a=1"}

    for kind, ask in (("config", ("get_jsapi_ticket", {})), ("agent_config", ("ticket/get", {"type": "agent_config"}))):
        ticket = direct(*ask)["ticket"]
        assert direct(*ask)["ticket"] == ticket
        assert other(*ask)["ticket"] != ticket
        text = f"jsapi_ticket={ticket}&noncestr=n&timestamp=1764000004&url={signed['url']}"
        signature = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        assert token.find_signing_ticket(direct.world, CORPID, AGENTID, signature, **signed) == kind
        assert token.find_signing_ticket(direct.world, CORPID, 9, signature, **signed) == ""


@pytest.mark.parametrize("limit", ["app_tickets_per_hour", "company_tickets_per_hour"])
def test_tickets_are_limited(direct: DirectApi, limit: str) -> None:
    direct.world.settings.change({limit: 2})

    assert [direct.errcode("get_jsapi_ticket") for _ in range(3)] == [0, 0, 45009]


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
