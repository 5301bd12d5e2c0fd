"""Two hundred hostile mails: none raises anything but our own error, and all fit into bounds that the system sets.

And one of 100 MB, which a door does not take, however it is sent.
"""

from __future__ import annotations

import os
import resource
import smtplib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from integrations.core.background import database_clock
from notifications.delivery.rendering.render import render_run
from notifications.inbound.mail import html
from notifications.inbound.mail.parse import UnreadableMailError, find_message_id, parse
from notifications.inbound.mail.server import Mail, RefusedError, SignIn
from notifications.models import Delivery, IncomingMessage, Run
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.mail.channels import make_mail_channel, take
from tests.notifications.inbound.mail.doors import LIMITS, open_door
from tests.notifications.inbound.mail.hostile import EACH, KINDS, hostile_mails

# Of the process that reads them one after the other. It needs a tenth of the memory, and of the time on one core.
MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 300
PROGRAM = (
    "import django; django.setup(); from tests.notifications.inbound.mail import test_hostile; test_hostile.read_all()"
)


def read_all() -> None:
    """Read each as the mail door and the message's page do; prints how many were read and refused."""
    refused = 0
    for kind, content in hostile_mails():
        try:
            mail = parse(content)
        except UnreadableMailError:
            refused += 1
            continue
        said = [mail.subject, html.markdown(mail.html), html.html_text(mail.html), mail.text]
        page = html.shown(mail.html, mail.text, mail.pictures)
        for text in (*said, page, *(part.name for part in (*mail.files, *mail.pictures))):
            text.encode()
            assert "\0" not in text, kind
        assert "<script" not in page.lower(), kind
        assert "\n" not in mail.subject + mail.sender + find_message_id(content), kind
        assert "https://evil.example" not in page.replace('href="https://evil.example', ""), kind
    print(EACH * len(KINDS), refused)  # noqa: T201  # for the test


def test_two_hundred_hostile_mails_within_bounds(project_root: Path) -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=project_root,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"},
        preexec_fn=bounded,  # noqa: PLW1509  # the child of this test, which starts no thread before
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["200", "5"]


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
            render_run(run_id=run_id, now=database_clock()())
            assert Run.objects.get(pk=run_id).error_text == ""

    assert refusals == {"554": 5}
    assert IncomingMessage.objects.count() == EACH * len(KINDS) - 5
    said = [bytes(body).decode() for body in Delivery.objects.values_list("body", flat=True)]
    assert not [body for body in said if "<@" in body or "](https://evil" in body]


# --- 100 MB -----------------------------------------------------------------------------------------------------------

HUGE_BYTES, PIECE = 100 * 1024**2, b"x" * 1022 + b"\r\n"
# What a door may need more than before, of a mail thirty times its limit.
GROWTH_BYTES = 12 * 1024**2
HUGE_PROGRAM = (
    "import django; django.setup(); from tests.notifications.inbound.mail import test_hostile; test_hostile.send_huge()"
)


class _NobodyTakes:
    """A backend that lets everybody in, and must not be handed anything."""

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn:
        return SignIn(1, password, address)

    def take(self, signed_in: SignIn, mail: Mail) -> str:
        raise AssertionError(len(mail.content))


def send_huge() -> None:
    """Hand a mail of HUGE_BYTES to a door in this process, announced and not; prints the answers and by how many bytes
    the most that the process ever needed grew."""
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
    """In bytes: Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_mail_of_100_mb_is_refused_announced_or_not_and_is_never_held(project_root: Path) -> None:
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
