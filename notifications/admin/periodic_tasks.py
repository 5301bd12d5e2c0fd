"""Admin page of beat's periodic tasks: a superuser switches one on or off, and changes nothing else."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django_celery_beat import admin as _their_pages  # noqa: F401  # registers what is replaced below
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from accounts.models import User
from integrations.admin.base import FixedRows
from integrations.core.page_versions import VersionedForm

# Beat's rows are kept by settings.CELERY_BEAT_SCHEDULE: pages to change them by hand could only stop the pushes.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(FixedRows):
    form = VersionedForm
    list_display = ("name", "enabled", "last_run_at")
    fields = ("name", "enabled", "last_run_at")
    readonly_fields = ("name", "last_run_at")
    actions = None
    ordering = ("name",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        """When it ran last is beat's, which writes it meanwhile."""
        obj.save(update_fields=["enabled", "date_changed"])


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_active and request.user.is_superuser
