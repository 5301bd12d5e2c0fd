"""Base of pages that edit one thing in one form: drafts, choosing data, folded parts, a list of problems."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import F
from django.forms import BoundField, CheckboxInput
from django.forms.models import model_to_dict
from django.forms.utils import ErrorDict, ErrorList
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import AttributeValue, WeComAccount, fold_value
from accounts.users.roles import people_visible_to, whom_to_ask
from integrations.admin.card_picker import ID_CHARACTERS, WITHOUT_ROWS
from integrations.core.admin_pages import VERSION, AnyModelAdmin, AnyModelForm, explain_empty_selects
from integrations.data.table import Kind, Table
from integrations.datasources import catalogue
from integrations.jobs.registry import describe_job
from integrations.models import BiConnection, Card, DataSource, Department, Job, SourceKind
from integrations.models.datasources import THE_ONE
from integrations.models.fields import corp_condition
from notifications.admin.base import administrator, find_row, is_key
from notifications.models import Draft
from notifications.models.subscriptions import DRAFT_KEPT

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from accounts.models import User


FORM_KEY = re.compile(r"[0-9a-f]{32}")
# Fields with a link to add a related row.
ADDED_HERE = frozenset({"users", "groups", "robot"})
VALUE_CHARACTERS = 30
# Template code is left out of the summary of settings.
_TEMPLATE_CODE = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)
NAMED_AT_MOST = 4


@dataclass(frozen=True)
class Part:
    """A folded part of the form. `names`: its fields, from any form of the page. `rows`: prefixes of its formsets, each
    with the number of rows to ignore in the summary because another part of the page creates them."""

    key: str
    title: StrOrPromise
    names: tuple[str, ...]
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class FoldedPart:
    """A part to be rendered. `inlines`: the admin's formsets. `summary`: the settings in one line; empty if all are
    defaults."""

    key: str
    title: StrOrPromise
    fields: list[BoundField]
    inlines: list[Any]
    summary: str
    is_open: bool


@dataclass(frozen=True)
class Problem:
    """A sentence of the list above the form. `anchor`: id of the field; empty if it concerns the whole form."""

    text: str
    label: str = ""
    anchor: str = ""


class DraftedForm(AnyModelForm):
    """A form that may start from a saved draft. `part`: the second form on the same page, or None."""

    draft: QueryDict | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.draft is not None:
            kwargs["data"] = self.draft
        super().__init__(*args, **kwargs)
        self.forgive(self)
        self.instance.draft_at_work = self.draft

    @property
    def part(self) -> AnyModelForm | None:
        raise NotImplementedError

    def forgive(self, form: Any) -> None:
        """Clear the errors of a form filled from a draft: an incomplete draft is no mistake."""
        if self.draft is not None:
            form._errors = ErrorDict()

    def is_valid(self) -> bool:
        return super().is_valid() and (self.part is None or self.part.is_valid())


class OnePage(AnyModelAdmin):
    """Base admin for a page that edits one thing in one form. `draft_name`: prefix of its drafts' page. `new_title`:
    title for a new row. `parts`: the folded parts. `shown_fields`: the fields for people who may only view. The page
    sends the key of its row as `_id` and a random `token`, which keeps a new row from being created twice."""

    draft_name: str
    new_title: StrOrPromise
    parts: tuple[Part, ...]
    shown_fields: tuple[str, ...]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first = [name for name in self.shown_fields if not any(name in part.names for part in self.parts)]
        folded_names = [(part.title, [name for name in part.names if name in self.shown_fields]) for part in self.parts]
        return [(title, {"fields": names}) for title, names in [(None, first), *folded_names] if names]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        made = self._made_by(request)
        if made is None:
            try:
                return super().add_view(request, form_url, extra_context)
            except IntegrityError:  # submitted again before the first request was done
                made = self._made_by(request)
                if made is None:
                    raise
        messages.info(request, gettext("This page was sent twice. It was saved once: here it is."))
        return HttpResponseRedirect(self.address_of(made))

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        row = super().save_form(request, form, change)
        if not change:
            row.form_key = form_key_in(request) or None
        return row

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if request.method == "POST":
            apply_button(request, row)
        extra: dict[str, Any] = {"form_token": uuid.uuid4().hex, **(extra_context or {})}
        if row is None:
            extra["title"] = self.new_title
        if self.has_add_permission(request) if row is None else self.has_change_permission(request, row):
            extra |= {"is_one_page": True, "draft": self.draft_offered(request, row), **self.page_context(request)}
        return super().changeform_view(request, object_id, form_url, extra)

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return further template context for people who may fill in the form."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_one_page"):
            form, inlines = context["adminform"].form, context["inline_admin_formsets"]
            forms = [form, form.part]
            is_sent = request.method == "POST"
            for one in filter(None, forms):
                explain_empty_selects(one.fields, request, always=ADDED_HERE)
                context["media"] += one.media
            formsets = [one.formset for one in inlines]
            context["problems"] = list(problems_of(forms, formsets)) if is_sent else []
            context["errors"] = None  # replaces Django's line with our list
            context["folded_parts"] = folded(self.parts, forms, inlines, is_sent=is_sent)
        return super().render_change_form(request, context, *args, **kwargs)

    def form_at_work(self, request: HttpRequest, row: Any) -> Any:
        """Return the submitted form, cleaned for a preview. Concurrent changes are reported only on saving."""
        form: Any = self.get_form(request, row)(request.POST, instance=row or self.model())
        forms = [one for one in (form, form.part) if one is not None]
        for one in forms:
            one.fields.pop(VERSION, None)
            one.instance.is_draft = True
        for one in forms:
            one.is_valid()
        return form

    def _made_by(self, request: HttpRequest) -> Any:
        """Return the row that an earlier submission of this page created, or None."""
        key = form_key_in(request)
        return self.get_queryset(request).filter(form_key=key).first() if key else None

    def page_urls(self, wrapped: Callable[[Any], Any]) -> list[URLPattern]:
        views = (
            ("draft/", self.draft_view, "draft"),
            ("data/", self.data_view, "data"),
            ("data/choose/", self.choose_data_view, "data_choose"),
            ("rename/", self.rename_view, "rename"),
        )
        return [path(route, wrapped(require_POST(view)), name=self._url_name(name)) for route, view, name in views]

    def draft_view(self, request: HttpRequest) -> HttpResponse:
        """Save what was typed as a draft, or drop the draft and redirect to the page. A draft that arrives after its
        form was saved is dropped: it would be offered on the next page and saved twice."""
        row, person = self.at_work(request), administrator(request)
        page = self._page_of(row)
        if "_drop" in request.POST:
            drop_draft(person, page)
            return HttpResponseRedirect(self.address_of(row))
        is_kept = keep_draft(person, page, request.POST, now=timezone.now())
        if is_kept and row is None and self._made_by(request) is not None:
            drop_draft(person, page)
            is_kept = False
        return JsonResponse({"is_kept": is_kept})

    def data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return list_choices(request)

    def choose_data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return choose_card(request)

    def rename_view(self, request: HttpRequest) -> JsonResponse:
        """Return the new values of the fields that name a renamed column or card. Saves nothing."""
        self.at_work(request)
        return JsonResponse({"changes": self.renamed_fields(request)})

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        """Return new values by field name. Raises PermissionDenied if the person may not change them."""
        raise NotImplementedError

    def at_work(self, request: HttpRequest) -> Any:
        """Return the row that the page edits, or None for a new one. Raises PermissionDenied or Http404 if the person
        may not change or add it."""
        key = request.POST.get("_id", "")
        if is_key(key):
            return self.changeable(request, int(key))
        if not self.has_add_permission(request):
            raise PermissionDenied
        return None

    def changeable(self, request: HttpRequest, pk: int) -> Any:
        """Return a visible row that the person may change. Raises PermissionDenied or Http404 otherwise."""
        rows = self.model._default_manager.visible_to(request.user)
        return find_row(request, rows, pk, self.has_change_permission)

    # --- Rows of the page ---------------------------------------------------------------------------------------------

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """Fill the formset from the draft if the draft has such rows."""
        draft: QueryDict | None = getattr(obj, "draft_at_work", None)
        is_kept = draft is not None and f"{prefix}-TOTAL_FORMS" in draft
        return {**super().get_formset_kwargs(request, obj, inline, prefix), **({"data": draft} if is_kept else {})}

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)  # type: ignore[misc]  # unknown to the stubs
        if getattr(obj, "draft_at_work", None) is not None:
            for formset in formsets:
                _forgive(formset)
        return formsets, inlines

    # --- Drafts -------------------------------------------------------------------------------------------------------

    def draft_offered(self, request: HttpRequest, row: Any) -> Draft | None:
        """Return the person's draft to offer on a plain GET, or None."""
        is_offered = request.method == "GET" and "draft" not in request.GET
        return self._draft(request, row) if is_offered else None

    def draft_chosen(self, request: HttpRequest, row: Any) -> QueryDict | None:
        """Return the values of the person's draft if the URL asks for it, else None."""
        found = self._draft(request, row) if request.method == "GET" and "draft" in request.GET else None
        return None if found is None else QueryDict(found.values, mutable=True)

    def forget_draft(self, request: HttpRequest, *, is_new: bool, row: Any) -> None:
        """Drop the draft after its values were saved."""
        drop_draft(administrator(request), self._page_of(None if is_new else row))

    def address_of(self, row: Any) -> str:
        if row is None:
            return reverse(f"admin:{self._url_name('add')}")
        return reverse(f"admin:{self._url_name('change')}", args=[row.pk])

    def _draft(self, request: HttpRequest, row: Any) -> Draft | None:
        drafts = Draft.objects.filter(person=administrator(request), page=self._page_of(row))
        return drafts.filter(saved_at__gt=timezone.now() - DRAFT_KEPT).first()

    def _page_of(self, row: Any) -> str:
        return f"{self.draft_name}:{row.pk if row is not None else 'new'}"

    def _url_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


