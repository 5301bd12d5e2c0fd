"""Metrics of the engine for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from guanwecom.operations import health


def engine_metrics() -> Iterator[Metric]:
    """Registered with notifications.delivery.metrics."""
    state = health.read()
    yield GaugeMetricFamily("guanwecom_engine_up", "0: beat, a queue or the clock stands still", not state.problems)
    yield GaugeMetricFamily("guanwecom_beat_processes", "Beats that are alive", state.beat.process_count)
    workers = GaugeMetricFamily("guanwecom_queue_workers", "Live workers that take from a queue", labels=["queue"])
    for queue in state.queues:
        workers.add_metric([queue.name], queue.process_count)
    yield workers
    yield GaugeMetricFamily("guanwecom_mail_door_processes", "Mail doors that are alive", state.mail_door.process_count)
    if state.tick_seconds is not None:
        yield GaugeMetricFamily("guanwecom_tick_age_seconds", "Since the last tick", state.tick_seconds)
    yield GaugeMetricFamily("guanwecom_overdue_slots", "Times that nobody has claimed", state.overdue_count)
    yield GaugeMetricFamily("guanwecom_overdue_seconds", "Since the oldest of them", state.overdue_seconds)
