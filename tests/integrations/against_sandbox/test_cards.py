"""The five template cards arrive as they were built, and change by the rules of response codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integrations.clients.errors import BadRequestError, RecipientError
from integrations.clients.wecom.api.messages import SendResult
from integrations.clients.wecom.messages import builders, robots
from integrations.clients.wecom.messages.builders import Content, Options, Recipients
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
from integrations.clients.wecom.messages.limits import body_bytes
from tests.integrations.against_sandbox.message_cases import leave_card, sent, update
from tests.integrations.against_sandbox.place import Place
from tests.integrations.against_sandbox.test_refusals import refused
from tests.sandbox_process import AGENTID, CORPID

LINK = "https://portal.example.com/m/7"
OPTIONS = [Option("mon", "周一"), Option("tue", "周二")]
DAYS = [Option(f"day-{number}", f"第 {number} 天", is_checked=number < 2) for number in range(20)]
JUMPS = [Jump(LINK, title="看报表"), Jump(appid="wx1", pagepath="p", title="小程序"), Jump(title="不跳转")]


def _head(task_id: str = "", *, action: CardAction | None = None) -> Head:
    source = Source("审批", "https://example.com/icon.png", colour=3)
    return Head("标题", "说明", source, task_id, action)


def _details(at: Place) -> Details:
    media_id = at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv").media_id
    items = [
        HorizontalItem("日期", "11月25日"),
        HorizontalItem("链接", "看", url=LINK),
        HorizontalItem("附件", "日报.csv", media_id=media_id),
        HorizontalItem("负责人", "李雷", userid="LiLei"),
    ]
    menu = ActionMenu([("不再提醒", "mute"), ("稍后", "later")], "更多")
    return Details(menu, Quote(LINK, title="引用", text="昨天"), items)


CARDS: dict[str, Callable[[Place], Content]] = {
    "text_notice": lambda at: text_notice(
        _head("notice-1", action=CardAction(LINK)),
        sub_title="副标题",
        emphasis=Emphasis("98%", "达成率"),
        details=_details(at),
        jumps=JUMPS,
    ),
    "news_notice": lambda at: news_notice(
        _head("news-1", action=CardAction(appid="wx1", pagepath="p")),
        image=CardImage("https://example.com/1.png", 2.25),
        image_text=ImageTextArea(LINK, image_url="https://example.com/2.png", title="左图右文", text="说明"),
        details=_details(at),
        vertical_items=[VerticalItem("一", "1"), VerticalItem("二")],
        jumps=JUMPS,
    ),
    "button_interaction": lambda at: button_interaction(
        _head("button-1", action=CardAction(LINK)),
        buttons=[Button("同意", key="yes"), Button("驳回", key="no", style=4), Button("打开", url=LINK)],
        selection=Selection("who", OPTIONS, "谁", "tue"),
        sub_title="副标题",
        details=_details(at),
    ),
    "vote_interaction": lambda at: vote_interaction(
        _head("vote-1"), checkbox=Checkbox("when", DAYS, allows_several=True), submit=SubmitButton("submit", "投票")
    ),
    "multiple_interaction": lambda at: multiple_interaction(
        _head("multiple-1"),
        selections=[Selection(key, OPTIONS, "题", "mon") for key in ("a", "b", "c")],
        submit=SubmitButton("submit"),
    ),
}


@pytest.mark.parametrize("card_type", CARDS)
def test_each_card_arrives_as_built_and_can_be_changed(place: Place, card_type: str) -> None:
    card = CARDS[card_type](place)

    result = sent(place, card)

    assert result == SendResult(result.msgid, response_code=result.response_code)
    assert result.response_code
    (shown,) = place.phone()
    assert shown["template_card"] == card.fields
    assert shown["template_card"]["card_type"] == card_type
    after = text_notice(Head("已处理", action=CardAction(LINK)))
    assert place.app.message_update_template_card(update(result.response_code, card=after)) == ()
    assert place.phone()[0]["card"] == after.fields


@pytest.mark.parametrize("card_type", ["text_notice", "news_notice"])
def test_a_notice_without_a_menu_gives_no_code(place: Place, card_type: str) -> None:
    action = CardAction(LINK)
    cards = {
        "text_notice": text_notice(Head(action=action), sub_title="只有副标题"),
        "news_notice": news_notice(Head("标题", action=action), image=CardImage("https://example.com/1.png")),
    }
    result = sent(place, cards[card_type])
    assert result == SendResult(result.msgid)
    place.robot.webhook_send(body_bytes(robots.robot_content(cards[card_type])))
    assert [one["template_card"]["card_type"] for one in place.all_messages()] == [card_type, card_type]


def test_the_duplicate_check_goes_before_the_task_id(place: Place) -> None:
    """A send whose outcome was unclear is repeated with the same bytes: it must not end in an error."""
    payload = builders.app_message(
        agentid=AGENTID,
        to=Recipients(["lilei"]),
        content=leave_card(),
        options=Options(duplicate_check_seconds=600),
    )
    assert place.app.message_send(body_bytes(payload)).response_code
    assert place.app.message_send(body_bytes(payload)) == SendResult()
    assert len(place.phone()) == 1


def test_a_task_id_serves_one_card(place: Place) -> None:
    sent(place, leave_card())
    refused(BadRequestError, 42014, lambda: sent(place, leave_card()))
    assert len(place.phone()) == 1


def test_a_response_code_works_once(place: Place) -> None:
    code = sent(place, leave_card()).response_code
    place.app.message_update_template_card(update(code))
    refused(RecipientError, 60140, lambda: place.app.message_update_template_card(update(code)))


@pytest.mark.parametrize(("hours", "works"), [(71.9, True), (72.1, False)])
def test_a_response_code_lives_72_hours(place: Place, hours: float, *, works: bool) -> None:
    code = sent(place, leave_card()).response_code
    place.sandbox.advance(hours * 3600)
    if works:
        assert place.client().message_update_template_card(update(code)) == ()
    else:
        refused(RecipientError, 60140, lambda: place.client().message_update_template_card(update(code)))


def test_those_who_did_not_receive_a_card(place: Place) -> None:
    code = sent(place, leave_card(), Recipients(["lilei"])).response_code
    nobody = update(code, userids=["HanMeiMei"])
    refused(RecipientError, 82102, lambda: place.app.message_update_template_card(nobody))
    # A refusal uses no code up.
    assert place.app.message_update_template_card(update(code, userids=["Jim", "LiLei"])) == ("jim",)


@pytest.mark.parametrize(
    ("target", "changed"),
    [
        ({"userids": (), "is_for_all": True}, ["lilei", "hanmeimei"]),
        ({"userids": (), "party_ids": [2]}, ["lilei", "hanmeimei"]),
        ({"userids": (), "party_ids": [3]}, ["hanmeimei"]),
        ({"userids": (), "tag_ids": [1]}, ["lilei", "hanmeimei"]),
    ],
)
def test_for_whom_a_card_changes(place: Place, target: dict[str, object], changed: list[str]) -> None:
    code = sent(place, leave_card()).response_code
    assert place.app.message_update_template_card(update(code, **target)) == ()
    greyed = [userid for userid in ("lilei", "hanmeimei") if place.phone(userid)[0].get("replace_name") == "已处理"]
    assert greyed == changed


def test_a_card_in_the_place_of_another_keeps_its_text_on_the_button(place: Place) -> None:
    code = sent(place, leave_card()).response_code
    after = leave_card(replace_text="已同意")
    place.app.message_update_template_card(update(code, card=after))
    assert place.phone()[0]["card"]["replace_text"] == "已同意"
    click = f"companies/{CORPID}/members/lilei/click"
    values = {"msgid": place.phone()[0]["msgid"], "key": "approve"}
    answer = place.sandbox.session.post(f"{place.sandbox.base_url}/sandbox/api/{click}", json=values, timeout=60)
    assert answer.status_code == 400


def test_a_notice_has_no_buttons_to_grey(place: Place) -> None:
    code = sent(place, CARDS["text_notice"](place)).response_code
    refused(BadRequestError, 40058, lambda: place.app.message_update_template_card(update(code)))


def test_an_attachment_must_be_there(place: Place) -> None:
    details = Details(horizontal_items=[HorizontalItem("附件", "日报.csv", media_id="unknown")])
    card = text_notice(Head("标题", action=CardAction(LINK)), details=details)
    refused(BadRequestError, 40007, lambda: sent(place, card))
