"""The administration of pushes and alerts, and of what became of them."""

from django.contrib import admin
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from notifications.admin import (
    alerts,
    api_tokens,
    deliveries,
    incidents,
    queues,
    receipts,
    reports,
    robots,
    runs,
    subscriptions,
)

__all__ = [
    "alerts",
    "api_tokens",
    "deliveries",
    "incidents",
    "queues",
    "receipts",
    "reports",
    "robots",
    "runs",
    "subscriptions",
]

# Beat's rows are kept by settings.CELERY_BEAT_SCHEDULE: a page to change them by hand could only stop the pushes.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)
