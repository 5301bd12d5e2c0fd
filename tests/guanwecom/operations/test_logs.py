"""Log lines: their form, their fields, what they never hold, and how often they say that a server is away."""

import io
import ipaddress
import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis
from django.db import OperationalError
from django.test import Client
from kombu.exceptions import OperationalError as BrokerError
from pytest_django import Settings
from structlog.contextvars import bound_contextvars

from accounts.models import User
from guanwecom.operations import logs
from tests.notifications.factories import make_superuser

Lines = Callable[[], list[dict[str, Any]]]


def handler_of(form: str, output: io.StringIO) -> logging.Handler:
    """Make a handler that writes as a process does, as JSON or for a console."""
    made = logging.StreamHandler(output)
    made.setFormatter(logs.JsonFormatter() if form == "json" else logs.ConsoleFormatter())
    return made


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    output = io.StringIO()
    handler = handler_of(getattr(request, "param", "json"), output)
    logging.getLogger().addHandler(handler)
    yield output
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_its_time_zone_and_what_is_bound(lines: Lines) -> None:
    with bound_contextvars(request_id="r1", run_id=7, delivery_id=None):
        logging.getLogger("guanwecom.test").info("sent to %s", "张三")

    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00", line.pop("timestamp"))
    assert line == {
        **{"level": "info", "logger": "guanwecom.test", "event": "sent to 张三"},
        **{"request_id": "r1", "run_id": 7},
    }


def test_a_traceback_is_part_of_its_line(lines: Lines) -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        logging.getLogger("guanwecom.test").exception("it failed")

    (line,) = lines()
    assert line["event"] == "it failed"
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert line["exception"].endswith("ValueError: broken\nin two")


@pytest.mark.parametrize("written", ["console"], indirect=True)
def test_at_a_console_it_is_a_line_to_read(written: io.StringIO) -> None:
    with bound_contextvars(request_id="r1"):
        logging.getLogger("guanwecom.test").warning("a proxy http://somebody:hunter2@proxy/ is away")

    (line,) = written.getvalue().splitlines()
    assert re.fullmatch(
        r"\S+\+08:00 \[warning  \] a proxy http://somebody:\*\*\*@proxy/ is away \[guanwecom.test\] request_id=r1", line
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("GET /cgi-bin/x?access_token=abc&debug=1", "GET /cgi-bin/x?access_token=***&debug=1"),
        ("https://qyapi/cgi-bin/gettoken?corpid=ww1&corpsecret=s3cr3t", "…?corpid=ww1&corpsecret=***"),
        ("?key=0a1b2c and more", "?key=*** and more"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("postgresql://u:p@db/x", "postgresql://u:***@db/x"),
        ("data card=3 try=1 key=7", "data card=3 try=1 key=7"),
    ],
)
def test_what_looks_like_a_credential_is_masked(said: str, shown: str) -> None:
    assert logs._mask_line(None, "", {"event": said})["event"].endswith(shown.removeprefix("…"))


