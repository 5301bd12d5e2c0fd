"""The admin page of a push: the subscription and its report in one form, saved together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import Attribute
from integrations.core.admin_pages import render_empty_select_help
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from notifications.admin.base import administrator, is_key
from notifications.admin.previews import (
    PreviewMixin,
    PreviewRefusedError,
    PushDraft,
    find_person,
    looked_at_as,
    person_chooser,
    read_moment,
    read_template,
    render_saved,
    show_missing,
    show_outlook,
    show_sample,
)
from notifications.admin.push.form import (
    CONTENT_IS_SENT,
    CopiedReport,
    PushForm,
    changes,
    columns_named,
    copy_push,
    copy_report,
    missing_card,
    missing_columns,
    renaming_in,
)
from notifications.admin.push.one_page import OnePage, Part, proposed_pair, summaries
from notifications.admin.report_forms import CARDS_AT_MOST, PREFIX, TEMPLATES, take_texts
from notifications.admin.reports import (
    OwnRowsInline,
    PagePictureInline,
    ReportCardInline,
    ReportChartInline,
    template_help,
)
from notifications.admin.subscription_forms import SubscriptionForm, find_times_of_form
from notifications.delivery.rendering.attachments import find_obstacle
from notifications.models import MessageForm, OwnRowsRule, Report, Subscription
from notifications.reports.starting_points import StartingPoint, offered_points, starting_points
from notifications.reports.templates import merge_fields, renderer

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User


# The parts of a report that are edited as rows of the page.
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


class PushPage(OnePage, PreviewMixin):
    """The change page of subscriptions. Its inline rows belong to the report, not to the subscription."""

    draft_name, new_title = "push", _("New push")
    parts = PARTS
    preview_path, preview_name = "outlook/", "notifications_subscription_preview"
    preview_template = "admin/notifications/report/_preview.html"
    form = PushForm
    shown_fields = (*SubscriptionForm.Meta.fields, "rules")

    # --- The content --------------------------------------------------------------------------------------------------

    def get_inline_instances(self, request: HttpRequest, obj: Subscription | None = None) -> list[Any]:
        """Return no inlines if the report was not sent or the person may not edit it."""
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
        """Create the formsets once, as the form reads them too. Without a report there are none."""
        if getattr(obj, "content_at_work", None) is None:
            return [], []
        if not hasattr(obj, "formsets_at_work"):
            obj.formsets_at_work = super()._create_formsets(request, obj, change)
        return obj.formsets_at_work

    def get_formset_kwargs(self, request: HttpRequest, obj: Subscription, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        return {**kwargs, "instance": getattr(obj, "content_at_work", None) or Report()}

    def save_content(self, form: PushForm) -> None:
        """Save the report, so that the subscription can refer to it. `save_related` saves its rows later."""
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
        """List the reports that would be deleted with their last push, too."""
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
        """Return the reports that only `subscriptions` send and that the person may delete."""
        keys = [one.pk for one in subscriptions]
        theirs = Report.objects.visible_to(request.user).filter(subscriptions__in=keys).distinct()
        others = Subscription.objects.exclude(pk__in=keys).values("report")
        may = request.user.has_perm("notifications.delete_report")
        # Evaluate now: after the deletion, the pushes no longer lead to their reports.
        found = theirs.exclude(pk__in=others).values_list("pk", flat=True) if may else ()
        return Report.objects.filter(pk__in=list(found))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for formset in formsets if form.copied is not None else ():
            _move_to_copy(formset, form.copied)
        super().save_related(request, form, formsets, change)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Add the changed fields of the report to the message."""
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

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        person = administrator(request)
        return {
            "starting_points": offered_points(),
            "field_formats": merge_fields.formats(),
            "chooser": person_chooser("as", self.admin_site, person, chosen=person),
            "of_person": OwnRowsRule.OF_PERSON,
            "attributes_way": render_empty_select_help(Attribute, request, field="own-rows-attribute"),
            "reserved_names": " ".join(sorted(renderer.reserved_names())),
            **template_help(timezone.get_current_timezone()),
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_one_page"):
            inlines = context["inline_admin_formsets"]
            context["page_picture_obstacle"] = find_obstacle(now=timezone.now())
            context["page_picture"] = next((one.formset for one in inlines if one.formset.prefix == PREFIX), None)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.draft = self.draft_chosen(request, obj)
        form.make_formsets = lambda row: self._create_formsets(request, row, change=row.pk is not None)[0]
        return form

    # --- Requests of the page -----------------------------------------------------------------------------------------

    def push_urls(self, wrapped: Callable[[Any], Any]) -> list[URLPattern]:
        copy = path("<int:pk>/copy/", wrapped(require_POST(self.copy_view)), name="notifications_subscription_copy")
        return [*self.page_urls(wrapped), copy]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Preview the submitted form: data, message, recipients and times. Saves nothing. The answer has `as`: the
        person whose view is shown; `fields` and `points`: merge fields and starting points, empty until the data is
        loaded; `parts`: for each template its texts and merge fields, null if only the source can be edited; `sources`:
        the templates that `parts` was made from."""
        by, now = administrator(request), timezone.now()
        subscription = self.at_work(request)
        form = self.form_at_work(request, subscription)
        further = {
            "outlook": show_outlook(request, form.found, find_times_of_form(form, now)),
            "folded": summaries(PARTS, (form, form.content), type(form).make_formsets(form.instance)),
        }
        if form.content is None:  # without permission to edit the report, preview the saved one
            report = form.cleaned_data.get("report")
            form.instance.message_form = form.cleaned_data.get("message_form") or MessageForm.TEXTCARD
            message = {} if report is None else render_saved(form.instance, by=by, now=now)
            return self.answer_preview(request, None, message, **further)
        draft = _draft_of(form, form.content.instance).for_reader(by)
        data = self.read_data(request, draft.cards, now=now)
        found = data.tables if data is not None else {}
        tables = {one.alias: found[one.card_id] for one in draft.parts.cards if one.card_id in found}
        person, context = self._look(request, form, draft, data, now)
        headings = {card.alias: card.heading for card in draft.parts.cards}
        shown = {headings[alias]: table for alias, table in tables.items()}
        return self.answer_preview(
            request,
            data,
            context,
            **further,
            rows=show_sample(request, shown, data),
            missing=_missing(request, draft, data, tables),
            limits=_limits(form, form.content),
            parts={name: _read_text(request.POST, name, headings) for name in TEMPLATES},
            sources={name: request.POST.get(name, "") for name in TEMPLATES},
            **{"as": {"id": str(person.pk), "name": str(person)}},
            **_offered(draft, tables, by),
        )

    def _look(
        self, request: HttpRequest, form: PushForm, draft: PushDraft, data: DataPreview | None, now: datetime
    ) -> tuple[User, dict[str, Any]]:
        """Return the person whose view is shown (the chosen one, else the first recipient, else oneself) and the
        message."""
        by = administrator(request)
        first = form.found.first_id if form.found is not None else None
        person = looked_at_as(by).filter(pk=first or by.pk).first() or by
        try:
            person = find_person(request.POST.get("_person", ""), by) or person
            at = read_moment(request.POST.get("_at", ""), now, draft.subscription.time_zone)
        except PreviewRefusedError as error:
            return person, {"problem": str(error)}
        if not any(request.POST.get(name, "").strip() for name in TEMPLATES):
            return person, {}
        return person, self.show_draft(request, draft, data, person, at)

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        """Return the renamed fields of the report. Raises PermissionDenied without permission to write reports."""
        verb = "change" if is_key(request.POST.get("_id", "")) else "add"
        if not request.user.has_perm(f"notifications.{verb}_report"):
            raise PermissionDenied
        return changes(request.POST, renaming_in(request.POST))

    def copy_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Create a disabled copy of the push with its own report, and show it."""
        subscription = self.changeable(request, pk)
        if not (self.has_add_permission(request) and request.user.has_perm("notifications.add_report")):
            raise PermissionDenied
        copied = copy_push(subscription, owner=administrator(request))
        self.log_addition(request, copied, gettext("Copied from “%(name)s”.") % {"name": subscription.name})
        messages.success(request, gettext("This is the copy. It is not enabled."))
        return HttpResponseRedirect(self.address_of(copied))


def _move_to_copy(formset: Any, copied: CopiedReport) -> None:
    """Point the rows of a formset, loaded from the original report, to the rows of the copy."""
    keys = copied.parts[formset.model]
    for form in formset.initial_forms:
        form.instance.pk = keys.get(form.instance.pk)
        form.instance.report = formset.instance


def _draft_of(form: PushForm, report: Report) -> PushDraft:
    """Return the submitted push as a draft. `form` must be cleaned."""
    push = form.instance
    take_texts(report, form.data)
    push.report = report
    chosen = form.data.get("message_form", "")
    push.message_form = chosen if chosen in MessageForm else MessageForm.TEXTCARD
    push.time_zone = form.cleaned_data.get("time_zone") or settings.TIME_ZONE
    return PushDraft(push, *form.parts)


def _missing(request: HttpRequest, draft: PushDraft, data: DataPreview | None, tables: Mapping[str, Table]) -> str:
    """Render the columns and cards that the push names but the data lacks, with replacements to choose."""
    lost = frozenset() if data is None else data.lost
    gone = [one for one in draft.parts.cards if one.card_id in lost]
    found = [missing_card(one.alias, one.heading, administrator(request)) for one in gone]
    headings = {card.alias: card.heading for card in draft.parts.cards}
    return show_missing(request, [*found, *missing_columns(columns_named(request.POST, tables), tables, headings)])


def _limits(*forms: Any) -> str:
    """Return the errors about texts that are too long, before saving; empty if there are none."""
    return " ".join(
        f"{form.fields[name].label}: {message}"
        for form in forms
        for name, errors in form.errors.as_data().items()
        for error in errors
        if error.code == "max_length"
        for message in error.messages
    )


def _offered(draft: PushDraft, tables: Mapping[str, Table], by: User) -> dict[str, Any]:
    """Return what the loaded data allows to insert: merge fields, columns, starting points for the first card, and a
    proposed column and attribute for own rows."""
    groups = [group for alias, table in tables.items() for group in merge_fields.groups_of(table, alias)]
    points: list[StartingPoint] = []
    pair = None
    if tables:
        first = draft.parts.cards[0]
        points = starting_points(first.alias, first.heading, tables[first.alias])
        pair = None if draft.parts.own_rows else proposed_pair(tables[first.alias], by=by)
    return {
        "fields": [asdict(group) for group in [*groups, merge_fields.day_fields(tables)]],
        "columns": {alias: list(table.names) for alias, table in tables.items()},
        "pair": pair,
        "points": [
            {
                **{name: getattr(point, name) for name in ("key", "lacks", *TEMPLATES)},
                "message_form": point.message_form.value,
                "charts": [
                    {"kind": chart.kind.value, "x": chart.x, "y": "\n".join(chart.y), "sort": chart.sort.value}
                    for chart in point.charts
                ],
            }
            for point in points
        ],
    }


def _read_text(values: QueryDict, name: str, headings: Mapping[str, str]) -> list[dict[str, str]] | None:
    source = values.get(name, "")
    if "is_template" in values:
        return read_template(source, headings)
    return [{"text": source.replace("\r\n", "\n")}] if source else []
