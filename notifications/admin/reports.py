"""Reports: their texts, cards and own rows, with help for templates and a look at real data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from integrations.deletion import NamedDeletions
from notifications import report_drawings, report_form, report_preview, tasks
from notifications.admin.charts import ReportChartInline
from notifications.admin.drawings import View, WithDrawings
from notifications.admin.lists import administrator, for_person
from notifications.models import MessageForm, OwnRowsRule, Report, ReportCard, Subscription
from notifications.reports import help_texts

if TYPE_CHECKING:
    ReportAdminBase = admin.ModelAdmin[Report]
    CardInlineBase = admin.TabularInline[ReportCard, Report]
    RuleInlineBase = admin.TabularInline[OwnRowsRule, Report]
else:
    ReportAdminBase = admin.ModelAdmin
    CardInlineBase = RuleInlineBase = admin.TabularInline


class _OfReport:
    """Parts of a report: who may change it may change them."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.view_report") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report" if obj else "notifications.add_report")

    has_add_permission = has_delete_permission = has_change_permission


class ReportCardInline(_OfReport, CardInlineBase):
    model = ReportCard
    formset = report_form.CardFormSet
    fields = ("card", "alias", "title", "position")
    extra = 0
    max_num = report_form.CARDS_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        card: Any = formset.form.base_fields.get("card")
        if card is not None:
            card.queryset = report_form.cards_to_choose(administrator(request), obj)
            for name in ("can_add_related", "can_change_related", "can_view_related", "can_delete_related"):
                setattr(card.widget, name, False)
        return formset


class OwnRowsInline(_OfReport, RuleInlineBase):
    model = OwnRowsRule
    formset = report_form.RuleFormSet
    fields = ("alias", "column", "attribute", "value")
    extra = 0
    max_num = report_form.RULES_AT_MOST

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        attribute: Any = formset.form.base_fields.get("attribute")
        if attribute is not None:
            for name in ("can_add_related", "can_change_related", "can_view_related", "can_delete_related"):
                setattr(attribute.widget, name, False)
        return formset


@admin.register(Report)
class ReportAdmin(WithDrawings, NamedDeletions, ReportAdminBase):
    drawings_name = "notifications_report_preview"
    empty_list = _(
        "A report is what is sent: a title, a text, and the page that it leads to. Add one, then a "
        "subscription that sends it."
    )
    form = report_form.ReportForm
    list_display = ("title", "corp", "subscription_count", "created_at")
    list_select_related = ("corp",)
    search_fields = ("title",)
    actions = None
    inlines = (ReportCardInline, ReportChartInline, OwnRowsInline)
    change_form_template = "admin/notifications/report/change_form.html"
    fieldsets = (
        (None, {"fields": ("title", "body", "is_template", "figures", "link", "corp")}),
        (_("Own rows"), {"fields": ("skips_people_without_rows",)}),
    )

    class Media:
        js = ("notifications/making.js", "notifications/report.js")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        """Ordered here: the searching select of a subscription's page goes through it as it comes."""
        orders = Subscription.objects.filter(report=OuterRef("pk")).order_by().values("report")
        count = Subquery(orders.annotate(total=Count("pk")).values("total"))
        return Report.objects.visible_to(request.user).annotate(subscription_total=Coalesce(count, 0)).order_by("-pk")

    def get_form(self, request: HttpRequest, obj: Report | None = None, change: bool = False, **kwargs: Any) -> Any:
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp"])

    @admin.display(description=_("subscriptions"))
    def subscription_count(self, report: Report) -> int:
        return int(report.subscription_total)  # type: ignore[attr-defined]  # annotated in get_queryset

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        zones = report_form.zones_of(unquote(object_id or ""))
        extra = {
            "message_forms": MessageForm.choices,
            "times": help_texts.times(timezone.now(), ZoneInfo(zones[0])),
            "zones": zones,
            "formats": help_texts.formats(),
            "of_cards": help_texts.of_cards(),
        }
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def get_urls(self) -> list[URLPattern]:
        views: tuple[tuple[str, View, str], ...] = (
            ("preview/", require_POST(self.preview_view), "preview"),
            ("preview/<str:token>/", require_safe(self.making_view), "preview_making"),
            ("preview/<str:token>.<str:extension>", require_safe(self.made_view), "preview_made"),
        )
        ours = [
            path(route, self.admin_site.admin_view(view), name=f"notifications_report_{name}")
            for route, view, name in views
        ]
        return [*ours, *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> JsonResponse:
        """The page as it stands, over data that is fetched now. Nothing is saved. Pictures and files are made by their
        workers meanwhile: the page asks for them."""
        self.check_may_look(request)
        context: dict[str, Any] = {"rows_shown": report_preview.ROWS_SHOWN}
        now, by = timezone.now(), administrator(request)
        try:
            found = report_preview.look(request.POST, by=by, now=now)
            context |= {"look": found, "preview": found.preview}
            drawings = report_drawings.begin(found.media, by=by, now=now)
            tasks.enqueue_previews(drawings.medium_ids)
            context |= {"drawings": drawings, "carried": drawings.carried}
        except report_preview.PreviewRefusedError as error:
            context["problem"] = str(error)
        except report_drawings.TooManyDrawingsError:
            context["is_busy"] = True
        return JsonResponse({"html": render_to_string("admin/notifications/report/_look.html", context)})

    def check_may_look(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for whoever may not fill in the form."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
