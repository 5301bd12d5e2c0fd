"""A worker's connection pool, which other programs do not have."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
from django.db import connections

from guanwecom.worker_connections import keep_connection, pool_connections

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"sslmode": "prefer"}, "CONN_MAX_AGE": 60}


def test_the_pool_of_a_worker_has_a_connection_for_each_thread_and_two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    own = deepcopy(POSTGRESQL)
    monkeypatch.setattr(connections, "settings", {"default": own})
    monkeypatch.setattr(connections, "close_all", lambda: None)

    pool_connections(sender=SimpleNamespace(concurrency=8))

    pool = {"min_size": 0, "max_size": 10, "max_idle": 15, "timeout": 10}
    assert own["OPTIONS"] == {"sslmode": "prefer", "pool": pool}
    assert own["CONN_MAX_AGE"] == 0


def test_beat_keeps_its_connection_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {**deepcopy(POSTGRESQL), "CONN_HEALTH_CHECKS": True}
    monkeypatch.setattr(connections, "settings", {"default": own})
    monkeypatch.setattr(connections, "close_all", lambda: None)

    keep_connection()

    assert (own["CONN_MAX_AGE"], own["CONN_HEALTH_CHECKS"]) == (None, False)