@pytest.mark.django_db
def test_a_request_is_a_line_without_its_query(lines: Lines) -> None:
    person = make_superuser()
    client = Client()
    client.force_login(person)

    answer = client.get("/admin/accounts/user/?q=张三")

    (line,) = [line for line in lines() if line["event"] == "request"]
    assert line.pop("request_id") == answer.headers["X-Request-ID"]
    del line["timestamp"], line["ms"]
    assert line == {
        **{"level": "info", "logger": "guanwecom.operations.middleware", "event": "request"},
        **{"method": "GET", "path": "/admin/accounts/user/", "view": "admin:accounts_user_changelist"},
        **{"status": 200, "user": person.pk, "client": "127.0.0.1"},
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/admin/accounts/user/7/change/", ["/admin/accounts/user/7/change/"]),
        ("/WW_verify_0123456789abcdef.txt", ["/WW_verify_….txt"]),
        ("/nowhere/s3cr3t/x", ["/nowhere/…"]),
        *((path, []) for path in ("/healthz/live", "/healthz/ready", "/static/nothing.css")),
    ],
)
def test_values_in_a_path_are_shown_where_they_are_numbers_and_monitors_are_no_lines(
    path: str, shown: list[str], lines: Lines
) -> None:
    Client().get(path)

    assert [line["path"] for line in lines() if line["event"] == "request"] == shown
    assert not [line for line in lines() if "s3cr3t" in str(line) or "0123456789abcdef" in str(line)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "peer", "is_taken"),
    [
        ("from-the-proxy-1", "10.0.0.1", True),
        ("from-the-proxy-1", "192.0.2.1", False),
        ("short", "10.0.0.1", False),
        ('forged"\n{"event": "x"}', "10.0.0.1", False),
    ],
)
def test_an_id_is_taken_from_a_trusted_proxy_alone(given: str, peer: str, is_taken: bool, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]

    answer = Client().get("/healthz/live", headers={"x-request-id": given}, REMOTE_ADDR=peer)

    found = answer.headers["X-Request-ID"]
    assert (found == given) is is_taken
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", found)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/in/gwi_s3cr3t", "/in/%0agwi_s3cr3t", "/in/%E5%AF%86gwi_s3cr3t", "/nowhere%0a/gwi_s3cr3t"]
)
def test_django_s_own_lines_show_a_path_the_same_way_also_escaped(path: str, lines: Lines) -> None:
    Client().post(path)

    written = [str(line["event"]) for line in lines() if line["logger"] == "django.request"]
    assert len(written) == 1
    assert "s3cr3t" not in written[0]


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "words"), [("/admin/auth/group/", "Forbidden"), ("/admin/nowhere/", "Not Found")])
def test_a_refusal_is_a_line_without_a_traceback(
    path: str, words: str, lines: Lines, client: Client, django_user_model: type[User]
) -> None:
    client.force_login(django_user_model.objects.create_user("clerk", is_staff=True))

    client.get(path)

    (line,) = (line for line in lines() if line["logger"] == "django.request")
    assert line["event"].startswith(words)
    assert "exception" not in line


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "read_boot_clock", lambda: clock.now)
    return clock


@pytest.fixture
def filtered(clock: Clock) -> Iterator[io.StringIO]:
    """Output of a handler with the filter on the logger `celery.test`."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(logs.OutageFilter())
    logging.getLogger("celery.test").addHandler(handler)
    yield output
    logging.getLogger("celery.test").removeHandler(handler)


def fail(error: BaseException, cause: BaseException | None = None) -> None:
    try:
        raise error from cause
    except type(error):
        logging.getLogger("celery.test").exception("the tick failed")


REFUSED = psycopg.OperationalError("connection refused")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        pytest.param(redis.ConnectionError("Error 111 connecting"), None, id="valkey"),
        pytest.param(BrokerError("Error 111 connecting"), redis.ConnectionError("Error 111"), id="the broker"),
        pytest.param(RuntimeError("the task failed"), redis.TimeoutError("Timeout"), id="valkey behind another error"),
        pytest.param(OperationalError("connection refused"), REFUSED, id="the database"),
        pytest.param(OperationalError("no room"), psycopg.errors.DiskFull("no room"), id="a full disk"),
    ],
)
def test_an_outage_is_one_line_then_one_a_minute_with_a_count(
    clock: Clock, filtered: io.StringIO, error: Exception, cause: Exception | None
) -> None:
    for _second in range(125):
        fail(error, cause)
        clock.now += 1

    first = f"the tick failed ({type(error).__name__}: {error})"
    assert filtered.getvalue().splitlines() == [
        first,
        *[f"{first} (59 more lines of this outage were left out since the last one)"] * 2,
    ]


def test_two_servers_are_two_outages_and_what_a_library_says_in_words_counts_too(filtered: io.StringIO) -> None:
    for number in range(3):
        logging.getLogger("celery.test").error("Cannot connect to redis://…: %s.\nTrying again (%d)", "refused", number)
        fail(OperationalError("connection refused"), REFUSED)

    assert filtered.getvalue().splitlines() == [
        "Cannot connect to redis://…: refused.",
        "the tick failed (OperationalError: connection refused)",
    ]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("our mistake"), None),
        (redis.ResponseError("WRONGTYPE"), None),
        (OperationalError("deadlock detected"), psycopg.errors.DeadlockDetected("deadlock detected")),
    ],
)
def test_every_other_error_keeps_its_traceback(
    filtered: io.StringIO, error: Exception, cause: Exception | None
) -> None:
    for _time in range(2):
        fail(error, cause)

    assert filtered.getvalue().count("Traceback (most recent call last)") == 2
    assert filtered.getvalue().count("the tick failed") == 2
