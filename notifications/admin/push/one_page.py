"""Base of pages that edit one push or alert rule in one form: drafts, data, collapsible parts, a list of problems."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import QuerySet
from django.forms import BoundField, CheckboxInput
from django.forms.models import model_to_dict
from django.forms.utils import ErrorDict, ErrorList
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from integrations.admin.base import find_row, make_routes
from integrations.core.admin_pages import VERSION, AnyModelAdmin, AnyModelForm, explain_empty_selects
from integrations.data.figures import find_newest_day, find_reached_day_column, sort_newest_first
from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.datasources.fetch import DataPreview
from integrations.models import Card
from notifications import tasks
from notifications.admin import subscription_forms
from notifications.admin.base import get_administrator, is_key
from notifications.admin.push.data_choice import choose_card, list_choices
from notifications.charts.drawing import write_cell
from notifications.delivery.attachments import MediaPlan
from notifications.delivery.rendering.preview import begin_media
from notifications.models import Draft
from notifications.models.subscriptions import DRAFT_KEPT
from notifications.reports.templates import merge_fields
from notifications.reports.templates.column_names import ColumnName
from notifications.subscriptions.recipients import Reachability

FORM_KEY = re.compile(r"[0-9a-f]{32}")
# Fields that offer to add a related row even if there are choices.
ADDED_HERE = frozenset({"users", "groups", "robot"})
VALUE_CHARACTERS = 30
# Template code is left out of the summary of settings.
_TEMPLATE_CODE = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
NAMED_AT_MOST = 4
CARDS_OFFERED = 200
# Minimum similarity (0 to 1) of a missing column's name and the name proposed for it.
ALIKE = 0.6


@dataclass(frozen=True)
class FormPart:
    """A collapsible part of the form. `names`: its fields, from any form of the page. `rows`: prefixes of its formsets,
    each with the number of rows to ignore in the summary because another part of the page creates them."""

    key: str
    title: Any
    names: tuple[str, ...]
    rows: tuple[tuple[str, int], ...] = ()

    def find_fields(self, forms: Iterable[Any]) -> list[BoundField]:
        by_name = {name: form[name] for form in forms if form is not None for name in form.fields}
        return [by_name[name] for name in self.names if name in by_name]


@dataclass(frozen=True, slots=True)
class ColumnField:
    """A field that names columns. `rename`: returns its text with new names, given present → new."""

    name: str
    columns: list[ColumnName]
    rename: Callable[[Mapping[ColumnName, str]], str]


def read_column_lines(name: str, alias: str, text: str) -> ColumnField:
    """Return the field that names a column of the card `alias` in each line of `text`."""
    lines = text.split("\n")

    def rename(names: Mapping[ColumnName, str]) -> str:
        return "\n".join(names.get((alias, line.strip()), line) for line in lines)

    return ColumnField(name, [(alias, column) for line in lines if (column := line.strip())], rename)


class DraftedForm(AnyModelForm):
    """A form that may start from a saved draft. `part`: the second form on the same page, or None."""

    draft: QueryDict | None = None
    part: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.draft is not None:
            kwargs["data"] = self.draft
        super().__init__(*args, **kwargs)
        self.clear_draft_errors(self)
        self.instance.shown_draft = self.draft

    def clear_draft_errors(self, form: Any) -> None:
        """Clear the errors of a form filled from a draft, which may be incomplete."""
        if self.draft is not None:
            form._errors = ErrorDict()

    def is_valid(self) -> bool:
        return super().is_valid() and (self.part is None or self.part.is_valid())


class ButtonsPage(AnyModelAdmin):
    """Base admin for a page that is saved and enabled or disabled by buttons."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Set `is_enabled` by the button that was pressed. Buttons that neither enable nor disable keep the stored
        value, because the value in a page opened earlier may be outdated."""
        if "_buttons" in request.POST:
            values = request.POST.copy()
            row = self.get_object(request, unquote(object_id)) if object_id else None
            is_kept = row is not None and row.is_enabled and "_disable" not in values
            values.pop("is_enabled", None)
            if "_enable" in values or is_kept:
                values["is_enabled"] = "on"
            request.POST = values  # type: ignore[assignment]  # Django takes any QueryDict
        return super().changeform_view(request, object_id, form_url, extra_context)


class OnePage(ButtonsPage):
    """Base admin for a page that edits one row in one form, beside a preview over its data. `draft_name`: begins the
    page's name in its drafts. `new_title`: title for a new row. `parts`: the collapsible parts. `shown_fields`: those
    for people who may only view. `preview_path`: URL of the preview; `preview_template`: template of its message. The
    page sends the key of its row as `_id`, a random form key as `token`, so that a new row is created only once, and
    the token of the fetch of its data as `_token`."""

    draft_name: str
    is_rule = False  # whether the row is an alert rule; else it is a push
    preview_path: str
    preview_template: str
    new_title: Any
    parts: tuple[FormPart, ...]
    shown_fields: tuple[str, ...]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first = [name for name in self.shown_fields if not any(name in part.names for part in self.parts)]
        folded_names = [(part.title, [name for name in part.names if name in self.shown_fields]) for part in self.parts]
        return [(title, {"fields": names}) for title, names in [(None, first), *folded_names] if names]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        created = self._find_created_row(request)
        if created is None:
            try:
                return super().add_view(request, form_url, extra_context)
            except IntegrityError:  # submitted again before the first request was done
                created = self._find_created_row(request)
                if created is None:
                    raise
        messages.info(request, gettext("This page was sent twice. It was saved once: here it is."))
        return HttpResponseRedirect(self.find_page_url(created))

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        row = super().save_form(request, form, change)
        if not change:
            row.form_key = read_form_key(request) or None
        return row

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return further template context for people who may fill in the form."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        context["form_token"] = uuid.uuid4().hex
        if row is None:
            context["title"] = self.new_title
        if self.has_add_permission(request) if row is None else self.has_change_permission(request, row):
            form, inlines = context["adminform"].form, context["inline_admin_formsets"]
            forms, formsets = [form, form.part], [one.formset for one in inlines]
            is_submitted = request.method == "POST"
            parts, summaries = {}, self._summarise_parts(forms, formsets)
            for part in self.parts:
                fields, own = part.find_fields(forms), [one for one in inlines if one.formset.prefix in dict(part.rows)]
                has_errors = any(field.errors for field in fields) or any(
                    one.formset.total_error_count() for one in own
                )
                shown = {"key": part.key, "title": part.title, "fields": fields, "inlines": own}
                parts[part.key] = {**shown, "summary": summaries[part.key], "is_open": is_submitted and has_errors}
            for one in filter(None, forms):
                explain_empty_selects(one.fields, request, always=ADDED_HERE)
                context["media"] += one.media
            context |= {
                "is_one_page": True,
                "draft": None if is_submitted or "draft" in request.GET else self._find_draft(request, row),
                "problems": list(list_problems(forms, formsets)) if is_submitted else [],
                "errors": None,  # replaces Django's line with our list
                "collapsible_parts": parts,
                **self.page_context(request),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def _summarise_parts(self, forms: Sequence[Any], formsets: Iterable[Any]) -> dict[str, str]:
        """Return a one-line summary of the settings of each part, by key; empty if all are defaults. `forms` may
        contain None."""
        rows = {}
        for one in formsets:
            kept = [
                row for row in one.forms if not (row.is_bound and row.prefix and f"{row.prefix}-DELETE" in row.data)
            ]
            filled = [row for row in kept if not row.instance._state.adding or row.has_changed()]
            rows[one.prefix] = (one.model._meta.verbose_name_plural, len(filled))
        return {part.key: _summarise_fields(part, part.find_fields(forms), rows) for part in self.parts}

    def read_form(self, request: HttpRequest, row: Any) -> Any:
        """Return the submitted form, cleaned for a preview. Concurrent changes are reported only on saving."""
        form: Any = self.get_form(request, row)(request.POST, instance=row or self.model())
        forms = [one for one in (form, form.part) if one is not None]
        for one in forms:
            one.fields.pop(VERSION, None)
            one.instance.is_draft = True
        for one in forms:
            one.is_valid()
        return form

    def _find_created_row(self, request: HttpRequest) -> Any:
        """Return the row that an earlier submission of this page created, or None."""
        key = read_form_key(request)
        return self.get_queryset(request).filter(form_key=key).first() if key else None

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], Callable[[HttpRequest, Any], HttpResponse]] = {
            (self.preview_path, "preview"): self.preview_view,
            ("draft/", "draft"): self.draft_view,
            ("data/", "data"): lambda request, _row: list_choices(request),
            ("data/choose/", "data_choose"): lambda request, _row: choose_card(request),
            ("rename/", "rename"): self.rename_view,
        }
        ours = make_routes(self, {key: require_POST(partial(self._call_with_row, view)) for key, view in views.items()})
        return [*ours, *super().get_urls()]

    def _call_with_row(self, view: Callable[[HttpRequest, Any], HttpResponse], request: HttpRequest) -> HttpResponse:
        """Call the view with the row that the page edits, or None for a new one. Raises PermissionDenied or Http404 if
        the person may not change or add it."""
        key = request.POST.get("_id", "")
        if is_key(key):
            return view(request, find_row(self, request, key, to_change=True))
        if not self.has_add_permission(request):
            raise PermissionDenied
        return view(request, None)

    def draft_view(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Save the submitted values as a draft, or drop the draft and redirect to the page. A draft of a new row that
        arrives after its form was saved is dropped: it would be offered on the next page and saved twice."""
        drafts = self._find_drafts(request, row)
        if "_drop" in request.POST:
            drafts.delete()
            return HttpResponseRedirect(self.find_page_url(row))
        typed = request.POST.copy()
        for name in _NOT_TYPED:
            typed.pop(name, None)
        text = typed.urlencode()
        is_kept = len(text) <= CHARACTERS_AT_MOST
        if is_kept:
            person, page = get_administrator(request), self._name_draft_page(row)
            values = {"values": text, "saved_at": timezone.now()}
            Draft.objects.update_or_create(person=person, page=page, defaults=values)
        if is_kept and row is None and self._find_created_row(request) is not None:
            drafts.delete()
            is_kept = False
        return JsonResponse({"is_kept": is_kept})

    def rename_view(self, request: HttpRequest, row: Any) -> JsonResponse:
        """Return the new values of the fields that name a replaced column or card. Saves nothing. The replacements are
        parallel lists: `_alias`, `_from` and `_to`; `_from` is empty for a card."""
        values = request.POST
        columns, changes = {}, {}
        for alias, column, to in zip(*(values.getlist(name) for name in ("_alias", "_from", "_to")), strict=False):
            if column and to:
                columns[alias, column] = to
            elif is_key(to) and alias in (card_fields := self.list_card_fields(values)):
                changes[card_fields[alias]] = to
        for field in self.list_column_fields(values):
            if not columns.keys().isdisjoint(field.columns):
                changes[field.name] = field.rename(columns)
        return JsonResponse({"changes": changes})

    def list_column_fields(self, values: QueryDict) -> Iterable[ColumnField]:
        """Return the fields of the submitted form that name columns."""
        raise NotImplementedError

    def list_card_fields(self, values: QueryDict) -> Mapping[str, str]:
        """Return the name of the field that chooses the card of each alias."""
        raise NotImplementedError

    def preview_view(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Answer with the preview of the submitted form by `answer_preview`. Must not save anything."""
        raise NotImplementedError

    def read_data(self, request: HttpRequest, cards: Sequence[Card]) -> DataPreview | None:
        """Return the progress of fetching the cards' data, or None without cards. The first request starts it. The
        caller checks that the person may see the cards."""
        if not cards:
            return None
        now = timezone.now()
        token = request.POST.get("_token") or fetch.request_preview(cards, now=now)
        return fetch.read_preview(token, cards, now=now)

    def begin_media(self, request: HttpRequest, plan: MediaPlan) -> dict[str, Any]:
        """Start drawing the pictures and files of the plan. Return the context to show them."""
        begun = begin_media(plan, by=get_administrator(request), now=timezone.now())
        if begun is None:
            return {"is_busy": True}
        medium_ids, carried, shown = begun
        tasks.enqueue_previews(medium_ids)
        return {"drawings": shown, "carried": carried}

    def _find_missing_names(
        self,
        request: HttpRequest,
        data: DataPreview | None,
        cards: Mapping[str, tuple[int, str]],
        tables: Mapping[str, Table],
    ) -> Iterator[dict[str, Any]]:
        """Yield the data that its source no longer has and the columns that the form names and the data lacks, for
        _missing.html. A table without columns is skipped."""
        lost = frozenset() if data is None else data.lost
        for alias, (key, heading) in cards.items():
            if key in lost:
                offered = Card.objects.visible_to(request.user).order_by("name", "pk").values_list("pk", "name")
                choices = [(str(card), name) for card, name in offered[:CARDS_OFFERED]]
                yield {"alias": alias, "heading": heading, "column": "", "choices": choices, "proposed": ""}
        fields = self.list_column_fields(request.POST)
        for alias, column in dict.fromkeys(column for one in fields for column in one.columns):
            names = tables[alias].names if alias in tables else ()
            if names and column not in names:
                shown = {"alias": alias, "heading": cards[alias][1], "column": column}
                proposed = next(iter(get_close_matches(column, names, n=1, cutoff=ALIKE)), "")
                yield {**shown, "choices": [(name, name) for name in names], "proposed": proposed}

    def answer_preview(
        self,
        request: HttpRequest,
        form: Any,
        data: DataPreview | None,
        context: Mapping[str, Any],
        cards: Mapping[str, tuple[int, str]],
        tables: Mapping[str, Table],
        **further: Any,
    ) -> HttpResponse:
        """Return the JSON answer for a cleaned form. While the fetch has a `token`, the page asks again. `context`: the
        template context of the message. By alias: `cards`, key and heading of the data, and the loaded `tables`."""
        token, problem, waiting = (data.token, data.problem, data.delay_reason) if data is not None else ("", "", "")
        missing = list(self._find_missing_names(request, data, cards, tables))
        if self.is_rule and missing and tables:
            context = {}  # nothing can be tried without the missing column
        shown = {"waiting": data if token else None, **context, "problem": context.get("problem") or problem}
        today, zone = timezone.localdate(), timezone.get_current_timezone()
        samples = []  # the first rows of each table, the newest first, and its newest day
        for alias, table in tables.items():
            day = find_reached_day_column(table, today=today, zone=zone)
            newest = find_newest_day(table.list_values(day), until=today, zone=zone) if day else None
            rows = [
                [
                    (write_cell(value, column), column.is_numeric)
                    for value, column in zip(row, table.columns, strict=True)
                ]
                for row in sort_newest_first(table, today=today, zone=zone).rows[:SAMPLE_ROWS]
            ]
            sample = {"heading": cards[alias][1], "table": table, "rows": rows, "newest": newest}
            samples.append({**sample, "count": len(table.rows)})
        names = {"missing": missing, "is_rule": self.is_rule}
        times = form.find_times(timezone.now(), is_check=self.is_rule)
        formsets = self._create_formsets(request, form.instance, change=form.instance.pk is not None)[0]
        return JsonResponse(
            {
                "token": token,
                "waiting": (waiting or gettext("The data is being fetched…")) if token else "",
                "has_failed": bool(problem),  # the page then forgets its token and fetches anew
                "message": render_to_string(self.preview_template, shown, request),
                "rows": render_to_string(
                    f"{FOLDER}/_rows.html", {"tables": samples, "waiting": data, "is_rule": self.is_rule}, request
                ),
                "missing": render_to_string(f"{FOLDER}/_missing.html", names, request),
                "outlook": show_outlook(request, form.found, times, is_rule=self.is_rule),
                "who": show_outlook(request, form.found, times, part="_who"),
                "times": show_outlook(request, form.found, times, part="_times"),
                "summaries": self._summarise_parts((form, form.part), formsets),
                **further,
            }
        )

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """Fill the formset from the draft if the draft has such rows."""
        draft: QueryDict | None = getattr(obj, "shown_draft", None)
        is_kept = draft is not None and f"{prefix}-TOTAL_FORMS" in draft
        return {**super().get_formset_kwargs(request, obj, inline, prefix), **({"data": draft} if is_kept else {})}

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)  # type: ignore[misc]  # unknown to the stubs
        for formset in formsets if getattr(obj, "shown_draft", None) is not None else ():
            # Clear the errors of rows filled from a draft, which may be incomplete.
            formset._errors, formset._non_form_errors = [ErrorDict() for _form in formset.forms], ErrorList()
            for form in formset.forms:
                form._errors = ErrorDict()
        return formsets, inlines

    def read_chosen_draft(self, request: HttpRequest, row: Any) -> QueryDict | None:
        """Return the values of the person's draft if the URL asks for it, else None."""
        found = self._find_draft(request, row) if request.method == "GET" and "draft" in request.GET else None
        return None if found is None else QueryDict(found.values, mutable=True)

    def forget_draft(self, request: HttpRequest, *, is_new: bool, row: Any) -> None:
        """Drop the draft after its values were saved."""
        self._find_drafts(request, None if is_new else row).delete()

    def find_page_url(self, row: Any) -> str:
        if row is None:
            return reverse(f"admin:{self._url_name('add')}")
        return reverse(f"admin:{self._url_name('change')}", args=[row.pk])

    def _find_draft(self, request: HttpRequest, row: Any) -> Draft | None:
        return self._find_drafts(request, row).filter(saved_at__gt=timezone.now() - DRAFT_KEPT).first()

    def _find_drafts(self, request: HttpRequest, row: Any) -> QuerySet[Draft]:
        return Draft.objects.filter(person=get_administrator(request), page=self._name_draft_page(row))

    def _name_draft_page(self, row: Any) -> str:
        return f"{self.draft_name}:{row.pk if row is not None else 'new'}"

    def _url_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


def read_form_key(request: HttpRequest) -> str:
    """Return the `token` of a submitted page; empty if it is missing or malformed."""
    key = request.POST.get("token", "")
    return key if FORM_KEY.fullmatch(key) else ""


def list_problems(forms: Iterable[Any], formsets: Iterable[Any] = ()) -> Iterator[tuple[str, Any, str]]:
    """Yield the errors of forms and formsets in the order of the page: text, label, and id of the field, which is empty
    if it concerns the whole form. `forms` may contain None."""
    for one in filter(None, forms):
        yield from ((text, "", "") for text in one.non_field_errors())
        yield from ((text, field.label, field.id_for_label) for field in one for text in field.errors)
    for formset in formsets:
        label = formset.model._meta.verbose_name
        yield from ((text, label, "") for text in formset.non_form_errors())
        for row in formset.forms:
            yield from ((text, label, "") for text in row.non_field_errors())
            yield from ((text, label, field.id_for_label) for field in row for text in field.errors)


CHARACTERS_AT_MOST = 200_000
# Submitted values that a draft leaves out, because nobody typed them.
_NOT_TYPED = (
    *("csrfmiddlewaretoken", "token", "_token", "_id", "_as"),
    *("_save", "_try", "try_on", "_enable", "_disable", "_buttons", "is_enabled"),
)


def _summarise_fields(part: FormPart, fields: Iterable[BoundField], rows: Mapping[str, tuple[Any, int]]) -> str:
    changed = []
    for field in fields:
        # Skip a field that has the same value as on the page of a new row.
        form: Any = field.form
        if form.instance._state.adding:
            usual = form.get_initial_for_field(field.field, field.name)
        else:
            blank = {**model_to_dict(form._meta.model(), fields=[field.name]), **getattr(form, "new_values", {})}
            usual = blank.get(field.name, field.field.initial)
            usual = usual() if callable(usual) else usual
        if not field.field.has_changed(usual, _read_sent_value(field)):
            continue
        if not isinstance(field.field.widget, CheckboxInput):
            changed.append(
                _("%(name)s: %(value)s") % {"name": field.label, "value": ", ".join(_list_values(field)) or "—"}
            )
        elif field.value():
            changed.append(str(field.label))
        else:
            changed.append(_("%(name)s: %(value)s") % {"name": field.label, "value": _("no")})
    for prefix, ignored_count in part.rows:
        name, count = rows.get(prefix, ("", 0))
        if count > ignored_count:
            changed.append(_("%(name)s: %(value)s") % {"name": name, "value": count})
    more = len(changed) - NAMED_AT_MOST
    further = [ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more}] if more > 0 else []
    return " · ".join([*changed[:NAMED_AT_MOST], *further])