def _forgive(formset: Any) -> None:
    """Clear the errors of rows filled from a draft: an incomplete draft is no mistake."""
    formset._errors, formset._non_form_errors = [ErrorDict() for _form in formset.forms], ErrorList()
    for form in formset.forms:
        form._errors = ErrorDict()


def form_key_in(request: HttpRequest) -> str:
    """Return the `token` of a submitted page; empty if it is missing or malformed."""
    key = request.POST.get("token", "")
    return key if FORM_KEY.fullmatch(key) else ""


def apply_button(request: HttpRequest, row: Any) -> None:
    """Set `is_enabled` from the button that was pressed. Other buttons keep the row's state, as a page opened earlier
    may hold an old one. `row`: None for a new one."""
    values = request.POST.copy()
    if "_buttons" not in values:
        return
    is_kept = row is not None and row.is_enabled and "_disable" not in values
    values.pop("is_enabled", None)
    if "_enable" in values or is_kept:
        values["is_enabled"] = "on"
    request.POST = values  # type: ignore[assignment]  # Django takes any QueryDict


def problems_of(forms: Iterable[Any], formsets: Iterable[Any]) -> Iterator[Problem]:
    """Yield the errors of forms and formsets in the order of the page. `forms` may contain None."""
    for one in forms:
        if one is None:
            continue
        for text in one.non_field_errors():
            yield Problem(str(text))
        for name, texts in one.errors.items():
            if name in one.fields:
                field = one[name]
                yield from (Problem(str(text), str(field.label), field.id_for_label) for text in texts)
    for formset in formsets:
        yield from _row_problems(formset)


