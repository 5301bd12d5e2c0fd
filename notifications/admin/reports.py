"""Admin pages of reports, with their cards and charts."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms import Textarea
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import NamedDeletions, hide_related_links
from integrations.core.admin_pages import AnyStackedInline, AnyTabularInline
from notifications.admin import report_forms
from notifications.admin.base import PartPermissions, administrator, for_person, is_key
from notifications.admin.previews import (
    PreviewMixin,
    PreviewRefusedError,
    PushDraft,
    find_person,
    person_chooser,
    read_moment,
)
from notifications.admin.report_forms import PagePictureForm, PagePictureFormSet, note_edit
from notifications.admin.subscription_forms import all_zones
from notifications.delivery.runs.ownership import may_show_as
from notifications.models import (
    REPORT_FORMS,
    MessageForm,
    OwnRowsRule,
    PagePicture,
    Report,
    ReportCard,
    ReportChart,
    Subscription,
)
from notifications.reports.templates import column_names
from notifications.subscriptions.calendar import zone_label
from notifications.tasks import enqueue_runs


class _ReportPart(PartPermissions):
    """An inline of the report page. People who may add reports may fill it in, too. `named`: the select whose links to
    related pages are hidden."""

    whole = "report"
    extra = 0
    named = ""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report" if obj else "notifications.add_report")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, validate_max=True, **kwargs)  # type: ignore[misc]  # an inline's
        formset.person = administrator(request)
        hide_related_links(formset.form, self.named)
        return formset


class ReportChartInline(_ReportPart, AnyStackedInline):
    model = ReportChart
    formset = report_forms.ChartFormSet
    fields = report_forms.CHART_FIELDS
    max_num = report_forms.CHARTS_AT_MOST

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "y":
            kwargs["widget"] = Textarea(attrs={"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class ReportCardInline(_ReportPart, AnyTabularInline):
    model = ReportCard
    formset = report_forms.CardFormSet
    fields = report_forms.PARTS[ReportCard]
    max_num = report_forms.CARDS_AT_MOST
    named = "card"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        card: Any = formset.form.base_fields.get("card")
        if card is not None:
            card.queryset = report_forms.cards_to_choose(administrator(request), obj)
        return formset


class OwnRowsInline(_ReportPart, AnyTabularInline):
    model = OwnRowsRule
    formset = report_forms.RuleFormSet
    fields = report_forms.PARTS[OwnRowsRule]
    max_num = report_forms.RULES_AT_MOST
    named = "attribute"


class PagePictureInline(_ReportPart, AnyStackedInline):
    model = PagePicture
    form = PagePictureForm
    formset = PagePictureFormSet
    extra = max_num = 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        is_offered = may_show_as(obj or Report(), administrator(request))
        return [*report_forms.FIELDS, *(["seen_by"] if is_offered else [])]

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        return super().get_formset(request, obj, **{**kwargs, "fields": report_forms.FIELDS})


def template_help(zone: ZoneInfo) -> dict[str, Any]:
    """Return what the template help shows, for a message due now in `zone`."""
    times = column_names.times(timezone.now(), zone)
    return {"times": times, "formats": column_names.formats(), "of_cards": column_names.of_cards()}


_BOTH = ("notifications.change_report", "notifications.change_subscription")


@admin.register(Report)
class ReportAdmin(PreviewMixin, NamedDeletions):
    preview_path, preview_name = "preview/", "notifications_report_preview"
    preview_template = "admin/notifications/report/_preview.html"
    empty_list = _(
        "A report is what a push sends: a title, a text, and the page that it leads to. It is usually made together "
        "with its push."
    )
    form = report_forms.ReportForm
    list_display = ("plain_title", "corp", "subscription_count", "created_at")
    list_select_related = ("corp",)
    search_fields = ("title",)
    actions = None
    inlines = (ReportCardInline, ReportChartInline, OwnRowsInline, PagePictureInline)
    change_form_template = "admin/notifications/report/change_form.html"
    fieldsets = (
        (None, {"fields": ("title", "body", "is_template", "figures", "link", "corp")}),
        (_("Own rows"), {"fields": ("skips_people_without_rows",)}),
    )

    class Media:
        js = ("notifications/preview.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        """Order the reports here, since the autocomplete select of the subscription page keeps this order."""
        orders = Subscription.objects.filter(report=OuterRef("pk")).order_by().values("report")
        count = Subquery(orders.annotate(total=Count("pk")).values("total"))
        return Report.objects.visible_to(request.user).annotate(subscription_total=Coalesce(count, 0)).order_by("-pk")

    def get_form(self, request: HttpRequest, obj: Report | None = None, change: bool = False, **kwargs: Any) -> Any:
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        enqueue_runs(note_edit(form.instance, [form, *formsets] if change else (), administrator(request)))
        super().save_related(request, form, formsets, change)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        person = administrator(request)
        chooser = person_chooser("_person", self.admin_site, person, chosen=None)
        context |= {"chooser": chooser, "media": context["media"] + chooser.field.widget.media}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("title"), ordering="title")
    def plain_title(self, report: Report) -> str:
        return report.plain_title

    @admin.display(description=_("pushes"))
    def subscription_count(self, report: Report) -> int:
        return int(report.subscription_total)  # type: ignore[attr-defined]  # annotated in get_queryset

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Redirect to a push of the report if the person may change both: that page can edit everything."""
        if request.method == "GET" and (push := self._push_of(request, object_id)):
            return HttpResponseRedirect(reverse("admin:notifications_subscription_change", args=[push.pk]))
        return super().change_view(request, object_id, form_url, extra_context)

    def _push_of(self, request: HttpRequest, object_id: str) -> Subscription | None:
        """Return the newest push of the report that the person may change together with it, or None."""
        key = unquote(object_id)
        if not is_key(key) or not request.user.has_perms(_BOTH):
            return None
        return Subscription.objects.visible_to(request.user).filter(report=int(key)).order_by("-pk").first()

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        zones = report_forms.zones_of(unquote(object_id or ""))
        extra = {
            "message_forms": REPORT_FORMS,
            **template_help(ZoneInfo(zones[0])),
            "zones": [(zone, zone_label(zone)) for zone in zones],
        }
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Preview the submitted form over current data. Saves nothing."""
        self.check_may_preview(request)
        values, by, now, data = request.POST, administrator(request), timezone.now(), None
        try:
            draft = self._draft_of(request).for_reader(by)
            person = find_person(values.get("_person", ""), by)
            at = read_moment(values.get("_at", ""), now, draft.subscription.time_zone)
            if draft.parts.own_rows and person is None:
                raise PreviewRefusedError(_("Each person sees rows of their own: choose as whom to look."))
            if draft.problem:
                raise PreviewRefusedError(draft.problem)
        except PreviewRefusedError as error:
            return self.answer_preview(request, None, {"problem": str(error)})
        data = self.read_data(request, draft.cards, now=now)
        context = self.show_draft(request, draft, data, person, at)
        return self.answer_preview(request, data, {**context, "is_page_open": True})

    def _draft_of(self, request: HttpRequest) -> PushDraft:
        """Return what a push of the submitted report would send."""
        key, values, saved = request.POST.get("_report", ""), request.POST, None
        if is_key(key) and self.has_change_permission(request):
            saved = self.get_queryset(request).filter(pk=int(key)).first()
        form: Any = self.get_form(request, saved)(values, instance=saved or Report())
        form.instance.is_draft = True
        form.is_valid()
        report_forms.take_texts(form.instance, values)
        make_formsets: Any = self._create_formsets  # type: ignore[attr-defined]  # unknown to the stubs
        formsets, _inlines = make_formsets(request, form.instance, change=saved is not None)
        chosen, zone = values.get("_form", ""), values.get("_zone", "")
        push = Subscription(
            report=form.instance,
            message_form=chosen if chosen in MessageForm else MessageForm.TEXTCARD,
            time_zone=zone if zone in all_zones() else settings.TIME_ZONE,
        )
        return PushDraft(push, *report_forms.read_parts(form.instance, formsets))
