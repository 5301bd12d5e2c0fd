"""The admin page of a push: the subscription and its report in one form, saved together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import BoundField, Form, ModelChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import Attribute, User
from accounts.users.roles import people_visible_to
from integrations.core.admin_pages import render_empty_select_help
from integrations.core.sentences import Sentence
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from integrations.models import Card
from notifications.admin.base import administrator, is_key
from notifications.admin.push.data_choice import propose_own_rows
from notifications.admin.push.form import (
    CONTENT_IS_SENT,
    CopiedReport,
    PushForm,
    copy_push,
    copy_report,
    list_card_fields,
    list_column_fields,
)
from notifications.admin.push.one_page import (
    FormPart,
    OnePage,
    read_template,
    show_outlook,
    show_sample,
    summarise_parts,
)
from notifications.admin.push.renaming import ColumnField
from notifications.admin.reports import (
    CARDS_AT_MOST,
    PREFIX,
    TEMPLATES,
    OwnRowsInline,
    PagePictureInline,
    ReportCardInline,
    ReportChartInline,
    template_help,
)
from notifications.admin.subscription_forms import find_times_of_form
from notifications.delivery.attachments import find_obstacle, pages_for_editor
from notifications.delivery.rendering.preview import preview_message
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource, read_saved_parts
from notifications.models import Channel, MessageForm, OwnRowsRule, Report, Robot, Run, Subscription
from notifications.reports.contents import paginate_tables
from notifications.reports.templates import merge_fields, renderer
from notifications.reports.templates.merge_fields import StartingPoint, offered_points, starting_points
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Recipient, find_recipients, trial_audience

if TYPE_CHECKING:
    from django.http import QueryDict


# The parts of a report that are edited as rows of the page.
INLINES = (ReportCardInline, ReportChartInline, OwnRowsInline, PagePictureInline)
PARTS = (
    FormPart(
        "look", _("More styles"), ("figures", "is_template", "link"), (("report_cards", CARDS_AT_MOST), ("charts", 0))
    ),
    FormPart(
        "delivery",
        _("More recipients, delivery and retries"),
        (
            *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot", "fallback_channel"),
            *("priority", "grace_minutes", "lifetime_hours", "pauses_after_failures"),
        ),
        (("own_rows_rules", 1),),
    ),
    FormPart(
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
    """The change page of subscriptions. Its inline rows belong to the report, not to the subscription."""

    draft_name, new_title = "push", _("New push")
    parts = PARTS
    preview_path, preview_template = "outlook/", "admin/notifications/report/_preview.html"
    form = PushForm
    shown_fields = (*PushForm.Meta.fields, "rules")

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
        for report in self._find_orphaned_reports(request, objs):
            listed.append(gettext("Content: %(title)s (no other push sends it)") % {"title": report})
            counts[str(Report._meta.verbose_name_plural)] = 1
        return listed, counts, *more

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        reports = self._find_orphaned_reports(request, [obj])
        super().delete_model(request, obj)
        self.log_deletions(request, reports)
        reports.delete()

    def _find_orphaned_reports(self, request: HttpRequest, subscriptions: Iterable[Subscription]) -> QuerySet[Report]:
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
            "chooser": self._build_person_select(person),
            "of_person": OwnRowsRule.OF_PERSON,
            "attributes_way": render_empty_select_help(Attribute, request, field="own-rows-attribute"),
            "reserved_names": " ".join(sorted(renderer.reserved_names())),
            **template_help(timezone.get_current_timezone()),
        }

    def _build_person_select(self, by: User) -> BoundField:
        """Return an autocomplete select for the person whose view is shown."""
        field: Any = Subscription._meta.get_field("users")
        widget = AutocompleteSelect(field, self.admin_site, attrs={"data-as": ""})
        form = Form(auto_id="preview-%s", initial={"as": by})
        form.fields["as"] = ModelChoiceField(find_viewable_people(by), widget=widget)
        return form["as"]

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
        form.draft = self.read_chosen_draft(request, obj)
        form.make_formsets = lambda row: self._create_formsets(request, row, change=row.pk is not None)[0]
        return form

    # --- Requests of the page -----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.copy_view))
        return [path("<int:pk>/copy/", view, name="notifications_subscription_copy"), *super().get_urls()]

    def list_column_fields(self, values: QueryDict) -> Iterator[ColumnField]:
        return list_column_fields(values)

    def list_card_fields(self, values: QueryDict) -> dict[str, str]:
        return list_card_fields(values)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Preview the submitted form: data, message, recipients and times. Saves nothing. The answer has `as`: the
        person whose view is shown; `fields` and `points`: merge fields and starting points, empty until the data is
        loaded; `parts`: for each template its texts and merge fields, null if only the source can be edited; `sources`:
        the templates that `parts` was made from."""
        by, now = administrator(request), timezone.now()
        subscription = self.find_edited_row(request)
        form = self.read_form(request, subscription)
        further = {
            "outlook": show_outlook(request, form.found, find_times_of_form(form, now)),
            "folded": summarise_parts(PARTS, (form, form.content), type(form).make_formsets(form.instance)),
        }
        if form.content is None:  # without permission to edit the report, preview the saved one
            report = form.cleaned_data.get("report")
            form.instance.message_form = form.cleaned_data.get("message_form") or MessageForm.TEXTCARD
            message = {} if report is None else render_saved(form.instance, by=by, now=now)
            return self.answer_preview(request, None, message, **further)
        draft = _build_draft(form, form.content.instance).for_reader(by)
        data = self.read_data(request, draft.cards)
        found = data.tables if data is not None else {}
        tables = {one.alias: found[one.card_id] for one in draft.parts.cards if one.card_id in found}
        person, context = self._preview_as_person(request, form, draft, data, now)
        cards = {card.alias: (card.card_id, card.heading) for card in draft.parts.cards}
        headings = {alias: heading for alias, (_key, heading) in cards.items()}
        shown = {headings[alias]: table for alias, table in tables.items()}
        sources = {name: request.POST.get(name, "") for name in TEMPLATES}
        parts: dict[str, list[dict[str, str]] | None] = {
            name: [{"text": text.replace("\r\n", "\n")}] if text else [] for name, text in sources.items()
        }
        if "is_template" in request.POST:
            parts = {name: read_template(text, headings) for name, text in sources.items()}
        return self.answer_preview(
            request,
            data,
            context,
            **further,
            rows=show_sample(request, shown, data),
            missing=self.show_missing(request, data, cards, tables),
            limits=_list_length_errors(form, form.content),
            parts=parts,
            sources=sources,
            **{"as": {"id": str(person.pk), "name": str(person)}},
            **_list_offers(draft, tables, by),
        )

    def _preview_as_person(
        self, request: HttpRequest, form: PushForm, draft: PushDraft, data: DataPreview | None, now: datetime
    ) -> tuple[User, dict[str, Any]]:
        """Return the person whose view is shown (the chosen one, else the first recipient, else oneself) and the
        template context of the message or its problem."""
        by, values = administrator(request), request.POST
        viewable, first = find_viewable_people(by), form.found.first_id if form.found is not None else None
        person = viewable.filter(pk=first or by.pk).first() or by
        if key := values.get("_person", ""):
            chosen = viewable.filter(pk=int(key)).first() if is_key(key) else None
            if chosen is None:
                return person, {"problem": gettext("Nobody whom you see is “%(typed)s”.") % {"typed": key}}
            person = chosen
        at = now
        if typed := values.get("_at", ""):
            try:
                at = datetime.fromisoformat(typed).replace(tzinfo=ZoneInfo(draft.subscription.time_zone))
            except ValueError:
                return person, {"problem": gettext("Write the time as 2026-11-28 09:00.")}
        if not any(values.get(name, "").strip() for name in TEMPLATES):
            return person, {}
        if draft.problem or (data is not None and (data.token or data.problem)):
            return person, {"problem": draft.problem}
        tables = {} if data is None else {card.alias: data.tables[card.card_id] for card in draft.parts.cards}
        try:
            context = render_draft(draft, tables, by=by, person=person, at=at)
        except RenderingError as error:
            return person, {"problem": str(error)}
        return person, {**context, **self.begin_media(request, context["found"].media)}

    def rename_view(self, request: HttpRequest) -> JsonResponse:
        verb = "change" if is_key(request.POST.get("_id", "")) else "add"
        if not request.user.has_perm(f"notifications.{verb}_report"):
            raise PermissionDenied
        return super().rename_view(request)

    def copy_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Create a disabled copy of the push with its own report, and show it."""
        subscription = self.find_changeable_row(request, pk)
        if not (self.has_add_permission(request) and request.user.has_perm("notifications.add_report")):
            raise PermissionDenied
        copied = copy_push(subscription, owner=administrator(request))
        self.log_addition(request, copied, gettext("Copied from “%(name)s”.") % {"name": subscription.name})
        messages.success(request, gettext("This is the copy. It is not enabled."))
        return HttpResponseRedirect(self.find_page_url(copied))


def _move_to_copy(formset: Any, copied: CopiedReport) -> None:
    """Point the rows of a formset, loaded from the original report, to the rows of the copy."""
    keys = copied.parts[formset.model]
    for form in formset.initial_forms:
        form.instance.pk = keys.get(form.instance.pk)
        form.instance.report = formset.instance


# --- Preview ----------------------------------------------------------------------------------------------------------

ROWS_SHOWN = 20


@dataclass(frozen=True)
class PushDraft:
    """A push as submitted by a form. `problem`: why it has no message, whatever the data."""

    subscription: Subscription
    parts: ReportParts
    problem: str = ""

    @property
    def cards(self) -> list[Card]:
        """The cards whose data is needed, without duplicates."""
        return list({card.card_id: card.card for card in self.parts.cards}.values())

    def for_reader(self, by: User) -> PushDraft:
        """Return the draft without cards and with a problem if `by` may not see one of them, even one saved earlier."""
        keys = {card.card_id for card in self.parts.cards}
        seen = set(Card.objects.visible_to(by).filter(pk__in=keys).values_list("pk", flat=True)) if keys else keys
        hidden = [card.alias for card in self.parts.cards if card.card_id not in seen]
        if not hidden:
            return self
        problem = gettext("You may not look into the card “%(card)s”.") % {"card": hidden[0]}
        return replace(self, parts=replace(self.parts, cards=()), problem=problem)


def render_draft(
    draft: PushDraft, tables: dict[str, Table], *, by: User, person: User | None, at: datetime
) -> dict[str, Any]:
    """Render a push as if due at `at`, for `person` or for nobody in particular. Return the template's context. `by`:
    the viewer, whose own BI account is used for BI pages. Raises RenderingError."""
    order, parts, pages, page_problem = draft.subscription, draft.parts, None, ""
    if parts.picture is not None:
        try:
            pages = pages_for_editor(parts.picture, by, at)
        except RenderingError as error:
            page_problem = str(error)
    to: Recipient | Robot | None = order.robot if order.channel == Channel.ROBOT else None
    if to is None and person is not None:
        [to] = find_recipients(trial_audience(order, person.pk), None)
    run = Run(subscription=order, trigger=Run.Trigger.SCHEDULE, slot_at=at)
    source = SubscriptionSource(run, order, parts, tables, pages)
    found = preview_message(source, run, to, now=at)
    if found.content is None:
        sentence = Sentence(
            "%(person)s sees none of these rows. Look as somebody else, or give the person a value of the attribute."
        )
        raise RenderingError(sentence % {"person": str(person)})
    with timezone.override(ZoneInfo(order.time_zone)):
        shown = paginate_tables(found.content, ROWS_SHOWN)
    return {
        "found": found,
        "preview": found.phone,
        "tables": shown,
        "person": person if parts.own_rows else None,
        "rows_seen": sum(len(table.rows) for table in found.content.tables.values()),
        "rows_there": sum(len(table.rows) for table in tables.values()),
        "unreachable": to.reason_text if isinstance(to, Recipient) else "",
        "skipped": source.find_reason_to_skip(tables) or "",
        "has_page": pages is not None,
        "page_problem": page_problem,
    }


def render_saved(subscription: Subscription, *, by: User, now: datetime) -> dict[str, Any]:
    """Render a saved push over the last fetched data for nobody in particular. Own rows are not shown, since people who
    may see a push may not see everybody's rows."""
    parts = read_saved_parts(subscription.report)
    tables = parts.find_latest_tables()
    if parts.own_rows:
        return {"problem": gettext("Each person gets rows of their own.")}
    if len(tables) < len({card.alias for card in parts.cards}):
        return {"problem": gettext("No data was fetched yet.")}
    try:
        return render_draft(PushDraft(subscription, parts), tables, by=by, person=None, at=now)
    except RenderingError as error:
        return {"problem": str(error)}


