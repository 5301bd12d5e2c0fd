"""The Celery application: `python -m guanwecom worker` and `beat`, or `celery -A guanwecom worker` and `beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import import_modules

from guanwecom import worker_connections
from guanwecom.operations import startup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")
# With --autoscale, a worker's process that has no task for this many seconds ends. The next task starts a new one.
os.environ.setdefault("AUTOSCALE_KEEPALIVE", "120")
# Celery would run all system checks and ignore their results. check_settings runs ours.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

app = Celery(
    "guanwecom",
    task_cls="integrations.core.installation:InstallationTask",
    fixups=["guanwecom.worker_connections:fixup"],
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_routes={
        "notifications.tick": {"queue": "urgent"},
        "integrations.fetch_card_data": {"queue": "data"},
    },
    task_annotations={"notifications.make_medium": {"sends_nothing": True}},  # an attribute of InstallationTask
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_consumer="guanwecom.operations.worker:ResilientConsumer",
    worker_hijack_root_logger=False,
    # Workers and beat wait for an unreachable broker without limit; the default is 100 tries, some 50 minutes.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    beat_scheduler="guanwecom.operations.beat:HeartbeatScheduler",
)
app.autodiscover_tasks()
app.steps["consumer"].add("guanwecom.operations.worker:HeartbeatStep")


@app.on_configure.connect(weak=False)
def load_settings(**_signal: Any) -> None:
    startup.load_settings()


@import_modules.connect(sender=app, weak=False)
def check_settings(**_signal: Any) -> None:
    """Run our checks. Celery's own receiver, connected earlier, has set up Django."""
    startup.run_checks(with_packages=False)
    startup.tune_garbage_collector()


__all__ = ["app", "worker_connections"]  # the latter is imported for its receivers of signals
