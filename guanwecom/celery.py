"""The Celery application: `celery -A guanwecom worker`, `celery -A guanwecom beat`."""

import os

from celery import Celery

from guanwecom import worker_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")

app = Celery("guanwecom")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

__all__ = ["app", "worker_connections"]
