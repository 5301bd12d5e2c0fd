"""The page on which holidays and make-up days are entered."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.forms import modelform_factory
from django.http import HttpRequest

from integrations.admin.base import OneRowAdmin
from integrations.core.background import database_now
from integrations.core.page_versions import VersionedForm
from notifications.models import WorkdayCalendar
from notifications.subscriptions.schedules import slots


@admin.register(WorkdayCalendar)
class WorkdayCalendarAdmin(OneRowAdmin):
    form = modelform_factory(WorkdayCalendar, VersionedForm, fields=("days",))

    def save_model(self, request: HttpRequest, obj: WorkdayCalendar, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        slots.reschedule_by_workdays(now=database_now())
