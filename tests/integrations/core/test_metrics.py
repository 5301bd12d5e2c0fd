"""Counters of several processes that add up in Valkey. None is lost while Valkey is away."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from pytest_django import Settings

from integrations.core import metrics
from integrations.core.metrics import CountedMetric, TimedMetric
from integrations.core.redis import valkey

# Declared once, because a process never forgets a metric, as in the product.
CALLS = CountedMetric("test_calls", "Of these tests alone", "operation", "code")
SECONDS = TimedMetric("test_seconds", "Of these tests alone", "operation", edges=(1, 5))


@pytest.fixture(autouse=True)
def _nothing_pending() -> Iterator[None]:
    metrics.flush_counts()
    valkey().flushdb()
    yield
    metrics.flush_counts()


def samples(name: str) -> dict[str, float]:
    def named(family: Metric) -> dict[str, float]:
        return {"|".join([sample.name, *map(str, sample.labels.values())]): sample.value for sample in family.samples}

    return next(named(family) for family in metrics.collect_families() if family.name == name)


def test_counts_are_added_to_those_of_other_processes(process_environ: dict[str, str], project_root: Path) -> None:
    CALLS.add("send", "0")
    CALLS.add("send", "0", count=2)
    CALLS.add("send", "45009")
    code = (
        "import django; django.setup()\n"
        "from integrations.core.metrics import CountedMetric\n"
        "CountedMetric('test_calls', '', 'operation', 'code').add('send', '0')\n"
    )

    env = process_environ | {"DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=project_root, check=True, timeout=120
    )  # its end hands the counts over
    metrics.flush_counts()

    assert samples("test_calls") == {"test_calls_total|send|0": 4, "test_calls_total|send|45009": 1}


def test_durations_fall_into_buckets() -> None:
    for seconds in (0.5, 1, 1.5, 60):
        SECONDS.add(seconds, "send")
    metrics.flush_counts()

    assert samples("test_seconds") == {
        "test_seconds_bucket|send|1": 2,
        "test_seconds_bucket|send|5": 3,
        "test_seconds_bucket|send|+Inf": 4,
        "test_seconds_count|send": 4,
        "test_seconds_sum|send": 63,
    }


def test_while_valkey_is_away_counts_are_kept(settings: Settings) -> None:
    address = settings.VALKEY_URL
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    CALLS.add("send", "0")
    metrics.flush_counts()
    settings.VALKEY_URL = address

    CALLS.add("send", "0")
    metrics.flush_counts()

    assert samples("test_calls") == {"test_calls_total|send|0": 2}


def test_a_forked_process_hands_over_its_own_counts_alone() -> None:
    CALLS.add("send", "parent")
    child = os.fork()
    if not child:
        CALLS.add("send", "child")
        metrics.flush_counts()
        os._exit(0)
    os.waitpid(child, 0)
    metrics.flush_counts()

    assert samples("test_calls") == {"test_calls_total|send|child": 1, "test_calls_total|send|parent": 1}


def test_a_metric_with_too_many_series_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SERIES_AT_MOST", 1)
    for number in range(20):
        CALLS.add("send", str(number))
    metrics.flush_counts()

    assert samples("test_calls") == {}
    CALLS.add("send", "0")
    metrics.flush_counts()
    assert samples("test_calls") == {"test_calls_total|send|0": 1}
