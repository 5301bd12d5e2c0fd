"""Message types, cards and calls: refusals with their numbers, in tables of requests, and cuts."""

from typing import Any

import pytest
from wecom_sandbox.api.call import ENDPOINTS
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import content

from tests.sandbox.direct import AMR, CONTACTS, MP4, PNG, TEXT, DirectApi
from tests.sandbox_process import AGENTID, CORPID, SECRET

LINK = {"type": 1, "url": "https://portal.example.com/m/7"}
OPTIONS = [{"id": "mon", "text": "周一"}, {"id": "tue", "text": "周二"}]
BUTTON: dict[str, Any] = {
    "card_type": "button_interaction",
    "main_title": {"title": "请假申请"},
    "task_id": "leave-7",
    "button_list": [{"text": "同意", "key": "yes"}, {"text": "驳回", "style": 2, "key": "no"}],
}
VOTE: dict[str, Any] = {
    "card_type": "vote_interaction",
    "main_title": {"title": "周会时间"},
    "task_id": "vote-3",
    "checkbox": {"question_key": "when", "mode": 0, "option_list": OPTIONS},
    "submit_button": {"text": "提交", "key": "submit"},
}
MULTIPLE: dict[str, Any] = {
    "card_type": "multiple_interaction",
    "main_title": {"title": "订餐"},
    "task_id": "meal-1",
    "select_list": [{"question_key": "dish", "title": "主食", "option_list": OPTIONS}],
    "submit_button": {"text": "提交", "key": "submit"},
}
TEXT_NOTICE: dict[str, Any] = {
    "card_type": "text_notice",
    "main_title": {"title": "日报"},
    "emphasis_content": {"title": "100", "desc": "销售额"},
    "card_action": LINK,
}
NEWS_NOTICE: dict[str, Any] = {
    "card_type": "news_notice",
    "main_title": {"title": "日报"},
    "card_image": {"url": "https://portal.example.com/p.png", "aspect_ratio": 1.3},
    "card_action": LINK,
}


ARTICLE = {"title": "t", "content": "c", "thumb_media_id": "m-image"}
GHOST = {"keyname": "负责人", "type": 3, "userid": "ghost"}


def no_media(media_id: str, kind: str) -> str:
    if media_id != f"m-{kind}":
        raise ApiError(40007)
    return f"{kind}.bin"


def is_lilei(userid: str) -> bool:
    return userid == "LiLei"


def read(msgtype: str, safe: int = 0, **values: Any) -> dict[str, Any]:
    return dict(content.read_content(msgtype, values, safe=safe, media=no_media))


@pytest.mark.parametrize(
    ("msgtype", "values", "errcode"),
    [
        ("text", {}, 44004),
        ("text", {"content": ["x"]}, 40058),
        ("markdown", {"content": "字" * 683}, 45002),
        ("markdown", {}, 44004),
        ("image", {}, 41006),
        ("image", {"media_id": "m-file"}, 40007),
        ("video", {"media_id": "m-image"}, 40007),
        ("textcard", {"description": "d", "url": "https://a.example/"}, 41016),
        ("textcard", {"title": "t", "url": "https://a.example/"}, 41033),
        ("textcard", {"title": "t", "description": "d"}, 41010),
        ("textcard", {"title": "t", "description": "d", "url": "a.example"}, 45034),
        ("textcard", {"title": "t", "description": "d", "url": "https://a.example/" + "x" * 2031}, 40039),
        ("news", {}, 45008),
        ("news", {"articles": [{"title": "t", "url": "https://a.example/"}] * 9}, 45008),
        ("news", {"articles": [{"url": "https://a.example/"}]}, 41016),
        ("news", {"articles": [{"title": "t"}]}, 41010),
        ("news", {"articles": [{"title": "t", "appid": "wx1"}]}, 40058),
        ("news", {"articles": "x"}, 40058),
        ("mpnews", {"articles": [{"title": "t", "content": "c"}]}, 41006),
        ("mpnews", {"articles": [{"title": "t", "content": "c", "thumb_media_id": "gone"}]}, 40007),
        ("mpnews", {"articles": [{"title": "t", "thumb_media_id": "m-image"}]}, 44004),
        ("mpnews", {"articles": [ARTICLE | {"author": "x" * 65}]}, 45032),
        ("mpnews", {"articles": [ARTICLE | {"content": "c" * 681_985}]}, 45002),
        ("miniprogram_notice", {"title": "四个字吧"}, 42030),
        ("miniprogram_notice", {"title": "短"}, 40058),
        ("miniprogram_notice", {"appid": "wx1", "title": "四个字吧", "content_item": [{}] * 11}, 90201),
        ("miniprogram_notice", {"appid": "wx1", "title": "四个字吧", "content_item": [{"key": "k" * 11}]}, 90202),
        ("telegram", {}, 40008),
    ],
)
def test_refused_content(msgtype: str, values: dict[str, Any], errcode: int) -> None:
    with pytest.raises(ApiError) as caught:
        read(msgtype, **values)
    assert caught.value.code == errcode


