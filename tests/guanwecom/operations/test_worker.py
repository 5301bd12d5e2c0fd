"""The thread that writes a process's heartbeats."""

import threading
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from pytest_django import Settings

from guanwecom.operations.worker import HeartbeatThread
from integrations.core import heartbeats
from integrations.core.heartbeats import build_process_name
from integrations.models import Heartbeat
from tests.e2e.waiting import eventually
from tests.guanwecom.operations.conftest import heard

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = Heartbeat.Kind.WORKER


def rows() -> list[tuple[str, str, str]]:
    return list(Heartbeat.objects.values_list("kind", "name", "queues"))


def test_a_process_is_heard_until_it_ends_in_order() -> None:
    thread = HeartbeatThread(WORKER, lambda: ["urgent", "celery"], watches=False)
    thread.start()
    eventually(lambda: rows() == [("worker", build_process_name(), "celery,urgent")])

    thread.stop()
    thread.join()
    assert len(rows()) == 1

    thread.stop_and_delete_row()
    assert rows() == []


def test_who_ends_in_order_takes_the_dead_that_it_stood_in_for_along() -> None:
    """Keep no dead row, whose age would be reported as that of the last heartbeat."""
    heard(WORKER, "host:1", queues="celery", seconds_ago=94)
    heard(WORKER, "host:2", queues="data", seconds_ago=94)
    heard(WORKER, "host:3", queues="celery")
    heard(WORKER, "host:4", queues="celery")

    heartbeats.delete_heartbeat(kind=WORKER, name="host:4")

    assert sorted(rows()) == [("worker", "host:2", "data"), ("worker", "host:3", "celery")]


def test_who_does_not_do_its_work_is_not_heard_and_who_does_touches_its_file(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "heartbeat"
    settings.HEARTBEAT_FILE = str(file)

    HeartbeatThread(WORKER, lambda: None, watches=False)._beat()
    assert (file.exists(), rows()) == (False, [])

    HeartbeatThread(WORKER, lambda: ["celery"], watches=False)._beat()
    assert (file.exists(), len(rows())) == (True, 1)


def backends(monkeypatch: pytest.MonkeyPatch, *, watches: bool) -> tuple[HeartbeatThread, list[int]]:
    """Start a heartbeat thread without pauses. Return it, and the list of PostgreSQL's process at each beat."""
    monkeypatch.setattr("guanwecom.operations.worker.heartbeats.HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr("guanwecom.operations.watch._cached_contacts", [])  # warnings of this test alone
    found: list[int] = []

    def queues() -> list[str]:
        connection.ensure_connection()
        found.append(connection.connection.info.backend_pid)
        return ["celery"]

    thread = HeartbeatThread(WORKER, queues, watches=watches)
    thread.start()
    return thread, found


def test_who_watches_keeps_a_connection_until_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    thread, found = backends(monkeypatch, watches=True)
    eventually(lambda: len(found) > 3)
    first = found[0]
    assert set(found[:3]) == {first}

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [first])
    eventually(lambda: found[-1] != first)
    Heartbeat.objects.all().delete()
    eventually(lambda: rows() == [("worker", build_process_name(), "celery")])

    thread.stop()
    thread.join()
    last = found[-1]
    eventually(lambda: not _is_there(last))

    thread, found = backends(monkeypatch, watches=False)  # a process that forks keeps none
    eventually(lambda: len(found) > 3)
    thread.stop()
    thread.join()
    assert len(set(found)) == len(found)


def _is_there(backend_pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [backend_pid])
        return cursor.fetchone() is not None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OperationalError("gone"), "no heartbeat can be written: OperationalError"),
        (ValueError("ours"), "heartbeat failed"),
    ],
)
def test_what_goes_wrong_ends_no_pulse(error: Exception, line: str, caplog: pytest.LogCaptureFixture) -> None:
    failing = threading.Event()

    def fail() -> list[str]:
        failing.set()
        raise error

    thread = HeartbeatThread(WORKER, fail, watches=False)
    thread.start()
    failing.wait()
    assert thread.is_alive()
    thread.stop()
    thread.join()

    assert line in caplog.text
    assert rows() == []
