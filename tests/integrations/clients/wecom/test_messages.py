"""Message builders: the payload of every msgtype, and what is refused, by the name of its field."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import (
    Article,
    Content,
    MessageError,
    Recipients,
    app_message,
    body_bytes,
    card_update,
    chat_message,
    clip_utf8,
    file_content,
    image_content,
    markdown_content,
    news_content,
    robot_content,
    text_content,
    textcard_content,
)
from integrations.clients.wecom.cards import (
    Button,
    CardImage,
    Emphasis,
    Head,
    HorizontalItem,
    Jump,
    Source,
    VerticalItem,
    button_interaction,
    news_notice,
    text_notice,
)
from integrations.clients.wecom.client import AgentChanges, MenuEntry, WeComClient
from tests.integrations.clients.wecom.contract import open_client

TO = Recipients(["lilei"])
URL = "https://portal.example.com/m"
ENTRY = MenuEntry("首页", URL)


def refused(build: Callable[[], Any]) -> str:
    """The field that a builder refuses."""
    with pytest.raises(MessageError) as caught:
        build()
    assert str(caught.value) == f"{caught.value.field}: {caught.value.reason}"
    return caught.value.field


# --- Payloads --------------------------------------------------------------------------------------------------------


def test_a_textcard_with_everything() -> None:
    content = textcard_content(
        title="待办提醒", description='<div class="gray">11月24日</div>', url=URL, button_text="处理"
    )

    payload = app_message(
        agentid=1000002, to=Recipients(["lilei", "hanmeimei"]), content=content, duplicate_check_seconds=14400
    )

    assert payload == {
        "touser": "lilei|hanmeimei",
        "msgtype": "textcard",
        "agentid": 1000002,
        "textcard": {
            "title": "待办提醒",
            "description": '<div class="gray">11月24日</div>',
            "url": URL,
            "btntxt": "处理",
        },
        "enable_duplicate_check": 1,
        "duplicate_check_interval": 14400,
    }


def test_a_markdown_to_everybody() -> None:
    payload = app_message(agentid=1, to=Recipients("@all"), content=markdown_content("**日报**"))

    assert payload == {"touser": "@all", "msgtype": "markdown", "agentid": 1, "markdown": {"content": "**日报**"}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (image_content("m1"), {"media_id": "m1"}),
        (file_content("m1"), {"media_id": "m1"}),
        (
            news_content([Article("t", "d", URL, URL), Article("u", "", URL)]),
            {
                "articles": [
                    {"title": "t", "description": "d", "url": URL, "picurl": URL},
                    {"title": "u", "url": URL},
                ]
            },
        ),
    ],
    ids=lambda value: value.msgtype if isinstance(value, Content) else "",
)
def test_each_kind_of_content(content: Content, expected: dict[str, Any]) -> None:
    payload = app_message(agentid=1, to=TO, content=content)

    assert payload == {"touser": "lilei", "msgtype": content.msgtype, "agentid": 1, content.msgtype: expected}


def test_the_same_payload_gives_the_same_bytes_and_raw_characters() -> None:
    payload = app_message(agentid=1, to=TO, content=text_content('营收 "1.2" 亿 🎉'))

    assert body_bytes(payload) == (
        '{"touser":"lilei","msgtype":"text","agentid":1,"text":{"content":"营收 \\"1.2\\" 亿 🎉"}}'.encode()
    )


@pytest.mark.parametrize("payload", [{"x": "\ud800"}, {"x": float("nan")}])
def test_what_json_cannot_say_is_refused(payload: dict[str, Any]) -> None:
    assert refused(lambda: body_bytes(payload)) == "body"


# --- Limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda n: text_content("x" * n), "text.content"),
        (lambda n: markdown_content("x" * n), "markdown.content"),
    ],
)
def test_a_text_has_2048_bytes(build: Callable[[int], Content], field: str) -> None:
    build(2048)

    assert refused(lambda: build(2049)) == field
    assert refused(lambda: build(0)) == field


def test_bytes_are_counted_and_not_characters() -> None:
    text_content("营" * 682)

    assert refused(lambda: text_content("营" * 683)) == "text.content"


@pytest.mark.parametrize("marks", ["\u061c", "\u202e\u2069"])
def test_a_text_of_nothing_but_marks_of_reading_order_is_empty(marks: str) -> None:
    """The body goes without them."""
    assert refused(lambda: text_content(marks)) == "text.content"
    assert refused(lambda: _card(title=marks)) == "textcard.title"


def _card(**changed: str) -> Content:
    values = {"title": "t", "description": "d", "url": URL, **changed}
    return textcard_content(**values)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"title": ""}, "textcard.title"),
        ({"title": "x" * 129}, "textcard.title"),
        ({"title": "\ud800"}, "textcard.title"),
        ({"description": ""}, "textcard.description"),
        ({"description": "x" * 513}, "textcard.description"),
        ({"url": ""}, "textcard.url"),
        ({"url": "portal.example.com"}, "textcard.url"),
        ({"url": "javascript:alert(1)"}, "textcard.url"),
        ({"url": "http://[::1"}, "textcard.url"),
        ({"url": "https://a.example/" + "x" * 2048}, "textcard.url"),
        ({"button_text": "五个字太长"}, "textcard.btntxt"),
        ({"button_text": "\ud800"}, "textcard.btntxt"),
    ],
)
def test_what_a_textcard_cannot_hold(changed: dict[str, str], field: str) -> None:
    _card(title="x" * 128, description="x" * 512, button_text="四个字好")

    assert refused(lambda: _card(**changed)) == field


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: image_content(""), "image.media_id"),
        (lambda: file_content(""), "file.media_id"),
        (lambda: news_content([]), "news.articles"),
        (lambda: news_content([Article("t", "", url=URL)] * 9), "news.articles"),
        (lambda: news_content([Article("", "", url=URL)]), "news.articles[0].title"),
        (lambda: news_content([Article("t", "", url=URL), Article("t", "", "")]), "news.articles[1].url"),
        (lambda: news_content([Article("t", "", url="ftp://x")]), "news.articles[0].url"),
        (lambda: news_content([Article("t", "", url=URL, picture_url="x")]), "news.articles[0].picurl"),
    ],
)
def test_what_a_content_cannot_hold(build: Callable[[], Content], field: str) -> None:
    assert refused(build) == field


# --- Recipients and options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "field"),
    [
        (Recipients([]), "touser"),
        (Recipients(["u"] * 1001), "touser"),
        (Recipients(["a|b"]), "touser"),
        (Recipients([" a"]), "touser"),
        (Recipients([""]), "touser"),
        (Recipients("lilei"), "touser"),
        (Recipients(["lilei", "@all"]), "touser"),
    ],
)
def test_recipients_that_wecom_would_refuse(to: Recipients, field: str) -> None:
    assert refused(lambda: app_message(agentid=1, to=to, content=text_content("x"))) == field


def test_a_thousand_recipients_go_into_one_message() -> None:
    payload = app_message(agentid=1, to=Recipients([f"u{n}" for n in range(1000)]), content=text_content("x"))

    assert payload["touser"].count("|") == 999


@pytest.mark.parametrize("seconds", [-1, 14401])
def test_a_duplicate_check_that_wecom_would_refuse(seconds: int) -> None:
    message = partial(app_message, agentid=1, to=TO, content=text_content("x"), duplicate_check_seconds=seconds)

    assert refused(message) == "duplicate_check_interval"


# --- Cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("日报", 6, "日报"),
        ("日报", 5, "…"),
        ("日报告", 8, "日…"),
        ("abcdef", 5, "ab…"),
        ("🎉🎉", 7, "🎉…"),
        ("", 3, ""),
    ],
)
def test_a_text_is_cut_between_characters_and_says_so(text: str, limit: int, expected: str) -> None:
    assert clip_utf8(text, limit) == expected
    assert len(expected.encode()) <= limit


def test_a_suffix_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="suffix"):
        clip_utf8("日报", 2)


# --- Group chats, updates, robots ------------------------------------------------------------------------------------


def test_a_message_into_a_group_chat() -> None:
    assert chat_message(chatid="chat1", content=text_content("日报")) == {
        "chatid": "chat1",
        "msgtype": "text",
        "text": {"content": "日报"},
    }


@pytest.mark.parametrize("chatid", ["", "a-b", "a" * 33])
def test_a_chatid_that_wecom_would_refuse(chatid: str) -> None:
    assert refused(lambda: chat_message(chatid=chatid, content=text_content("x"))) == "chatid"


def test_a_card_does_not_go_into_a_group_chat() -> None:
    card = text_notice(Head(URL, "t"))

    assert refused(lambda: chat_message(chatid="c", content=card)) == "msgtype"


def test_a_card_is_replaced_by_another() -> None:
    card = text_notice(Head(URL, "已处理"))

    assert card_update(agentid=1, response_code="rc", card=card) == {
        "agentid": 1,
        "response_code": "rc",
        "atall": 1,
        "template_card": card.fields,
    }


@pytest.mark.parametrize(
    ("changed", "field"), [({"response_code": ""}, "response_code"), ({"card": text_content("x")}, "template_card")]
)
def test_an_update_that_wecom_would_refuse(changed: dict[str, Any], field: str) -> None:
    values: dict[str, Any] = {"response_code": "rc", "card": text_notice(Head(URL, "已处理")), **changed}

    assert refused(lambda: card_update(agentid=1, **values)) == field


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (builders.robot_text("日报"), {"msgtype": "text", "text": {"content": "日报"}}),
        (
            builders.robot_text("日报", mentioned_userids=["lilei", "@all"], mentioned_mobiles=["13800000000"]),
            {
                "msgtype": "text",
                "text": {
                    "content": "日报",
                    "mentioned_list": ["lilei", "@all"],
                    "mentioned_mobile_list": ["13800000000"],
                },
            },
        ),
        (builders.robot_markdown("x" * 4096), {"msgtype": "markdown", "markdown": {"content": "x" * 4096}}),
        (
            builders.robot_image(b"\xff\xd8\xff...."),
            {"msgtype": "image", "image": {"base64": "/9j/Li4uLg==", "md5": "29cf60a5b302af528c67e20ae9ad2b83"}},
        ),
        (builders.robot_content(file_content("m")), {"msgtype": "file", "file": {"media_id": "m"}}),
    ],
)
def test_what_a_robot_sends(payload: dict[str, Any], expected: dict[str, Any]) -> None:
    assert payload == expected


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: builders.robot_text("x" * 2049), "text.content"),
        (lambda: builders.robot_markdown("x" * 4097), "markdown.content"),
        (lambda: builders.robot_image(b"GIF89a"), "image"),
        (lambda: builders.robot_image(b"\xff\xd8\xff" + b"x" * 2 * 1024 * 1024), "image"),
        (lambda: builders.robot_content(_card()), "msgtype"),
        (
            lambda: builders.robot_content(Content("template_card", {"card_type": "vote_interaction"})),
            "template_card.card_type",
        ),
    ],
)
def test_what_a_robot_cannot_send(build: Callable[[], Any], field: str) -> None:
    assert refused(build) == field


# --- Menu and settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        ([], "button"),
        ([ENTRY] * 4, "button"),
        ([MenuEntry("", URL)], "button[0].name"),
        ([ENTRY, MenuEntry("x" * 17, URL)], "button[1].name"),
        ([MenuEntry("x", "a.example")], "button[0].url"),
        ([MenuEntry("x", URL + "x" * 1024)], "button[0].url"),
    ],
)
def test_a_menu_that_wecom_would_refuse(entries: list[MenuEntry], field: str) -> None:
    client = open_client()
    assert isinstance(client, WeComClient)

    assert refused(lambda: client.menu_create(entries)) == field


def test_only_what_changes_is_sent() -> None:
    assert AgentChanges().fields() == {}
    assert AgentChanges(
        name="门户",
        description="内部门户",
        redirect_domain="portal.example.com",
        home_url=URL,
    ).fields() == {
        "name": "门户",
        "description": "内部门户",
        "redirect_domain": "portal.example.com",
        "home_url": URL,
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (AgentChanges(name=""), "name"),
        (AgentChanges(name="x" * 33), "name"),
        (AgentChanges(description="三个字"), "description"),
        (AgentChanges(description="x" * 121), "description"),
        (AgentChanges(redirect_domain="https://portal.example.com"), "redirect_domain"),
        (AgentChanges(home_url="portal.example.com"), "home_url"),
    ],
)
def test_settings_that_wecom_would_refuse(changes: AgentChanges, field: str) -> None:
    assert refused(changes.fields) == field


HEAD = Head(URL, "标题")
TASK = Head(URL, "标题", task_id="task-1@a_B")
BUTTON = Button("同意", key="approve")
IMAGE = CardImage(URL)
ITEMS = [HorizontalItem("日期", "11月25日"), HorizontalItem("负责人")]
ITEMS_FIELDS = [{"keyname": "日期", "value": "11月25日", "type": 0}, {"keyname": "负责人", "type": 0}]
ACTION_FIELDS = {"type": 1, "url": URL}


def test_a_text_notice_with_everything() -> None:
    card = text_notice(
        Head(URL, "标题", "描述", Source("观远", 3), "task-1"),
        sub_title="副标题",
        emphasis=Emphasis("1.2 亿", "营收"),
        horizontal_items=ITEMS,
        jumps=[Jump("打开", URL)],
    )

    assert card == Content(
        "template_card",
        {
            "card_type": "text_notice",
            "source": {"desc": "观远", "desc_color": 3},
            "main_title": {"title": "标题", "desc": "描述"},
            "task_id": "task-1",
            "card_action": ACTION_FIELDS,
            "horizontal_content_list": ITEMS_FIELDS,
            "emphasis_content": {"title": "1.2 亿", "desc": "营收"},
            "sub_title_text": "副标题",
            "jump_list": [{"title": "打开", "type": 1, "url": URL}],
        },
    )


def test_the_smallest_text_notice() -> None:
    assert text_notice(Head(URL), sub_title="副标题").fields == {
        "card_type": "text_notice",
        "card_action": ACTION_FIELDS,
        "sub_title_text": "副标题",
    }


def test_a_news_notice() -> None:
    card = news_notice(
        HEAD,
        image=CardImage(URL, 2.25),
        horizontal_items=ITEMS,
        vertical_items=[VerticalItem("一", "二")],
        jumps=[Jump("打开", URL)],
    )

    assert card.fields == {
        "card_type": "news_notice",
        "main_title": {"title": "标题"},
        "card_action": ACTION_FIELDS,
        "horizontal_content_list": ITEMS_FIELDS,
        "card_image": {"url": URL, "aspect_ratio": 2.25},
        "vertical_content_list": [{"title": "一", "desc": "二"}],
        "jump_list": [{"title": "打开", "type": 1, "url": URL}],
    }


def test_a_button_card() -> None:
    card = button_interaction(
        TASK, buttons=[BUTTON, Button("驳回", "no", style=2)], sub_title="副标题", horizontal_items=ITEMS
    )

    assert card.fields == {
        "card_type": "button_interaction",
        "main_title": {"title": "标题"},
        "task_id": "task-1@a_B",
        "card_action": ACTION_FIELDS,
        "horizontal_content_list": ITEMS_FIELDS,
        "sub_title_text": "副标题",
        "button_list": [
            {"text": "同意", "style": 1, "type": 0, "key": "approve"},
            {"text": "驳回", "style": 2, "type": 0, "key": "no"},
        ],
    }


def test_a_card_goes_into_a_message_and_into_a_robots_message() -> None:
    card = text_notice(HEAD)

    payload = app_message(agentid=1, to=Recipients(["lilei"]), content=card)

    assert payload["template_card"] == card.fields
    assert robot_content(card) == {"msgtype": "template_card", "template_card": card.fields}


REFUSED: tuple[tuple[Callable[[], Content], str], ...] = (
    (lambda: text_notice(Head(URL)), "main_title.title"),
    (lambda: text_notice(Head("", "t")), "card_action.url"),
    (lambda: text_notice(Head("a.example", "t")), "card_action.url"),
    (lambda: text_notice(Head(URL, "t", task_id="a b")), "task_id"),
    (lambda: text_notice(Head(URL, "t", task_id="x" * 129)), "task_id"),
    (lambda: text_notice(Head(URL, "\ud800")), "main_title.title"),
    (lambda: text_notice(HEAD, sub_title="\ud800"), "sub_title_text"),
    (lambda: text_notice(Head(URL, "t", source=Source("x", colour=4))), "source.desc_color"),
    (lambda: text_notice(HEAD, jumps=[Jump("x", URL)] * 4), "jump_list"),
    (lambda: text_notice(HEAD, jumps=[Jump("", URL)]), "jump_list[0].title"),
    (lambda: text_notice(HEAD, jumps=[Jump("x", "")]), "jump_list[0].url"),
    (lambda: text_notice(HEAD, horizontal_items=[HorizontalItem("x")] * 7), "horizontal_content_list"),
    (lambda: text_notice(HEAD, horizontal_items=[HorizontalItem("")]), "horizontal_content_list[0].keyname"),
    (lambda: news_notice(Head(URL), image=IMAGE), "main_title.title"),
    (lambda: news_notice(HEAD, image=CardImage("")), "card_image.url"),
    (lambda: news_notice(HEAD, image=CardImage(URL, 1.29)), "card_image.aspect_ratio"),
    (lambda: news_notice(HEAD, image=CardImage(URL, 2.26)), "card_image.aspect_ratio"),
    (lambda: news_notice(HEAD, image=IMAGE, vertical_items=[VerticalItem("x")] * 5), "vertical_content_list"),
    (lambda: news_notice(HEAD, image=IMAGE, vertical_items=[VerticalItem("")]), "vertical_content_list[0].title"),
    (lambda: button_interaction(HEAD, buttons=[BUTTON]), "task_id"),
    (lambda: button_interaction(Head(URL, task_id="t"), buttons=[BUTTON]), "main_title.title"),
    (lambda: button_interaction(TASK, buttons=[]), "button_list"),
    (lambda: button_interaction(TASK, buttons=[Button("x", f"k{n}") for n in range(7)]), "button_list"),
    (lambda: button_interaction(TASK, buttons=[BUTTON, BUTTON]), "button_list.key"),
    (lambda: button_interaction(TASK, buttons=[Button("", "k")]), "button_list[0].text"),
    (lambda: button_interaction(TASK, buttons=[Button("x", "")]), "button_list[0].key"),
    (lambda: button_interaction(TASK, buttons=[Button("x", "k", style=5)]), "button_list[0].style"),
)


@pytest.mark.parametrize(("build", "field"), REFUSED, ids=[field for _build, field in REFUSED])
def test_a_card_that_wecom_would_refuse(build: Callable[[], Content], field: str) -> None:
    with pytest.raises(MessageError) as caught:
        build()

    assert caught.value.field == f"template_card.{field}"
