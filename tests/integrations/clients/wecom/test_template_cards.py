"""The five template cards: their fields, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integrations.clients.wecom.messages.builders import Content, Options, Recipients, app_message
from integrations.clients.wecom.messages.card_parts import (
    ActionMenu,
    Button,
    CardAction,
    CardImage,
    Checkbox,
    Emphasis,
    HorizontalItem,
    ImageTextArea,
    Jump,
    Option,
    Quote,
    Selection,
    Source,
    SubmitButton,
    VerticalItem,
)
from integrations.clients.wecom.messages.cards import (
    Details,
    Head,
    button_interaction,
    multiple_interaction,
    news_notice,
    text_notice,
    vote_interaction,
)
from integrations.clients.wecom.messages.limits import MessageError
from integrations.clients.wecom.messages.robots import robot_content

URL = "https://portal.example.com/m"
ACTION = CardAction(URL)
HEAD = Head("标题", action=ACTION)
TASK = Head("标题", task_id="task-1@a_B", action=ACTION)
BUTTON = Button("同意", key="approve")
OPTIONS = [Option("mon", "周一"), Option("tue", "周二")]
SUBMIT = SubmitButton("submit")
DETAILS = Details(
    menu=ActionMenu([("静音", "mute"), ("退订", "leave")], "更多"),
    quote=Quote(URL, title="引用", text="原文"),
    horizontal_items=[
        HorizontalItem("日期", "11月25日"),
        HorizontalItem("详情", "打开", url=URL),
        HorizontalItem("附件", "日报.csv", media_id="m1"),
        HorizontalItem("负责人", "李雷", userid="lilei"),
    ],
)
DETAILS_FIELDS = {
    "action_menu": {"desc": "更多", "action_list": [{"text": "静音", "key": "mute"}, {"text": "退订", "key": "leave"}]},
    "quote_area": {"type": 1, "url": URL, "title": "引用", "quote_text": "原文"},
    "horizontal_content_list": [
        {"keyname": "日期", "value": "11月25日", "type": 0},
        {"keyname": "详情", "value": "打开", "url": URL, "type": 1},
        {"keyname": "附件", "value": "日报.csv", "media_id": "m1", "type": 2},
        {"keyname": "负责人", "value": "李雷", "userid": "lilei", "type": 3},
    ],
}


def test_a_text_notice_with_everything() -> None:
    card = text_notice(
        Head("标题", "描述", Source("观远", URL, 3), "task-1", CardAction(appid="wx1", pagepath="pages/index")),
        sub_title="副标题",
        emphasis=Emphasis("1.2 亿", "营收"),
        details=DETAILS,
        jumps=[Jump(URL, title="打开"), Jump(title="不可点")],
    )

    assert card == Content(
        "template_card",
        {
            "card_type": "text_notice",
            "source": {"icon_url": URL, "desc": "观远", "desc_color": 3},
            "main_title": {"title": "标题", "desc": "描述"},
            "task_id": "task-1",
            "card_action": {"type": 2, "appid": "wx1", "pagepath": "pages/index"},
            **DETAILS_FIELDS,
            "emphasis_content": {"title": "1.2 亿", "desc": "营收"},
            "sub_title_text": "副标题",
            "jump_list": [{"title": "打开", "type": 1, "url": URL}, {"title": "不可点", "type": 0}],
        },
    )


def test_the_smallest_text_notice() -> None:
    assert text_notice(Head(action=ACTION), sub_title="副标题").fields == {
        "card_type": "text_notice",
        "card_action": {"type": 1, "url": URL},
        "sub_title_text": "副标题",
    }


def test_a_news_notice() -> None:
    card = news_notice(
        HEAD,
        image=CardImage(URL, 2.25),
        image_text=ImageTextArea(URL, image_url=URL, title="图", text="文"),
        vertical_items=[VerticalItem("一", "二")],
        jumps=[Jump(URL, title="打开")],
    )

    assert card.fields == {
        "card_type": "news_notice",
        "main_title": {"title": "标题"},
        "card_action": {"type": 1, "url": URL},
        "card_image": {"url": URL, "aspect_ratio": 2.25},
        "image_text_area": {"type": 1, "url": URL, "title": "图", "desc": "文", "image_url": URL},
        "vertical_content_list": [{"title": "一", "desc": "二"}],
        "jump_list": [{"title": "打开", "type": 1, "url": URL}],
    }


def test_a_button_card() -> None:
    card = button_interaction(
        TASK,
        buttons=[BUTTON, Button("打开", url=URL, style=2)],
        selection=Selection("who", OPTIONS, "谁", "tue"),
        sub_title="副标题",
        replace_text="已处理",
    )

    assert card.fields == {
        "card_type": "button_interaction",
        "main_title": {"title": "标题"},
        "task_id": "task-1@a_B",
        "card_action": {"type": 1, "url": URL},
        "sub_title_text": "副标题",
        "button_selection": {
            "question_key": "who",
            "title": "谁",
            "selected_id": "tue",
            "option_list": [{"id": "mon", "text": "周一"}, {"id": "tue", "text": "周二"}],
        },
        "button_list": [
            {"text": "同意", "style": 1, "type": 0, "key": "approve"},
            {"text": "打开", "style": 2, "type": 1, "url": URL},
        ],
        "replace_text": "已处理",
    }


def test_a_vote() -> None:
    card = vote_interaction(
        Head("周会时间", task_id="vote-3"),
        checkbox=Checkbox("when", [Option("mon", "周一", is_checked=True), Option("tue", "周二")]),
        submit=SubmitButton("submit", "提交"),
    )

    assert card.fields == {
        "card_type": "vote_interaction",
        "main_title": {"title": "周会时间"},
        "task_id": "vote-3",
        "checkbox": {
            "question_key": "when",
            "mode": 0,
            "option_list": [
                {"id": "mon", "text": "周一", "is_checked": True},
                {"id": "tue", "text": "周二", "is_checked": False},
            ],
        },
        "submit_button": {"text": "提交", "key": "submit"},
    }


def test_several_questions() -> None:
    card = multiple_interaction(
        Head("问卷", task_id="q-1"), selections=[Selection("a", OPTIONS), Selection("b", OPTIONS)], submit=SUBMIT
    )

    assert [entry["question_key"] for entry in card.fields["select_list"]] == ["a", "b"]
    assert card.fields["submit_button"] == {"key": "submit"}


def test_a_card_goes_into_a_message_and_into_a_robots_message() -> None:
    card = text_notice(HEAD)

    payload = app_message(agentid=1, to=Recipients(["lilei"]), content=card, options=Options(translates_ids=True))

    assert payload["template_card"] == card.fields
    assert robot_content(card) == {"msgtype": "template_card", "template_card": card.fields}


def _vote(checkbox: Checkbox) -> Content:
    return vote_interaction(TASK, checkbox=checkbox, submit=SUBMIT)


def _details(**parts: Any) -> Content:
    return text_notice(TASK, details=Details(**parts))


C = "template_card."
REFUSED: tuple[tuple[Callable[[], Content], str], ...] = (
    (lambda: text_notice(Head(action=ACTION)), "main_title.title"),
    (lambda: text_notice(Head("t")), "card_action"),
    (lambda: text_notice(Head("t", action=CardAction())), "card_action"),
    (lambda: text_notice(Head("t", action=CardAction("a.example"))), "card_action.url"),
    (lambda: text_notice(Head("t", action=CardAction(URL, "wx1"))), "card_action.url"),
    (lambda: text_notice(Head("t", action=CardAction(URL, pagepath="p"))), "card_action.appid"),
    (lambda: text_notice(Head("t", task_id="a b", action=ACTION)), "task_id"),
    (lambda: text_notice(Head("t", task_id="x" * 129, action=ACTION)), "task_id"),
    (lambda: text_notice(Head("\ud800", action=ACTION)), "main_title.title"),
    (lambda: text_notice(HEAD, sub_title="\ud800"), "sub_title_text"),
    (lambda: text_notice(Head("t", source=Source(colour=4), action=ACTION)), "source.desc_color"),
    (lambda: text_notice(Head("t", source=Source(icon_url="x"), action=ACTION)), "source.icon_url"),
    (lambda: text_notice(HEAD, jumps=[Jump(title="x")] * 4), "jump_list"),
    (lambda: text_notice(HEAD, jumps=[Jump(URL)]), "jump_list[0].title"),
    (lambda: text_notice(HEAD, details=Details(menu=ActionMenu([("a", "k")]))), "task_id"),
    (lambda: _details(menu=ActionMenu([])), "action_menu.action_list"),
    (lambda: _details(menu=ActionMenu([("a", "k"), ("b", "k")])), "action_menu.action_list.key"),
    (lambda: _details(menu=ActionMenu([("a", "k" * 1025)])), "action_menu.action_list[0].key"),
    (lambda: _details(menu=ActionMenu([("", "k")])), "action_menu.action_list[0].text"),
    (lambda: _details(quote=Quote("x")), "quote_area.url"),
    (lambda: _details(horizontal_items=[HorizontalItem("x")] * 7), "horizontal_content_list"),
    (lambda: _details(horizontal_items=[HorizontalItem("")]), "horizontal_content_list[0].keyname"),
    (lambda: _details(horizontal_items=[HorizontalItem("x", url="y")]), "horizontal_content_list[0].url"),
    (
        lambda: _details(horizontal_items=[HorizontalItem("x", url=URL, userid="u")]),
        "horizontal_content_list[0].type",
    ),
    (lambda: news_notice(HEAD), "card_image"),
    (lambda: news_notice(Head(action=ACTION), image=CardImage(URL)), "main_title.title"),
    (lambda: news_notice(Head("t"), image=CardImage(URL)), "card_action"),
    (lambda: news_notice(HEAD, image=CardImage("")), "card_image.url"),
    (lambda: news_notice(HEAD, image=CardImage(URL, 1.29)), "card_image.aspect_ratio"),
    (lambda: news_notice(HEAD, image=CardImage(URL, 2.26)), "card_image.aspect_ratio"),
    (lambda: news_notice(HEAD, image_text=ImageTextArea(title="x")), "image_text_area.image_url"),
    (
        lambda: news_notice(HEAD, image=CardImage(URL), vertical_items=[VerticalItem("x")] * 5),
        "vertical_content_list",
    ),
    (
        lambda: news_notice(HEAD, image=CardImage(URL), vertical_items=[VerticalItem("")]),
        "vertical_content_list[0].title",
    ),
    (lambda: button_interaction(HEAD, buttons=[BUTTON]), "task_id"),
    (lambda: button_interaction(Head(task_id="t"), buttons=[BUTTON]), "main_title.title"),
    (lambda: button_interaction(TASK, buttons=[]), "button_list"),
    (lambda: button_interaction(TASK, buttons=[Button("x", f"k{n}") for n in range(7)]), "button_list"),
    (lambda: button_interaction(TASK, buttons=[BUTTON, BUTTON]), "button_list.key"),
    (lambda: button_interaction(TASK, buttons=[Button("", "k")]), "button_list[0].text"),
    (lambda: button_interaction(TASK, buttons=[Button("x")]), "button_list[0].key"),
    (lambda: button_interaction(TASK, buttons=[Button("x", "k", URL)]), "button_list[0].key"),
    (lambda: button_interaction(TASK, buttons=[Button("x", url="y")]), "button_list[0].url"),
    (lambda: button_interaction(TASK, buttons=[Button("x", "k", style=5)]), "button_list[0].style"),
    (
        lambda: button_interaction(TASK, buttons=[BUTTON], selection=Selection("", OPTIONS)),
        "button_selection.question_key",
    ),
    (
        lambda: button_interaction(TASK, buttons=[BUTTON], selection=Selection("q", OPTIONS, selected_id="x")),
        "button_selection.selected_id",
    ),
    (lambda: _vote(Checkbox("", OPTIONS)), "checkbox.question_key"),
    (lambda: _vote(Checkbox("q", [])), "checkbox.option_list"),
    (lambda: _vote(Checkbox("q", [Option(f"{n}", "x") for n in range(21)])), "checkbox.option_list"),
    (lambda: _vote(Checkbox("q", [Option("a", "x"), Option("a", "y")])), "checkbox.option_list.id"),
    (lambda: _vote(Checkbox("q", [Option("", "x")])), "checkbox.option_list[0].id"),
    (lambda: _vote(Checkbox("q", [Option("a" * 129, "x")])), "checkbox.option_list[0].id"),
    (lambda: _vote(Checkbox("q", [Option("a", "")])), "checkbox.option_list[0].text"),
    (
        lambda: _vote(Checkbox("q", [Option("a", "x", is_checked=True), Option("b", "y", is_checked=True)])),
        "checkbox.option_list.is_checked",
    ),
    (
        lambda: vote_interaction(HEAD, checkbox=Checkbox("q", OPTIONS), submit=SUBMIT),
        "task_id",
    ),
    (
        lambda: vote_interaction(TASK, checkbox=Checkbox("q", OPTIONS), submit=SubmitButton("")),
        "submit_button.key",
    ),
    (lambda: multiple_interaction(TASK, selections=[], submit=SUBMIT), "select_list"),
    (
        lambda: multiple_interaction(TASK, selections=[Selection(f"{n}", OPTIONS) for n in range(4)], submit=SUBMIT),
        "select_list",
    ),
    (
        lambda: multiple_interaction(TASK, selections=[Selection("a", OPTIONS)] * 2, submit=SUBMIT),
        "select_list.question_key",
    ),
    (
        lambda: multiple_interaction(
            TASK, selections=[Selection("a", [Option(f"{n}", "x") for n in range(11)])], submit=SUBMIT
        ),
        "select_list[0].option_list",
    ),
)


@pytest.mark.parametrize(("build", "field"), REFUSED, ids=[field for _build, field in REFUSED])
def test_a_card_that_wecom_would_refuse(build: Callable[[], Content], field: str) -> None:
    with pytest.raises(MessageError) as caught:
        build()

    assert caught.value.field == C + field


def test_a_vote_for_several_may_have_several_checked() -> None:
    options = [Option("a", "x", is_checked=True), Option("b", "y", is_checked=True)]

    card = _vote(Checkbox("q", options, allows_several=True))

    assert card.fields["checkbox"]["mode"] == 1