def _row_problems(formset: Any) -> Iterator[Problem]:
    label = str(formset.model._meta.verbose_name)
    for text in formset.non_form_errors():
        yield Problem(str(text), label)
    for row in formset.forms:
        for name, texts in row.errors.items():
            anchor = row[name].id_for_label if name in row.fields else ""
            yield from (Problem(str(text), label, anchor) for text in texts)


SHOWN_AT_MOST = 30
ENTRIES_AT_MOST = 200
NAME_CHARACTERS = 100
# A column is proposed for own rows if it has at most so many values and people have at least this share of them.
VALUES_AT_MOST = 1000
SHARE_AT_LEAST = 0.5
TEMPLATE = "admin/notifications/subscription/_data.html"
# The permission that each link needs, and its URL name.
_CONNECT = ("integrations.change_biconnection", "integrations_biconnection_changelist")
_NEW_CARD = "integrations.add_card"
_NEW_SOURCE = ("integrations.add_datasource", "integrations_datasource_add")


def list_choices(request: HttpRequest) -> JsonResponse:
    """List the data that can be chosen. `q`: part of a name; `page`: a BI page whose cards to list; `pictures`: also
    offer pages and cards as pictures. With `poll`, the BI is not queried again: the page only asks whether the running
    listing is done."""
    wanted = request.POST.get("q", "").replace("\x00", "").strip()
    source = _bi_source(request)
    # People who may not see the BI must not learn the names of its pages.
    known = catalogue.find_listing() if source is not None else None
    pages = {one[0]: one[1] for one in catalogue.read_entries(known)}
    page_id = page if (page := request.POST.get("page", "")) in pages else ""
    if source is not None and "poll" not in request.POST:
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now())
    listing = catalogue.find_listing(page_id) if source is not None else None
    cards = Card.objects.visible_to(request.user).filter(name__icontains=wanted).select_related("source")
    context = {
        "wanted": wanted,
        "page_id": page_id,
        "page_name": pages.get(page_id, ""),
        "cards": [] if page_id else cards.order_by("-changed_at")[:SHOWN_AT_MOST],
        "source": source,
        "entries": _entries(listing, wanted)[:ENTRIES_AT_MOST],
        "may_add_card": request.user.has_perm(_NEW_CARD),
        "with_pictures": "pictures" in request.POST,
        **(state := describe_job(listing)),
        "problem": state["problem"] or state["wait"],
        **_way_to_bi(request),
        "are_cards_hidden": Card.objects.hidden_from(request.user).exists(),
        "card_ask": "" if request.user.has_perm(_NEW_CARD) else whom_to_ask(request.user, _NEW_CARD),
        "add_card_url": _address(request, _NEW_CARD, "integrations_card_add"),
    }
    html = render_to_string(TEMPLATE, context, request)
    return JsonResponse({"html": html, "is_unfinished": context["is_unfinished"]})


