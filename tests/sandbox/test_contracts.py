"""Errors of each call of the API by number, in a table of requests."""

from __future__ import annotations

from typing import Any

import pytest
from wecom_sandbox.api.call import ENDPOINTS

from tests.sandbox.direct import AMR, CONTACTS, MP4, PNG, TEXT, DirectApi
from tests.sandbox.test_messages import BUTTON, TEXT_NOTICE
from tests.sandbox_process import AGENTID, CORPID, SECRET

# Texts for which int() raises, or which it takes although WeCom does not.
NO_NUMBERS = ("--5", "-", "9" * 5000, "٣", "²", "1_000", "0x1", "1e3", "9" * 19)
MB = 1024 * 1024
MANY = "|".join(f"u{number}" for number in range(1001))
GROUP = {"userlist": ["lilei", "jim"]}
CLICK = {"type": "click", "name": "n", "key": "k"}
VIEW = {"type": "view", "name": "n"}
GHOST = {"keyname": "负责人", "type": 3, "userid": "ghost"}
# Valid values; rows below change them. "CODE": the response_code of a card that was sent to 李雷 and 韩梅梅.
GOOD: dict[str, dict[str, Any]] = {
    "gettoken": {"corpid": CORPID, "corpsecret": SECRET},
    "message/send": TEXT,
    "message/update_template_card": {
        **{"agentid": AGENTID, "userids": ["lilei"], "response_code": "CODE", "button": {"replace_name": "x"}}
    },
    "agent/set": {"agentid": AGENTID},
    "appchat/create": GROUP,
}
REFUSED: dict[str, list[tuple[dict[str, Any], int]]] = {
    "gettoken": [
        *(({"corpid": ""}, 41002), ({"corpsecret": ""}, 41004)),
        *(({"corpid": "wwunknown"}, 40013), ({"corpsecret": "wrong"}, 40001)),
    ],
    "user/get": [
        *(({"userid": ""}, 41009), ({"userid": "!x"}, 40003), ({"userid": "ghost"}, 60111), ({"userid": "jim"}, 60011))
    ],
    "user/simplelist": [
        ({"department_id": "4"}, 60011),
        *(({"department_id": one}, 60003) for one in ("99", *NO_NUMBERS)),
    ],
    "user/list": [({"department_id": "4"}, 60011)],
    "department/list": [({"id": "4"}, 60011), ({"id": "99"}, 60003)],
    "department/get": [({"id": "4"}, 60011), ({"id": "99"}, 60003), ({"id": ""}, 60003)],
    "tag/get": [({"tagid": one}, 40068) for one in ("9", "", *NO_NUMBERS)],
    "agent/get": [({"agentid": one}, 40056) for one in NO_NUMBERS],
    "auth/getuserinfo": [({"code": ""}, 41008), ({"code": "nonsense"}, 40029)],
    "auth/getuserdetail": [({"user_ticket": "x"}, 84015)],
    "ticket/get": [({"type": "wx_card"}, 91040)],
    "message/recall": [({"msgid": "nonsense"}, 40058)],
    "message/send": [
        ({"touser": " | "}, 82001),
        ({"touser": MANY}, 40032),
        ({"touser": "", "toparty": "|".join(map(str, range(101)))}, 82002),
        ({"touser": "", "totag": "|".join(map(str, range(101)))}, 82003),
        *(({"msgtype": one, one: {}}, 40008) for one in ("telegram", "taskcard", "interactive_taskcard")),
        ({"msgtype": ""}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": "hello"}, 40058),
        *(({"safe": one}, 40058) for one in (2, 10**19, -(2**63) - 1, 10**4000, *NO_NUMBERS)),
        ({"duplicate_check_interval": "x", "enable_duplicate_check": 1}, 40058),
        ({"duplicate_check_interval": 14_401, "enable_duplicate_check": 1}, 40058),
        *(({"duplicate_check_interval": one}, 40058) for one in (14_401, -1)),
        *(({"enable_duplicate_check": one}, 40058) for one in (2, -1)),
        *(({"enable_id_trans": one}, 40058) for one in (2, "x")),
        ({"agentid": None}, 41011),
        ({"agentid": 3}, 301002),
        *(({"agentid": one}, 40056) for one in (10**19, *NO_NUMBERS)),
        ({"agentid": 3, "text": {}}, 44004),  # parameters are checked before the agentid
        ({"msgtype": "miniprogram_notice", "miniprogram_notice": {"appid": "wx1", "title": "会议室预订"}}, 48002),
    ],
    "message/update_template_card": [
        *(({"response_code": one}, 60140) for one in ("x", "")),
        *(({"userids": []}, 82101), ({"userids": ["jim"]}, 82102)),
        *(({"userids": one}, 40035) for one in ("lilei", [7], [True])),
        *(({"partyids": one}, 40035) for one in (2, ["2"], *([text] for text in NO_NUMBERS))),
        *(({"tagids": one}, 40035) for one in ([True], *([text] for text in NO_NUMBERS))),
        *(({"atall": 2}, 40058), ({"enable_id_trans": 3}, 40058), ({"button": None}, 40058)),
        *(({"agentid": one}, code) for one, code in ((5, 42015), ("", 41011), ("x", 40056))),
        ({"agentid": 5, "button": 1}, 40058),
        ({"template_card": {"card_type": "x"}, "button": None}, 42031),
        ({"template_card": TEXT_NOTICE | {"horizontal_content_list": [GHOST]}, "button": None}, 42050),
    ],
    "agent/set": [
        *(({"agentid": 9}, 301002), ({"agentid": "x"}, 40056), ({"agentid": 9, "name": ""}, 45022)),
        *(({"name": one}, 45022) for one in ("", "n" * 33)),
        ({"report_location_flag": 2}, 40059),
        ({"description": "abc"}, 45004),
        ({"home_url": "example.com"}, 40094),
        ({"redirect_domain": "other.example.com"}, 85005),
        ({"logo_mediaid": "gone"}, 40007),
    ],
    "menu/create": [
        *(({"button": one}, 40016) for one in ([], [CLICK] * 4)),
        ({"button": [CLICK | {"type": "dance"}]}, 40017),
        ({"button": [CLICK | {"name": "六个汉字太长"}]}, 40018),
        ({"button": [CLICK | {"key": "k" * 129}]}, 40019),
        ({"button": [VIEW | {"url": "https://a.example/" + "x" * 1024}]}, 40020),
        ({"button": [VIEW | {"url": "a.example"}]}, 40094),
        ({"button": [{"name": "n", "sub_button": [CLICK] * 6}]}, 40023),
        ({"button": [{"name": "n", "sub_button": [CLICK | {"sub_button": [CLICK]}]}]}, 40022),
        ({"button": [{"name": "n", "sub_button": [CLICK | {"type": ""}]}]}, 40024),
        ({"button": [{"name": "n", "sub_button": [CLICK | {"name": "字" * 14}]}]}, 40025),
        ({"button": [{"name": "n", "sub_button": [CLICK | {"key": ""}]}]}, 40026),
    ],
    "menu/get": [({"agentid": AGENTID}, 46003)],
    "appchat/create": [
        ({"userlist": ["lilei"]}, 86204),
        ({"userlist": "lilei|jim"}, 40035),
        ({"userlist": [f"u{number}" for number in range(2001)]}, 86006),
        ({"userlist": ["lilei", "ghost"]}, 86007),
        ({"owner": "hanmeimei"}, 86207),
        ({"chatid": "a-b"}, 86001),
        ({"chatid": "a" * 33}, 86205),
        ({"name": "n" * 51}, 40058),
    ],
    "appchat/get": [({"chatid": "nope"}, 86003), ({"chatid": ""}, 86001)],
}  # fmt: skip  # a row is a case
CASES = [(name, changes, errcode) for name, rows in REFUSED.items() for changes, errcode in rows]


@pytest.fixture
def whole(direct: DirectApi) -> DirectApi:
    """The app with a card sent."""
    direct.send("lilei|hanmeimei", msgtype="template_card", template_card=BUTTON)
    return direct


@pytest.mark.parametrize(("name", "changes", "errcode"), CASES, ids=[f"{name} {code}" for name, _, code in CASES])
def test_refused(whole: DirectApi, name: str, changes: dict[str, Any], errcode: int) -> None:
    if name.startswith("appchat/"):
        whole.change_app(scope={"partyids": [1]})
    [code] = whole.world.mail.response_codes
    sent = {key: code if value == "CODE" else value for key, value in {**GOOD.get(name, {}), **changes}.items()}

    answer = whole(name, sent, **({"agentid": AGENTID} if name == "menu/create" else {}))

    assert answer["errcode"] == errcode
    assert all(answer[field] == [] for field in ENDPOINTS[name].empty) if name in ENDPOINTS else True
    assert len(whole.world.mail.messages) == 1


@pytest.mark.parametrize(
    ("secret", "name", "method", "errcode"),
    [
        *((SECRET, name, "POST", 48002) for name in ("user/list_id",)),
        *((CONTACTS, name, "", 48002) for name in ("message/send", "agent/get", "menu/create", "get_jsapi_ticket")),
        *((CONTACTS, name, "", 48009) for name in ("user/get", "user/list", "user/simplelist", "department/list")),
        (SECRET, "message/send", "GET", 40058),
        (SECRET, "user/get", "POST", 40063),
    ],
)
def test_rights_and_methods(direct: DirectApi, secret: str, name: str, method: str, errcode: int) -> None:
    """Expect 48009: the sync assistant reads details only from addresses that it used before."""
    direct.secret = secret

    assert direct.errcode(name, {"userid": "jim", "agentid": AGENTID, "department_id": 2}, method=method) == errcode


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        *((b" ", 40063), (b"\xff\xfe", 40033), (b"[1]", 40058), (b"nonsense", 40058), (b'{"touser":"\\ud800"}', 40033)),
        *((b"[" * 100_000, 40058), (b'{"a":' + b"9" * 5000 + b"}", 40058)),
        *((b'{"a":NaN}', 40058), (b'{"a":1e999}', 40058)),
    ],
)  # fmt: skip  # a body is a case
def test_bodies_that_are_none(direct: DirectApi, body: bytes, errcode: int) -> None:
    assert direct.errcode("message/send", body) == errcode


