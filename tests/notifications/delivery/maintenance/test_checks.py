"""Settings with which the push engine cannot work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.core import checks
from pytest_django import Settings

from notifications.delivery.rows import QUEUE_LEASE, TASK_SECONDS
from tools.services import start_valkey


def test_a_task_gives_its_deliveries_back_before_others_get_them() -> None:
    assert QUEUE_LEASE.total_seconds() > TASK_SECONDS


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    """A Valkey whose settings the test may change, as the product's."""
    server = start_valkey()
    settings.VALKEY_URL = server.url
    with redis.Redis.from_url(server.url) as store:
        yield store
    server.kill()  # asked to end, one that keeps a log would first try to write it
    server.stop()


def found() -> set[str]:
    # As `migrate` does: these checks ask servers.
    messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    return {str(message.id) for message in messages if str(message.id).startswith("notifications.")}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({}, set()),
        ({"maxmemory-policy": "allkeys-lru"}, {"notifications.W001"}),
        ({"save": "3600 1"}, {"notifications.W002"}),
        ({"save": "3600 1", "appendonly": "yes"}, set()),
    ],
    ids=["nothing is kept", "keys are evicted", "snapshots alone", "a log beside snapshots"],
)
def test_a_valkey_that_would_come_back_old_or_forget_a_part_is_found(
    values: dict[str, str], ids: set[str], store: redis.Redis
) -> None:
    for name, value in values.items():
        store.config_set(name, value)

    assert found() == ids


@pytest.mark.django_db
def test_where_its_settings_may_not_be_asked_for_what_is_known_is_said(store: redis.Redis) -> None:
    store.config_set("maxmemory-policy", "allkeys-lru")
    store.acl_setuser("default", enabled=True, categories=["+@all"], commands=["-config"])

    assert found() == {"notifications.W001"}


@pytest.mark.django_db
def test_a_valkey_that_is_away_is_no_finding(settings: Settings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    assert found() == set()
