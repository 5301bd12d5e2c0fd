"""HTML from outside as Markdown, as text and as a page: what is shown, and what never gets through."""

import base64
from dataclasses import replace

import pytest

from notifications.inbound.mail.html import SENT_FILES_AT_MOST, convert_html, convert_mail, render_page
from notifications.inbound.mail.parse import MailPart, MailRules, ParsedMail, parse_mail
from notifications.models import IncomingMessage
from tests.notifications.inbound.mail import senders
from tests.notifications.inbound.mail.hostile import TRICKS

REPORT = """<html><head><style>td{color:red}</style><title>t</title></head><body><table><tr><td>
<h2>昨日<br>销售</h2>
<p>Hello <b>王伟</b>,&nbsp;see <a href="https://bi.example.com/d/1?x=1&amp;y=2">the dashboard</a>.</p>
<p>second<br>line</p><ul><li>one</li><li>two <b>x</b></li></ul><blockquote>quoted<br>text</blockquote>
<table><thead><tr><th>城市</th><th>金额</th></tr></thead><tbody><tr><td>上海</td><td>1,200</td></tr>
<tr><td><p>北京</p></td><td>900</td></tr></tbody></table></td></tr></table></body></html>"""


def test_a_report_in_markdown_and_in_plain_text() -> None:
    assert convert_html(REPORT, is_markdown=True) == (
        "## 昨日 销售\n\nHello **王伟**, see [the dashboard](https://bi.example.com/d/1?x=1&y=2).\n\nsecond\nline\n\n"
        "- one\n- two **x**\n\n> quoted\n> text\n\n城市 | 金额\n上海 | 1,200\n北京 | 900"
    )
    plain = (
        "昨日 销售\n\nHello 王伟, see the dashboard https://bi.example.com/d/1?x=1&y=2.\n\nsecond\nline\n\n"
        "- one\n- two x\n\nquoted\ntext\n\n城市 | 金额\n上海 | 1,200\n北京 | 900"
    )
    assert convert_html(REPORT) == plain
    assert convert_html(REPORT, has_links=False) == plain.replace(" https://bi.example.com/d/1?x=1&y=2", "")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("&lt;@all&gt; **x** [x](https://evil.example)", "＜@all＞ ＊＊x＊＊ ［x］(https://evil.example)"),
        ("<b>a ** b</b>", "**a ＊＊ b**"),
        ("<a href='javascript:alert(1)'>x</a>", "x"),
        ("<a href='https://x.y/)](https://evil.example'>x</a>", "x"),
        ("<a href='https://x.y/'>x](https://evil.example)</a>", "[x］(https://evil.example)](https://x.y/)"),
        ("<code>**x** <@all></code>", "＊＊x＊＊ ＜@all＞"),
        ("<pre>a\n  # b **x**</pre>", "a\n＃ b ＊＊x＊＊"),
        ("# x", "＃ x"),
        ("<h1>a<b>b</b></h1>", "# ab"),
        ("<p>a</p>" * 3, "a\n\na\n\na"),
        ("&#x202e;exe.xlsx", "exe.xlsx"),
        ("a<!-- b -->c", "ac"),
        ("<p>x", "x"),
        ("", ""),
    ],
)
def test_nothing_of_its_text_is_a_mark(html: str, text: str) -> None:
    assert convert_html(html, is_markdown=True) == text


def test_a_style_sheet_of_a_megabyte_hides_no_text() -> None:
    assert convert_html("<style>" + "a{}" * 400_000 + "</style><p>said</p>") == "said"


@pytest.mark.parametrize("html", TRICKS)
def test_nothing_runs_loads_or_submits(html: str) -> None:
    cleaned = render_page(html, "", []).lower()

    assert not [
        word
        for word in ("<script", "onerror=", "script:", "evil.example", "<form", "<iframe", "<meta", "<base", "fixed")
        if word in cleaned.replace("--&gt;&lt;img src=x onerror=", "")
    ]


LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


@pytest.mark.parametrize(
    ("html", "text", "page"),
    [
        ("<a href='https://x.y/?a=1&amp;b=2'>x</a>", "", f'<a href="https://x.y/?a=1&amp;b=2" {LINK}>x</a>'),
        ('<p style="color:rgb(1,2,3)">x</p>', "", '<p style="color:rgb(1, 2, 3)">x</p>'),
        ("", "a <b> https://x.y/ c", f'<pre>a &lt;b&gt; <a href="https://x.y/" {LINK}>https://x.y/</a> c</pre>'),
    ],
    ids=["links open beside it", "colours stay", "without HTML"],
)
def test_the_page_of_a_mail(html: str, text: str, page: str) -> None:
    assert render_page(html, text, []) == page


def test_inline_pictures_stand_in_the_page_and_what_is_none_does_not() -> None:
    picture = senders.png(4, 4)
    parts = [MailPart("a.png", "image/png", picture, "a&b c"), MailPart("x.svg", "image/png", b"<svg onload=x>", "x")]

    cleaned = render_page('<img alt="Sales" src="cid:a&amp;b%20c"><img src="cid:x"><img src="cid:gone">', "", parts)

    data = base64.b64encode(picture).decode()
    assert cleaned == f'<img alt="Sales" src="data:image/png;base64,{data}"><img src=""><img src="">'