def proposed_pair(table: Table, *, by: User) -> tuple[str, str] | None:
    """Propose a column and an attribute for own rows: the pair with the largest share of the column's values that
    people have. The attribute is a key or a name in OwnRowsRule.OF_PERSON. Return None if no share reaches
    SHARE_AT_LEAST. Makes three queries."""
    cells: dict[str, dict[str, str]] = {}
    for number, column in enumerate(table.columns):
        texts = {str(row[number]).strip() for row in table.rows if row[number]} if column.kind is Kind.TEXT else set()
        if 0 < len(texts) <= VALUES_AT_MOST:
            cells[column.name] = {fold_value(text): text for text in texts}
    wanted = {folded for texts in cells.values() for folded in texts}
    written = {text for texts in cells.values() for text in texts.values()}
    people, known = people_visible_to(by), defaultdict[str, set[str]](set)
    values = AttributeValue.objects.filter(user__in=people, folded__in=wanted)
    for attribute_id, folded in values.order_by("attribute").values_list("attribute", "folded").distinct():
        known[str(attribute_id)].add(folded)
    accounts = WeComAccount.objects.complete().filter(user__in=people, userid_folded__in=wanted)
    known["@userid"].update(accounts.values_list("userid_folded", flat=True))
    departments = Department.objects.visible_to(by).filter(removed_at=None, name__in=written)
    known["@department"].update(fold_value(name or "") for name in departments.values_list("name", flat=True))
    shares = {
        (column, key): len(its & texts.keys()) / len(texts)
        for column, texts in cells.items()
        for key, its in known.items()
    }
    best = max(shares, key=shares.__getitem__, default=("", ""))
    return best if shares.get(best, 0) >= SHARE_AT_LEAST else None


def choose_card(request: HttpRequest) -> JsonResponse:
    """Return the key and name of the card for a BI card; create it if there is none."""
    if not request.user.has_perm(_NEW_CARD):
        raise PermissionDenied
    source = _bi_source(request)
    page_id, card_id = (request.POST.get(name, "") for name in ("page", "card"))
    if source is None or not card_id or max(len(page_id), len(card_id)) > ID_CHARACTERS:
        raise Http404
    known = Card.objects.filter(source=source, bi_page_id=page_id, bi_card_id=card_id).order_by("pk").first()
    if known is None:
        names = {its_id: name for its_id, name, has_rows in _entries(catalogue.find_listing(page_id), "") if has_rows}
        if card_id not in names:
            raise Http404
        name = _free_name(source, names[card_id] or card_id)
        known = Card.objects.create(source=source, name=name, bi_page_id=page_id, bi_card_id=card_id)
    return JsonResponse({"id": known.pk, "name": known.name})


def _entries(listing: Job | None, wanted: str) -> list[tuple[str, str, bool]]:
    """Return id, name and whether it has rows, for each matching page or card."""
    entries = catalogue.read_entries(listing)
    fitting = [one for one in entries if wanted.casefold() in f"{one[1]}\n{one[0]}".casefold()]
    return [(one[0], one[1] or one[0], one[2] not in WITHOUT_ROWS) for one in fitting]


def _bi_source(request: HttpRequest) -> DataSource | None:
    """Return the enabled BI source that the person sees; one for all companies comes first."""
    found = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    return found.order_by(F("corp").asc(nulls_first=True), "pk").first()


def _free_name(source: DataSource, name: str) -> str:
    """Return `name`, numbered if a card of this source already has it."""
    name = name[: NAME_CHARACTERS - 6]
    taken = set(Card.objects.filter(source=source, name__startswith=name).values_list("name", flat=True))
    free = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in free if each not in taken)


