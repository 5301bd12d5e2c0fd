"""The mail door as a process: killed between DATA and its answer, and stopped in order."""

import smtplib
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from accounts.models import User
from integrations.core.background import database_now
from integrations.models import Corp, Heartbeat
from notifications.delivery import maintenance
from notifications.delivery.rows import RENDER_LEASE
from notifications.models import InboundChannel, IncomingMessage, Run
from tests.e2e.stack import Program, running, wait_for_log
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.factories import make_manager, make_person
from tests.notifications.inbound.channels import mail, make_mail_channel
from tests.notifications.inbound.mail.doors import certificate
from tools.services import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
COMMAND = [sys.executable, "manage.py", "mail_door"]


class Doors:
    """Starts mail doors, one after the other, on one port."""

    def __init__(self, env: dict[str, str], root: Path, folder: Path, exits: ExitStack) -> None:
        self.port = free_port()
        self._env = {**env, "MAIL_DOOR_LISTEN": f"127.0.0.1:{self.port}"}
        self._root, self._folder, self._exits = root, folder, exits

    def start(self, **environ: str) -> Program:
        env = {**self._env, **environ}
        program = self._exits.enter_context(running("mail_door", COMMAND, env=env, folder=self._folder, cwd=self._root))
        wait_for_log("The mail door listens", program)
        return program


@pytest.fixture
def doors(process_environ: dict[str, str], project_root: Path, tmp_path: Path) -> Iterator[Doors]:
    with ExitStack() as exits:
        yield Doors(process_environ, project_root, tmp_path, exits)


@pytest.fixture
def person(corp: Corp) -> User:
    return make_person(corp, "ZhangWei")


@pytest.fixture
def channel(corp: Corp) -> tuple[InboundChannel, str]:
    return make_mail_channel(make_manager(corp))


@contextmanager
def sign_in(port: int, channel: tuple[InboundChannel, str]) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.login(channel[0].public_id, channel[1])
        yield client


@nightly
def test_killed_between_commit_and_answer_nobody_gets_the_message_twice_and_nothing_is_lost(
    doors: Doors, channel: tuple[InboundChannel, str], person: User
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # A broker that accepts but never answers: the door hangs after its commit.
        door = doors.start(VALKEY_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with sign_in(doors.port, channel) as client:
            for command in ("MAIL FROM:<bi@example.com>", "RCPT TO:<ZhangWei@wecom.local>", "DATA"):
                assert client.docmd(command)[0] < 400
            client.send(mail() + b".\r\n")
            eventually(IncomingMessage.objects.exists)
            door.kill()
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                client.getreply()
            client.close()

    doors.start()
    with sign_in(doors.port, channel) as client:
        client.sendmail("bi@example.com", ["ZhangWei@wecom.local"], mail())

    run = Run.objects.get()
    assert list(IncomingMessage.objects.get().people.all()) == [person]
    assert maintenance.sweep_deliveries(now=database_now() + RENDER_LEASE) == [run.pk]


@nightly
def test_hostile_mails_of_one_channel_hold_up_no_other(
    doors: Doors, channel: tuple[InboundChannel, str], corp: Corp, person: User
) -> None:
    doors.start()
    other, ended = make_mail_channel(make_manager(corp)), list[str]()
    parts = ("Content-Type: text/html",), "<p>hello " + "".join(f"<font color={n}>" for n in range(190)) + "</p>"
    handed_in = threading.Barrier(4)

    def send_hostile(number: int) -> None:
        content = mail(parts[1] + "<p>x</p>" * 40_000, message_id=f"<{number}>", lines=parts[0])
        with sign_in(doors.port, channel) as client:
            for command in ("MAIL FROM:<bi@example.com>", "RCPT TO:<ZhangWei@wecom.local>", "DATA"):
                client.docmd(command)
            client.send(content + b".\r\n")
            handed_in.wait(60)
            assert client.getreply()[0] == 250
            ended.append("hostile")

    with ThreadPoolExecutor(3) as pool:
        hostile = [pool.submit(send_hostile, number) for number in range(3)]
        handed_in.wait(60)
        with sign_in(doors.port, other) as client:
            client.sendmail("bi@example.com", ["ZhangWei@wecom.local"], mail(message_id="<other>"))
        ended.append("other")
        for one in hostile:
            one.result(60)

    assert ended == ["other", "hostile", "hostile", "hostile"]
    texts = IncomingMessage.objects.filter(channel=channel[0]).values_list("markup", "text")
    assert {(markup, text[:9]) for markup, text in texts} == {("plain", "hello x x")}


def test_it_takes_mails_over_tls_and_has_a_heartbeat_until_it_ends_in_order(
    doors: Doors, channel: tuple[InboundChannel, str], person: User, tmp_path: Path
) -> None:
    certificate_file, key_file = certificate(tmp_path)
    door = doors.start(MAIL_DOOR_CERTIFICATE=str(certificate_file), MAIL_DOOR_KEY=str(key_file))
    eventually(Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL).exists)

    with smtplib.SMTP("localhost", doors.port, timeout=120) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(certificate_file)))
        client.login(channel[0].public_id, channel[1])
        client.sendmail("bi@example.com", ["ZhangWei@wecom.local"], mail())

    door.stop()

    assert IncomingMessage.objects.count() == 1
    assert door.process.returncode == 0
    assert not Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL).exists()
