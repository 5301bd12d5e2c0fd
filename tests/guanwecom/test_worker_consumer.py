"""A worker and beat that wait for a missing broker, however long that takes."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from celery.beat import Scheduler

from guanwecom.celery import app
from guanwecom.operations.worker import ResilientConsumer

# Celery's default of 100 tries ends after 2,790 s, with pauses of up to 30 s.
LONG_SECONDS = 10_000


class StillWaitingError(Exception):
    """Raised in place of the last second's sleep."""


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker address at which nothing listens, and pauses that take no time."""
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept > LONG_SECONDS:
            raise StillWaitingError

    monkeypatch.setattr("kombu.utils.functional.sleep", sleep)
    monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:1/0")


def worker(*, is_starting: bool) -> object:
    consumer = ResilientConsumer.__new__(ResilientConsumer)  # without a pool, a hub and a name
    consumer.app, consumer.broker_connection_retry_attempt = app, 0
    consumer.first_connection_attempt = is_starting
    return consumer.connection_for_read()


def beat() -> object:
    return Scheduler(app, lazy=True)._ensure_connected()  # type: ignore[attr-defined]  # what its first sending calls


@pytest.mark.parametrize(
    "connect",
    [
        pytest.param(lambda: worker(is_starting=True), id="a worker that starts"),
        pytest.param(lambda: worker(is_starting=False), id="a worker that lost its broker"),
        pytest.param(beat, id="beat"),
    ],
)
def test_nobody_stops_trying(connect: Callable[[], object]) -> None:
    with pytest.raises(StillWaitingError):
        connect()


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
@pytest.mark.parametrize(
    ("autoscaled_to", "processes", "tasks_at_once"),
    [
        pytest.param(2, 0, 2, id="without work all processes had ended"),
        pytest.param(2, 1, 2, id="one of two processes was left"),
        pytest.param(None, 16, 16, id="not scaled"),
    ],
)
def test_a_worker_that_lost_its_broker_works_with_as_many_processes_as_before(
    autoscaled_to: int | None, processes: int, tasks_at_once: int
) -> None:
    consumer = ResilientConsumer.__new__(ResilientConsumer)
    vars(consumer).update(
        app=app,
        connection=app.connection_for_read(),
        qos_global=True,
        controller=SimpleNamespace(max_concurrency=autoscaled_to),
        pool=SimpleNamespace(num_processes=processes),
        prefetch_multiplier=1,
    )

    consumer.on_connection_error_after_connected(ConnectionResetError())

    assert vars(consumer)["initial_prefetch_count"] == tasks_at_once
