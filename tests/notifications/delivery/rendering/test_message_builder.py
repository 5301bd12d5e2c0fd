"""The bytes of a message: whole if it fits, otherwise cut between characters, always with the link."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from integrations.clients.wecom.builders import MessageError
from integrations.models import Corp, SiteAddress
from notifications.delivery.rendering import render
from notifications.delivery.rendering.message_builder import (
    Words,
    build_body,
    build_robot_body,
    render_markdown,
    tidy_text,
    tidy_title,
)
from notifications.delivery.rendering.render import PlannedDelivery, split_into_calls
from notifications.delivery.runs.owner_notices import NoticeSource
from notifications.models import Channel, MessageForm, Run
from notifications.sources import Content, Figure
from notifications.subscriptions.recipients import Recipient

URL = "https://bi.example.com/m/0123456789abcdef0123456789abcdef/"

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=1500)


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


def compose(form: MessageForm, text: str, title: str = "Sales") -> dict[str, Any]:
    return dict(json.loads(build_body(form, Words(title, text, URL), agentid=1000002, userids=["LiLei", "han"])))


def compose_mail(content: Content) -> str:
    to = Recipient(0, None, "", "", None, channel=Channel.EMAIL, email="b@example.test")
    planned = PlannedDelivery(Corp(agentid=1000002), [to], content, channel=Channel.EMAIL)
    run = Run(slot_at=datetime(2026, 11, 24, tzinfo=UTC))
    source = NoticeSource(run)
    draft = render.draft_delivery(run, source, planned, run.slot_at)
    address = SiteAddress(url="https://bi.example.com")
    return bytes(render.compose(draft, source, planned, address, "", now=run.slot_at).body).decode()


def test_a_text_message_byte_by_byte() -> None:
    made = build_body(MessageForm.TEXT, Words("日报", "销售额 100", URL), agentid=1000002, userids=["LiLei", "han"])

    content = f'日报\\n销售额 100\\n<a href=\\"{URL}\\">View all</a>'
    expected = (
        '{"touser":"LiLei|han","msgtype":"text","agentid":1000002,"text":{"content":"'
        + content
        + '"},"enable_duplicate_check":1,"duplicate_check_interval":14400}'
    )
    assert made == expected.encode()


@pytest.mark.parametrize(
    ("form", "text", "part"),
    [
        (MessageForm.MARKDOWN, "up **3 %**", {"content": f"**Sales**\nup **3 %**\n[View all]({URL})"}),
        (
            MessageForm.TEXTCARD,
            "a < b\nnext",
            {"title": "Sales", "description": "a ＜ b<br>next", "url": URL, "btntxt": "View"},  # full-width on purpose
        ),
    ],
)
def test_markdown_and_a_card(form: MessageForm, text: str, part: dict[str, str]) -> None:
    assert compose(form, text) == {
        "touser": "LiLei|han",
        "msgtype": form,
        "agentid": 1000002,
        form: part,
        "enable_duplicate_check": 1,
        "duplicate_check_interval": 14400,
    }


@given(TEXTS)
def test_text_fits_and_ends_with_the_link(text: str) -> None:
    plain, marked = (compose(form, text)[form] for form in (MessageForm.TEXT, MessageForm.MARKDOWN))

    content, link = plain["content"], f'\n<a href="{URL}">View all</a>'
    assert max(len(plain["content"].encode()), len(marked["content"].encode())) <= 2048
    assert marked["content"].endswith(f"\n[View all]({URL})")
    assert content.startswith("Sales\n")
    assert content.endswith(link)
    shown = content.removeprefix("Sales\n").removesuffix(link)
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))


LINE = '**合计 <font color="warning">下降 `3`</font>** [明细](https://bi.example.com/a_b) 见 <a href="https://x.example/">页</a>\n'


@pytest.mark.parametrize("form", [MessageForm.TEXT, MessageForm.MARKDOWN])
def test_a_cut_leaves_no_tag_no_link_and_no_mark_open(form: MessageForm) -> None:
    tags = ("<a", "</a>") if form == MessageForm.TEXT else ("<font", "</font>")
    for before in range(len(LINE.encode())):
        made = build_body(form, Words("t", "a" * before + "\n" + LINE * 40, URL), agentid=1, userids=["x"])
        content = json.loads(made)[form]["content"]
        cut = content.rpartition("\n")[0].rpartition("\n")[2]

        assert len(content.encode()) <= 2048
        assert "…" in cut
        assert cut.count(tags[0]) == cut.count(tags[1]) == len(re.findall(f"{tags[0]}[^<>]*>", cut))
        if form == MessageForm.MARKDOWN:
            assert cut.count("**") % 2 == cut.count("`") % 2 == cut.replace("**", "").count("*") == 0
            assert cut.count("[") == cut.count("[明细](https://bi.example.com/a_b)")


def test_what_is_marked_from_end_to_end_is_cut_and_closed_and_leaves_room_for_the_link() -> None:
    marked, unclosed = f'**<font color="info">{"销" * 900}', '<a href="https://x.example/">' * 200

    made = build_body(MessageForm.MARKDOWN, Words("t", marked, URL), agentid=1, userids=["x"])
    never_closed = build_body(MessageForm.TEXT, Words("t", unclosed, URL), agentid=1, userids=["x"])

    assert "销…</font>**\n[View all]" in json.loads(made)["markdown"]["content"]
    assert len(json.loads(never_closed)["text"]["content"].encode()) <= 2048


def test_a_link_that_leaves_no_room_at_a_robot_is_refused_with_a_reason() -> None:
    with pytest.raises(MessageError, match="url: leaves no room"):
        build_robot_body(MessageForm.TEXT, Words("日报", "正文", "https://bi.example.com/" + "页" * 900))


@given(st.text(st.sampled_from("销a\n<é😀"), min_size=1, max_size=400), st.text("销a😀", min_size=1, max_size=128))
def test_a_card_fits_and_holds_no_broken_tag(text: str, title: str) -> None:
    card = compose(MessageForm.TEXTCARD, text, title)["textcard"]

    assert len(card["title"].encode()) <= 128
    assert len(card["description"].encode()) <= 512
    assert "<" not in card["description"].replace("<br>", "")


def test_a_text_of_exactly_the_limit_is_not_cut() -> None:
    room = 2048 - len(f'Sales\n\n<a href="{URL}">View all</a>')

    fits, too_long = (compose(MessageForm.TEXT, "x" * length)["text"] for length in (room, room + 1))

    assert "…" not in fits["content"]
    assert too_long["content"].count("…") == 1


def test_a_cut_card_leads_to_the_whole_in_chinese_too() -> None:
    """Card descriptions end in an ellipsis, and the button follows."""
    with translation.override("zh-hans"):
        card = compose(MessageForm.TEXTCARD, "长" * 500)["textcard"]

    assert card["description"].endswith("长…")
    assert card["btntxt"] == "查看全部"


MARKED = '<a href="https://evil.example/">x</a> **y** [z](https://evil.example/) <@all>'

AS_TEXT = '＜a href="https://evil.example/">x＜/a> **y** [z](https://evil.example/) ＜@all>'

AS_MARKDOWN = '＜a href="https://evil.example/"＞x＜/a＞ ＊＊y＊＊ ［z］(https://evil.example/) ＜@all＞'


@pytest.mark.parametrize(
    ("form", "shown"), [(MessageForm.TEXT, f"{AS_TEXT}\n"), (MessageForm.MARKDOWN, f"**{AS_MARKDOWN}**\n")]
)
def test_a_title_is_no_markup(form: MessageForm, shown: str) -> None:
    """Titles may contain a cell's value that somebody else wrote."""
    message = compose(form, "text", title=MARKED)[form]

    assert message["content"].startswith(shown)
    if form == MessageForm.MARKDOWN:
        robot = json.loads(build_robot_body(form, Words(MARKED, "text", "")))
        assert robot["markdown"]["content"] == f"**{AS_MARKDOWN}**\ntext"


