"""Parsing of mails: of known senders, and of broken ones."""

import base64
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from notifications.inbound.mail.parse import (
    BOUNDARIES_TIMES_LINES_AT_MOST,
    LINES_AT_MOST,
    READ_FILES_AT_MOST,
    UnreadableMailError,
    decode_text,
    parse_mail,
)
from tests.notifications.inbound.mail import senders


def mail(*lines: str | bytes, body: bytes = b"x") -> bytes:
    head = b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines)
    return head + b"\r\n" + body


def test_superset_sends_a_picture_and_a_file_whose_disposition_stands_in_its_type() -> None:
    picture = senders.png()

    found = parse_mail(senders.superset(picture=picture))

    assert (found.subject, found.sender) == ("[Report] Sales", "superset@example.com")
    assert "Explore in Superset" in found.html
    assert [(part.cid, part.content) for part in found.pictures] == [("176432.55.8821@example.com", picture)]
    assert [(part.name, part.content) for part in found.files] == [("Sales.csv", "城市,金额\r\n上海,1200\r\n".encode())]


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("Subject: =?utf-8?B?5pel5oql?= =?utf-8?Q?=E6=97=A5?=", "日报日"),
        ("Subject: =?gb2312?B?yNWxqA==?=", "日报"),
        ("Subject: =?x-unknown?B?5pel5oql?=", "日报"),
        ("Subject: =?utf-8?B?5pel5oq?=", "日\ufffd"),
        ("Subject: =?utf-8?B?x?=", "=?utf-8?B?x?="),
        ("Subject: =?idna?Q?xn--x?=", "xn--x"),
        ("Subject: 日报".encode(), "日报"),
        ("Subject: 日报".encode("gbk"), "日报"),
        ("Subject: a\r\n b", "a b"),
        ("Subject: =?utf-8?Q?a=0D=0ABcc:_x=40y.z?=", "a Bcc: x@y.z"),
        ("Subject: =?utf-8?Q?a=00b?=", "a b"),
        ("Subject: =?utf-8?B?4oCuZXhlLnhsc3g=?=", "exe.xlsx"),
        (f"Subject: {'x' * 9000}", ""),
        (f"Subject: {'x' * 4000}", "x" * 500),
        ("X: y", ""),
    ],
)
def test_a_subject_is_one_line_of_text(header: str | bytes, subject: str) -> None:
    assert parse_mail(mail(header)).subject == subject


@pytest.mark.parametrize(
    ("lines", "is_automatic"),
    [
        ((), False),
        (("Auto-Submitted: no",), False),
        (("Auto-Submitted: auto-generated",), True),
        (("Auto-Submitted: auto-replied; x=y",), True),
        (("Precedence: bulk",), True),
        (("List-Id: <x.y>",), True),
    ],
)
def test_nobody_answers_an_automatic_mail(lines: tuple[str, ...], is_automatic: bool) -> None:
    assert parse_mail(mail(*lines, "X: y")).is_automatic is is_automatic


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("日报".encode(), "utf-8", "日报"),
        ("日报".encode(), "us-ascii", "日报"),
        ("日报".encode("gbk"), "utf-8", "日报"),
        ("日报".encode("gbk"), "gb2312", "日报"),
        ("日報".encode("big5"), "big5", "日報"),
        (b"caf\xe9", "iso-8859-1", "café"),
        ("日报".encode(), "utf-7", "日报"),
        (b"\xff\xff", "utf-8", "\ufffd\ufffd"),
        (b"x" * 9, "rot13", "x" * 9),
        (b"x" * 9, "undefined", "x" * 9),
        (b"x" * 9, "x\x00y", "x" * 9),
        (b"x" * 9, "y" * 500, "x" * 9),
    ],
)
def test_text_is_read_by_its_charset_or_by_what_it_can_be(content: bytes, charset: str, text: str) -> None:
    assert decode_text(content, charset) == text


def test_a_picture_that_stands_in_the_html_itself_becomes_a_part() -> None:
    picture = senders.png(300, 200)
    html = f'<p>x</p><img src="data:image/png;base64,{base64.b64encode(picture).decode()}">'

    found = parse_mail(mail("Content-Type: text/html; charset=utf-8", body=html.encode()))

    assert found.html == '<p>x</p><img src="cid:data-0">'
    assert [(part.cid, part.content_type, part.content) for part in found.pictures] == [
        ("data-0", "image/png", picture)
    ]


