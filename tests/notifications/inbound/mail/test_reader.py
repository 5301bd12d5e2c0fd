"""A mail is read within one second of processor time; what costs more becomes plain text."""

from __future__ import annotations

from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from django.utils import translation

from notifications.inbound.mail.parse import LINES_AT_MOST, MailRules, UnreadableMailError
from notifications.inbound.mail.reader import BEGINNING_BYTES, MailReading, read
from tests.notifications.inbound.mail import senders

# Each paragraph opens all of the fonts again: 163 kB become 90 MB.
FONTS = "<p>hello" + "".join(f"<font color={number}>" for number in range(190)) + "</p>" + "<p>x</p>" * 20_000
FILE = MIMEApplication(b"%PDF-1.7 rest", _subtype="pdf")
FILE.add_header("Content-Disposition", "attachment", filename="a.pdf")


def reading_of(*parts: str) -> MailReading:
    message = MIMEMultipart("mixed")
    message["Subject"] = "日报"
    for text in parts:
        message.attach(MIMEText(text, "html" if text.startswith("<") else "plain", "utf-8"))
    message.attach(FILE)
    with translation.override("zh-hans"):
        return read(senders.as_sent(message), MailRules(), "")


def test_html_that_costs_too_much_becomes_plain_text_with_its_files() -> None:
    found = reading_of(FONTS)

    assert (found.converted.title, found.converted.markup) == ("日报", "plain")
    assert found.converted.text.startswith("hello x x x")
    assert [file.name for file in found.converted.files] == ["a.pdf"]
    assert found.page.startswith("<pre>hello x x x")


def test_the_plain_text_of_the_sender_stands_for_html_that_costs_too_much() -> None:
    found = reading_of("<b>ignored</b>", "所有人 < 好", FONTS)

    assert (found.converted.text, found.page) == ("所有人 < 好", "<pre>所有人 &lt; 好</pre>")


def test_blanks_cost_nothing() -> None:
    assert reading_of("<p><b>a</b>" + " \t" * 150_000 + "b</p>").converted.text == "**a** b"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_of_a_mail_with_too_many_lines_the_beginning_becomes_plain_text(end: bytes) -> None:
    content = b"Subject: x\r\nMessage-ID: <1>\r\n\r\nhello" + end * (LINES_AT_MOST + 1)

    with translation.override("zh-hans"):
        found = read(content, MailRules(), "")

    assert (found.converted.title, found.converted.files) == ("x", ())
    assert found.converted.text == "hello\n\n整封邮件太大或太复杂，读取耗时过长：这里只有开头部分，不含图片和附件。"


def test_a_mail_whose_beginning_cannot_be_read_is_refused() -> None:
    nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(3000))

    with pytest.raises(UnreadableMailError) as refused:
        read(nested.encode() + b"x" * BEGINNING_BYTES, MailRules(), "")

    assert str(refused.value) == "too many nested parts"
