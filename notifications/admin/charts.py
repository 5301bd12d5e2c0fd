"""The charts of a report, on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.forms import Textarea

from notifications import report_form
from notifications.admin.lists import administrator
from notifications.models import Report, ReportChart

if TYPE_CHECKING:
    from django.http import HttpRequest

    ChartInlineBase = admin.StackedInline[ReportChart, Report]
else:
    ChartInlineBase = admin.StackedInline


class ReportChartInline(ChartInlineBase):
    """Whoever may change the report may change them."""

    model = ReportChart
    extra = 0
    formset = report_form.ChartFormSet
    fields = report_form.CHART_FIELDS
    max_num = report_form.CHARTS_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.person = administrator(request)
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "y":
            kwargs["widget"] = Textarea(attrs={"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.view_report") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report")
