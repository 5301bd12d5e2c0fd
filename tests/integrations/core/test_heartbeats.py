"""Heartbeats, a row for each process, and whether this process can serve people."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from integrations.core import heartbeats
from integrations.core.heartbeats import build_process_name
from integrations.models import Heartbeat
from tests.e2e.waiting import eventually
from tools.services import Service, start_valkey

pytestmark = pytest.mark.django_db
WORKER, BEAT = Heartbeat.Kind.WORKER, Heartbeat.Kind.BEAT


def rows() -> list[tuple[str, str, str]]:
    return list(Heartbeat.objects.values_list("kind", "name", "queues"))


def age(name: str, **passed: int) -> None:
    Heartbeat.objects.filter(name=name).update(beat_at=F("beat_at") - timedelta(**passed))


def test_a_process_has_one_row_which_says_what_it_does_now() -> None:
    heartbeats.write_heartbeat(kind=WORKER, name="host:1", queues=["urgent", "celery"])
    age("host:1", minutes=5)
    before = Heartbeat.objects.get().beat_at

    heartbeats.write_heartbeat(kind=WORKER, name="host:1", queues=["data"])

    assert rows() == [("worker", "host:1", "data")]
    assert Heartbeat.objects.get().beat_at - before > timedelta(minutes=4)


def test_a_dead_process_is_forgotten_when_another_has_come_in_its_place_or_after_a_week() -> None:
    heartbeats.write_heartbeat(kind=WORKER, name="dead:1", queues=["charts"])
    heartbeats.write_heartbeat(kind=WORKER, name="dead:2", queues=["data"])
    heartbeats.write_heartbeat(kind=WORKER, name="fresh:1", queues=["charts"])
    age("dead:1", hours=2)
    age("dead:2", hours=2)

    heartbeats.write_heartbeat(kind=WORKER, name="host:3", queues=["charts"])

    assert rows() == [("worker", "dead:2", "data"), ("worker", "fresh:1", "charts"), ("worker", "host:3", "charts")]
    age("dead:2", days=8)
    heartbeats.write_heartbeat(kind=BEAT, name="host:1")
    heartbeats.write_heartbeat(kind=BEAT, name="host:2")
    heartbeats.delete_heartbeat(kind=BEAT, name="host:1")  # in order
    assert sorted(rows()) == [("beat", "host:2", ""), ("worker", "fresh:1", "charts"), ("worker", "host:3", "charts")]


@pytest.fixture(autouse=True)
def _nothing_written_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(heartbeats, "HEARTBEAT_SECONDS", 3600)
    heartbeats.probe_writes.cache_clear()
    yield
    heartbeats.probe_writes.cache_clear()


def answer(path: str = "/healthz/ready") -> tuple[int, str]:
    response = Client().get(path)
    return response.status_code, response.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/healthz/ready"])
def test_a_process_is_ready_while_database_and_valkey_take_writes_and_says_so_to_nobody_to_keep(
    path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    response = Client().get(path)

    assert (response.status_code, response.content) == (200, b"ok")
    assert response["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    assert response.cookies == {}
    assert Client().post(path).status_code == Client().post("/healthz/live").status_code == 405
    assert rows() == [("web", build_process_name(), "")]
    # It asks whether the table of migrations exists, and for its rows; nothing is written each time.
    with django_assert_num_queries(2) as asked:
        assert answer() == (200, "ok")
    assert all(query["sql"].lstrip().upper().startswith("SELECT") for query in asked.captured_queries)


def test_a_process_lives_though_nothing_else_does(settings: Settings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    with refused_statements():
        assert answer("/healthz/live") == (200, "ok")
        assert answer("/healthz/ready") == (503, "down: database (no answer), valkey (no answer)")


@contextmanager
def refused_statements() -> Iterator[None]:
    """Refuse every statement, as a lost database does."""

    def refuse(*_statement: Any) -> None:
        raise OperationalError("the connection is closed")

    with connection.execute_wrapper(refuse):
        yield


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
    app, name = max(heartbeats.find_own_migrations())
    MigrationRecorder(connection).record_unapplied(app, name)

    assert answer() == (503, "down: migrations (1 not applied)")
    MigrationRecorder(connection).record_applied(app, name)
    MigrationRecorder(connection).record_applied("integrations", "9999_of_newer_code")
    assert answer() == (200, "ok")


@pytest.fixture
def server(settings: Settings) -> Iterator[Service]:
    """A Valkey that a test may spoil."""
    service = start_valkey()
    settings.VALKEY_URL = service.url
    yield service
    service.stop()


def test_a_valkey_without_memory_a_replica_and_one_that_cannot_save_are_not_ready(server: Service) -> None:
    with redis.Redis.from_url(server.url) as own_valkey:
        own_valkey.config_set("maxmemory", 1)
        assert answer() == (503, "down: valkey (memory full)")
        own_valkey.config_set("maxmemory", 0)
        own_valkey.replicaof("127.0.0.1", 1)
        assert answer() == (503, "down: valkey (read-only)")
        own_valkey.replicaof("NO", "ONE")
        own_valkey.config_set("save", "3600 1000000")
        shutil.rmtree(server.folder)
        own_valkey.bgsave()
        eventually(lambda: own_valkey.info("persistence")["rdb_last_bgsave_status"] == "err", [])
        assert answer() == (503, "down: valkey (cannot save to its disk)")
        own_valkey.config_set("save", "")  # otherwise it does not stop before it has saved
