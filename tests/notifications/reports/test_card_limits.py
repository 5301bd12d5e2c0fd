"""Cards at WeCom's recommended lengths: what fits is whole, anything longer is visibly cut, the whole is one tap away.

The lengths of template_card: title 36, desc 44, emphasis 14 and 22, sub_title_text 160, keyname 5, value 30, vertical
title 38 and desc 160, 6 lines. WeCom cuts longer texts itself without an error.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.delivery.rendering.message_builder import Words, build_body
from notifications.models import MessageForm
from notifications.sources import Figure

URL = "https://bi.example.com/m/0123456789abcdef0123456789abcdef/"
CUT = "… 查看全部"
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=400)


def card(
    form: MessageForm, text: str = "说明", title: str = "日报", figures: tuple[Figure, ...] = ()
) -> dict[str, Any]:
    words = Words(title, text, URL, figures, "https://bi.example.com/p/x.png", "mark-1")
    made: dict[str, Any] = json.loads(build_body(form, words, agentid=1000002, userids=["LiLei"]))["template_card"]
    return made


def lines_of(made: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["keyname"], line["value"]) for line in made.get("horizontal_content_list", ())]


def figures(count: int, words: str = "1", caption: str = "名") -> tuple[Figure, ...]:
    return tuple(Figure(caption, words) for _ in range(count))


FORMS = pytest.mark.parametrize("form", [MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE])


@FORMS
def test_what_was_cut_is_one_tap_away_whole(form: MessageForm) -> None:
    made = card(form, "长" * 5000, "题" * 37, figures(7, "数" * 64, "名" * 64))

    assert made["main_title"]["title"] == "题" * 35 + "…"
    assert made["jump_list"] == [{"title": "查看全部", "type": 1, "url": URL}]
    assert made["card_action"] == {"type": 1, "url": URL}
    assert card(form, title="题" * 36)["main_title"]["title"] == "题" * 36


def test_the_text_of_a_text_notice_has_160_characters() -> None:
    assert card(MessageForm.TEXT_NOTICE, "字" * 160)["sub_title_text"] == "字" * 160
    cut = card(MessageForm.TEXT_NOTICE, "字" * 161)["sub_title_text"]
    assert cut == "字" * (160 - len(CUT)) + CUT


def test_the_text_of_a_news_notice_has_44_characters_in_its_head_and_160_below() -> None:
    def text_of(text: str) -> tuple[str, list[dict[str, str]]]:
        made = card(MessageForm.NEWS_NOTICE, text)
        return made["main_title"].get("desc", ""), made.get("vertical_content_list", [])

    assert text_of("头" * 44) == ("头" * 44, [])
    assert text_of("头" * 45) == ("", [{"title": "摘要", "desc": "头" * 45}])
    assert text_of("头\n" + "下" * 38) == ("头", [{"title": "下" * 38}])
    assert text_of("头\n" + "下" * 39) == ("头", [{"title": "摘要", "desc": "下" * 39}])
    assert text_of("头\n" + "下" * 160)[1][0]["desc"] == "下" * 160
    assert text_of("头\n" + "下" * 161)[1][0]["desc"] == "下" * (160 - len(CUT)) + CUT


def test_a_large_number_of_14_characters_is_whole_and_a_longer_one_never_half() -> None:
    def emphasis(words: str) -> dict[str, str] | None:
        return card(MessageForm.TEXT_NOTICE, figures=(Figure("销售额", words),)).get("emphasis_content")

    assert emphasis("1" * 14) == {"title": "1" * 14, "desc": "销售额"}
    assert emphasis("1" * 15) is None
    assert lines_of(card(MessageForm.TEXT_NOTICE, figures=(Figure("销售额", "1" * 15),))) == [("销售额", "1" * 15)]
    assert emphasis("12345678 ↑12.5%") == {"title": "12345678", "desc": "销售额 ↑12.5%"}
    assert emphasis("1 " + "比" * 30) == {"title": "1", "desc": "销售额 " + "比" * 17 + "…"}


@FORMS
def test_a_line_has_a_name_of_5_and_a_value_of_30_characters(form: MessageForm) -> None:
    def line(caption: str, words: str) -> tuple[str, str]:
        return lines_of(card(form, figures=(Figure("首", "1"), Figure(caption, words))))[-1]

    assert line("名" * 5, "值" * 30) == ("名" * 5, "值" * 30)
    assert line("名" * 6, "值" * 31) == ("名" * 4 + "…", "值" * 29 + "…")
    if form == MessageForm.NEWS_NOTICE:  # it has six lines, and of more the last says how many
        assert lines_of(card(form, figures=figures(6))) == [("名", "1")] * 6
        assert lines_of(card(form, figures=figures(7))) == [*[("名", "1")] * 5, ("…", "另有 2 项：查看全部")]


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 7))
def test_nothing_is_longer_than_wecom_shows(text: str, title: str, caption: str, words: str, count: int) -> None:
    for form in (MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE):
        made = card(form, text, f"题{title}", figures(count, words, caption))
        emphasis = made.get("emphasis_content", {})

        assert len(made["main_title"]["title"]) <= 36
        assert len(made["main_title"].get("desc", "")) <= 44
        assert len(emphasis.get("title", "")) <= 14
        assert len(emphasis.get("desc", "")) <= 22
        assert len(made.get("sub_title_text", "")) <= 160
        assert len(made.get("horizontal_content_list", ())) <= 6
        for line in made.get("horizontal_content_list", ()):
            assert len(line["keyname"]) <= 5
            assert len(line["value"]) <= 30
        for item in made.get("vertical_content_list", ()):
            assert len(item["title"]) <= 38
            assert len(item.get("desc", "")) <= 160
