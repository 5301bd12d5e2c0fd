"""The admin pages: what is sent (orders), and what became of it (log)."""

from django.contrib import admin
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from notifications.admin import alerts, api_tokens, incidents, log, orders, queues, reports, robots

__all__ = ["alerts", "api_tokens", "incidents", "log", "orders", "queues", "reports", "robots"]

# Beat's rows are kept by settings.CELERY_BEAT_SCHEDULE: a page to change them by hand could only stop the pushes.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)