@pytest.mark.parametrize(
    ("msgtype", "safe", "errcode"),
    [("news", 1, 40074), ("textcard", 1, 40058), ("markdown", 1, 40058), ("text", 2, 40058), ("file", 1, 40004)],
)
def test_where_confidential_is_refused(msgtype: str, safe: int, errcode: int) -> None:
    with pytest.raises(ApiError) as caught:
        read(msgtype, safe, **({"media_id": "m-file"} if msgtype == "file" else {}))
    assert caught.value.code == errcode


def test_what_is_cut_in_silence() -> None:
    assert read("text", content="a" + "字" * 683)["content"] == "a" + "字" * 682 + "�"
    card = read("textcard", title="题" * 130, description="d" * 600, url="https://a.example/", btntxt="查看详情吧")
    assert (len(card["title"]), len(card["description"]), card["btntxt"]) == (128, 512, "查看详情")
    article = read("news", articles=[{"title": "题" * 50, "url": "https://a.example/", "description": "d" * 600}])
    assert article["articles"][0]["title"] == "题" * 42 + "�"
    assert len(article["articles"][0]["description"]) == 512
    assert read("video", media_id="m-video", title="t" * 200)["title"] == "t" * 128
    assert read("textcard", title="t", description="d", url="https://a.example/")["btntxt"] == "详情"


@pytest.mark.parametrize("card", [BUTTON, VOTE, MULTIPLE, TEXT_NOTICE, NEWS_NOTICE])
def test_whole_cards_are_taken(card: dict[str, Any]) -> None:
    assert content.check_card(dict(card), media=no_media, is_member=is_lilei) == card


def without(card: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name not in names}


