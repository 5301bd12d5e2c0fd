"""Message types and template cards: refusals with their numbers, and cuts."""

from __future__ import annotations

from typing import Any

import pytest
from wecom_sandbox.callbacks import clicks
from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import content

from tests.sandbox.direct import DirectApi

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
    return dict(content.read(msgtype, values, safe=safe, media=no_media))


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
    clicks.click(direct.world, direct.company, member, message, "submit", {"when": ["tue"]})

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