def _way_to_bi(request: HttpRequest) -> dict[str, Any]:
    """Say why there is no BI to choose from, with a link to connect it or a person to ask. People limited to some
    companies only learn that a source for all companies exists."""
    is_connected = BiConnection.objects.filter(pk=THE_ONE).exclude(base_url="").exists()
    sources = DataSource.objects.hidden_from(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    is_hidden = is_connected and sources.exists()
    permission, view = _NEW_SOURCE if is_connected else _CONNECT
    page = "" if corp_condition(request.user) else _address(request, permission, view)
    return {
        "is_bi_connected": is_connected,
        "is_bi_hidden": is_hidden,
        "bi_url": f"{page}?kind={SourceKind.GUANDATA.value}" if page and is_connected else page,
        "bi_ask": "" if page else whom_to_ask(request.user, permission, ()),
    }


def _address(request: HttpRequest, permission: str, view: str) -> str:
    return reverse(f"admin:{view}") if request.user.has_perm(permission) else ""


CHARACTERS_AT_MOST = 200_000
# Fields of the request or the page, which nobody typed.
_NOT_TYPED = (
    *("csrfmiddlewaretoken", "token", "_token", "_id", "_as"),
    *("_save", "_try", "_enable", "_disable", "_buttons", "is_enabled"),
)


def keep_draft(person: User, page: str, values: QueryDict, *, now: datetime) -> bool:
    """Store what was typed as the person's draft of `page`. Return False if it exceeds CHARACTERS_AT_MOST."""
    typed = values.copy()
    for name in _NOT_TYPED:
        typed.pop(name, None)
    text = typed.urlencode()
    if len(text) > CHARACTERS_AT_MOST:
        return False
    Draft.objects.update_or_create(person=person, page=page, defaults={"values": text, "saved_at": now})
    return True


def drop_draft(person: User, page: str) -> None:
    Draft.objects.filter(person=person, page=page).delete()


def folded(
    parts: Sequence[Part], forms: Sequence[Any], inlines: Sequence[Any], *, is_sent: bool
) -> dict[str, FoldedPart]:
    """Return the parts by key. After submission, a part with errors is open. `forms` may contain None."""
    found, said = {}, summaries(parts, forms, [one.formset for one in inlines])
    for part in parts:
        fields = _fields(part, forms)
        own = [one for one in inlines if one.formset.prefix in dict(part.rows)]
        has_errors = any(field.errors for field in fields) or any(one.formset.total_error_count() for one in own)
        found[part.key] = FoldedPart(part.key, part.title, fields, own, said[part.key], is_sent and has_errors)
    return found


def summaries(parts: Iterable[Part], forms: Sequence[Any], formsets: Iterable[Any]) -> dict[str, str]:
    """Return a one-line summary of the settings of each part, by key; empty if all are defaults."""
    rows = {one.prefix: (one.model._meta.verbose_name_plural, sum(map(_is_filled, one.forms))) for one in formsets}
    return {part.key: _summary(part, _fields(part, forms), rows) for part in parts}


def _summary(part: Part, fields: Iterable[BoundField], rows: Mapping[str, tuple[Any, int]]) -> str:
    changed = [_words(field) for field in fields if _is_set(field)]
    for prefix, spared in part.rows:
        name, count = rows.get(prefix, ("", 0))
        if count > spared:
            changed.append(_("%(name)s: %(value)s") % {"name": name, "value": count})
    more = len(changed) - NAMED_AT_MOST
    further = [ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more}] if more > 0 else []
    return " · ".join([*changed[:NAMED_AT_MOST], *further])


def _fields(part: Part, forms: Iterable[Any]) -> list[BoundField]:
    by_name = {name: form[name] for form in forms if form is not None for name in form.fields}
    return [by_name[name] for name in part.names if name in by_name]


def _is_set(field: BoundField) -> bool:
    """Return whether the field differs from its value on the page of a new row."""
    form: Any = field.form
    if form.instance._state.adding:
        usual = form.get_initial_for_field(field.field, field.name)
    else:
        blank = {**model_to_dict(form._meta.model(), fields=[field.name]), **getattr(form, "new_values", {})}
        usual = blank.get(field.name, field.field.initial)
        usual = usual() if callable(usual) else usual
    return bool(field.field.has_changed(usual, _sent(field)))


def _sent(field: BoundField) -> Any:
    """Return the value in the form in which the widget submits it."""
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
    """Yield what to show for a field; for long lists only their length."""
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
