"""The admin page of a push: the subscription and its content in one form, saved together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import Attribute
from integrations.core.page_versions import VERSION
from integrations.core.ways_out import offer_ways, way_out
from notifications.admin import report_preview
from notifications.admin.base import administrator
from notifications.admin.page_picture_form import PREFIX
from notifications.admin.push.copies import CopiedReport, copy_push, copy_report
from notifications.admin.push.folded_parts import Part, folded, summaries
from notifications.admin.push.form import CONTENT_IS_SENT, PushForm
from notifications.admin.push.one_page import ADDED_HERE, OnePage, problems_of
from notifications.admin.push.preview import page_state
from notifications.admin.push.renaming import changes, renaming_in
from notifications.admin.report_forms import CARDS_AT_MOST, is_key
from notifications.admin.report_parts import (
    OwnRowsInline,
    PagePictureInline,
    ReportCardInline,
    ReportChartInline,
    template_help,
)
from notifications.delivery.rendering import page_pictures
from notifications.models import OwnRowsRule, Report, Subscription
from notifications.reports.starting_points import offered_points
from notifications.reports.templates import field_choices, renderer

# The parts of a content, as rows of the page.
INLINES = (ReportCardInline, ReportChartInline, OwnRowsInline, PagePictureInline)
PARTS = (
    Part(
        "look", _("More styles"), ("figures", "is_template", "link"), (("report_cards", CARDS_AT_MOST), ("charts", 0))
    ),
    Part(
        "delivery",
        _("More recipients, delivery and retries"),
        (
            *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot", "fallback_channel"),
            *("priority", "grace_minutes", "lifetime_hours", "pauses_after_failures"),
        ),
        (("own_rows_rules", 1),),
    ),
    Part(
        "exceptions",
        _("Time zone, holidays, and when nothing is sent"),
        (
            *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to"),
            *("skips_empty", "skips_unchanged", "skips_people_without_rows", "stale_after_minutes", "if_stale"),
            "is_paused",
        ),
    ),
)


class PushPage(OnePage):
    """For the admin of subscriptions. The rows of the page belong to the report, not to the subscription."""

    draft_name = "push"

    form = PushForm

    # --- The content --------------------------------------------------------------------------------------------------

    def get_inline_instances(self, request: HttpRequest, obj: Subscription | None = None) -> list[Any]:
        """None where the content was not sent, and for whoever may not write it."""
        if request.method == "POST" and CONTENT_IS_SENT not in request.POST:
            return []
        permission = "notifications.add_report" if obj is None else "notifications.change_report"
        if not request.user.has_perm(permission):
            return []
        return [inline(Report, self.admin_site) for inline in INLINES]

    def get_formsets_with_inlines(
        self, request: HttpRequest, obj: Subscription | None = None
    ) -> Iterator[tuple[Any, Any]]:
        report = None if obj is None else getattr(obj, "content_at_work", None)
        known = report if report is not None and report.pk else None
        for inline in self.get_inline_instances(request, obj):
            yield inline.get_formset(request, known), inline

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        """Rows stand on the page only together with the content that they belong to."""
        if getattr(obj, "content_at_work", None) is None:
            return [], []
        return super()._create_formsets(request, obj, change)

    def get_formset_kwargs(self, request: HttpRequest, obj: Subscription, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        return {**kwargs, "instance": getattr(obj, "content_at_work", None) or Report()}

    def save_content(self, form: PushForm) -> None:
        """Write the report, so that the subscription can name it. Its rows follow in `save_related`."""
        content = form.content
        if content is None:
            return
        report = content.instance
        if form.is_copy_wanted():
            form.copied = copy_report(report)
            report.pk, report.created_at = form.copied.report.pk, form.copied.report.created_at
        if report._state.adding:
            content.save()
        elif content.changed_data:
            report.save(update_fields=content.changed_data)
        form.instance.report = report

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """With the content, where it goes with its last push."""
        listed, counts, *more = super().get_deleted_objects(objs, request)
        for report in self._left_alone(request, objs):
            listed.append(gettext("Content: %(title)s (no other push sends it)") % {"title": report})
            counts[str(Report._meta.verbose_name_plural)] = 1
        return listed, counts, *more

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        reports = self._left_alone(request, [obj])
        super().delete_model(request, obj)
        self.log_deletions(request, reports)
        reports.delete()

    def _left_alone(self, request: HttpRequest, subscriptions: Iterable[Subscription]) -> QuerySet[Report]:
        """The contents that only these pushes send, and that the person may delete."""
        keys = [one.pk for one in subscriptions]
        theirs = Report.objects.visible_to(request.user).filter(subscriptions__in=keys).distinct()
        others = Subscription.objects.exclude(pk__in=keys).values("report")
        may = request.user.has_perm("notifications.delete_report")
        # By their keys: the pushes are gone when they are deleted.
        found = theirs.exclude(pk__in=others).values_list("pk", flat=True) if may else ()
        return Report.objects.filter(pk__in=list(found))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for formset in formsets if form.copied is not None else ():
            _move_to_copy(formset, form.copied)
        super().save_related(request, form, formsets, change)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """With the fields of the content that were changed."""
        said = super().construct_change_message(request, form, formsets, add)
        content = form.content
        if add or content is None or not content.changed_data:
            return said
        with translation.override(None):
            labels = [str(getattr(Report._meta.get_field(name), "verbose_name", name)) for name in content.changed_data]
        return [
            *said,
            {"changed": {"name": str(Report._meta.verbose_name), "object": form.instance.name, "fields": labels}},
        ]

    # --- The page -----------------------------------------------------------------------------------------------------

    def push_context(self, request: HttpRequest, subscription: Subscription | None) -> dict[str, Any]:
        """What the page needs; nothing for whoever may only look."""
        may = self.has_add_permission(request) if subscription is None else self.has_change_permission(request)
        if not may:
            return {}
        person = administrator(request)
        return {
            "is_push_page": True,
            "draft": self.draft_offered(request, subscription),
            "starting_points": offered_points(),
            "field_formats": field_choices.formats(),
            "chooser": report_preview.person_chooser("as", self.admin_site, person, chosen=person),
            "of_person": OwnRowsRule.OF_PERSON,
            "attributes_way": way_out(Attribute, request, field="own-rows-attribute"),
            "reserved_names": " ".join(sorted(renderer.reserved_names())),
            **template_help(timezone.get_current_timezone()),
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_push_page"):
            form: PushForm = context["adminform"].form
            for one in filter(None, (form, form.content)):
                offer_ways(one.fields, request, always=ADDED_HERE)
            formsets = [one.formset for one in context["inline_admin_formsets"]]
            problems = list(problems_of((form, form.content), formsets)) if request.method == "POST" else []
            context["problems"] = problems
            context["errors"] = None  # Django's line, in place of which the list stands
            inlines = context["inline_admin_formsets"]
            context["page_picture_obstacle"] = page_pictures.obstacle(now=timezone.now())
            context["page_picture"] = next((one.formset for one in inlines if one.formset.prefix == PREFIX), None)
            context["folded_parts"] = folded(PARTS, (form, form.content), inlines, is_sent=request.method == "POST")
        return super().render_change_form(request, context, *args, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.draft = self.draft_chosen(request, obj)
        return form

    # --- What it asks the server --------------------------------------------------------------------------------------

    def push_urls(self, wrapped: Callable[[Any], Any]) -> list[URLPattern]:
        views = (
            ("outlook/", self.preview_view, "preview"),
            ("<int:pk>/copy/", self.copy_view, "copy"),
        )
        ours = [
            path(route, wrapped(require_POST(view)), name=f"notifications_subscription_{name}")
            for route, view, name in views
        ]
        return [*self.page_urls(wrapped), *ours]

    def preview_view(self, request: HttpRequest) -> JsonResponse:
        """The form as it stands: its rows, its message, who and when. Nothing is saved."""
        subscription = self.at_work(request)
        form = self.get_form(request, subscription)(request.POST, instance=subscription or Subscription())
        # What others saved meanwhile is said when it is saved.
        for one in filter(None, (form, form.content)):
            one.fields.pop(VERSION, None)
        form.is_valid()
        report_admin: Any = self.admin_site.get_model_admin(Report)
        models = [inline.model for inline in INLINES]
        said = summaries(PARTS, (form, form.content), request.POST, models)
        return JsonResponse({**page_state(request, form, report_admin, now=timezone.now()), "folded": said})

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        """Of the content, which a right of its own is for."""
        verb = "change" if is_key(request.POST.get("_id", "")) else "add"
        if not request.user.has_perm(f"notifications.{verb}_report"):
            raise PermissionDenied
        return changes(request.POST, renaming_in(request.POST))

    def copy_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A disabled push like this one, with a content of its own."""
        subscription = self.changeable(request, pk)
        if not (self.has_add_permission(request) and request.user.has_perm("notifications.add_report")):
            raise PermissionDenied
        copied = copy_push(subscription, owner=administrator(request))
        self.log_addition(request, copied, gettext("Copied from “%(name)s”.") % {"name": subscription.name})
        messages.success(request, gettext("This is the copy. It is not enabled."))
        return HttpResponseRedirect(self.address_of(copied))


def _move_to_copy(formset: Any, copied: CopiedReport) -> None:
    """What the page knew as rows of the report it was opened with are the rows of the copy now."""
    keys = copied.parts[formset.model]
    for form in formset.initial_forms:
        form.instance.pk = keys.get(form.instance.pk)
        form.instance.report = formset.instance