@pytest.mark.parametrize(
    ("kind", "body", "errcode"),
    [
        ("picture", PNG, 40005),
        ("file", b"12345", 40006),
        ("file", b"", 44001),
        ("file", b"0" * (20 * MB + 1), 45001),
        ("image", b"GIF89a-not-taken", 40123),
        ("image", PNG + b"0" * (10 * MB), 40009),
        ("voice", b"ID3-an-mp3", 301017),
        ("voice", AMR + (b"\x3c" + b"0" * 31) * 2951, 45007),
        ("video", b"0" * 20, 40004),
        ("video", MP4 + b"0" * (10 * MB), 40011),
    ],
)
def test_refused_files(direct: DirectApi, kind: str, body: bytes, errcode: int) -> None:
    assert direct.upload(kind, body)["errcode"] == errcode


@pytest.mark.parametrize(
    ("msgtype", "content", "errcode"),
    [
        *(("text", {"content": "x" * 2049}, 40058), ("text", {}, 44004)),
        ("text", {"content": "x", "mentioned_list": "jim"}, 40058),
        ("markdown", {"content": "x" * 4097}, 40058),
        ("image", {"base64": "AAAA", "md5": "0"}, 40058),
        ("voice", {"media_id": "x"}, 40007),
        ("template_card", {"card_type": "vote_interaction"}, 42014),
        ("textcard", {"title": "x"}, 40008),
    ],
)
def test_refused_robot_messages(direct: DirectApi, msgtype: str, content: dict[str, Any], errcode: int) -> None:
    assert direct.errcode("webhook/send", {"msgtype": msgtype, msgtype: content}, key="robot-key") == errcode


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_in_recipients_and_cursors_what_is_no_number_is_named(direct: DirectApi, text: str) -> None:
    answer = direct.send("lilei", toparty=f"2|{text}", totag=f"1|{text}")
    direct.secret = CONTACTS

    assert (answer["errcode"], answer["invalidparty"], answer["invalidtag"]) == (0, text, text)
    assert direct.errcode("user/list_id", {"cursor": text}) == 50100


@pytest.mark.parametrize("agentid", [" 1000002 ", "1000002"])
def test_digits_are_taken_for_numbers(direct: DirectApi, agentid: str) -> None:
    assert direct.send(agentid=agentid, toparty=" 2 |3", totag="1", safe="")["invalidparty"] == ""
    assert direct.receivers() == [["lilei", "hanmeimei"]]