@pytest.mark.parametrize("form", [MessageForm.TEXTCARD, MessageForm.TEXT_NOTICE])
def test_titles_of_cards_and_subjects_of_mails_are_plain_text(form: MessageForm) -> None:
    """WeCom and mail programs know no markup there, so the title stays as it was written."""
    card = compose(form, "text", title="**y**")[{MessageForm.TEXTCARD: "textcard"}.get(form, "template_card")]
    mail = json.loads(compose_mail(Content("**y**", "text")))

    assert card.get("title", card.get("main_title", {}).get("title")) == "**y**"
    assert mail["subject"] == "**y**"


TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("form", MessageForm)
def test_nothing_in_a_message_turns_the_direction_of_reading(form: MessageForm) -> None:
    """Marks that turn the reading direction could show "fdp.exe" as "exe.pdf"; cells contain words of strangers."""
    turned = f"a{TURNING}b"
    words = Words(turned, turned, URL, figures=(Figure(turned, turned), Figure(turned, turned)), picture_url=URL)

    app = build_body(form, words, agentid=1000002, userids=["LiLei"]).decode()
    robot = build_robot_body(form, words).decode()
    mail = compose_mail(Content(turned, turned, figures=words.figures))

    assert not set(TURNING) & set(app + robot + mail)
    assert (tidy_title(turned), tidy_text(turned)) == ("ab", "ab")


