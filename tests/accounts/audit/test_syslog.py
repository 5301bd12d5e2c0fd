"""Audit entries reach a real syslog server, and none is lost while it is away."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings

from accounts import tasks
from accounts.admin.security import list_unsent_attentions
from accounts.audit import services
from accounts.models import AuditEntry, User
from integrations.core.redis import valkey
from tests.accounts.people import with_role
from tests.audit import clear_trail
from tools.services import free_port

LINE = re.compile(r"<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ guanwecom \d+ (\S+) - (\{.*\})")
pytestmark = pytest.mark.django_db


class TcpServer:
    """A server for messages framed by their length (RFC 6587)."""

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.taken: list[bytes] = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            before = len(self.taken)
            with connection, connection.makefile("rb") as stream:
                while length := _number(stream):
                    self.taken.append(stream.read(length))
            if self.ending.is_set() and len(self.taken) == before:
                return

    def close(self) -> list[bytes]:
        """Stop, and return the messages. The last connection, which is empty, is accepted after all others."""
        self.ending.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.thread.join(30)
        self.listener.close()
        return self.taken


def _number(stream: object) -> int:
    digits = b""
    while (one := stream.read(1)) not in {b" ", b""}:  # type: ignore[attr-defined]  # a socket's file
        digits += one
    return int(digits or 0)


@pytest.fixture
def server(settings: Settings) -> Iterator[TcpServer]:
    made = TcpServer()
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", made.port))
    yield made
    made.listener.close()


def record(note: str, **values: object) -> AuditEntry:
    services.record(action=AuditEntry.Action.DONE, note=note, **values)
    return AuditEntry.objects.latest("pk")


def sent(taken: list[bytes]) -> list[dict[str, object]]:
    found = [LINE.fullmatch(text.decode("ascii")) for text in taken]
    assert all(found)
    return [json.loads(match[2]) for match in found if match]


def test_entries_arrive_in_their_order(server: TcpServer) -> None:
    entries = [record(f"note {number}") for number in range(3)]

    tasks.send_audit_entries(entries[0].pk)

    found = sent(server.close())
    assert [(one["id"], one["note"]) for one in found] == [(one.pk, one.note) for one in entries]
    assert services.count_unsent_entries() == services.UnsentEntries()


def test_many_at_once_arrive_too(server: TcpServer) -> None:
    count = services.SENT_AT_ONCE * 2 + 1
    services.record_many(
        services.make_entry(action=AuditEntry.Action.DONE, note=str(number)) for number in range(count)
    )
    with valkey().lock("accounts:audit-syslog", timeout=60):
        assert services.send_unsent_entries() == 0, "one process sends at a time"

    assert services.send_unsent_entries() == count
    assert [one["note"] for one in sent(server.close())] == [str(number) for number in range(count)]


def test_they_are_queued_with_the_commit(
    server: TcpServer, django_capture_on_commit_callbacks: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:  # type: ignore[operator]  # a fixture of pytest-django
        record("a change")

    assert len(callbacks) == 1


def test_what_is_rolled_back_is_not_sent(server: TcpServer) -> None:
    with transaction.atomic():
        record("never happened")
        transaction.set_rollback(True)

    assert (services.send_unsent_entries(), server.close()) == (0, [])


def test_a_server_that_is_away_stops_nobody_and_loses_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", port))
    first = record("while it is away")

    tasks.send_audit_entries(first.pk)

    assert services.count_unsent_entries() == services.UnsentEntries(1, first.at)
    assert "audit entries not sent to the syslog server error=ConnectionRefusedError" in caplog.text

    server = TcpServer(port)
    tasks.send_audit_entries(first.pk)

    assert [one["note"] for one in sent(server.close())] == ["while it is away"]
    assert services.count_unsent_entries().count == 0


def test_the_overview_tells_who_sees_the_whole_trail(settings: Settings, rf: RequestFactory) -> None:
    people = (User.objects.create(username="root", is_staff=True, is_superuser=True), with_role("nobody", None))
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", free_port()))
    since = timezone.now() - timedelta(minutes=5)
    clear_trail()
    AuditEntry.objects.create(action=AuditEntry.Action.DONE, at=since, is_unsent=True)
    told = {}
    for person in people:
        request = rf.get("/admin/")
        request.user = person
        told[person.username] = [one.sentence for one in list_unsent_attentions(request, [])]

    local = f"{timezone.localtime(since):%Y-%m-%d %H:%M}"
    assert told == {"root": [f"自 {local} 起，有 1 条审计记录等待发送到 syslog 服务器。"], "nobody": []}


def test_udp_sends_a_datagram_for_each(settings: Settings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        settings.AUDIT_SYSLOG = ("udp", server.getsockname())
        record("first")
        record("second")

        assert services.send_unsent_entries() == 2
        assert [one["note"] for one in sent([server.recv(65536), server.recv(65536)])] == ["first", "second"]


def test_what_was_typed_cannot_end_a_line_or_begin_another(server: TcpServer) -> None:
    hostile = "x\n<110>1 2026-01-01T00:00:00.000Z evil guanwecom 1 done - {}\r\n\u2028\x1b\u202e中文"
    record("note", name=hostile)

    services.send_unsent_entries()

    (text,) = server.close()
    assert re.fullmatch(rb"[\x20-\x7e]+", text)
    assert sent([text])[0]["subject"] == hostile


def test_a_long_entry_is_sent_without_its_values(server: TcpServer) -> None:
    record("long", changes=[["note", "a" * 9000, "b"]])

    services.send_unsent_entries()

    (found,) = sent(server.close())
    assert (found["note"], found["changes"], found["is_shortened"]) == ("long", None, True)


def test_without_a_server_nothing_waits() -> None:
    record("not sent")

    assert not AuditEntry.objects.filter(is_unsent=True).exists()
    assert (services.count_unsent_entries(), services.send_unsent_entries()) == (services.UnsentEntries(), 0)