def find_viewable_people(by: User) -> QuerySet[User]:
    """Return the people whose view of a message `by` may see."""
    return people_visible_to(by) | User.objects.filter(pk=by.pk)


def _build_draft(form: PushForm, report: Report) -> PushDraft:
    """Return the submitted push as a draft. `form` must be cleaned."""
    push = form.instance
    for name in TEMPLATES:  # as typed: rendering over real data reports the errors
        setattr(report, name, form.data.get(name, "").strip())
    push.report = report
    chosen = form.data.get("message_form", "")
    push.message_form = chosen if chosen in MessageForm else MessageForm.TEXTCARD
    push.time_zone = form.cleaned_data.get("time_zone") or settings.TIME_ZONE
    return PushDraft(push, *form.parts)


def _list_length_errors(*forms: Any) -> str:
    """Return the errors about texts that are too long, before saving; empty if there are none."""
    return " ".join(
        f"{form.fields[name].label}: {message}"
        for form in forms
        for name, errors in form.errors.as_data().items()
        for error in errors
        if error.code == "max_length"
        for message in error.messages
    )


def _list_offers(draft: PushDraft, tables: Mapping[str, Table], by: User) -> dict[str, Any]:
    """Return what the loaded data allows to insert: merge fields, columns, starting points for the first card, and a
    proposed column and attribute for own rows."""
    groups = [group for alias, table in tables.items() for group in merge_fields.groups_of(table, alias)]
    points: list[StartingPoint] = []
    pair = None
    if tables:
        first = draft.parts.cards[0]
        points = starting_points(first.alias, first.heading, tables[first.alias])
        pair = None if draft.parts.own_rows else propose_own_rows(tables[first.alias], by=by)
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
