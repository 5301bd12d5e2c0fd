"""What a load balancer is told of a web process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from integrations.core import heartbeats
from integrations.core.heartbeats import process_name
from integrations.models import Heartbeat
from tests.e2e.waiting import eventually
from tools.services import Service, start_valkey

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_written_yet() -> Iterator[None]:
    heartbeats.write_probe.forget()
    yield
    heartbeats.write_probe.forget()


def answer(path: str = "/healthz/ready") -> tuple[int, str]:
    response = Client().get(path)
    return response.status_code, response.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/healthz/ready"])
def test_a_process_is_ready_while_database_and_valkey_take_writes(path: str) -> None:
    assert answer(path) == (200, "ok")


def test_the_answer_is_nobodys_to_keep_or_to_send() -> None:
    response = Client().get("/healthz/ready")

    assert response["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    assert response.cookies == {}
    assert Client().post("/healthz/ready").status_code == 405
    assert Client().post("/healthz/live").status_code == 405


def test_a_process_lives_though_nothing_else_does(settings: Settings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    with refused_statements():
        assert answer("/healthz/live") == (200, "ok")
        assert answer("/healthz/ready") == (503, "down: database (no answer), valkey (no answer)")


# --- Database --------------------------------------------------------------------------------------------------------


@contextmanager
def refused_statements() -> Iterator[None]:
    """A database that has gone away."""

    def refuse(*_statement: Any) -> None:
        raise OperationalError("the connection is closed")

    with connection.execute_wrapper(refuse):
        yield


def test_a_web_process_writes_its_sign_of_life_while_it_is_asked() -> None:
    answer()

    assert list(Heartbeat.objects.values_list("kind", "name", "queues")) == [("web", process_name(), "")]


def test_the_database_is_not_written_to_each_time(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    answer()

    with django_assert_num_queries(2) as asked:  # whether the table of migrations is there, and its rows
        assert answer() == (200, "ok")

    assert not [query for query in asked.captured_queries if not query["sql"].lstrip().upper().startswith("SELECT")]


def test_a_read_only_database_is_not_ready() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    assert answer() == (503, "down: database (read-only)")


def test_a_full_disk_is_not_ready() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse_as_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON integrations_heartbeat EXECUTE FUNCTION refuse_as_full()"
        )

    assert answer() == (503, "down: database (disk full)")


def test_a_database_that_lacks_a_migration_is_not_ready() -> None:
    app, name = max(heartbeats.own_migrations())
    MigrationRecorder(connection).record_unapplied(app, name)

    assert answer() == (503, "down: migrations (1 not applied)")


def test_migrations_of_newer_code_are_no_matter() -> None:
    MigrationRecorder(connection).record_applied("integrations", "9999_of_newer_code")

    assert answer() == (200, "ok")


# --- Valkey ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(settings: Settings) -> Iterator[Service]:
    """A Valkey that a test may spoil."""
    service = start_valkey()
    settings.VALKEY_URL = service.url
    yield service
    service.stop()


@pytest.fixture
def own_valkey(server: Service) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def test_a_valkey_without_memory_is_not_ready(own_valkey: redis.Redis) -> None:
    own_valkey.config_set("maxmemory", 1)

    assert answer() == (503, "down: valkey (memory full)")


def test_a_replica_is_not_ready(own_valkey: redis.Redis) -> None:
    own_valkey.replicaof("127.0.0.1", 1)

    assert answer() == (503, "down: valkey (read-only)")


def test_a_valkey_that_cannot_save_is_not_ready(own_valkey: redis.Redis, server: Service) -> None:
    own_valkey.config_set("save", "3600 1000000")
    shutil.rmtree(server.folder)
    own_valkey.bgsave()
    eventually(lambda: own_valkey.info("persistence")["rdb_last_bgsave_status"] == "err", [])

    assert answer() == (503, "down: valkey (cannot save to its disk)")
