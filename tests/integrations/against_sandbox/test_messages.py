"""Messages of all kinds: they reach the phone as built, and an identical body only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Article, Content, Recipients, body_bytes
from integrations.clients.wecom.client import SendResult
from tests.integrations.against_sandbox.place import DONE, PNG, WHOLE, Place, leave_card, sent, text
from tests.integrations.clients.wecom.test_messages import CARDS
from tests.sandbox_process import AGENTID

# As long as WeCom allows: one more byte would be cut or refused.
LONGEST_TITLE, LONGEST_DESCRIPTION = "题" * 42 + "ab", "述" * 170 + "ab"
LONGEST_TEXT = "文" * 682 + "ab"
LINK = "https://example.com/报表?a=1&b=" + "x" * 100
NEWS = [
    Article(LONGEST_TITLE, LONGEST_DESCRIPTION, LINK, "https://example.com/1.png"),
    Article("另一篇", "", "https://example.com/2"),
]


def uploaded(at: Place, kind: str) -> str:
    """Upload a file of this kind, with a Chinese name. Return its media_id."""
    body, name = {
        "image": (PNG, "图.png"),
        "file": (b"1,2,3\n", "日报.csv"),
    }[kind]
    return at.app.media_upload(body, kind=kind, file_name=name)  # type: ignore[arg-type]  # a kind of the table


Built = tuple[Content, dict[str, Any]]


def _article(**values: str) -> dict[str, str]:
    return {"title": "", "description": "", "url": "", "picurl": "", "appid": "", "pagepath": "", **values}


def _news() -> Built:
    first = _article(title=LONGEST_TITLE, description=LONGEST_DESCRIPTION, url=LINK, picurl="https://example.com/1.png")
    return builders.news_content(NEWS), {"articles": [first, _article(title="另一篇", url="https://example.com/2")]}


def _textcard() -> Built:
    card = builders.textcard_content(
        title=LONGEST_TITLE, description=LONGEST_DESCRIPTION, url=LINK, button_text="查看详情"
    )
    return card, {"title": LONGEST_TITLE, "description": LONGEST_DESCRIPTION, "url": LINK, "btntxt": "查看详情"}


def _file(kind: str, make: Callable[[str], Content], name: str) -> Callable[[Place], Built]:
    def build(at: Place) -> Built:
        media_id = uploaded(at, kind)
        return make(media_id), {"media_id": media_id, "filename": name}

    return build


def _card(card_type: str) -> Callable[[Place], Built]:
    return lambda _at: CARDS[card_type]


KINDS: dict[str, Callable[[Place], Built]] = {
    "text": lambda at: (builders.text_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "markdown": lambda at: (builders.markdown_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "image": _file("image", builders.image_content, "图.png"),
    "file": _file("file", builders.file_content, "日报.csv"),
    "textcard": lambda at: _textcard(),
    "news": lambda at: _news(),
    **{card_type: _card(card_type) for card_type in CARDS},
}


@pytest.mark.parametrize("msgtype", KINDS)
def test_each_kind_arrives_whole(place: Place, msgtype: str) -> None:
    content, shown = KINDS[msgtype](place)
    body = body_bytes(builders.app_message(agentid=WHOLE, to=Recipients(["jim"]), content=content))

    result = place.whole.message_send(body)

    assert result == SendResult(result.msgid, result.response_code)
    (message,) = place.phone("jim")
    assert (message["msgid"], message["msgtype"]) == (result.msgid, content.msgtype)
    assert message[content.msgtype] == (shown if msgtype not in CARDS else content.fields)


def test_an_identical_body_is_delivered_once_in_its_interval(place: Place) -> None:
    body = text(duplicate_check_seconds=600)
    first, second = place.app.message_send(body), place.app.message_send(body)
    assert first.msgid
    assert second == SendResult()
    place.app.message_send(text("别的", duplicate_check_seconds=600))
    assert [message["text"]["content"] for message in place.phone()] == ["营收 1.2 亿", "别的"]

    place.sandbox.advance(601)
    assert place.app.message_send(body).msgid
    assert len(place.phone()) == 3


def test_each_kind_of_a_robot_arrives(place: Place) -> None:
    longest = "文" * 1365 + "a"
    sent_by_robot = [
        builders.robot_text(LONGEST_TEXT),
        builders.robot_markdown(longest),
        builders.robot_image(PNG),
        builders.robot_content(builders.news_content(NEWS)),
        builders.robot_content(
            builders.file_content(place.robot.webhook_upload_media(b"1,2,3\n", file_name="日报.csv"))
        ),
        builders.robot_content(DONE),
    ]
    for payload in sent_by_robot:
        assert place.robot.webhook_send(body_bytes(payload)) == SendResult()

    arrived = place.all_messages()
    assert [one["msgtype"] for one in arrived] == ["text", "markdown", "image", "news", "file", "template_card"]
    assert [one[one["msgtype"]].get("content") for one in arrived[:2]] == [LONGEST_TEXT, longest]
    assert place.fetch(arrived[2]["image"]["media_id"])[0] == PNG
    assert [one[one["msgtype"]]["filename"] for one in arrived[4:5]] == ["日报.csv"]


def test_the_duplicate_check_goes_before_the_task_id_of_a_card(place: Place) -> None:
    """Let a repeat with the same bytes succeed, because it follows a send with an unclear outcome."""
    payload = builders.app_message(
        agentid=AGENTID, to=Recipients(["lilei"]), content=leave_card(), duplicate_check_seconds=600
    )
    assert place.app.message_send(body_bytes(payload)).response_code
    assert place.app.message_send(body_bytes(payload)) == SendResult()
    assert len(place.phone()) == 1


def test_a_text_that_was_clipped_arrives_as_it_was_clipped(place: Place) -> None:
    clipped = builders.clip_utf8("日报" * 1000, builders.TEXT_BYTES)
    sent(place, builders.text_content(clipped))
    assert place.phone()[0]["text"]["content"] == clipped == "日报" * 340 + "日…"