def test_tidying() -> None:
    assert tidy_title("  a\r\n b\t c ") == "a b c"
    assert tidy_text("\r\n a\r\nb\rc \n") == "a\nb\nc"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p>\n<p>three</p>"),
        ("# Sales\ntext", "<h2>Sales</h2>\n<p>text</p>"),
        ("## a\n## b", "<h2>a</h2>\n<h2>b</h2>"),
        ("> a\n> b\nc", "<blockquote>a<br>b</blockquote>\n<p>c</p>"),
        ("up **3 %** `now`", "<p>up <strong>3 %</strong> <code>now</code></p>"),
        (
            "[BI](https://bi.example.com/?a=1&b=2)",
            '<p><a href="https://bi.example.com/?a=1&amp;b=2" rel="noopener noreferrer">BI</a></p>',
        ),
        ('<font color="warning">late</font>', '<p><span class="font-warning">late</span></p>'),
        ("a **b\nc** d", "<p>a **b<br>c** d</p>"),
        ("> [x\n> y](https://bi.example.com/)", "<blockquote>[x<br>y](https://bi.example.com/)</blockquote>"),
        ('<font color="info">a\nb</font>', "<p>&lt;font color=&quot;info&quot;&gt;a<br>b&lt;/font&gt;</p>"),
        ("", ""),
    ],
)
def test_markdown(text: str, html: str) -> None:
    assert render_markdown(text, MessageForm.MARKDOWN) == html


@pytest.mark.parametrize("form", list(MessageForm))
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        '[x](https://a.example/"onmouseover="alert(1))',
        '<font color="red" onclick="x">a</font>',
        "<img src=x onerror=alert(1)>",
    ],
)
def test_what_is_hostile_is_shown_and_not_obeyed(text: str, form: MessageForm) -> None:
    html = render_markdown(text, form)

    assert not re.search(r"<(script|img|font)|href=\"javascript|\"\s*on\w+=", html)


def test_other_forms_know_no_marks() -> None:
    assert render_markdown("**a** > b\n\nc", MessageForm.TEXTCARD) == "<p>**a** &gt; b</p>\n<p>c</p>"


@given(st.text(st.sampled_from("ab*`#>[](){}<>\"'&:/\n ht"), max_size=200))
def test_only_our_own_tags_come_out(text: str) -> None:
    tags = set(re.findall(r"<\s*/?\s*([^\s>/]*)", render_markdown(text, MessageForm.MARKDOWN)))

    assert tags <= {"p", "br", "h2", "blockquote", "strong", "code", "a", "span"}


PEOPLE = [f"p{number}" for number in range(2001)]


@pytest.mark.parametrize(
    ("people", "waits", "calls"),
    [
        ([], [], []),
        (PEOPLE, [0] * 2001, [(PEOPLE[:1000], 0), (PEOPLE[1000:2000], 0), (PEOPLE[2000:], 0)]),
        (["n1", "s1", "n2", "s2", "e1"], [0] * 5, [(["n1", "n2"], 0), (["s1", "s2"], 0), (["e1"], 0)]),
        # People who must wait delay nobody else, and other content is a group of its own.
        (["p-late", "p-now", "p-soon", "p-too"], [50, 0, 5, 0], [(["p-now", "p-too"], 0), (["p-soon", "p-late"], 50)]),
        (["n1", "s1", "n2"], [3, 2, 1], [(["n2", "n1"], 3), (["s1"], 2)]),
        # People beyond a full call are in a later one, the longest waits last.
        (PEOPLE[:1001], range(1001, 0, -1), [(PEOPLE[1000:0:-1], 1000), (PEOPLE[:1], 1001)]),
    ],
    ids=["nobody", "a thousand share a call", "alike", "some wait", "others wait apart", "more than a call wait"],
)
def test_who_gets_the_same_shares_a_call(
    people: list[str], waits: Sequence[float], calls: list[tuple[list[str], float]]
) -> None:
    assert list(split_into_calls(people, waits, lambda person: person[0])) == calls
