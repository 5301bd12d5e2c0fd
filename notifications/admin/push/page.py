"""The admin page of a push: the subscription and its content in one form, saved together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import BoundField, CheckboxInput
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone, translation
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import Attribute
from integrations.core.admin_pages import VERSION, offer_ways, way_out
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from notifications.admin.base import administrator
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
from notifications.admin.push.one_page import ADDED_HERE, OnePage, problems_of, proposed_pair
from notifications.admin.report_forms import CARDS_AT_MOST, PREFIX, TEMPLATES, is_key, take_texts
from notifications.admin.reports import (
    OwnRowsInline,
    PagePictureInline,
    ReportCardInline,
    ReportChartInline,
    template_help,
)
from notifications.admin.subscription_forms import find_times_of_form
from notifications.delivery.rendering.attachments import find_obstacle
from notifications.models import MessageForm, OwnRowsRule, Report, Subscription
from notifications.reports.starting_points import StartingPoint, offered_points, starting_points
from notifications.reports.templates import merge_fields, renderer

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import QueryDict
    from django_stubs_ext import StrOrPromise

    from accounts.models import User


VALUE_CHARACTERS = 30


# What a list of settings leaves out.
_TEMPLATE_CODE = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)


NAMED_AT_MOST = 4


ROWS_AT_MOST = 100


@dataclass(frozen=True)
class Part:
    """`names`: of its fields, in whichever form of the page has them. `rows`: the prefixes of its formsets, each with
    how many rows it may have before they count as set here: those are made elsewhere on the page."""

    key: str
    title: StrOrPromise
    names: tuple[str, ...]
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class FoldedPart:
    """`inlines`: the admin's formsets. `summary`: what is set, in one line; empty where all is as it was at first."""

    key: str
    title: StrOrPromise
    fields: list[BoundField]
    inlines: list[Any]
    summary: str
    is_open: bool


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


