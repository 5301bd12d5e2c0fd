"""A message's text on our own page: nothing of it is obeyed but WeCom's few marks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.delivery.rendering.message_builder import make_excerpt, render_markdown
from notifications.models import MessageForm


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


def test_an_excerpt_is_one_line_without_marks() -> None:
    assert make_excerpt('# A\n**b** `c`\n> d <font color="info">e</font>') == "A b c d e"
