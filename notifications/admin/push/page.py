"""The admin page of a push: the subscription and its report in one form, saved together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Attribute, User
from integrations.admin.base import find_row
from integrations.core.admin_pages import describe_empty_select, render_help
from integrations.core.sentences import Sentence
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from integrations.models import Card
from notifications.admin.base import get_administrator, is_key
from notifications.admin.push.data_choice import propose_own_rows
from notifications.admin.push.form import CONTENT_MARKER, FOR_THIS, PushForm, copy_push, copy_report, share_push
from notifications.admin.push.one_page import ColumnField, FormPart, OnePage, read_column_lines, read_template
from notifications.admin.push.trial import TRY_ON, find_viewable_people, make_person_field
from notifications.admin.reports import (
    CARDS_AT_MOST,
    CHARTS_AT_MOST,
    PICTURE_FIELDS,
    RULES_AT_MOST,
    SEEN_BY,
    TEMPLATES,
    ReportAdmin,
    end_shared_view,
    read_card_keys,
    read_row_aliases,
)
from notifications.delivery.attachments import RecipientPages, find_obstacle
from notifications.delivery.rendering.message_builder import FORMS_WITH_FIGURES
from notifications.delivery.rendering.preview import preview_message
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource, read_saved_parts
from notifications.models import Channel, MessageForm, OwnRowsRule, Report, Robot, Run, Subscription
from notifications.reports.contents import paginate_tables
from notifications.reports.templates import merge_fields, renderer
from notifications.reports.templates.column_names import (
    describe_template_names,
    find_column_places,
    rename_columns,
)
from notifications.reports.templates.merge_fields import StartingPoint, make_starting_points
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Recipient, find_recipients, make_trial_audience
from notifications.tasks import enqueue_runs


class PushPage(OnePage):
    """The change page of subscriptions. Its inline rows belong to the report, not to the subscription."""

    draft_name, new_title = "push", _("New push")
    parts = (
        FormPart(
            "look",
            _("More styles"),
            ("figures", "is_template", "link"),
            (("report_cards", CARDS_AT_MOST), ("charts", 0)),
        ),
        FormPart(
            "delivery",
            _("More recipients, delivery and retries"),
            (
                *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot"),
                *("fallback_channel", "priority", "grace_minutes", "lifetime_hours", "pauses_after_failures"),
            ),
            (("own_rows_rules", 1),),
        ),
        FormPart(
            "exceptions",
            _("Time zone, holidays, and when nothing is sent"),
            (
                *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to", "skips_empty"),
                *("skips_unchanged", "skips_people_without_rows", "stale_after_minutes", "if_stale", "is_paused"),
            ),
        ),
    )
    preview_path, preview_template = "outlook/", "admin/notifications/report/_preview.html"
    form = PushForm
    shown_fields = (*PushForm.Meta.fields, "rules")

    def get_formsets_with_inlines(
        self, request: HttpRequest, obj: Subscription | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the formsets of the report; none if its form was not submitted or the person may not edit it."""
        has_content = request.method != "POST" or CONTENT_MARKER in request.POST
        permission = "notifications.add_report" if obj is None else "notifications.change_report"
        if not has_content or not request.user.has_perm(permission):
            return
        report = None if obj is None else getattr(obj, "edited_report", None)
        known = report if report is not None and report.pk else None
        for inline_class in ReportAdmin.inlines:
            inline = inline_class(Report, self.admin_site)
            yield inline.get_formset(request, known), inline

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        """Create the formsets once, as the form reads them too. Without a report there are none."""
        if getattr(obj, "edited_report", None) is None:
            return [], []
        if not hasattr(obj, "report_formsets"):
            obj.report_formsets = super()._create_formsets(request, obj, change)
        return obj.report_formsets

    def get_formset_kwargs(self, request: HttpRequest, obj: Subscription, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        return {**kwargs, "instance": getattr(obj, "edited_report", None) or Report()}

    def save_content(self, request: HttpRequest, form: PushForm, *, change: bool) -> None:
        """Save the report, so that the subscription can refer to it. `save_related` saves its rows later."""
        content, report = form.content, form.instance.report
        if content is not None and form.may_copy() and form.data.get("content_for") == FOR_THIS:
            copied, form.copied_parts = copy_report(report)
            report.pk, report.created_at = copied.pk, copied.created_at
        elif change:
            formsets, _inlines = self._create_formsets(request, form.instance, change)
            enqueue_runs(end_shared_view(report, [form, content, *formsets], get_administrator(request)))
        if content is None:
            return
        if report._state.adding:
            content.save()
        elif content.changed_data:
            report.save(update_fields={*content.changed_data, *PICTURE_FIELDS} - {SEEN_BY})
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
        sent = Report.objects.visible_to(request.user).filter(subscriptions__in=keys).distinct()
        others = Subscription.objects.exclude(pk__in=keys).values("report")
        may_delete = request.user.has_perm("notifications.delete_report")
        # Evaluate now: after the deletion, the pushes no longer lead to their reports.
        found = sent.exclude(pk__in=others).values_list("pk", flat=True) if may_delete else ()
        return Report.objects.filter(pk__in=list(found))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for formset in formsets if form.copied_parts is not None else ():
            for row in formset.initial_forms:  # loaded from the original report
                row.instance.pk = form.copied_parts[formset.model].get(row.instance.pk)
                row.instance.report = formset.instance
        super().save_related(request, form, formsets, change)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Add the changed fields of the report to the message."""
        changes = super().construct_change_message(request, form, formsets, add)
        content = form.content
        if add or content is None or not content.changed_data:
            return changes
        with translation.override(None):
            names = {field.name: field.verbose_name for field in Report._meta.fields}
            labels = [str(names.get(name, content.fields[name].label)) for name in content.changed_data]
        return [
            *changes,
            {"changed": {"name": str(Report._meta.verbose_name), "object": form.instance.name, "fields": labels}},
        ]

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        person = get_administrator(request)
        # The select is filled by a script, and a row can always be added.
        attributes_help = describe_empty_select(Attribute, request, is_empty=not Attribute.objects.exists())
        return {
            # Labels and descriptions of the starting points, shown before there is any data.
            "starting_points": make_starting_points("card", "", Table((), (), datetime.min.replace(tzinfo=UTC)))[0],
            "forms_with_figures": " ".join(FORMS_WITH_FIGURES),
            "chooser": make_person_field(person, self.admin_site, "as", "preview-%s", {"data-as": ""}),
            "try_on": make_person_field(person, self.admin_site, TRY_ON, "%s", {}),
            "of_person": OwnRowsRule.OF_PERSON,
            "attributes_help": render_help(attributes_help, "own-rows-attribute"),
            "reserved_names": " ".join(sorted(renderer.find_reserved_names())),
            **describe_template_names(timezone.now(), timezone.get_current_timezone()),
            "page_picture_obstacle": find_obstacle(now=timezone.now()),
        }

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.draft = self.read_chosen_draft(request, obj)
        form.make_formsets = lambda row: self._create_formsets(request, row, change=row.pk is not None)[0]
        return form

    def list_column_fields(self, values: QueryDict) -> Iterator[ColumnField]:
        """Yield the fields that name columns: templates, charts and own rows."""
        aliases = read_card_keys(values).keys()
        for name in TEMPLATES if "is_template" in values else ():
            text = values.get(name, "")
            columns = [column for _place, column in find_column_places(text, aliases)]
            yield ColumnField(name, columns, partial(rename_columns, text))
        rows = read_row_aliases(values, "charts", CHARTS_AT_MOST)
        rows |= read_row_aliases(values, "own_rows_rules", RULES_AT_MOST)
        for prefix, alias in rows.items():
            for name in (f"{prefix}-{column}" for column in ("x", "series", "y", "column")):
                if name in values:
                    yield read_column_lines(name, alias, values.get(name, ""))

    def list_card_fields(self, values: QueryDict) -> dict[str, str]:
        rows = read_row_aliases(values, "report_cards", CARDS_AT_MOST)
        return {alias: f"{row}-card" for row, alias in rows.items() if f"{row}-card" in values}

    def preview_view(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Preview the submitted form: data, message, recipients and times. Saves nothing. The answer has `as`: the
        person whose view is shown; `fields` and `points`: merge fields and starting points, empty until the data is
        loaded; `start`: the point to begin with; `parts`: for each template its texts and merge fields, null if only
        the source can be edited; `sources`: the templates that `parts` was made from."""
        by = get_administrator(request)
        form = self.read_form(request, row)
        if form.content is None:  # without permission to edit the report, preview the saved one
            report = form.cleaned_data.get("report")
            form.instance.message_form = form.cleaned_data.get("message_form") or MessageForm.TEXTCARD
            message = {} if report is None else render_saved(form.instance, by=by, now=timezone.now())
            return self.answer_preview(request, form, None, message, {}, {})
        push, (submitted, problem) = form.instance, form.parts_and_problem
        push.report = submitted.report
        for name in TEMPLATES:  # as typed: rendering over real data reports the errors
            setattr(push.report, name, form.data.get(name, "").strip())
        chosen = form.data.get("message_form", "")
        push.message_form = chosen if chosen in MessageForm else MessageForm.TEXTCARD
        push.time_zone = form.cleaned_data.get("time_zone") or settings.TIME_ZONE
        # If the person may not see one of the cards, no card is shown, even if all were saved earlier.
        keys = {card.card_id for card in submitted.cards}
        seen = set(Card.objects.visible_to(by).filter(pk__in=keys).values_list("pk", flat=True)) if keys else keys
        if hidden := [card.alias for card in submitted.cards if card.card_id not in seen]:
            submitted = replace(submitted, cards=())
            problem = gettext("You may not look into the data “%(card)s”.") % {"card": hidden[0]}
        data = self.read_data(request, list({card.card_id: card.card for card in submitted.cards}.values()))
        found = data.tables if data is not None else {}
        tables = {one.alias: found[one.card_id] for one in submitted.cards if one.card_id in found}
        person, context = self._preview_as_person(request, form, submitted, problem, data)
        cards = {card.alias: (card.card_id, card.heading) for card in submitted.cards}
        headings = {alias: heading for alias, (_key, heading) in cards.items()}
        sources = {name: request.POST.get(name, "") for name in TEMPLATES}
        parts: dict[str, list[dict[str, str]] | None] = {
            name: [{"text": text.replace("\r\n", "\n")}] if text else [] for name, text in sources.items()
        }
        if "is_template" in request.POST:
            parts = {name: read_template(text, headings) for name, text in sources.items()}
        # The preview already says which texts are too long.
        limits = [
            f"{one.fields[name].label}: {message}"
            for one in (form, form.content)
            for name, errors in one.errors.as_data().items()
            for error in errors
            if error.code == "max_length"
            for message in error.messages
        ]
        return self.answer_preview(
            request,
            form,
            data,
            context,
            cards,
            tables,
            limits=" ".join(limits),
            parts=parts,
            sources=sources,
            **{"as": {"id": str(person.pk), "name": str(person)}},
            **_list_offers(submitted, tables, by, push.time_zone),
        )

    def _preview_as_person(
        self, request: HttpRequest, form: PushForm, submitted: ReportParts, problem: str, data: DataPreview | None
    ) -> tuple[User, dict[str, Any]]:
        """Return the person whose view is shown (the chosen one, else the first recipient, else oneself) and the
        template context of the message or its problem."""
        by, values = get_administrator(request), request.POST
        viewable, first = find_viewable_people(by), form.found.first_id if form.found is not None else None
        person = viewable.filter(pk=first or by.pk).first() or by
        if key := values.get("_person", ""):
            chosen = viewable.filter(pk=int(key)).first() if is_key(key) else None
            if chosen is None:
                return person, {"problem": gettext("Nobody whom you see is “%(typed)s”.") % {"typed": key}}
            person = chosen
        at = timezone.now()
        if typed := values.get("_at", ""):
            try:
                at = datetime.fromisoformat(typed).replace(tzinfo=ZoneInfo(form.instance.time_zone))
            except ValueError:
                return person, {"problem": gettext("Write the time as 2026-11-28 09:00.")}
        if not any(values.get(name, "").strip() for name in TEMPLATES):
            return person, {}
        if problem or (data is not None and (data.token or data.problem)):
            return person, {"problem": problem}
        tables = {} if data is None else {card.alias: data.tables[card.card_id] for card in submitted.cards}
        try:
            context = render_push(form.instance, submitted, tables, by=by, person=person, at=at)
        except RenderingError as error:
            return person, {"problem": str(error)}
        return person, {**context, **self.begin_media(request, context["found"].media)}

    def rename_view(self, request: HttpRequest, row: Any) -> JsonResponse:
        verb = "add" if row is None else "change"
        if not request.user.has_perm(f"notifications.{verb}_report"):
            raise PermissionDenied
        return super().rename_view(request, row)

    def copy_view(self, request: HttpRequest, pk: int, *, is_shared: bool) -> HttpResponse:
        """Create a disabled copy of the push, and show it. `is_shared`: the copy sends the same report to other people,
        else it gets its own report."""
        subscription, owner = find_row(self, request, pk, to_change=True), get_administrator(request)
        may_copy = is_shared or request.user.has_perm("notifications.add_report")
        if not (may_copy and self.has_add_permission(request)):
            raise PermissionDenied
        if is_shared:
            copied, entry = share_push(subscription, owner=owner), gettext("Same content as “%(name)s”.")
            messages.success(request, gettext("The same content for other people: choose them, then enable it."))
        else:
            copied, entry = copy_push(subscription, owner=owner), gettext("Copied from “%(name)s”.")
            messages.success(request, gettext("This is the copy. It is not enabled."))
        self.log_addition(request, copied, entry % {"name": subscription.name})
        return HttpResponseRedirect(self.find_page_url(copied))


# --- Preview ----------------------------------------------------------------------------------------------------------

ROWS_SHOWN = 20


def render_push(
    push: Subscription,
    parts: ReportParts,
    tables: dict[str, Table],
    *,
    by: User,
    person: User | None,
    at: datetime,
) -> dict[str, Any]:
    """Render a push as if due at `at`, for `person` or for nobody in particular. Return the template's context. `by`:
    the viewer, whose own BI account is used for BI pages. Raises RenderingError."""
    pages, page_problem = None, ""
    if parts.report.has_picture:
        try:
            pages = RecipientPages(parts.report, at, owner_id=by.pk, is_preview=True)
        except RenderingError as error:
            page_problem = str(error)
    to: Recipient | Robot | None = push.robot if push.channel == Channel.ROBOT else None
    if to is None and person is not None:
        [to] = find_recipients(make_trial_audience(push, person.pk), None)
    run = Run(subscription=push, trigger=Run.Trigger.SCHEDULE, slot_at=at)
    source = SubscriptionSource(run, push, parts, tables, pages)
    found = preview_message(source, run, to, now=at)
    if found.content is None:
        sentence = Sentence(
            "%(person)s sees none of these rows. Look as somebody else, or give the person a value of the attribute."
        )
        raise RenderingError(sentence % {"person": str(person)})
    with timezone.override(ZoneInfo(push.time_zone)):
        shown = paginate_tables(found.content, ROWS_SHOWN, at=timezone.localtime(at))
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
        return render_push(subscription, parts, tables, by=by, person=None, at=now)
    except RenderingError as error:
        return {"problem": str(error)}


def _list_offers(submitted: ReportParts, tables: Mapping[str, Table], by: User, time_zone: str) -> dict[str, Any]:
    """Return what the loaded data allows to insert: merge fields, columns, starting points for the first card, the one
    to begin with, and a proposed column and attribute for own rows."""
    columns = [
        {**asdict(column), "card": card.heading}
        for card in submitted.cards
        if card.alias in tables
        for column in merge_fields.list_column_fields(tables[card.alias], card.alias)
    ]
    points: list[StartingPoint] = []
    start, pair = "", None
    if tables:
        first, at = submitted.cards[0], timezone.now().astimezone(ZoneInfo(time_zone))
        points, start = make_starting_points(
            first.alias, first.heading, tables[first.alias], today=at.date(), zone=at.tzinfo or UTC
        )
        pair = None if submitted.own_rows else propose_own_rows(tables[first.alias], by=by)
    return {
        "fields": [*columns, {**asdict(merge_fields.list_day_fields(tables)), "card": ""}],
        "columns": {alias: list(table.names) for alias, table in tables.items()},
        "pair": pair,
        "start": start,
        "points": [
            {
                **{name: getattr(point, name) for name in ("key", "label", "lacks", "plain_body", *TEMPLATES)},
                "message_form": point.message_form.value,
                "charts": [
                    {"kind": chart.kind.value, "x": chart.x, "y": "\n".join(chart.y), "sort": chart.sort.value}
                    for chart in point.charts
                ],
            }
            for point in points
        ],
    }