@pytest.mark.parametrize(
    ("card", "errcode"),
    [
        ({}, 42031),
        ({"card_type": "poster"}, 42031),
        (without(TEXT_NOTICE, "main_title"), 42033),
        (without(TEXT_NOTICE, "card_action"), 42045),
        (TEXT_NOTICE | {"card_action": {"type": 0}}, 42045),
        (TEXT_NOTICE | {"card_action": {"type": 1}}, 42045),
        (TEXT_NOTICE | {"action_menu": {"action_list": [{"text": "a", "key": "k"}]}}, 42014),
        (TEXT_NOTICE | {"task_id": "t", "action_menu": {"action_list": [{"text": "a", "key": "k"}] * 2}}, 42051),
        (TEXT_NOTICE | {"horizontal_content_list": [{"keyname": "k"}] * 7}, 42035),
        (TEXT_NOTICE | {"horizontal_content_list": [{"value": "v"}]}, 42027),
        (TEXT_NOTICE | {"horizontal_content_list": [{"keyname": "k", "type": 1}]}, 42028),
        (TEXT_NOTICE | {"horizontal_content_list": [{"keyname": "k", "type": 2}]}, 42029),
        (TEXT_NOTICE | {"horizontal_content_list": [{"keyname": "k", "type": 2, "media_id": "gone"}]}, 40007),
        (TEXT_NOTICE | {"horizontal_content_list": [{"keyname": "k", "type": 3}]}, 42050),
        (TEXT_NOTICE | {"horizontal_content_list": [GHOST]}, 42050),
        (TEXT_NOTICE | {"jump_list": [{"title": "t"}] * 4}, 42042),
        (TEXT_NOTICE | {"jump_list": [{"type": 1, "url": "https://a.example/"}]}, 42033),
        (TEXT_NOTICE | {"jump_list": [{"title": "t", "type": 2}]}, 42030),
        (TEXT_NOTICE | {"quote_area": {"type": 1}}, 42028),
        (TEXT_NOTICE | {"quote_area": {"type": "0"}}, 40058),
        (TEXT_NOTICE | {"card_action": LINK | {"type": "1"}}, 42045),
        (BUTTON | {"button_list": [{"text": "t", "key": "k", "style": "1"}]}, 40058),
        (VOTE | {"checkbox": VOTE["checkbox"] | {"mode": "1"}}, 40058),
        (TEXT_NOTICE | {"task_id": ["t"]}, 42014),
        (NEWS_NOTICE | {"card_image": {}}, 42044),
        (NEWS_NOTICE | {"card_image": {"url": "https://a.example/p.png", "aspect_ratio": 3}}, 40058),
        (NEWS_NOTICE | {"vertical_content_list": [{"title": "t"}] * 5}, 42036),
        (NEWS_NOTICE | {"vertical_content_list": [{"desc": "d"}]}, 42033),
        (NEWS_NOTICE | {"image_text_area": {"title": "t"}}, 42028),
        (without(BUTTON, "task_id"), 42014),
        (BUTTON | {"task_id": "日"}, 42014),
        (BUTTON | {"task_id": "t" * 129}, 42014),
        (BUTTON | {"button_list": []}, 40058),
        (BUTTON | {"button_list": [{"key": "k"}]}, 42038),
        (BUTTON | {"button_list": [{"text": "t"}]}, 42039),
        (BUTTON | {"button_list": [{"text": "t", "key": "k"}] * 2}, 42018),
        (BUTTON | {"button_list": [{"text": "t", "key": "k" * 1025}]}, 42018),
        (BUTTON | {"button_list": [{"text": "t", "type": 1}]}, 42028),
        (BUTTON | {"button_list": [{"text": "t", "key": "k", "style": 5}]}, 40058),
        (BUTTON | {"button_selection": {"option_list": OPTIONS}}, 42043),
        (VOTE | {"checkbox": {"question_key": "q", "option_list": []}}, 42037),
        (VOTE | {"checkbox": {"question_key": "q", "option_list": OPTIONS * 11}}, 42037),
        (VOTE | {"checkbox": {"question_key": "q", "option_list": [{"text": "t"}]}}, 42040),
        (VOTE | {"checkbox": {"question_key": "q", "option_list": [{"id": "i"}]}}, 42041),
        (VOTE | {"checkbox": {"question_key": "q", "option_list": OPTIONS * 2}}, 42040),
        (without(VOTE, "checkbox"), 42043),
        (without(VOTE, "submit_button"), 42046),
        (VOTE | {"submit_button": {"key": "k", "text": ""}}, 42049),
        (VOTE | {"action_menu": {"action_list": [{"text": "a", "key": "k"}]}}, 40058),
        (MULTIPLE | {"select_list": MULTIPLE["select_list"] * 4}, 42047),
        (MULTIPLE | {"select_list": MULTIPLE["select_list"] * 2}, 42043),
        (MULTIPLE | {"main_title": "x"}, 40058),
    ],
)
def test_refused_cards(card: dict[str, Any], errcode: int) -> None:
    with pytest.raises(ApiError) as caught:
        content.check_card(card, media=no_media, is_member=is_lilei)
    assert caught.value.code == errcode


def test_a_task_id_is_for_once_and_a_repeated_request_is_no_second_card(direct: DirectApi) -> None:
    sent: dict[str, Any] = {"msgtype": "template_card", "template_card": BUTTON, "enable_duplicate_check": 1}

    answers = [direct.send(**sent), direct.send(**sent), direct.send(**sent | {"enable_duplicate_check": 0})]

    assert [answer["errcode"] for answer in answers] == [0, 0, 42014]
    assert answers[1] == {"errcode": 0, "errmsg": "ok"}
    assert len(direct.messages("lilei")) == 1


