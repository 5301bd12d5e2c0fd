"""Hostile mails take at most one second of CPU time and become a message or are refused; so is one of 40 MB."""

import os
import resource
import smtplib
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import replace
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from integrations.core.background import database_now
from notifications.delivery.rendering.render import render_run
from notifications.inbound.mail.parse import LINES_AT_MOST, MailRules, UnreadableMailError
from notifications.inbound.mail.reader import BEGINNING_BYTES, MailReading, read_mail
from notifications.inbound.mail.server import ReceivedMail, RefusedError, SignIn
from notifications.models import Delivery, IncomingMessage, Run
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.channels import make_mail_channel, take
from tests.notifications.inbound.mail import senders
from tests.notifications.inbound.mail.doors import LIMITS, open_door
from tests.notifications.inbound.mail.hostile import EACH, KINDS, hostile_mails

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
    return read_mail(senders.as_sent(message), MailRules(), "")


def test_html_that_costs_too_much_becomes_plain_text_with_its_files() -> None:
    found = reading_of(FONTS)

    assert (found.message.title, found.message.markup) == ("日报", "plain")
    assert found.message.text.startswith("hello x x x")
    assert [file.name for file in found.files] == ["a.pdf"]
    assert found.page.startswith("<pre>hello x x x")


def test_the_plain_text_of_the_sender_stands_for_html_that_costs_too_much() -> None:
    found = reading_of("<b>ignored</b>", "所有人 < 好", FONTS)

    assert (found.message.text, found.page) == ("所有人 < 好", "<pre>所有人 &lt; 好</pre>")


def test_blanks_cost_nothing() -> None:
    assert reading_of("<p><b>a</b>" + " \t" * 150_000 + "b</p>").message.text == "**a** b"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_of_a_mail_with_too_many_lines_the_beginning_becomes_plain_text(end: bytes) -> None:
    content = b"Subject: x\r\nMessage-ID: <1>\r\n\r\nhello" + end * (LINES_AT_MOST + 1)

    found = read_mail(content, MailRules(), "")

    assert (found.message.title, found.files) == ("x", ())
    assert found.message.text == "hello\n\n整封邮件太大或太复杂，读取耗时过长：这里只有开头部分，不含图片和附件。"


def test_a_mail_whose_beginning_cannot_be_read_is_refused() -> None:
    nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(3000))

    with pytest.raises(UnreadableMailError) as refused:
        read_mail(nested.encode() + b"x" * BEGINNING_BYTES, MailRules(), "")

    assert str(refused.value) == "too many nested parts"


@pytest.mark.django_db
def test_each_hostile_mail_becomes_a_message_or_is_refused_for_good() -> None:
    corp = make_corp()
    make_person(corp, "ZhangWei")
    channel, _password = make_mail_channel(make_manager(corp))
    refusals: Counter[str] = Counter()
    for number, (_kind, content) in enumerate(hostile_mails()):
        try:
            answer, run_ids = take(channel, b"Message-ID: <%d@x>\r\n" % number + content, "ZhangWei@wecom.local")
        except RefusedError as refused:
            refusals[refused.answer[:3]] += 1
            continue
        assert answer.startswith("250 ")
        for run_id in run_ids:
            render_run(run_id=run_id, now=database_now())
            assert Run.objects.get(pk=run_id).error_text == ""

    assert refusals.keys() <= {"554"}
    assert refusals.total() <= EACH
    assert IncomingMessage.objects.count() == EACH * len(KINDS) - refusals.total()
    said = [bytes(body).decode() for body in Delivery.objects.values_list("body", flat=True)]
    assert not [body for body in said if "<@" in body or "](https://evil" in body]
    for page in IncomingMessage.objects.values_list("page", flat=True):
        shown = zlib.decompress(page).decode()
        assert "<script" not in shown.lower()
        assert "https://evil.example" not in shown.replace('href="https://evil.example', "")


HUGE_BYTES, PIECE = 40 * 1024**2, b"x" * 1022 + b"\r\n"
# The growth that a mail of more than ten times the door's limit may cause.
GROWTH_BYTES = 12 * 1024**2
HUGE_PROGRAM = (
    "import django; django.setup(); from tests.notifications.inbound.mail import test_hostile; test_hostile.send_huge()"
)


class _NobodyTakes:
    """A backend that accepts every sign-in and must not get a mail."""

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn:
        return SignIn(1, password, address)

    def accept_mail(self, signed_in: SignIn, mail: ReceivedMail) -> str:
        raise AssertionError(len(mail.content))


def send_huge() -> None:
    """Send a mail of HUGE_BYTES to a door in this process, with and without its size announced.

    Print the answers and by how many bytes the peak memory of the process grew.
    """
    with open_door(_NobodyTakes(), replace(LIMITS, size_bytes=3_000_000)) as opened:
        with smtplib.SMTP("127.0.0.1", opened.port, timeout=300) as client:
            client.login("anybody", "password")
            before = _most_memory()
            announced, _words = client.docmd(f"MAIL FROM:<bi@example.com> SIZE={HUGE_BYTES}")
            for command in ("MAIL FROM:<bi@example.com>", "RCPT TO:<zhang@wecom.local>", "DATA"):
                assert client.docmd(command)[0] < 400
            for _number in range(HUGE_BYTES // len(PIECE)):
                client.send(PIECE)
            client.send(b".\r\n")
            streamed, _words = client.getreply()
            then, _words = client.docmd("NOOP")
        grown = _most_memory() - before
    print(announced, streamed, then, grown)  # noqa: T201  # for the test


def _most_memory() -> int:
    """Return the peak memory in bytes; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_mail_of_40_mb_is_refused_announced_or_not_and_is_never_held(project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUGE_PROGRAM],
        cwd=project_root,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    announced, streamed, then, grown = map(int, done.stdout.split())
    assert (announced, streamed, then) == (552, 552, 250)
    assert grown < GROWTH_BYTES