@pytest.mark.parametrize(
    ("html", "text", "link"),
    [
        (
            '<a href="https://bi.example.com/?a=1&amp;b=2">x</a><a href="https://x.y">',
            "",
            "https://bi.example.com/?a=1&b=2",
        ),
        ("<a href='mailto:a@b.c'>x</a>", "See <https://ci.example.com/job/1/>.", "https://ci.example.com/job/1/"),
        ("", "Look at https://x.y/a。", "https://x.y/a"),
        ("<a href=javascript:x>", "nothing", ""),
    ],
)
def test_the_first_link_is_where_the_message_leads(html: str, text: str, link: str) -> None:
    mail = ParsedMail(subject="", sender="", html=html, text=text)
    assert convert_mail(mail, RULES, "")[0].link == link


@pytest.mark.parametrize(
    ("markers", "text"),
    [
        (["--"], "a\nb"),
        (["Sent from"], "a\nb\n--"),
        (["", " "], "a\nb\n--\n**Sent from** x"),
        (["x"], "a\nb\n--\n**Sent from** x"),
    ],
)
def test_a_footer_begins_at_the_first_line_that_begins_as_a_marker_says(markers: list[str], text: str) -> None:
    mail = ParsedMail(subject="", sender="", html="", text="a\nb\n--\n**Sent from** x")
    rules = replace(RULES, footers=tuple(markers))
    assert convert_mail(mail, rules, "")[0].text == text


def test_an_empty_cell_of_data_keeps_its_place_and_one_of_a_layout_has_none() -> None:
    head = "<tr><th>区域</th><th>目标</th><th>实际</th></tr>"
    table = f"<table>{head}<tr><td>华东</td><td></td><td>5</td></tr><tr><td></td><td> </td><td>7</td></tr></table>"
    layout = f"<table><tr><td></td><td>您好</td><td></td></tr><tr><td>&nbsp;</td><td>{table}</td></tr></table>"

    for is_markdown in (True, False):
        assert convert_html(table, is_markdown=is_markdown) == "区域 | 目标 | 实际\n华东 | | 5\n| | 7"
        assert convert_html(layout, is_markdown=is_markdown) == "您好\n区域 | 目标 | 实际\n华东 | | 5\n| | 7"


RULES = MailRules()


def convert_content(
    content: bytes, rules: MailRules = RULES, form: str = ""
) -> tuple[IncomingMessage, list[tuple[str, str]]]:
    """Return the message, and the names and kinds of its files."""
    message, files = convert_mail(parse_mail(content), rules, form)
    return message, [(file.name, file.kind.value) for file in files]


def test_metabase_becomes_its_chart_its_words_and_its_sheet() -> None:
    found, files = convert_content(senders.metabase(), replace(RULES, footers=("Sent from Metabase",)))

    assert found.title == "Sales dashboard"
    assert found.text == "Sales dashboard\nRevenue\nCity | Amount\nShanghai | 1,200"
    assert found.link == "https://metabase.example.com/dashboard/1"
    assert files == [("IMAGE_9876.png", "picture"), ("Revenue.xlsx", "file")]  # the bell is an icon

    found, files = convert_content(senders.metabase(), replace(RULES, takes_picture=False, footers=("Sent from",)))

    assert (found.markup, files) == ("markdown", [("Revenue.xlsx", "file")])
    assert found.text == (
        "# [Sales dashboard](https://metabase.example.com/dashboard/1)\nRevenue\nCity | Amount\nShanghai | 1,200"
    )


def test_superset_becomes_its_table_and_its_csv_file() -> None:
    table = "<table><tr><th>城市</th><th>金额</th></tr><tr><td>上海</td><td>1,200</td></tr></table>"

    found, files = convert_content(senders.superset(table=table))

    assert found.text == (
        "Daily sales\n\n**[Explore in Superset](https://superset.example.com/superset/dashboard/8/?x=1&y=2)**\n\n"
        "城市 | 金额\n上海 | 1,200"
    )
    assert files == [("Sales.csv", "file")]


def test_jenkins_becomes_its_text_and_finereport_its_table_and_its_pdf() -> None:
    jenkins, none = convert_content(senders.jenkins())
    finereport, files = convert_content(senders.finereport())

    assert (jenkins.markup, none) == ("plain", [])
    assert jenkins.text.endswith("Changes:\n\n[li] load orders_v2 first")
    assert jenkins.link == "https://ci.example.com/job/nightly-etl/42/display/redirect"
    assert finereport.text.startswith("分公司0 | 0\n分公司1 | 17\n")
    assert files == [("经营分析.pdf", "file")]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", "查看详情 https://bi.example.com/page/p1"),
        ("textcard", "查看详情"),
        ("markdown", "[查看详情](https://"),
    ],
)
def test_links_stay_where_the_form_has_room_for_them(form: str, text: str) -> None:
    assert text in convert_content(senders.guandata(), form=form)[0].text


def test_a_channel_may_leave_out_the_words_and_the_files() -> None:
    found, files = convert_content(senders.guandata(), replace(RULES, takes_text=False, attachments=()))

    assert (found.text, files) == ("", [("1.png", "picture")])


def test_what_is_not_sent_is_named() -> None:
    parts = [
        MailPart("a.exe", "application/octet-stream", b"MZ" + b"x" * 50),
        MailPart("virus.xlsx", "application/octet-stream", b"MZ" + b"x" * 50),
        MailPart("empty.csv", "text/csv", b"1"),
        *(MailPart(f"{number}.csv", "text/csv", b"a,b\r\n1,2\r\n") for number in range(SENT_FILES_AT_MOST + 1)),
    ]
    mail = ParsedMail("x", "", "", "words", files=tuple(parts), left_out=("old.eml",))

    found, files = convert_mail(mail, RULES, "")

    assert len(files) == SENT_FILES_AT_MOST
    assert found.text == f"words\n\n未发送：old.eml, a.exe, virus.xlsx, empty.csv, {SENT_FILES_AT_MOST}.csv"