class PushPage(OnePage, PreviewMixin):
    """For the admin of subscriptions. The rows of the page belong to the report, not to the subscription."""

    draft_name = "push"
    preview_path, preview_name = "outlook/", "notifications_subscription_preview"
    preview_template = "admin/notifications/report/_preview.html"

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
        """Rows stand on the page only together with the content that they belong to. The form reads them, too."""
        if getattr(obj, "content_at_work", None) is None:
            return [], []
        if not hasattr(obj, "formsets_at_work"):
            obj.formsets_at_work = super()._create_formsets(request, obj, change)
        return obj.formsets_at_work

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
            "field_formats": merge_fields.formats(),
            "chooser": person_chooser("as", self.admin_site, person, chosen=person),
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
            context["page_picture_obstacle"] = find_obstacle(now=timezone.now())
            context["page_picture"] = next((one.formset for one in inlines if one.formset.prefix == PREFIX), None)
            context["folded_parts"] = folded(PARTS, (form, form.content), inlines, is_sent=request.method == "POST")
        return super().render_change_form(request, context, *args, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.draft = self.draft_chosen(request, obj)
        form.make_formsets = lambda row: self._create_formsets(request, row, change=row.pk is not None)[0]
        return form

    # --- What it asks the server --------------------------------------------------------------------------------------

    def push_urls(self, wrapped: Callable[[Any], Any]) -> list[URLPattern]:
        copy = path("<int:pk>/copy/", wrapped(require_POST(self.copy_view)), name="notifications_subscription_copy")
        return [*self.page_urls(wrapped), copy]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The form as it stands: its rows, its message, who and when. Nothing is saved.

        Of what the page gets: `as`: as whom it looks; `fields`: what can be inserted; `points`: the starting points;
        both empty until the data is there. `parts`: for each template the texts and merge fields of which it consists,
        null where it can be written by hand alone; `sources`: the templates that this is said of.
        """
        by, now = administrator(request), timezone.now()
        subscription = self.at_work(request)
        form = self.get_form(request, subscription)(request.POST, instance=subscription or Subscription())
        # What others saved meanwhile is said when it is saved.
        for one in filter(None, (form, form.content)):
            one.fields.pop(VERSION, None)
        if form.content is not None:
            form.content.instance.is_draft = True
        form.is_valid()
        further = {
            "outlook": show_outlook(request, form.found, find_times_of_form(form, now)),
            "folded": summaries(PARTS, (form, form.content), request.POST, [inline.model for inline in INLINES]),
        }
        if form.content is None:  # somebody who may not write it reads it as it is
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
        """As whom the page looks (whom it chose, else the first recipient, else oneself), and the message."""
        by = administrator(request)
        first = form.found.first_id if form.found is not None else None
        person = looked_at_as(by).filter(pk=first or by.pk).first() or by
        try:
            person = find_person("", request.POST.get("_person", ""), by) or person
            at = read_moment(request.POST.get("_at", ""), now, draft.subscription.time_zone)
        except PreviewRefusedError as error:
            return person, {"problem": str(error)}
        if not any(request.POST.get(name, "").strip() for name in TEMPLATES):
            return person, {}
        return person, self.show_draft(request, draft, data, person, at)

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


def _draft_of(form: PushForm, report: Report) -> PushDraft:
    """The push as its page stands, of a form that was cleaned."""
    push = form.instance
    take_texts(report, form.data)
    push.report = report
    chosen = form.data.get("message_form", "")
    push.message_form = chosen if chosen in MessageForm else MessageForm.TEXTCARD
    push.time_zone = form.cleaned_data.get("time_zone") or settings.TIME_ZONE
    return PushDraft(push, *form.parts)


def _missing(request: HttpRequest, draft: PushDraft, data: DataPreview | None, tables: Mapping[str, Table]) -> str:
    """What the push names and the data does not have any more, with what it may be called today."""
    lost = frozenset() if data is None else data.lost
    gone = [one for one in draft.parts.cards if one.card_id in lost]
    found = [missing_card(one.alias, one.heading, administrator(request)) for one in gone]
    headings = {card.alias: card.heading for card in draft.parts.cards}
    return show_missing(request, [*found, *missing_columns(columns_named(request.POST, tables), tables, headings)])


def _limits(*forms: Any) -> str:
    """Which texts are longer than they may be, before they are saved; empty where none is."""
    return " ".join(
        f"{form.fields[name].label}: {message}"
        for form in forms
        for name, errors in form.errors.as_data().items()
        for error in errors
        if error.code == "max_length"
        for message in error.messages
    )


def _offered(draft: PushDraft, tables: Mapping[str, Table], by: User) -> dict[str, Any]:
    """What the page offers once the data is there: fields to insert, starting points made of the first card, and with
    which of its columns and which attribute own rows would begin."""
    groups = [group for alias, table in tables.items() for group in merge_fields.groups_of(table, alias)]
    points: list[StartingPoint] = []
    pair = None
    if tables:
        first = draft.parts.cards[0]
        points = starting_points(first.alias, first.heading, tables[first.alias])
        pair = None if draft.parts.own_rows else proposed_pair(tables[first.alias], by=by)
    return {
        "fields": [
            {
                "label": group.label,
                "is_number": group.is_number,
                "fields": [{"label": one.label, "template": one.template} for one in group.fields],
            }
            for group in [*groups, merge_fields.day_fields(tables)]
        ],
        "columns": {alias: list(table.names) for alias, table in tables.items()},
        "pair": pair,
        "points": [
            {
                "key": point.key,
                "lacks": point.lacks,
                "message_form": point.message_form.value,
                **{name: getattr(point, name) for name in TEMPLATES},
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


def folded(
    parts: Iterable[Part], forms: Sequence[Any], inlines: Sequence[Any], *, is_sent: bool
) -> dict[str, FoldedPart]:
    """By key. One with an error is open. `forms`: None where a part of the page is not there. `is_sent`: whether errors
    are said."""
    found = {}
    for part in parts:
        fields = _fields(part, forms)
        own = [one for one in inlines if one.formset.prefix in dict(part.rows)]
        counts = {one.formset.prefix: sum(map(_is_filled, one.formset.forms)) for one in own}
        summary = _summary(part, fields, counts, {one.formset.prefix: one.formset.model for one in own})
        has_errors = any(field.errors for field in fields) or any(one.formset.total_error_count() for one in own)
        found[part.key] = FoldedPart(part.key, part.title, fields, own, summary, is_sent and has_errors)
    return found


def summaries(
    parts: Iterable[Part], forms: Sequence[Any], values: QueryDict, models: Iterable[type[Model]]
) -> dict[str, str]:
    """By key, of a page as it was sent. `models`: of its formsets."""
    known = {_prefix_of(model): model for model in models}
    counts = {prefix: _count(values, prefix) for prefix in known}
    return {part.key: _summary(part, _fields(part, forms), counts, known) for part in parts}


def _summary(
    part: Part, fields: Iterable[BoundField], counts: Mapping[str, int], models: Mapping[str, type[Model]]
) -> str:
    changed = [_words(field) for field in fields if _is_set(field)]
    for prefix, spared in part.rows:
        if counts.get(prefix, 0) > spared:
            name = models[prefix]._meta.verbose_name_plural
            changed.append(_("%(name)s: %(value)s") % {"name": name, "value": counts[prefix]})
    more = len(changed) - NAMED_AT_MOST
    further = [ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more}] if more > 0 else []
    return " · ".join([*changed[:NAMED_AT_MOST], *further])


def _count(values: QueryDict, prefix: str) -> int:
    total = values.get(f"{prefix}-TOTAL_FORMS", "")
    known = range(min(int(total), ROWS_AT_MOST)) if is_key(total) else range(0)
    return sum(f"{prefix}-{number}-DELETE" not in values for number in known)


def _prefix_of(model: type[Model]) -> str:
    relation: Any = next(field for field in model._meta.fields if field.name in ("report", "rule"))
    return str(relation.remote_field.get_accessor_name())


def _fields(part: Part, forms: Iterable[Any]) -> list[BoundField]:
    by_name = {name: form[name] for form in forms if form is not None for name in form.fields}
    return [by_name[name] for name in part.names if name in by_name]


def _is_set(field: BoundField) -> bool:
    """Whether its value is another one than on the page of a new row."""
    form: Any = field.form
    if form.instance._state.adding:
        usual = form.get_initial_for_field(field.field, field.name)
    else:
        blank = {**model_to_dict(form._meta.model(), fields=[field.name]), **getattr(form, "new_values", {})}
        usual = blank.get(field.name, field.field.initial)
        usual = usual() if callable(usual) else usual
    return bool(field.field.has_changed(usual, _sent(field)))


def _sent(field: BoundField) -> Any:
    """The value as the widget would send it."""
    value = field.value()
    is_several = hasattr(field.field.widget, "decompress")
    return field.field.widget.decompress(value) if is_several and not isinstance(value, list) else value


def _is_filled(row: Any) -> bool:
    is_deleted = row.is_bound and row.prefix and f"{row.prefix}-DELETE" in row.data
    return not is_deleted and (not row.instance._state.adding or row.has_changed())


def _words(field: BoundField) -> str:
    if isinstance(field.field.widget, CheckboxInput):
        return str(field.label) if field.value() else _("%(name)s: %(value)s") % {"name": field.label, "value": _("no")}
    return _("%(name)s: %(value)s") % {"name": field.label, "value": ", ".join(_values(field)) or "—"}


def _values(field: BoundField) -> Iterator[str]:
    """Of a long list how many there are."""
    value = _sent(field)
    several = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(one, tuple | list) for one in several):
        yield str(len(several))
    elif hasattr(field.field, "queryset"):
        chosen = [one for one in several if one]
        known = field.field.queryset.filter(pk__in=[getattr(one, "pk", one) for one in chosen])[:2]
        yield from [str(one) for one in known] if len(chosen) == 1 else [str(len(chosen))]
    elif hasattr(field.field, "choices"):
        labels = {str(key): str(label) for key, label in field.field.choices}
        yield from (labels.get(str(one), str(one)) for one in several)
    else:
        shown = (_TEMPLATE_CODE.sub("…", str(one)) for one in several if one not in (None, ""))
        yield from (Truncator(one).chars(VALUE_CHARACTERS) for one in shown)
