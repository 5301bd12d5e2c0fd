"""All metrics for Prometheus: those of the engine, of pushes, and what all processes have counted."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guanwecom.operations import access, health, tasks
from guanwecom.operations.monitoring import expiry, limits, waiting
from integrations.core import metrics
from integrations.core.background import database_clock
from integrations.models import Installation, SiteAddress
from notifications.delivery.metrics import push_metrics
from notifications.inbound.mail import backend as mail_backend

# What they count is shown by this process, too, whatever it has done itself.
COUNTING = (access, tasks, mail_backend)


class EngineCollector(Collector):
    """Everything of one scrape. A Valkey that was emptied begins at 0 again, as Prometheus expects of a restart."""

    def collect(self) -> Iterator[Metric]:
        yield from push_metrics()
        yield from _engine()
        yield from metrics.families()


def _engine() -> Iterator[Metric]:
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
    site = GaugeMetricFamily("guanwecom_site_info", "1: where the site is, for links", labels=["url"])
    site.add_metric([SiteAddress.objects.default().url], 1)
    yield site
    if (row := Installation.objects.first()) is not None:
        age = row.backup_age(database_clock()()).total_seconds()
        yield GaugeMetricFamily("guanwecom_backup_age_seconds", "Since the last good backup", age)
    yield from _waiting()
    yield from _used()
    yield from _expiring()


def _waiting() -> Iterator[Metric]:
    rows = GaugeMetricFamily("guanwecom_work_waiting", "Rows of work to be done", labels=["work"])
    for name, count in waiting.work(now=database_clock()()).items():
        rows.add_metric([name], count)
    yield rows
    queued = GaugeMetricFamily("guanwecom_queue_tasks", "Tasks that stand in a queue", labels=["queue"])
    for name, count in waiting.tasks().items():
        queued.add_metric([name], count)
    yield queued


def _used() -> Iterator[Metric]:
    shares = GaugeMetricFamily(
        "guanwecom_limit_used_ratio",
        "How much of a limit of WeCom is used; corp: empty for an address, which companies share",
        labels=["limit", "corp"],
    )
    for one in limits.used():
        shares.add_metric([one.limit, "" if one.corp_id is None else str(one.corp_id)], one.share)
    yield shares


def _expiring() -> Iterator[Metric]:
    ends = GaugeMetricFamily(
        "guanwecom_certificate_expiry_timestamp_seconds",
        "When the first certificate of each kind ends, in Unix time",
        labels=["kind", "name"],
    )
    for certificate in expiry.certificates():
        ends.add_metric([certificate.kind, certificate.name], certificate.ends_at.timestamp())
    yield ends
    changes = GaugeMetricFamily(
        "guanwecom_secret_set_timestamp_seconds",
        "When a stored secret was last changed, in Unix time",
        labels=["secret", "id"],
    )
    for secret in expiry.secrets():
        changes.add_metric([secret.kind, str(secret.row_id)], secret.set_at.timestamp())
    yield changes