def test_a_picture_is_named_by_its_whole_id_and_one_that_the_html_does_not_show_is_an_attachment() -> None:
    message = MIMEMultipart("related")
    message.attach(MIMEText('<img src="cid:image10"><img src=cid:a%25b%40x><img src="cid:c&amp;d">', "html"))
    for cid in ("image1", "c&d", "a%b@x", "image10"):
        part = MIMEImage(senders.png(), name=f"{cid}.png")
        part.add_header("Content-ID", f"<{cid}>")
        message.attach(part)

    found = parse_mail(senders.as_sent(message))

    assert [part.cid for part in found.pictures] == ["image10", "a%b@x", "c&d"]
    assert [part.name for part in found.files] == ["image1.png"]


@pytest.mark.parametrize(
    "encoding", ["base64", "quoted-printable", "x-uuencode", "8bit", "binary", "nonsense", "base64\r\nX: y"]
)
def test_a_body_with_a_broken_encoding_is_read_as_far_as_it_goes(encoding: str) -> None:
    lines = ("Content-Type: text/plain", f"Content-Transfer-Encoding: {encoding}")

    assert isinstance(parse_mail(mail(*lines, body=b"=ZZ!!\xff aGVsbG8")).text, str)


def test_files_past_the_limit_and_a_mail_inside_the_mail_are_named_as_left_out() -> None:
    message = MIMEMultipart()
    message.attach(MIMEText("outer"))
    for number in range(READ_FILES_AT_MOST + 2):
        part = MIMEText("x", "csv")
        part.add_header("Content-Disposition", "attachment", filename=f"{number}.csv")
        message.attach(part)
    inner = mail("Content-Type: message/rfc822", "Content-Disposition: attachment; filename=old.eml", body=mail("A: b"))
    content = senders.as_sent(message).rpartition(b"--")[0].rpartition(b"\r\n--")
    boundary = content[2].split(b"\r\n")[0]

    found = parse_mail(content[0] + b"\r\n--" + boundary + b"\r\n" + inner + b"\r\n--" + boundary + b"--\r\n")

    past = tuple(f"{READ_FILES_AT_MOST + number}.csv" for number in range(2))
    assert (found.text, len(found.files), found.left_out) == ("outer", READ_FILES_AT_MOST, ("old.eml", *past))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n" * (LINES_AT_MOST + 1), "too many lines"),
        (b"boundary" * (BOUNDARIES_TIMES_LINES_AT_MOST // 20_000 + 1) + b"\r\n" * 20_000, "too many nested parts"),
        (b"Content-Type: message/rfc822\r\n\r\n" * 3000, "nested too deep"),
    ],
    ids=["lines", "boundaries", "depth"],
)
def test_what_would_take_too_long_is_refused_before_it_is_read(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableMailError, match=reason):
        parse_mail(content)


def test_a_body_with_a_name_is_the_text_and_not_a_file() -> None:
    alternative = MIMEMultipart("alternative")
    for text, kind in (("words", "plain"), ("<p>words</p>", "html")):
        part = MIMEText(text, kind)
        part.set_param("name", f"body.{kind}")
        alternative.attach(part)
    message = MIMEMultipart("mixed")
    message.attach(alternative)
    notes = MIMEText("notes", "plain")
    notes.set_param("name", "notes.txt")
    message.attach(notes)

    found = parse_mail(senders.as_sent(message))

    assert (found.text, found.html) == ("words", "<p>words</p>")
    assert [part.name for part in found.files] == ["notes.txt"]


def test_of_a_signed_and_of_a_forwarded_mail_nothing_is_named_that_nobody_knows() -> None:
    inner = MIMEText("old", "plain")
    inner["Subject"] = "=?utf-8?B?5pel5oql?="
    message = MIMEMultipart("mixed")
    message.attach(MIMEText("words", "plain"))
    message.attach(MIMEMessage(inner))
    message.attach(MIMEApplication(b"x" * 50, "pkcs7-signature", name="smime.p7s"))

    found = parse_mail(senders.as_sent(message))

    assert (found.text, found.left_out, found.files) == ("words", ("日报.eml",), ())
