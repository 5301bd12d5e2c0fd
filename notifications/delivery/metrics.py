"""Metrics of pushes for Prometheus: what waits in the database, and what Valkey counts for all processes."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import BooleanField, Count, ExpressionWrapper, Q
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from integrations import callbacks
from notifications.delivery.runs import statistics
from notifications.delivery.sending.queue import CORP_SECRETS, find_held_until
from notifications.models import CorpQueue, Delivery, Incident, Priority


def push_metrics() -> Iterator[Metric]:
    """Yield the metrics of pushes, incidents and callbacks for a scrape. Raises redis.RedisError."""
    waiting = GaugeMetricFamily(
        "guanwecom_push_waiting", "Messages that wait or are under way", labels=["priority", "status"]
    )
    rows = Delivery.objects.unsettled().order_by().values_list("priority", "status").annotate(count=Count("pk"))
    for priority, status, count in rows:
        waiting.add_metric([Priority(priority).name.lower(), status], count)
    yield waiting
    alerts = GaugeMetricFamily(
        "guanwecom_incidents_open", "Incidents that are open", labels=["severity", "kind", "state"]
    )
    is_free = ExpressionWrapper(Q(acknowledged_at__isnull=True), output_field=BooleanField())
    incidents = Incident.objects.open().order_by().annotate(is_free=is_free)
    of_each = incidents.values_list("severity", "kind", "is_free").annotate(count=Count("pk"))
    for severity, kind, is_nobodys, count in of_each:
        alerts.add_metric([severity, kind, "free" if is_nobodys else "taken"], count)
    yield alerts
    yield from _queues()
    refused = CounterMetricFamily(
        "guanwecom_callbacks_refused",
        "Callbacks that were refused, by company (0: of none) and address",
        labels=["corp", "address"],
    )
    for (corp_id, address), count in callbacks.refused_in_all().items():
        refused.add_metric([str(corp_id), address], count)
    yield refused


def _queues() -> tuple[Metric, ...]:
    queues = list(CorpQueue.objects.filter(corp__isnull=False).select_related("corp").defer(*CORP_SECRETS))
    used = statistics.used_today(queues)
    budget = GaugeMetricFamily("guanwecom_push_daily_budget", "Person-messages a day; 0: no limit", labels=["corp"])
    spent = GaugeMetricFamily("guanwecom_push_sent_today", "Person-messages of this day in China", labels=["corp"])
    held = GaugeMetricFamily("guanwecom_push_held_up", "1: paused, or its configuration is broken", labels=["corp"])
    until = GaugeMetricFamily(
        "guanwecom_push_held_until_seconds",
        "When WeCom gives a token again, in Unix time; 0: not held",
        labels=["corp"],
    )
    now = timezone.now()
    for queue in queues:
        labels = [str(queue.corp_id)]
        held_until = find_held_until(queue, now=now)
        until.add_metric(labels, 0 if held_until is None else held_until.timestamp())
        budget.add_metric(labels, queue.daily_budget)
        spent.add_metric(labels, used.get(queue.pk, 0))
        held.add_metric(labels, int(queue.is_paused or queue.blocked_since is not None))
    return budget, spent, held, until