@pytest.mark.parametrize(
    ("card", "given"),
    [
        *((BUTTON, True), (VOTE, True), (MULTIPLE, True), (TEXT_NOTICE, False)),
        (TEXT_NOTICE | {"task_id": "m", "action_menu": {"action_list": [{"text": "a", "key": "k"}]}}, True),
    ],
)
def test_who_gets_a_response_code(direct: DirectApi, card: dict[str, Any], given: bool) -> None:
    assert ("response_code" in direct.send(msgtype="template_card", template_card=card)) is given


def sent_card(direct: DirectApi, card: dict[str, Any] = BUTTON) -> dict[str, Any]:
    return direct.send("lilei|hanmeimei", msgtype="template_card", template_card=card)


def update(direct: DirectApi, **values: object) -> dict[str, Any]:
    return direct("message/update_template_card", {"agentid": 1000002, "userids": ["LILEI"], **values})


def test_updating_greys_the_buttons_once(direct: DirectApi) -> None:
    code = sent_card(direct)["response_code"]

    answer = update(direct, response_code=code, userids=["LiLei", "Ghost"], button={"replace_name": "已同意"})

    assert answer == {"errcode": 0, "errmsg": "ok", "invaliduser": ["ghost"]}
    assert direct.messages("lilei")[0]["replace_name"] == "已同意"
    assert "replace_name" not in direct.messages("hanmeimei")[0]
    assert update(direct, response_code=code, button={"replace_name": "x"})["errcode"] == 60140


def test_greying_a_vote_keeps_what_was_chosen(direct: DirectApi) -> None:
    sent = sent_card(direct, VOTE)
    message, member = direct.world.mail.messages[sent["msgid"]], direct.company.directory.members["lilei"]
    clicks.press_button(direct.world, direct.company, member, message, "submit", {"when": ["tue"]})

    body = {"userids": None, "atall": 1, "button": {"replace_name": "投票已结束"}}
    assert update(direct, response_code=sent["response_code"], **body)["errcode"] == 0

    seen = direct.messages("lilei")[0]
    assert (seen["selected"], seen["clicked_key"], seen["replace_name"]) == ({"when": ["tue"]}, "submit", "投票已结束")
    assert direct.messages("hanmeimei")[0]["selected"] == {}


@pytest.mark.parametrize("card", [TEXT_NOTICE, without(BUTTON, "task_id") | {"replace_text": "已办"}])
def test_updating_puts_another_card_in_place(direct: DirectApi, card: dict[str, Any]) -> None:
    code = sent_card(direct, VOTE)["response_code"]

    assert update(direct, response_code=code, userids=None, atall=1, template_card=card)["errcode"] == 0
    assert [direct.messages(userid)[0]["card"] for userid in ("lilei", "hanmeimei")] == [card, card]


def test_a_response_code_lives_three_days(direct: DirectApi) -> None:
    code = sent_card(direct)["response_code"]
    direct.advance(72 * 3600)

    assert update(direct, response_code=code, button={"replace_name": "x"})["errcode"] == 60140


def test_recall(direct: DirectApi) -> None:
    msgid, late = direct.send()["msgid"], direct.send()["msgid"]

    assert direct.errcode("message/recall", {"msgid": msgid}) == 0
    assert [message["recalled"] for message in direct.messages("lilei")] == [True, False]
    direct.advance(24 * 3600 + 1)
    assert direct.errcode("message/recall", {"msgid": late}) == 42052


# Texts for which int() raises, or which it takes although WeCom does not.
NO_NUMBERS = ("--5", "-", "9" * 5000, "٣", "²", "1_000", "0x1", "1e3", "9" * 19)
MB = 1024 * 1024
MANY = "|".join(f"u{number}" for number in range(1001))
GROUP = {"userlist": ["lilei", "jim"]}
CLICK = {"type": "click", "name": "n", "key": "k"}
VIEW = {"type": "view", "name": "n"}
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
