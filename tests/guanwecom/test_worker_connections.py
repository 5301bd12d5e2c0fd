"""A worker's connection pool, which other programs do not have."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections

from guanwecom.worker_connections import keep_connection, pool_connections


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of the database in this process."""
    options = {"OPTIONS": {"sslmode": "prefer"}, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    monkeypatch.setattr(connections, "settings", {"default": options})
    monkeypatch.setattr(connections, "close_all", lambda: None)
    return options


def test_the_pool_of_a_worker_has_a_connection_for_each_thread_and_two_more(own: dict[str, Any]) -> None:
    pool_connections(sender=SimpleNamespace(concurrency=8))

    pool = {"min_size": 0, "max_size": 10, "max_idle": 15, "timeout": 10}
    assert own["OPTIONS"] == {"sslmode": "prefer", "pool": pool}
    assert own["CONN_MAX_AGE"] == 0


def test_beat_keeps_its_connection_untested(own: dict[str, Any]) -> None:
    keep_connection()

    assert (own["CONN_MAX_AGE"], own["CONN_HEALTH_CHECKS"]) == (None, False)
