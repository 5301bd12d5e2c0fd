"""How many mails with attachments the mail door stores in a second, and how much memory it needs.

Run `python -m benchmarks.mail_door [--mails N]`: senders with a connection each hand in mails with a picture
and a file, 100 kB together, to a person each. Two real doors on one port, PostgreSQL and Valkey; no worker sends the
messages on.
"""

from __future__ import annotations

import argparse
import json
import random
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from typing import Any

import psutil

from benchmarks import runner
from benchmarks.goals import Found, Goal
from benchmarks.runner import ROOT
from tools.services import free_port

FULL, SENDERS, PEOPLE = 1000, 8, 50
# One for each core of the smallest server.
DOORS = 2
PICTURE_BYTES, SHEET_BYTES = 60_000, 15_000
GOAL_A_SECOND, GOAL_MEGABYTES = 50, 500
ACCOUNT_DOMAIN = "wecom.local"


def measure(mails: int) -> Found:
    port = free_port()
    with ExitStack() as exits:
        environ = {"MAIL_DOOR_LISTEN": f"127.0.0.1:{port}", "MAIL_DOOR_MAILS_PER_MINUTE": "1000000"}
        servers = exits.enter_context(runner.servers(**environ))
        runner.migrate(servers.env)
        doors = [psutil.Process(exits.enter_context(_door(servers.env)).pid) for _number in range(DOORS)]
        before = _processor_seconds(doors)
        found: dict[str, Any] = runner.measured("mail_door", "--inside", str(port), str(mails), env=servers.env)
        megabytes = max(door.memory_info().rss / 2**20 for door in doors)
        seconds = _processor_seconds(doors) - before
    figures = {
        **found,
        "doors": DOORS,
        "megabytes_of_a_door": round(megabytes),
        "processor_milliseconds_a_mail": round(1000 * seconds / mails, 1),
    }
    return figures, [
        Goal.of("mail door: mails stored", found["stored"], "=", mails),
        Goal.of("mail door: mails a second", found["mails_a_second"], "≥", GOAL_A_SECOND, digits=1),
        Goal.of("mail door: memory of a door", megabytes, "<", GOAL_MEGABYTES, "MB"),
    ]


def _processor_seconds(doors: list[psutil.Process]) -> float:
    times = [door.cpu_times() for door in doors]
    return sum(one.user + one.system for one in times)


@contextmanager
def _door(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "manage.py", "mail_door"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as process:  # noqa: S603  # our own
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it listens
            yield process
        finally:
            process.terminate()


def inside(port: int, mails: int) -> dict[str, Any]:
    """In a process with Django: the rows, then the senders."""
    import django

    django.setup()
    from accounts.models import User, WeComAccount
    from integrations.models import Corp
    from notifications.inbound import channels
    from notifications.models import InboundChannel, IncomingMessage

    corp = Corp.objects.create(name="青禾", corpid="ww0000000000000001", agentid=1, secret="x", is_enabled=True)
    for number in range(PEOPLE):
        person = User.objects.create(username=f"u{number}")
        WeComAccount.objects.create(user=person, corp=corp, userid=f"U{number}")
    owner = User.objects.create_superuser(username="root", password="x")
    channel = InboundChannel(name="BI", kind="mail", scheme="password", is_enabled=True, owner=owner)
    channel.daily_limit = 1_000_000
    password = channels.renew_secret(channel)
    channel.save()
    login = (channel.public_id, password)
    _each_sender(lambda sender: _send(port, login, [_mail(SENDERS * turn + sender, "warm") for turn in range(6)]))
    made = [_mail(number, "bench") for number in range(mails)]
    started = time.perf_counter()
    _each_sender(lambda sender: _send(port, login, made[sender::SENDERS]))
    seconds = time.perf_counter() - started
    stored = IncomingMessage.objects.filter(title__startswith="bench").count()
    return {"mails": mails, "stored": stored, "seconds": round(seconds, 1), "mails_a_second": round(mails / seconds, 1)}


def _each_sender(work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(SENDERS) as senders:
        list(senders.map(work, range(SENDERS)))


def _send(port: int, login: tuple[str, str], mails: list[bytes]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.login(*login)
        for number, mail in enumerate(mails):
            client.sendmail("bi@example.com", [f"u{number % PEOPLE}@{ACCOUNT_DOMAIN}"], mail)


def _mail(number: int, name: str) -> bytes:
    """As a BI sends a dashboard. The bytes of its files are noise that no compression makes smaller."""
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["Message-ID"] = f"{name} {number}", "bi@example.com", f"<{name}.{number}@bi>"
    mail.set_content("See the dashboard.")
    table = "".join(f"<tr><td>门店{row}</td><td>{row * number}</td></tr>" for row in range(30))
    mail.add_alternative(f'<h2>日报</h2><img src="cid:p"><table>{table}</table>', subtype="html")
    noise = _noise(number)
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x58\0\0\x01\x2c\x08\x02\0\0\0" + noise[:PICTURE_BYTES]
    mail.add_attachment(picture, maintype="image", subtype="png", cid="<p>", disposition="inline")
    sheet = b"%PDF-1.4\n" + noise[:SHEET_BYTES]
    mail.add_attachment(sheet, maintype="application", subtype="pdf", filename="日报.pdf")
    return mail.as_bytes()


def _noise(number: int) -> bytes:
    return random.Random(number).randbytes(PICTURE_BYTES)  # noqa: S311  # no secret


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=FULL)
    parser.add_argument("--inside", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(*options.inside)))
        return 0
    load = runner.load()
    figures, wanted = measure(options.mails)
    return runner.finish("mail_door", {"load_before": load, **figures}, wanted)


if __name__ == "__main__":
    sys.exit(main())
