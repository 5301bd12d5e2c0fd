"""All kinds of messages reach the phone as they were built; recipients, duplicates, limits, recalling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integrations.clients.errors import RateLimitedError, RecipientError
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import EVERYBODY, Article, Content, Recipients, body_bytes
from integrations.clients.wecom.client import SendResult
from tests.integrations.against_sandbox.message_cases import sent, text
from tests.integrations.against_sandbox.place import PNG, WHOLE, Place
from tests.integrations.against_sandbox.test_refusals import refused
from tests.sandbox_process import CORPID

LILEI = Recipients(["lilei"])
# As long as WeCom allows: one byte more would be cut or refused.
LONGEST_TITLE, LONGEST_DESCRIPTION = "题" * 42 + "ab", "述" * 170 + "ab"
LONGEST_TEXT = "文" * 682 + "ab"
LINK = "https://example.com/报表?a=1&b=" + "x" * 100
NEWS = [
    Article(LONGEST_TITLE, LONGEST_DESCRIPTION, LINK, "https://example.com/1.png"),
    Article("另一篇", "", "https://example.com/2"),
]


def uploaded(at: Place, kind: str) -> str:
    """A file of this kind, with a Chinese name."""
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


KINDS: dict[str, Callable[[Place], Built]] = {
    "text": lambda at: (builders.text_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "markdown": lambda at: (builders.markdown_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "image": _file("image", builders.image_content, "图.png"),
    "file": _file("file", builders.file_content, "日报.csv"),
    "textcard": lambda at: _textcard(),
    "news": lambda at: _news(),
}


@pytest.mark.parametrize("msgtype", KINDS)
def test_each_kind_arrives_whole(place: Place, msgtype: str) -> None:
    content, shown = KINDS[msgtype](place)
    body = body_bytes(builders.app_message(agentid=WHOLE, to=Recipients(["jim"]), content=content))

    result = place.whole.message_send(body)

    assert result == SendResult(result.msgid)
    (message,) = place.phone("jim")
    assert (message["msgid"], message["msgtype"], message[msgtype]) == (result.msgid, msgtype, shown)


@pytest.mark.parametrize("msgtype", sorted(builders.CHAT_KINDS))
def test_each_kind_arrives_in_a_chat(place: Place, msgtype: str) -> None:
    chatid = place.whole.appchat_create(userids=["lilei", "jim"])
    content, shown = KINDS[msgtype](place)

    place.whole.appchat_send(body_bytes(builders.chat_message(chatid=chatid, content=content)))

    (message,) = place.phone("jim")
    assert (message["chatid"], message["msgtype"], message[msgtype]) == (chatid, msgtype, shown)


def test_everybody_is_everybody_in_the_scope(place: Place) -> None:
    place.app.message_send(text(to=Recipients(EVERYBODY)))
    assert [sorted(one["receivers"]) for one in place.all_messages()] == [["hanmeimei", "lilei"]]
    assert place.phone("jim") == []


def test_a_member_who_is_disabled_or_gone_is_invalid(place: Place) -> None:
    members = [{"userid": "lilei", "status": 2}, {"userid": "hanmeimei", "status": 5}]
    place.sandbox.control("POST", f"companies/{CORPID}/members", members)
    error = refused(RecipientError, 81013, lambda: place.app.message_send(text()))
    assert error.invalid_userids == ("lilei", "hanmeimei")


def test_a_member_without_a_licence_is_told_apart(place: Place) -> None:
    place.sandbox.control("POST", f"companies/{CORPID}/members", [{"userid": "lilei", "unlicensed": True}])
    result = place.app.message_send(text(to=Recipients(["LiLei", "hanmeimei", "Ghost"])))
    assert result == SendResult(result.msgid, unlicensed_userids=("lilei",), invalid_userids=("ghost",))
    assert (len(place.phone("hanmeimei")), place.phone("lilei")) == (1, [])


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


def test_without_the_check_an_identical_body_comes_twice(place: Place) -> None:
    place.app.message_send(text())
    place.app.message_send(text())
    assert len(place.phone()) == 2


def test_above_thirty_a_minute_messages_of_one_person_vanish(place: Place) -> None:
    for number in range(31):
        assert place.app.message_send(text(str(number), LILEI)).msgid
    assert [message["text"]["content"] for message in place.phone()] == [str(number) for number in range(30)]
    assert place.all_messages()[-1]["dropped"] == ["lilei"]
    place.sandbox.advance(61)
    place.app.message_send(text("31", LILEI))
    assert place.phone()[-1]["text"]["content"] == "31"


def test_the_daily_budget_of_an_app(place: Place) -> None:
    place.sandbox.control("PATCH", f"companies/{CORPID}", {"account_limit": 1})
    place.settings(daily_messages_per_account=3)
    place.app.message_send(text())
    refused(RateLimitedError, 45009, lambda: place.app.message_send(text()))
    place.app.message_send(text(to=LILEI))
    assert len(place.phone()) == 2


def test_a_body_that_was_refused_is_no_duplicate(place: Place) -> None:
    body = text(duplicate_check_seconds=600)
    place.settings(daily_messages_per_account=0)
    refused(RateLimitedError, 45009, lambda: place.app.message_send(body))
    place.settings(daily_messages_per_account=200)
    assert place.app.message_send(body).msgid
    assert len(place.phone()) == 1


def test_a_message_can_be_recalled_for_a_day(place: Place) -> None:
    msgid = place.app.message_send(text()).msgid
    place.settings(token_seconds=2 * 24 * 3600)
    place.sandbox.advance(24 * 3600 + 1)
    refused(RecipientError, 42052, lambda: place.client().message_recall(msgid))
    assert [message["recalled"] for message in place.phone()] == [False]


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
    ]
    for payload in sent_by_robot:
        assert place.robot.webhook_send(body_bytes(payload)) == SendResult()

    arrived = place.all_messages()
    assert [one["msgtype"] for one in arrived] == ["text", "markdown", "image", "news", "file"]
    assert [one[one["msgtype"]].get("content") for one in arrived[:2]] == [LONGEST_TEXT, longest]
    assert place.fetch(arrived[2]["image"]["media_id"])[0] == PNG
    assert [one[one["msgtype"]]["filename"] for one in arrived[4:]] == ["日报.csv"]


def test_a_text_that_was_clipped_arrives_as_it_was_clipped(place: Place) -> None:
    clipped = builders.clip_utf8("日报" * 1000, builders.TEXT_BYTES)
    sent(place, builders.text_content(clipped))
    assert place.phone()[0]["text"]["content"] == clipped == "日报" * 340 + "日…"
