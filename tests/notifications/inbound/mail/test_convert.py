"""What a channel's rules take of a mail, and which form it becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notifications.inbound.mail.convert import SENT_FILES_AT_MOST, Converted, convert
from notifications.inbound.mail.parse import ParsedMail, Part, parse
from notifications.inbound.mail.rules import EXTENSIONS, MailRules
from tests.notifications.inbound.mail import senders

RULES = MailRules()


def converted(content: bytes, rules: MailRules = RULES, form: str = "") -> Converted:
    return convert(parse(content), rules, form)


def names(found: Converted) -> list[tuple[str, str]]:
    return [(file.name, file.kind.value) for file in found.files]


def test_metabase_becomes_its_chart_its_words_and_its_sheet() -> None:
    found = converted(senders.metabase(), replace(RULES, footers=("Sent from Metabase",)))

    assert found.title == "Sales dashboard"
    assert found.text == "Sales dashboard\nRevenue\nCity | Amount\nShanghai | 1,200"
    assert found.link == "https://metabase.example.com/dashboard/1"
    # The bell is an icon.
    assert names(found) == [("IMAGE_9876.png", "picture"), ("Revenue.xlsx", "file")]
    assert found.files[0].content == senders.png(540, 320, seed=9)


def test_without_its_picture_it_becomes_markdown() -> None:
    found = converted(senders.metabase(), replace(RULES, takes_picture=False, footers=("Sent from",)))

    assert found.markup == "markdown"
    assert found.text == (
        "# [Sales dashboard](https://metabase.example.com/dashboard/1)\nRevenue\nCity | Amount\nShanghai | 1,200"
    )
    assert names(found) == [("Revenue.xlsx", "file")]


def test_superset_becomes_its_table_and_its_csv_file() -> None:
    table = "<table><tr><th>城市</th><th>金额</th></tr><tr><td>上海</td><td>1,200</td></tr></table>"

    found = converted(senders.superset(table=table))

    assert found.text == (
        "Daily sales\n\n**[Explore in Superset](https://superset.example.com/superset/dashboard/8/?x=1&y=2)**\n\n"
        "城市 | 金额\n上海 | 1,200"
    )
    assert names(found) == [("Sales.csv", "file")]


def test_jenkins_becomes_its_text() -> None:
    found = converted(senders.jenkins())

    assert (found.markup, found.files) == ("plain", ())
    assert found.text.endswith("Changes:\n\n[li] load orders_v2 first")
    assert found.link == "https://ci.example.com/job/nightly-etl/42/display/redirect"


def test_finereport_becomes_its_table_and_its_pdf() -> None:
    found = converted(senders.finereport())

    assert found.text.startswith("分公司0 | 0\n分公司1 | 17\n")
    assert names(found) == [("经营分析.pdf", "file")]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", "查看详情 https://bi.example.com/page/p1"),
        ("textcard", "查看详情"),
        ("markdown", "[查看详情](https://"),
    ],
)
def test_links_stay_where_the_form_has_room_for_them(form: str, text: str) -> None:
    assert text in converted(senders.guandata(), form=form).text


def test_a_channel_may_leave_out_the_words_and_the_files() -> None:
    found = converted(senders.guandata(), replace(RULES, takes_text=False, attachments=()))

    assert (found.text, names(found)) == ("", [("1.png", "picture")])


def test_what_is_not_sent_is_named() -> None:
    parts = [
        Part("a.exe", "application/octet-stream", b"MZ" + b"x" * 50),
        Part("virus.xlsx", "application/octet-stream", b"MZ" + b"x" * 50),
        Part("empty.csv", "text/csv", b"1"),
        *(Part(f"{number}.csv", "text/csv", b"a,b\r\n1,2\r\n") for number in range(SENT_FILES_AT_MOST + 1)),
    ]
    mail = ParsedMail("x", "", "", "words", files=tuple(parts), left_out=("old.eml",))

    found = convert(mail, RULES, "")

    assert len(found.files) == SENT_FILES_AT_MOST
    assert found.text.endswith(f"old.eml, a.exe, virus.xlsx, empty.csv, {SENT_FILES_AT_MOST}.csv")
    assert found.text == f"words\n\n未发送：old.eml, a.exe, virus.xlsx, empty.csv, {SENT_FILES_AT_MOST}.csv"


def test_rules_are_kept_in_the_row_of_their_channel_and_read_as_they_were() -> None:
    rules = MailRules(networks=("10.0.0.0/8",), footers=("--",), forward="unknown", mail_domains=("a.example.com",))

    assert MailRules.of(rules.document()) == rules
    assert MailRules.of({}) == RULES
    assert MailRules.of({"unknown": 1, "takes_text": False}) == replace(RULES, takes_text=False)
    assert "xlsx" in EXTENSIONS