def _read_sent_value(field: BoundField) -> Any:
    """Return the value in the form in which the widget submits it."""
    value = field.value()
    is_several = hasattr(field.field.widget, "decompress")
    return field.field.widget.decompress(value) if is_several and not isinstance(value, list) else value


def _list_values(field: BoundField) -> Iterator[str]:
    """Yield what to show for a field; for long lists only their length."""
    value = _read_sent_value(field)
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


# --- Panels beside a form ---------------------------------------------------------------------------------------------

SAMPLE_ROWS = 8
FOLDER = "admin/notifications/subscription"


def show_outlook(
    request: HttpRequest,
    reach: Reachability | None,
    times: Mapping[str, Any],
    *,
    is_rule: bool = False,
    message: Mapping[str, Any] | None = None,
    part: str = "_reach",
) -> SafeString:
    """Render the recipients and the next times, and below them `message` if given. `part`: the template; `_who` renders
    the recipients only, `_times` the times only."""
    may_open = request.user.has_perm("accounts.view_user")
    context = {
        **times,
        "found": reach,
        "is_rule": is_rule,
        "message": message,
        "unreachable_lines": subscription_forms.list_unreachable(reach, may_open=may_open) if reach else [],
        "department_lines": subscription_forms.note_departments(reach) if reach else [],
    }
    return render_to_string(f"{FOLDER}/{part}.html", context, request)


def read_template(source: str, headings: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Split a template into texts and merge fields; None if only its source can be edited."""
    parts = merge_fields.read_parts(source.replace("\r\n", "\n"), headings)
    if parts is None:
        return None
    return [{"text": part} if isinstance(part, str) else asdict(part) for part in parts]
