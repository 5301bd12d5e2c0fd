"""The three template cards: their fields, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integrations.clients.wecom.builders import Content, MessageError, Recipients, app_message, robot_content
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

URL = "https://portal.example.com/m"
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
