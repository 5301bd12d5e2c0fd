"""Two hundred hostile mails: none raises anything but our own error, and all fit into bounds that the system sets."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from notifications.inbound.mail import html
from notifications.inbound.mail.parse import UnreadableMailError, parse
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
        assert "\n" not in mail.subject + mail.sender + mail.message_id, kind
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
