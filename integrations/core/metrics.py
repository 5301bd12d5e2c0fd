"""Counts and times of all processes on all hosts, collected in Valkey, including the calls of our clients.

Each process sums them in memory and sends them every FLUSH_SECONDS. Counting therefore needs no call, and a killed
process loses its counts since then. No file is shared, so processes may run on any host. An emptied store begins at 0
again, which Prometheus expects of a counter. Calls are logged, too: operation, outcome, milliseconds; never an address,
a body or a token.
"""

from __future__ import annotations

import atexit
import bisect
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

import redis
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from integrations.clients.wecom.errcodes import ENTRIES
from integrations.core.redis import valkey

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
# The sending thread ends after so many flushes without counts. The next count starts it again.
_IDLE_FLUSHES = 5
# Labels have few values. A metric with too many is reset instead of growing without bound.
SERIES_AT_MOST = 5000
# Upper edges of histograms, in seconds: for calls and requests, and for background work.
QUICK_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
LONG_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300)
_PREFIX = "metrics:"
_SEPARATOR = "\x1f"
_SUM = "microseconds"

_metrics: list[CountedMetric | TimedMetric] = []


class _Pending:
    """The counts of this process that are not in Valkey yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._thread: threading.Thread | None = None

    def add(self, *counts: tuple[str, str, int]) -> None:
        """Add counts: the name of a metric, its field, and the increment."""
        with self._lock:
            for name, field, count in counts:
                self._counts[name, field] += count
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()

    def flush(self) -> bool:
        """Send all counts; keep them for the next time if Valkey fails. Return whether there were any."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return False
        pipeline = valkey().pipeline(transaction=False)
        for (name, field), count in counts.items():
            pipeline.hincrby(_PREFIX + name, field, count)
        try:
            pipeline.execute()
        except redis.RedisError:
            with self._lock:
                self._counts.update(counts)
        return True

    def _run(self) -> None:
        pause, idle_count = threading.Event(), 0
        while True:
            pause.wait(FLUSH_SECONDS)
            idle_count = 0 if self.flush() else idle_count + 1
            with self._lock:
                if idle_count >= _IDLE_FLUSHES and not self._counts:
                    self._thread = None
                    return


_pending = _Pending()
flush_counts = _pending.flush
atexit.register(flush_counts)
# A forked child has no thread and maybe a locked lock; its parent sends the counts made before.
os.register_at_fork(after_in_child=lambda: _pending.__init__())  # type: ignore[misc]  # makes the object empty again, on purpose


class CountedMetric:
    """A counter. `labels`: names of labels with few, known values; the only ids are those of companies."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self.name, self.documentation, self.labels = name, documentation, labels
        _metrics.append(self)

    def add(self, *values: str, count: int = 1) -> None:
        """Count once, or `count` times. `values`: of the labels, in their order."""
        _pending.add((self.name, _SEPARATOR.join(values), count))

    def build_family(self, stored: Mapping[str, int]) -> CounterMetricFamily:
        family = CounterMetricFamily(self.name, self.documentation, labels=self.labels)
        for field, count in sorted(stored.items()):
            family.add_metric(_split_labels(field), count)
        return family


class TimedMetric:
    """A histogram of durations. `name`: ends in _seconds. `edges`: of its buckets, in seconds."""

    def __init__(self, name: str, documentation: str, *labels: str, edges: tuple[float, ...]) -> None:
        self.name, self.documentation, self.labels, self.edges = name, documentation, labels, edges
        _metrics.append(self)

    def add(self, seconds: float, *values: str) -> None:
        """Count one duration. `values`: of the labels, in their order."""
        labels = _SEPARATOR.join(values)
        bucket = bisect.bisect_left(self.edges, seconds)
        _pending.add(
            (self.name, f"{labels}{_SEPARATOR}{bucket}", 1),
            (self.name, f"{labels}{_SEPARATOR}{_SUM}", round(seconds * 1_000_000)),
        )

    def build_family(self, stored: Mapping[str, int]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        names = [*map(str, self.edges), "+Inf"]
        for labels in sorted({field.rpartition(_SEPARATOR)[0] for field in stored} or ({} if self.labels else {""})):
            counts = [stored.get(f"{labels}{_SEPARATOR}{bucket}", 0) for bucket in range(len(names))]
            total = stored.get(f"{labels}{_SEPARATOR}{_SUM}", 0) / 1_000_000
            family.add_metric(_split_labels(labels), list(zip(names, accumulate(counts), strict=True)), total)
        return family


def collect_families() -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
    """Yield every metric with the counts of all processes, also at 0. Raises redis.RedisError."""
    store = valkey()
    pipeline = store.pipeline(transaction=False)
    for metric in _metrics:
        pipeline.hgetall(_PREFIX + metric.name)
    for metric, found in zip(_metrics, pipeline.execute(), strict=True):
        if len(found) > SERIES_AT_MOST * (len(QUICK_SECONDS) + 2):  # fields of a series: edges, +Inf, sum
            store.delete(_PREFIX + metric.name)
            found = {}
        yield metric.build_family({field.decode(): int(count) for field, count in found.items()})


def _split_labels(field: str) -> list[str]:
    return field.split(_SEPARATOR) if field else []


# --- Calls of our clients ---------------------------------------------------------------------------------------------

# Accepted calls of these are only logged at DEBUG: the rows of a message say more, and cost less than a log line.
_SENDS = frozenset({"message_send", "webhook_send"})

_WECOM_CALLS = CountedMetric(
    "guanwecom_wecom_calls", "Calls of WeCom, by errcode or by kind of failure", "operation", "errcode"
)
_WECOM_SECONDS = TimedMetric(
    "guanwecom_wecom_call_duration_seconds", "How long calls of WeCom took", "operation", edges=QUICK_SECONDS
)
_BI_CALLS = CountedMetric("guanwecom_bi_calls", "Calls of the BI, by outcome", "operation", "outcome")
_BI_SECONDS = TimedMetric(
    "guanwecom_bi_call_duration_seconds", "How long calls of the BI took", "operation", edges=QUICK_SECONDS
)


def count_wecom_call(operation: str, outcome: str, seconds: float) -> None:
    """Count and log a call of WeCom: the `observe` of its client. An undocumented code counts as "other"."""
    is_accepted = outcome == "0"
    is_known = is_accepted or not outcome.lstrip("-").isdigit() or int(outcome) in ENTRIES
    _WECOM_CALLS.add(operation, outcome if is_known else "other")
    _WECOM_SECONDS.add(seconds, operation)
    level = logging.DEBUG if is_accepted and operation in _SENDS else logging.INFO
    logger.log(level, "wecom %s errcode=%s ms=%d", operation, outcome, seconds * 1000)


def count_bi_call(operation: str, outcome: str, seconds: float) -> None:
    """Count and log a call of the BI. A code of more than three digits, unlike HTTP's, counts as "other"."""
    is_known = not outcome.lstrip("-").isdigit() or len(outcome) <= 3
    _BI_CALLS.add(operation, outcome if is_known else "other")
    _BI_SECONDS.add(seconds, operation)
    logger.info("bi %s outcome=%s ms=%d", operation, outcome, seconds * 1000)
