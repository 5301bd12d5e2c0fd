"""Log lines about a server that is away: the first, then one a minute with a count. Other lines are unchanged."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import psycopg
import pytest
import redis
from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

from guanwecom.operations import logs


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "read_boot_clock", clock.read)
    return clock


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Output of a handler with the filter on the logger `celery.test`."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(logs.OutageFilter())
    logger = logging.getLogger("celery.test")
    logger.addHandler(handler)
    yield output
    logger.removeHandler(handler)


def fail(error: BaseException, cause: BaseException | None = None) -> None:
    try:
        raise error from cause
    except type(error):
        logging.getLogger("celery.test").exception("the tick failed")


REFUSED = psycopg.OperationalError("connection refused")
AWAY = [
    pytest.param(redis.ConnectionError("Error 111 connecting"), None, id="valkey"),
    pytest.param(BrokerError("Error 111 connecting"), redis.ConnectionError("Error 111"), id="the broker"),
    pytest.param(RuntimeError("the task failed"), redis.TimeoutError("Timeout"), id="valkey behind another error"),
    pytest.param(OperationalError("connection refused"), REFUSED, id="the database"),
    pytest.param(OperationalError("no room"), psycopg.errors.DiskFull("no room"), id="a full disk"),
]


@pytest.mark.parametrize(("error", "cause"), AWAY)
def test_an_outage_is_one_line_then_one_a_minute_with_a_count(
    clock: Clock, written: io.StringIO, error: Exception, cause: Exception | None
) -> None:
    for _second in range(125):
        fail(error, cause)
        clock.now += 1

    first = f"the tick failed ({type(error).__name__}: {error})"
    assert written.getvalue().splitlines() == [
        first,
        *[f"{first} (59 more lines of this outage were left out since the last one)"] * 2,
    ]


def test_two_servers_are_two_outages(clock: Clock, written: io.StringIO) -> None:
    for _round in range(3):
        fail(redis.ConnectionError("Error 111"))
        fail(OperationalError("connection refused"), REFUSED)

    assert written.getvalue().splitlines() == [
        "the tick failed (ConnectionError: Error 111)",
        "the tick failed (OperationalError: connection refused)",
    ]


def test_what_a_library_says_in_words_counts_too(clock: Clock, written: io.StringIO) -> None:
    for number in range(3):
        logging.getLogger("celery.test").error("Cannot connect to redis://…: %s.\nTrying again (%d)", "refused", number)

    assert written.getvalue().splitlines() == ["Cannot connect to redis://…: refused."]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("our mistake"), None),
        (redis.ResponseError("WRONGTYPE"), None),
        (OperationalError("deadlock detected"), psycopg.errors.DeadlockDetected("deadlock detected")),
    ],
)
def test_every_other_error_keeps_its_traceback(
    clock: Clock, written: io.StringIO, error: Exception, cause: Exception | None
) -> None:
    for _time in range(2):
        fail(error, cause)

    assert written.getvalue().count("Traceback (most recent call last)") == 2
    assert written.getvalue().count("the tick failed") == 2
