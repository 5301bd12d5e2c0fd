"""Metrics of pushes for Prometheus, from rows in the database and from counters in Valkey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Q
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from integrations import callbacks
from notifications.delivery.runs import statistics
from notifications.delivery.sending.queue import CORP_SECRETS, find_held_until
from notifications.models import CorpQueue, Delivery, Incident, Priority


def make_gauge(name: str, text: str, values: Mapping[Any, float], labels: Sequence[str] = ()) -> Metric:
    """Make a gauge. `values`: maps tuples of label values to numbers."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def collect_push_metrics() -> Iterator[Metric]:
    """Yield the metrics of pushes, incidents and callbacks for a scrape. Raises redis.RedisError."""
    deliveries = Delivery.objects.unsettled().order_by().values_list("priority", "status").annotate(count=Count("pk"))
    waiting = {(Priority(priority).name.lower(), status): count for priority, status, count in deliveries}
    yield make_gauge(
        "guanwecom_push_waiting", "Messages that wait or are under way", waiting, labels=["priority", "status"]
    )
    is_unacknowledged = ExpressionWrapper(Q(acknowledged_at__isnull=True), output_field=BooleanField())
    incidents = Incident.objects.open().order_by().annotate(is_unacknowledged=is_unacknowledged)
    rows = incidents.values_list("severity", "kind", "is_unacknowledged")
    alerts = {
        (severity, kind, "free" if is_free else "taken"): count
        for severity, kind, is_free, count in rows.annotate(count=Count("pk"))
    }
    yield make_gauge("guanwecom_incidents_open", "Incidents that are open", alerts, ["severity", "kind", "state"])
    queues = list(CorpQueue.objects.filter(corp__isnull=False).select_related("corp").defer(*CORP_SECRETS))
    used, now = statistics.count_used_today(queues), timezone.now()
    until = {queue: find_held_until(queue, now=now) for queue in queues}
    for name, text, values in (
        ("daily_budget", "Person-messages a day; 0: no limit", [queue.daily_budget for queue in queues]),
        ("sent_today", "Person-messages of this day in China", [used.get(queue.pk, 0) for queue in queues]),
        (
            "held_up",
            "1: paused, or its configuration is broken",
            [int(queue.is_paused or queue.blocked_since is not None) for queue in queues],
        ),
        (
            "held_until_seconds",
            "When WeCom gives a token again, in Unix time; 0: not held",
            [0 if moment is None else moment.timestamp() for moment in until.values()],
        ),
    ):
        by_corp = {(str(queue.corp_id),): value for queue, value in zip(queues, values, strict=True)}
        yield make_gauge(f"guanwecom_push_{name}", text, by_corp, ["corp"])
    refused = CounterMetricFamily(
        "guanwecom_callbacks_refused",
        "Callbacks that were refused, by company (0: of no company) and address",
        labels=["corp", "address"],
    )
    for (corp_id, address), count in callbacks.count_all_refusals().items():
        refused.add_metric([str(corp_id), address], count)
    yield refused
