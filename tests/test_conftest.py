"""The promises of the test suite: no network, a real and empty Valkey, a database of its own."""

from __future__ import annotations

import socket
import threading

import psycopg
import pytest
import redis
import requests
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from accounts.models import WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp

Failed = pytest.fail.Exception


def test_a_request_to_another_machine_fails_the_test() -> None:
    with pytest.raises(Failed, match=r"reach 'qyapi\.weixin\.qq\.com'"):
        requests.get("https://qyapi.weixin.qq.com/", timeout=1)


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_bare_socket_to_another_machine_fails_the_test(method: str) -> None:
    with socket.socket() as bare, pytest.raises(Failed, match=r"reach '192\.0\.2\.1'"):
        getattr(bare, method)(("192.0.2.1", 80))


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_finds_valkey_empty(valkey_client: redis.Redis, number: int) -> None:
    assert valkey_client.dbsize() == 0

    valkey_client.set("left behind", number)


@pytest.mark.django_db
def test_the_copied_database_is_migrated_to_the_end() -> None:
    executor = MigrationExecutor(connection)

    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    assert Group.objects.filter(name__in=list(Role)).count() == len(Role)


def flush() -> None:
    """Flush as after a test with transactions of its own, without restoring what the apps keep in their tables."""
    call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)


@pytest.mark.django_db(transaction=True)
def test_flush_empties_every_table_whatever_refers_to_whatever() -> None:
    corp = Corp.objects.create(name="北山制造", corpid="ww1", agentid=1, secret="s")
    user = get_user_model().objects.create(username="lilei")
    user.groups.add(Group.objects.create(name="morning readers"))
    WeComAccount.objects.create(user=user, corp=corp, userid="LiLei")

    with CaptureQueriesContext(connection) as captured:
        flush()

    assert not any(query["sql"].startswith("TRUNCATE") for query in captured)
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT COUNT(*) FROM "{table}"')  # noqa: S608  # our own table
            assert cursor.fetchone() == (0,), table


@pytest.mark.django_db(transaction=True)
def test_flush_waits_for_what_another_connection_still_writes() -> None:
    settings_dict = connection.settings_dict
    address = {name: settings_dict[name.upper()] for name in ("host", "port", "user", "password")}
    with psycopg.connect(dbname=settings_dict["NAME"], **address) as other:
        other.execute("INSERT INTO auth_group (name) VALUES ('late')")
        ending = threading.Timer(0.5, other.commit)
        ending.start()

        flush()
        ending.join()

    assert not Group.objects.exists()
