"""The parts of a content as rows of a page: its cards, charts, rules of own rows and page picture; and help for its
templates."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.forms import Textarea
from django.http import HttpRequest
from django.utils import timezone

from integrations.core.generics import AnyStackedInline, AnyTabularInline
from notifications.admin import page_picture_form, report_forms
from notifications.admin.base import PartPermissions, administrator, without_links
from notifications.admin.page_picture_form import PagePictureForm, PagePictureFormSet
from notifications.delivery.runs import page_rights
from notifications.models import OwnRowsRule, PagePicture, Report, ReportCard, ReportChart
from notifications.reports.templates import reference


class ReportChartInline(PartPermissions, AnyStackedInline):
    whole = "report"
    model = ReportChart
    extra = 0
    formset = report_forms.ChartFormSet
    fields = report_forms.CHART_FIELDS
    max_num = report_forms.CHARTS_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, validate_max=True, **kwargs)
        formset.person = administrator(request)
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "y":
            kwargs["widget"] = Textarea(attrs={"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


# --- Reports: their texts, cards and own rows, with help for templates and a preview on real data ---


class _ReportPart(PartPermissions):
    """Cards and own rows: also whoever adds a report fills them in."""

    whole = "report"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report" if obj else "notifications.add_report")


class ReportCardInline(_ReportPart, AnyTabularInline):
    model = ReportCard
    formset = report_forms.CardFormSet
    fields = report_forms.PARTS[ReportCard]
    extra = 0
    max_num = report_forms.CARDS_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, validate_max=True, **kwargs)
        card: Any = formset.form.base_fields.get("card")
        if card is not None:
            card.queryset = report_forms.cards_to_choose(administrator(request), obj)
            without_links(card.widget)
        return formset


class OwnRowsInline(_ReportPart, AnyTabularInline):
    model = OwnRowsRule
    formset = report_forms.RuleFormSet
    fields = report_forms.PARTS[OwnRowsRule]
    extra = 0
    max_num = report_forms.RULES_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, validate_max=True, **kwargs)
        attribute: Any = formset.form.base_fields.get("attribute")
        if attribute is not None:
            without_links(attribute.widget)
        return formset


class PagePictureInline(_ReportPart, AnyStackedInline):
    model = PagePicture
    form = PagePictureForm
    formset = PagePictureFormSet
    extra = max_num = 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        is_offered = page_rights.may_show_as(obj or Report(), administrator(request))
        return [*page_picture_form.FIELDS, *(["seen_by"] if is_offered else [])]

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **{**kwargs, "fields": page_picture_form.FIELDS})
        formset.person = administrator(request)
        return formset


def template_help(zone: ZoneInfo) -> dict[str, Any]:
    """What a page shows of the template language, for a message that would be due now in this zone."""
    times = reference.times(timezone.now(), zone)
    return {"times": times, "formats": reference.formats(), "of_cards": reference.of_cards()}
