"""The thread that writes a process's signs of life."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django.db import OperationalError
from pytest_django import Settings

from guanwecom.operations.pulse import Pulse
from integrations.core.heartbeats import process_name
from integrations.models import Heartbeat
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = Heartbeat.Kind.WORKER


def rows() -> list[tuple[str, str, str]]:
    return list(Heartbeat.objects.values_list("kind", "name", "queues"))


def test_a_process_is_heard_until_it_ends_in_order() -> None:
    pulse = Pulse(WORKER, lambda: ["urgent", "celery"], watches=False)
    pulse.start()
    eventually(lambda: rows() == [("worker", process_name(), "celery,urgent")])

    pulse.end()
    pulse.join()
    assert len(rows()) == 1

    pulse.forget()
    assert rows() == []


def test_a_process_that_does_its_work_touches_its_file(settings: Settings, tmp_path: Path) -> None:
    settings.HEARTBEAT_FILE = str(tmp_path / "heartbeat")
    idle, busy = Pulse(WORKER, lambda: None, watches=False), Pulse(WORKER, lambda: ["celery"], watches=False)

    idle._beat()
    assert not (tmp_path / "heartbeat").exists()

    busy._beat()
    assert (tmp_path / "heartbeat").exists()


def test_a_process_that_does_not_do_its_work_is_not_heard() -> None:
    called = threading.Event()

    def none() -> None:
        called.set()

    pulse = Pulse(WORKER, none, watches=False)
    pulse.start()
    called.wait()
    pulse.end()
    pulse.join()

    assert rows() == []


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

    pulse = Pulse(WORKER, fail, watches=False)
    pulse.start()
    failing.wait()
    assert pulse.is_alive()
    pulse.end()
    pulse.join()

    assert line in caplog.text
    assert rows() == []
