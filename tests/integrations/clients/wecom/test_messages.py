"""Message builders: the payload of every msgtype, and refusals by the name of the field."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import (
    Content,
    MessageError,
    build_app_message,
    build_card_update,
    build_chat_message,
    build_markdown_content,
    build_media_content,
    build_news_content,
    build_robot_message,
    build_text_content,
    build_textcard_content,
    clip_utf8,
    encode_body,
)
from integrations.clients.wecom.cards import (
    Button,
    Head,
    Source,
    build_button_interaction,
    build_news_notice,
    build_text_notice,
)
from tests.integrations.clients.wecom.contract import open_client

TO = ["lilei"]
URL = "https://portal.example.com/m"
ENTRY = ("首页", URL)


def refused(build: Callable[[], Any]) -> str:
    """Return the field that a builder refuses."""
    with pytest.raises(MessageError) as caught:
        build()
    assert str(caught.value) == f"{caught.value.field}: {caught.value.reason}"
    return caught.value.field


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            build_textcard_content(
                title="待办", description='<div class="gray">11月24日</div>', url=URL, button_text="处理"
            ),
            {"title": "待办", "description": '<div class="gray">11月24日</div>', "url": URL, "btntxt": "处理"},
        ),
        (build_media_content("image", "m1"), {"media_id": "m1"}),
        (build_media_content("file", "m1"), {"media_id": "m1"}),
        (build_news_content(title="u", description="", url=URL), {"articles": [{"title": "u", "url": URL}]}),
        (
            build_news_content(title="t", description="d", url=URL, picture_url=URL),
            {"articles": [{"title": "t", "description": "d", "url": URL, "picurl": URL}]},
        ),
    ],
    ids=lambda value: value.msgtype if isinstance(value, Content) else "",
)
def test_each_kind_of_content(content: Content, expected: dict[str, Any]) -> None:
    payload = build_app_message(agentid=1, userids=TO, content=content)

    assert payload == {"touser": "lilei", "msgtype": content.msgtype, "agentid": 1, content.msgtype: expected}


def test_messages_to_members_to_a_chat_by_a_robot_and_in_the_place_of_another() -> None:
    said, card = {"msgtype": "text", "text": {"content": "日报"}}, build_text_notice(Head(URL, "已处理"))
    shown = {"msgtype": "template_card", "template_card": card.fields}

    both, checked = ["lilei", "hanmeimei"], {"enable_duplicate_check": 1, "duplicate_check_interval": 14400}
    assert build_app_message(agentid=1, userids=both, content=build_text_content("日报"), drops_duplicates=True) == {
        "touser": "lilei|hanmeimei",
        "agentid": 1,
        **said,
        **checked,
    }
    assert build_app_message(agentid=1, userids=TO, content=card) == {"touser": "lilei", "agentid": 1, **shown}
    assert build_chat_message(chatid="chat1", content=build_text_content("日报")) == {"chatid": "chat1", **said}
    assert build_robot_message(card) == shown
    replaced = {"agentid": 1, "response_code": "rc", "atall": 1, "template_card": card.fields}
    assert build_card_update(agentid=1, response_code="rc", card=card) == replaced


@pytest.mark.parametrize("payload", [{"x": "\ud800"}, {"x": float("nan")}])
def test_what_json_cannot_say_is_refused(payload: dict[str, Any]) -> None:
    assert refused(lambda: encode_body(payload)) == "body"


def _card(**changed: str) -> Content:
    values = {"title": "t", "description": "d", "url": URL, **changed}
    return build_textcard_content(**values)


def _message(userids: list[str]) -> Any:
    return build_app_message(agentid=1, userids=userids, content=build_text_content("x"))


def _chat(**changed: Any) -> Any:
    client = open_client()
    return client.appchat_create(**{"userids": ["lilei", "hanmeimei"], **changed})  # type: ignore[union-attr]  # an app's


def _news(title: str = "t", url: str = URL) -> Content:
    return build_news_content(title=title, description="", url=url)


def test_the_longest_that_goes() -> None:
    for longest in ("x" * 2048, "营" * 682):
        build_text_content(longest)
        build_markdown_content(longest)
    _card(title="x" * 128, description="x" * 512)
    assert _message([f"u{n}" for n in range(1000)])["touser"].count("|") == 999


@pytest.mark.parametrize(
    ("build", "field"),
    [
        *((partial(build_text_content, text), "text.content") for text in ("x" * 2049, "营" * 683, "")),
        # Marks of reading order are removed from the body.
        *((partial(build_text_content, text), "text.content") for text in ("\u061c", "\u202e\u2069")),
        *((partial(build_markdown_content, text), "markdown.content") for text in ("x" * 2049, "")),
        *((partial(_card, title=text), "textcard.title") for text in ("", "x" * 129, "\ud800", "\u061c")),
        *((partial(_card, description=text), "textcard.description") for text in ("", "x" * 513)),
        *(
            (partial(_card, url=url), "textcard.url")
            for url in ("", "a.example", "javascript:alert(1)", "http://[::1", "https://a.example/" + "x" * 2048)
        ),
        (partial(_news, title=""), "news.articles[0].title"),
        *((partial(_news, url=url), "news.articles[0].url") for url in ("", "ftp://x")),
        *(
            (partial(_message, to), "touser")
            for to in ([], ["u"] * 1001, ["a|b"], [" a"], [""], ["@all"], ["lilei", "@all"])
        ),
        *(
            (partial(build_chat_message, chatid=chatid, content=build_text_content("x")), "chatid")
            for chatid in ("", "a-b", "a" * 33)
        ),
        (lambda: build_chat_message(chatid="c", content=build_text_notice(Head(URL, "t"))), "msgtype"),
        *(
            (partial(_chat, **values), field)
            for field, values in (
                ("userlist", {"userids": TO}),
                ("userlist", {"userids": TO * 2001}),
                ("name", {"name": "群" * 51}),
                ("owner", {"owner": "jim"}),
                ("chatid", {"chatid": "a-b"}),
            )
        ),
        (lambda: builders.build_robot_text("x" * 2049), "text.content"),
        (lambda: build_markdown_content("x" * 4097, builders.ROBOT_MARKDOWN_BYTES), "markdown.content"),
        (lambda: builders.build_robot_image(b"GIF89a"), "image"),
        (lambda: builders.build_robot_image(b"\xff\xd8\xff" + b"x" * 2 * 1024 * 1024), "image"),
        *(
            (lambda entries=entries: open_client().menu_create(entries), name)  # type: ignore[union-attr]  # an app's
            for name, entries in (
                ("button", []),
                ("button", [ENTRY] * 4),
                ("button[0].name", [("", URL)]),
                ("button[1].name", [ENTRY, ("x" * 17, URL)]),
                ("button[0].url", [("x", "a.example")]),
                ("button[0].url", [("x", URL + "x" * 1024)]),
            )
        ),
    ],
)
def test_what_wecom_would_refuse_is_refused(build: Callable[[], Any], field: str) -> None:
    assert refused(build) == field


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
    with pytest.raises(ValueError, match="suffix"):
        clip_utf8("日报", 2)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (builders.build_robot_text("日报"), {"msgtype": "text", "text": {"content": "日报"}}),
        (
            builders.build_robot_text("日报", mentioned_userids=["lilei", "@all"], mentioned_mobiles=["13800000000"]),
            {
                "msgtype": "text",
                "text": {
                    "content": "日报",
                    "mentioned_list": ["lilei", "@all"],
                    "mentioned_mobile_list": ["13800000000"],
                },
            },
        ),
        (
            builders.build_robot_message(build_markdown_content("x" * 4096, builders.ROBOT_MARKDOWN_BYTES)),
            {"msgtype": "markdown", "markdown": {"content": "x" * 4096}},
        ),
        (
            builders.build_robot_image(b"\xff\xd8\xff...."),
            {"msgtype": "image", "image": {"base64": "/9j/Li4uLg==", "md5": "29cf60a5b302af528c67e20ae9ad2b83"}},
        ),
        (
            builders.build_robot_message(build_media_content("file", "m")),
            {"msgtype": "file", "file": {"media_id": "m"}},
        ),
    ],
)
def test_what_a_robot_sends(payload: dict[str, Any], expected: dict[str, Any]) -> None:
    assert payload == expected


HEAD = Head(URL, "标题")
TASK = Head(URL, "标题", task_id="task-1@a_B")
BUTTON = Button("同意", key="approve")
ITEMS = [("日期", "11月25日"), ("负责人", "")]
ITEMS_FIELDS = [{"keyname": "日期", "value": "11月25日", "type": 0}, {"keyname": "负责人", "type": 0}]


# Each card with all its optional parts, and its fields.
CARDS: dict[str, tuple[Content, dict[str, Any]]] = {
    "text_notice": (
        build_text_notice(
            Head(URL, "标题", "描述", Source("观远", 3), "task-1"),
            sub_title="副标题",
            emphasis=("1.2 亿", "营收"),
            lines=ITEMS,
            jumps=[("打开", URL)],
        ),
        {
            "source": {"desc": "观远", "desc_color": 3},
            "main_title": {"title": "标题", "desc": "描述"},
            "task_id": "task-1",
            "horizontal_content_list": ITEMS_FIELDS,
            "emphasis_content": {"title": "1.2 亿", "desc": "营收"},
            "sub_title_text": "副标题",
            "jump_list": [{"title": "打开", "type": 1, "url": URL}],
        },
    ),
    "news_notice": (
        build_news_notice(
            HEAD,
            picture_url=URL,
            aspect_ratio=2.25,
            lines=ITEMS,
            paragraphs=[("一", "二")],
            jumps=[("打开", URL)],
        ),
        {
            "main_title": {"title": "标题"},
            "horizontal_content_list": ITEMS_FIELDS,
            "card_image": {"url": URL, "aspect_ratio": 2.25},
            "vertical_content_list": [{"title": "一", "desc": "二"}],
            "jump_list": [{"title": "打开", "type": 1, "url": URL}],
        },
    ),
    "button_interaction": (
        build_button_interaction(
            TASK, buttons=[BUTTON, Button("驳回", "no", style=2)], sub_title="副标题", lines=ITEMS
        ),
        {
            "main_title": {"title": "标题"},
            "task_id": "task-1@a_B",
            "horizontal_content_list": ITEMS_FIELDS,
            "sub_title_text": "副标题",
            "button_list": [
                {"text": "同意", "style": 1, "type": 0, "key": "approve"},
                {"text": "驳回", "style": 2, "type": 0, "key": "no"},
            ],
        },
    ),
}


@pytest.mark.parametrize("card_type", CARDS)
def test_a_card_has_its_parts_by_their_names(card_type: str) -> None:
    card, fields = CARDS[card_type]

    assert card == Content("template_card", {"card_type": card_type, "card_action": {"type": 1, "url": URL}, **fields})


REFUSED: tuple[tuple[Callable[[], Content], str], ...] = (
    (lambda: build_text_notice(Head(URL)), "main_title.title"),
    (lambda: build_text_notice(Head("", "t")), "card_action.url"),
    (lambda: build_text_notice(Head("a.example", "t")), "card_action.url"),
    (lambda: build_text_notice(HEAD, lines=[("", "")]), "horizontal_content_list[0].keyname"),
    (lambda: build_news_notice(Head(URL), picture_url=URL, aspect_ratio=2), "main_title.title"),
    (lambda: build_news_notice(HEAD, picture_url="", aspect_ratio=2), "card_image.url"),
    (lambda: build_button_interaction(Head(URL, task_id="t"), buttons=[BUTTON]), "main_title.title"),
)


@pytest.mark.parametrize(("build", "field"), REFUSED, ids=[field for _build, field in REFUSED])
def test_a_card_that_wecom_would_refuse(build: Callable[[], Content], field: str) -> None:
    assert refused(build) == f"template_card.{field}"
