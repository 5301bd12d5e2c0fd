"""Whether a connection to PostgreSQL can still be used is seen without asking, and right."""

from __future__ import annotations

import select
from collections.abc import Iterator

import psycopg
import pytest
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.test import Client

from guanwecom.postgresql import base

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def observer() -> Iterator[psycopg.Connection]:
    """Another connection to the same database."""
    connection.ensure_connection()
    with psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password) as other:
        other.autocommit = True
        yield other
    connection.close()


def ask() -> int:
    """One question; the number of the server's process that answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def last_question(observer: psycopg.Connection, process: int) -> str:
    found = observer.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [process]).fetchone()
    return str(found[0]) if found else ""


def end(observer: psycopg.Connection, process: int) -> None:
    """And wait until it has."""
    observer.execute("SELECT pg_terminate_backend(%s, 30000)", [process])


def test_a_connection_that_is_quiet_is_not_asked(observer: psycopg.Connection) -> None:
    process = ask()

    assert connection.is_usable()
    assert last_question(observer, process) == "SELECT pg_backend_pid()"


def test_one_that_was_not_used_for_some_seconds_is_asked(
    observer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ask()
    monkeypatch.setattr(base, "ASKED_AFTER_SECONDS", 0)

    assert connection.is_usable()
    assert last_question(observer, process) == "SELECT 1"


def test_one_that_the_server_ended_is_not_usable(observer: psycopg.Connection) -> None:
    end(observer, ask())

    assert not connection.is_usable()
    connection.close()
    assert not connection.is_usable()


def test_after_an_error_it_is_asked(observer: psycopg.Connection) -> None:
    process = ask()
    connection.errors_occurred = True

    is_usable, connection.errors_occurred = connection.is_usable(), False

    assert is_usable
    assert last_question(observer, process) == "SELECT 1"


def test_in_an_aborted_transaction_it_is_not_usable() -> None:
    """Django's test cases ask, too, before they look at constraints."""
    with transaction.atomic(), connection.cursor() as cursor:
        assert connection.is_usable()
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT 1 / 0")
        connection.errors_occurred = False

        assert not connection.is_usable()
        transaction.set_rollback(True)


def test_one_on_which_something_has_arrived_is_asked(observer: psycopg.Connection) -> None:
    """A message of the server's that says nothing of an end."""
    with connection.cursor() as cursor:
        cursor.execute("LISTEN channel")
    process = ask()
    observer.execute("NOTIFY channel")
    poll = select.poll()
    poll.register(connection.connection.fileno(), select.POLLIN)
    assert poll.poll(30_000)

    assert connection.is_usable()
    assert last_question(observer, process) == "SELECT 1"


def test_a_page_is_shown_though_the_connection_before_was_ended(observer: psycopg.Connection) -> None:
    client = Client()
    assert client.get("/login/?stay=1").status_code == 200
    end(observer, ask())

    close_old_connections()  # which a server does before each request, and the test's client does not
    assert client.get("/login/?stay=1").status_code == 200
