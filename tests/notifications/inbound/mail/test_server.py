"""SMTP with Python's own client and with raw sockets: who may send, how much, and the answers."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings

from notifications.inbound.mail.server import RECIPIENTS_AT_MOST, Limits, ReceivedMail, RefusedError, SignIn
from tests.e2e.waiting import eventually
from tests.notifications.inbound.mail.doors import LIMITS, OpenDoor, certificate, open_door

pytestmark = pytest.mark.django_db
USER, PASSWORD = "channel", "gwi_invented"
MAIL = b"Subject: x\r\n\r\nhello\r\n"


class Backend:
    """Keeps the mails that it takes; refuses or fails as the test sets."""

    def __init__(self) -> None:
        self.taken: list[ReceivedMail] = []
        self.error: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.began = threading.Event()

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn | None:
        if isinstance(self.error, OperationalError):
            raise self.error
        return SignIn(7, "proof", address) if (user, password, address) == (USER, PASSWORD, "127.0.0.1") else None

    def accept_mail(self, signed_in: SignIn, mail: ReceivedMail) -> str:
        self.began.set()
        assert self.may_go_on.wait(60)
        if self.error is not None:
            raise self.error
        self.taken.append(mail)
        return f"250 2.0.0 Taken by {signed_in.channel_id}"


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def door(backend: Backend) -> Iterator[OpenDoor]:
    with open_door(backend) as opened:
        yield opened


@contextmanager
def log_in(door: OpenDoor) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", door.port, timeout=60) as client:
        client.login(USER, PASSWORD)
        yield client


def send_commands(client: smtplib.SMTP, *lines: str) -> list[int]:
    return [client.docmd(line)[0] for line in lines]


@pytest.mark.parametrize("method", ["auth_plain", "auth_login"])
def test_a_channel_signs_in_with_its_id_and_secret_and_nobody_sends_without(
    door: OpenDoor, backend: Backend, method: str
) -> None:
    with smtplib.SMTP("127.0.0.1", door.port, timeout=60) as client:
        client.ehlo()
        assert send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "DATA", "VRFY a@b.c") == [
            530,
            530,
            530,
            530,
        ]
        assert backend.taken == []
        client.user, client.password = USER, PASSWORD

        code, _answer = client.auth(method.removeprefix("auth_").upper(), getattr(client, method))

        assert code == 235


def test_the_third_wrong_password_ends_the_connection(door: OpenDoor, backend: Backend) -> None:
    """Malformed sign-ins do not count, nor do those while the database is away."""
    wrong = "AUTH PLAIN AGNoYW5uZWwAd3Jvbmc="
    with smtplib.SMTP("127.0.0.1", door.port, timeout=60) as client:
        client.ehlo()

        broken = send_commands(client, "AUTH PLAIN !!!", "AUTH PLAIN YQ==", "AUTH CRAM-MD5", "AUTH", "AUTH LOGIN a b")
        assert broken == [501, 501, 504, 501, 501]
        backend.error = OperationalError("away")
        assert send_commands(client, wrong) == [454]
        backend.error = None
        assert send_commands(client, wrong, wrong, wrong) == [535, 535, 421]
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("limits", [replace(LIMITS, connections=1), replace(LIMITS, connections_per_address=1)])
def test_too_many_connections_are_asked_to_come_later_and_other_networks_never(
    backend: Backend, limits: Limits
) -> None:
    with open_door(backend, limits) as opened, log_in(opened) as first:
        with pytest.raises(smtplib.SMTPConnectError, match="421"):
            smtplib.SMTP("127.0.0.1", opened.port, timeout=60)
        assert first.noop()[0] == 250
    with (
        open_door(backend, replace(limits, networks=(ip_network("10.0.0.0/8"),))) as opened,
        pytest.raises(smtplib.SMTPConnectError, match="554"),
    ):
        smtplib.SMTP("127.0.0.1", opened.port, timeout=60)


def test_where_all_connections_are_taken_one_that_nobody_signed_in_on_makes_room(backend: Backend) -> None:
    with (
        open_door(backend, replace(LIMITS, connections=2)) as opened,
        log_in(opened) as sender,
        smtplib.SMTP("127.0.0.1", opened.port, timeout=60) as idle,
        log_in(opened),
    ):
        assert idle.getreply()[0] == 421
        assert sender.noop()[0] == 250


@pytest.mark.parametrize("limits", [replace(LIMITS, sign_in_seconds=1), replace(LIMITS, session_seconds=1)])
def test_commands_do_not_put_off_the_time_to_sign_in_and_no_session_lasts_for_ever(
    backend: Backend, limits: Limits
) -> None:
    with open_door(backend, limits) as opened, smtplib.SMTP("127.0.0.1", opened.port, timeout=60) as client:
        if limits.session_seconds == 1:
            client.login(USER, PASSWORD)
        codes = {client.noop()[0]}
        with suppress(smtplib.SMTPServerDisconnected):  # until the door ends the connection
            while True:
                codes.add(client.getreply()[0])
        assert 421 in codes


def test_a_session_that_ends_while_its_mail_comes_ends_behind_it(backend: Backend) -> None:
    backend.may_go_on.clear()
    with open_door(backend, replace(LIMITS, session_seconds=1)) as opened, log_in(opened) as client:
        send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>", "DATA")
        client.send(b".\r\n")
        assert backend.began.wait(60)
        eventually(lambda: all(one.is_over for one in opened.door.connections))
        backend.may_go_on.set()

        assert [client.getreply()[0], client.getreply()[0]] == [250, 421]


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    return context


def trust_certificate(tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tmp_path / "door.pem"))


def test_tls_from_the_first_byte(backend: Backend, tls: ssl.SSLContext, tmp_path: Path) -> None:
    with (
        open_door(backend, tls=tls, is_tls_from_start=True) as opened,
        smtplib.SMTP_SSL("localhost", opened.port, timeout=60, context=trust_certificate(tmp_path)) as client,
    ):
        client.login(USER, PASSWORD)
        client.sendmail("a@b.c", ["x@y.z"], MAIL)

    assert len(backend.taken) == 1


def test_from_other_networks_a_password_needs_tls(backend: Backend, tls: ssl.SSLContext, tmp_path: Path) -> None:
    with (
        open_door(backend, replace(LIMITS, plain_networks=()), tls=tls) as opened,
        smtplib.SMTP("localhost", opened.port, timeout=60) as client,
    ):
        client.ehlo()
        assert (client.has_extn("auth"), client.docmd("AUTH PLAIN AGNoYW5uZWwAeA==")[0]) == (False, 538)

        client.starttls(context=trust_certificate(tmp_path))
        client.login(USER, PASSWORD)
        client.sendmail("a@b.c", ["x@y.z"], MAIL)

    assert [one.content for one in backend.taken] == [MAIL]
    with open_door(backend, tls=tls) as opened, smtplib.SMTP("localhost", opened.port, timeout=60) as client:
        client.login(USER, PASSWORD)  # what was signed in before STARTTLS does not count
        client.starttls(context=trust_certificate(tmp_path))
        client.ehlo()
        assert send_commands(client, "MAIL FROM:<a@b.c>") == [530]


def test_a_mail_arrives_as_it_was_sent_with_its_recipients_in_their_order(door: OpenDoor, backend: Backend) -> None:
    content = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"
    with log_in(door) as client:
        client.sendmail("bi@example.com", ["b@x.y", "a@x.y"], content)

    assert backend.taken == [ReceivedMail("bi@example.com", ("b@x.y", "a@x.y"), content)]


@pytest.mark.parametrize(
    ("with_data", "then", "content"),
    [
        # Only a dot on a line of its own ends a mail.
        (b"", b".\r\n", b""),
        (b"", b"\r\n.\r\n", b"\r\n"),
        (b"", b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
        (b"", b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
        (b"", b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n"),
        (b"", b"x" * 300_000 + b"\r\n.\r\n", b"x" * 300_000 + b"\r\n"),
        (b"", b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n"),
        # A mail may begin in the segment that holds the command.
        (b"hello\r\n.\r\n", b"", b"hello\r\n"),
        (b"hello\r\n.", b"\r\n", b"hello\r\n"),
        (b"hello\r\n.", b"x\r\n.\r\n", b"hello\r\nx\r\n"),
        (b".\r\n", b"", b""),
    ],
)
def test_where_a_mail_begins_and_ends(
    door: OpenDoor, backend: Backend, with_data: bytes, then: bytes, content: bytes
) -> None:
    with log_in(door) as client:
        send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>")
        client.send(b"DATA\r\n" + with_data)
        assert client.getreply()[0] == 354
        client.send(then)

        assert client.getreply()[0] == 250
        assert client.noop()[0] == 250
    assert [one.content for one in backend.taken] == [content]


def test_every_recipient_that_can_be_one_is_taken_whoever_is_meant(door: OpenDoor, backend: Backend) -> None:
    good = ["RCPT TO:<nobody@wecom.local>", "RCPT TO:<张伟@wecom.local>", 'RCPT TO:<"a b"@wecom.local>']
    bad = ["RCPT TO:<no-at>", "RCPT TO:<>", "RCPT TO:", "RCPT nonsense", "RCPT TO:<a\x01@b>"]
    bad.append(f"RCPT TO:<{'x' * 400}@y.z>")
    with log_in(door) as client:
        send_commands(client, "MAIL FROM:<>")
        client.command_encoding = "utf-8"

        assert send_commands(client, *good) == [250, 250, 250]
        assert [code for code in send_commands(client, *bad) if code < 500] == []
        client.docmd("DATA")
        client.send(b".\r\n")
        assert client.getreply()[0] == 250
    assert backend.taken[0].recipients == ("nobody@wecom.local", "张伟@wecom.local", '"a b"@wecom.local')
    assert backend.taken[0].sender == "<>"  # a bounce has none


def test_so_many_recipients_and_no_more(door: OpenDoor) -> None:
    with log_in(door) as client:
        send_commands(client, "MAIL FROM:<a@b.c>")

        codes = send_commands(client, *[f"RCPT TO:<a{number}@b.c>" for number in range(RECIPIENTS_AT_MOST + 1)])

    assert codes == [250] * RECIPIENTS_AT_MOST + [452]


def test_a_mail_that_is_too_large_is_refused_by_its_size_or_at_its_end(door: OpenDoor, backend: Backend) -> None:
    large = b"x" * 100 + b"\r\n"
    with log_in(door) as client:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            client.sendmail("a@b.c", ["x@y.z"], large * 11_000)
        assert refused.value.smtp_code == 552
        client.rset()
        send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>", "DATA")
        client.send(large * 11_000 + b".\r\n")

        assert client.getreply()[0] == 552
        client.sendmail("a@b.c", ["x@y.z"], MAIL)
    assert [one.content for one in backend.taken] == [MAIL]
    assert door.door.held_bytes == 0


def test_all_connections_together_hold_no_more_than_some_large_mails(door: OpenDoor, backend: Backend) -> None:
    door.door.held_bytes = 8 * LIMITS.size_bytes
    with log_in(door) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("a@b.c", ["x@y.z"], MAIL)
        assert refused.value.smtp_code == 452
        door.door.held_bytes = 0

        client.sendmail("a@b.c", ["x@y.z"], MAIL)
    assert len(backend.taken) == 1


def test_a_sender_that_says_nothing_or_never_ends_its_mail_is_left(backend: Backend) -> None:
    with open_door(backend, replace(LIMITS, timeout_seconds=0.5)) as opened, log_in(opened) as client:
        with socket.create_connection(("127.0.0.1", opened.port), timeout=60) as silent:
            assert silent.recv(100).startswith(b"220 ")
            send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>", "DATA")
            client.send(b"x" * 1000)

            assert silent.recv(100) == b""
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.getreply()
    assert backend.taken == []
    assert opened.door.held_bytes == 0


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OperationalError("away"), (451, b"4.3.0 Not stored, please send again later")),
        (RefusedError("554 5.6.0 No"), (554, b"5.6.0 No")),
        (ZeroDivisionError(), (451, b"4.3.0 Not stored, please send again later")),
    ],
)
def test_what_could_not_be_stored_stays_with_the_sender(
    door: OpenDoor, backend: Backend, error: Exception, answer: tuple[int, bytes]
) -> None:
    with log_in(door) as client:
        backend.error = error
        send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>", "DATA")
        client.send(b".\r\n")

        assert client.getreply() == answer


def test_no_answer_comes_before_the_mail_is_stored_and_stopping_waits_for_it(backend: Backend) -> None:
    backend.may_go_on.clear()
    with open_door(backend) as opened:
        idle = smtplib.SMTP("127.0.0.1", opened.port, timeout=60)
        with log_in(opened) as client:
            send_commands(client, "MAIL FROM:<a@b.c>", "RCPT TO:<x@y.z>", "DATA")
            client.send(b".\r\n")
            assert backend.began.wait(60)
            stopping = threading.Thread(target=opened.close)
            stopping.start()

            assert idle.getreply()[0] == 421
            assert stopping.is_alive()
            backend.may_go_on.set()
            assert client.getreply() == (250, b"2.0.0 Taken by 7")
            assert client.getreply()[0] == 421
            stopping.join(60)
            client.close()
        idle.close()
    assert len(backend.taken) == 1


def test_nonsense_is_answered_and_forgotten(door: OpenDoor) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as raw, raw.makefile("rb") as answers:
        answers.readline()
        raw.sendall(b"GET / HTTP/1.1\r\n\xff\xfe\r\n" + b"x" * 200_000 + b"\r\nNOOP\r\n")

        codes = [answers.readline()[:3] for _line in range(4)]

    assert codes == [b"500", b"500", b"500", b"250"]


def test_a_log_line_names_no_person_and_no_secret(door: OpenDoor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="notifications.inbound.mail")
    with log_in(door) as client:
        client.sendmail("bi@example.com", ["zhang.wei@wecom.local"], MAIL)

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("notifications.inbound")]
    assert any("channel=7 recipients=1 bytes=21" in line for line in lines)
    assert not [line for line in lines if "zhang" in line or PASSWORD in line or "hello" in line]


def test_the_program_does_not_start_with_a_certificate_that_cannot_be_read(settings: Settings) -> None:
    settings.MAIL_DOOR_CERTIFICATE = "/nonexistent.pem"

    # In a thread of its own, as an earlier test's browser may keep an event loop in this one.
    with ThreadPoolExecutor(1) as thread, pytest.raises(CommandError, match="MAIL_DOOR_CERTIFICATE or MAIL_DOOR_KEY"):
        thread.submit(call_command, "mail_door").result()
