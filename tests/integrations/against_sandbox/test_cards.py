"""The three template cards arrive as they were built, and change by their response code."""

from __future__ import annotations

import pytest

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Recipients, body_bytes
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
from integrations.clients.wecom.client import SendResult
from tests.integrations.against_sandbox.message_cases import DONE, LINK, leave_card, sent, update
from tests.integrations.against_sandbox.place import Place
from tests.sandbox_process import AGENTID

ITEMS = [HorizontalItem("日期", "11月25日"), HorizontalItem("负责人", "李雷")]
JUMPS = [Jump("看报表", LINK)]
PICTURE = CardImage("https://example.com/1.png", 2.25)
CARDS = {
    "text_notice": text_notice(
        Head(LINK, "标题", "说明", Source("审批", colour=3), "notice-1"),
        sub_title="副标题",
        emphasis=Emphasis("98%", "达成率"),
        horizontal_items=ITEMS,
        jumps=JUMPS,
    ),
    "news_notice": news_notice(
        Head(LINK, "标题", "说明", task_id="news-1"),
        image=PICTURE,
        horizontal_items=ITEMS,
        vertical_items=[VerticalItem("一", "1"), VerticalItem("二")],
        jumps=JUMPS,
    ),
    "button_interaction": button_interaction(
        Head(LINK, "标题", task_id="button-1"),
        buttons=[Button("同意", key="yes"), Button("驳回", key="no", style=4)],
        sub_title="副标题",
        horizontal_items=ITEMS,
    ),
}


@pytest.mark.parametrize("card_type", CARDS)
def test_each_card_arrives_as_built(place: Place, card_type: str) -> None:
    result = sent(place, CARDS[card_type])

    (shown,) = place.phone()
    assert shown["msgid"] == result.msgid
    assert shown["template_card"] == CARDS[card_type].fields
    assert shown["template_card"]["card_type"] == card_type


def test_a_card_with_buttons_can_be_changed(place: Place) -> None:
    result = sent(place, CARDS["button_interaction"])

    assert place.app.message_update_template_card(update(result.response_code)) == ()
    assert place.phone()[0]["card"] == DONE.fields


def test_the_duplicate_check_goes_before_the_task_id(place: Place) -> None:
    """A send whose outcome was unclear is repeated with the same bytes: it must not end in an error."""
    payload = builders.app_message(
        agentid=AGENTID, to=Recipients(["lilei"]), content=leave_card(), duplicate_check_seconds=600
    )
    assert place.app.message_send(body_bytes(payload)).response_code
    assert place.app.message_send(body_bytes(payload)) == SendResult()
    assert len(place.phone()) == 1
