"""What pages that make a thing in one form share: drafts, choosing data, and the list of what is wrong on top."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import F
from django.forms.utils import ErrorDict, ErrorList
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from accounts.models import AttributeValue, WeComAccount, fold_value
from accounts.users.roles import people_visible_to, whom_to_ask
from integrations.admin.card_picker import ID_CHARACTERS, WITHOUT_ROWS
from integrations.core.admin_pages import AnyModelAdmin
from integrations.data.table import Kind, Table
from integrations.datasources import catalogue
from integrations.datasources.catalogue import Listing
from integrations.models import BiConnection, Card, DataSource, Department, SourceKind
from integrations.models.datasources import THE_ONE
from integrations.models.fields import corp_condition
from notifications.admin.base import administrator
from notifications.admin.report_forms import is_key
from notifications.models import Draft
from notifications.models.subscriptions import DRAFT_KEPT

if TYPE_CHECKING:
    from accounts.models import User


FORM_KEY = re.compile(r"[0-9a-f]{32}")


# What can be added from the page itself.
ADDED_HERE = frozenset({"users", "groups", "robot"})


@dataclass(frozen=True)
class Problem:
    """One sentence of the list above the form. `anchor`: the id of the field that it is about; empty for the whole."""

    text: str
    label: str = ""
    anchor: str = ""


class OnePage(AnyModelAdmin):
    """`draft_name`: of its drafts. The page sends the key of the row that it changes as `_id`, and a `token` of its
    own: that of a new row, sent twice, makes one row."""

    draft_name: str

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        made = self._made_by(request)
        if made is None:
            try:
                return super().add_view(request, form_url, extra_context)
            except IntegrityError:  # sent a second time before the first was done
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
        extra = {"form_token": uuid.uuid4().hex, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, extra)

    def _made_by(self, request: HttpRequest) -> Any:
        """The row that this page made when it was sent before; None the first time."""
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
        """Keeps what was typed, or drops it and shows the page anew.

        What comes in behind the form itself is not kept: it would be offered on the next page, and saved a second time.
        """
        row, person = self.at_work(request), administrator(request)
        page = self._page_of(row)
        if "_drop" in request.POST:
            drop(person, page)
            return HttpResponseRedirect(self.address_of(row))
        is_kept = keep(person, page, request.POST, now=timezone.now())
        if is_kept and row is None and self._made_by(request) is not None:
            drop(person, page)
            is_kept = False
        return JsonResponse({"is_kept": is_kept})

    def data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return choices(request)

    def choose_data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return choose(request)

    def rename_view(self, request: HttpRequest) -> JsonResponse:
        """The fields of the form as it stands that name a column or a card which is called otherwise now, as they are
        to be. Nothing is saved."""
        self.at_work(request)
        return JsonResponse({"changes": self.renamed_fields(request)})

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        """By their names. Raises PermissionDenied for whoever may not change them."""
        raise NotImplementedError

    def at_work(self, request: HttpRequest) -> Any:
        """The row that the page is about, which the person may change; None on the page of a new one, which they may
        add. Else 403 or 404."""
        key = request.POST.get("_id", "")
        if is_key(key):
            return self.changeable(request, int(key))
        if not self.has_add_permission(request):
            raise PermissionDenied
        return None

    def changeable(self, request: HttpRequest, pk: int) -> Any:
        """A visible row that the person may change; else 403 or 404."""
        raise NotImplementedError

    # --- Rows of the page ---------------------------------------------------------------------------------------------

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """With what was left in them, where the page begins with a draft that has such rows."""
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
        """What the person left here, unless they go on with it or send the form."""
        is_offered = request.method == "GET" and "draft" not in request.GET
        return self._draft(request, row) if is_offered else None

    def draft_chosen(self, request: HttpRequest, row: Any) -> QueryDict | None:
        """What the person left here, where the address asks for it."""
        found = self._draft(request, row) if request.method == "GET" and "draft" in request.GET else None
        return None if found is None else values_of(found)

    def forget_draft(self, request: HttpRequest, *, is_new: bool, row: Any) -> None:
        """What was typed is saved now."""
        drop(administrator(request), self._page_of(None if is_new else row))

    def address_of(self, row: Any) -> str:
        if row is None:
            return reverse(f"admin:{self._url_name('add')}")
        return reverse(f"admin:{self._url_name('change')}", args=[row.pk])

    def _draft(self, request: HttpRequest, row: Any) -> Draft | None:
        return find(administrator(request), self._page_of(row), now=timezone.now())

    def _page_of(self, row: Any) -> str:
        return f"{self.draft_name}:{row.pk if row is not None else 'new'}"

    def _url_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


def _forgive(formset: Any) -> None:
    """What is still missing in rows that were left is no mistake yet."""
    formset._errors, formset._non_form_errors = [ErrorDict() for _form in formset.forms], ErrorList()
    for form in formset.forms:
        form._errors = ErrorDict()


def form_key_in(request: HttpRequest) -> str:
    """The `token` of a page that was sent; empty where there is none, or it is none of ours."""
    key = request.POST.get("token", "")
    return key if FORM_KEY.fullmatch(key) else ""


def apply_button(request: HttpRequest, row: Any) -> None:
    """The buttons of the page say whether the thing is enabled; without one that does, it stays as it is: what an old
    page sends about it may be wrong. `row`: None for a new one."""
    values = request.POST.copy()
    if "_buttons" not in values:
        return
    is_kept = row is not None and row.is_enabled and "_disable" not in values
    values.pop("is_enabled", None)
    if "_enable" in values or is_kept:
        values["is_enabled"] = "on"
    request.POST = values  # type: ignore[assignment]  # Django takes any QueryDict


def problems_of(forms: Iterable[Any], formsets: Iterable[Any]) -> Iterator[Problem]:
    """In the order of the page. `forms`: None where a part is not there."""
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
# Of a column that says to whom rows belong: it has so many values at most, of which people have so many.
VALUES_AT_MOST = 1000
SHARE_AT_LEAST = 0.5
TEMPLATE = "admin/notifications/subscription/_data.html"
# What the ways to the BI need, and where they lead.
_CONNECT = ("integrations.change_biconnection", "integrations_biconnection_changelist")
_NEW_CARD = "integrations.add_card"
_NEW_SOURCE = ("integrations.add_datasource", "integrations_datasource_add")


def choices(request: HttpRequest) -> JsonResponse:
    """What can be chosen. `q`: a part of a name; `page`: of the BI, whose cards are wanted; `pictures`: whether pages
    and cards are also offered as pictures. The page asks again with `poll` while the BI lists: then the BI is not asked
    anew."""
    wanted = request.POST.get("q", "").replace("\x00", "").strip()
    source = _bi_source(request)
    # Whoever does not see the BI learns no name of its pages.
    page_id = _known_page(request.POST.get("page", "")) if source is not None else ""
    if source is not None and "poll" not in request.POST:
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now())
    listing = catalogue.latest_listing(page_id) if source is not None else None
    cards = Card.objects.visible_to(request.user).filter(name__icontains=wanted).select_related("source")
    context = {
        "wanted": wanted,
        "page_id": page_id,
        "page_name": _name_of(page_id),
        "cards": [] if page_id else cards.order_by("-changed_at")[:SHOWN_AT_MOST],
        "source": source,
        "entries": _entries(listing, wanted)[:ENTRIES_AT_MOST],
        "may_add_card": request.user.has_perm(_NEW_CARD),
        "listing": listing,
        "with_pictures": "pictures" in request.POST,
        "is_running": listing is not None and listing.is_running,
        "problem": listing.explain_problem() if listing is not None else "",
        **_way_to_bi(request),
        "are_cards_hidden": Card.objects.hidden_from(request.user).exists(),
        "card_ask": "" if request.user.has_perm(_NEW_CARD) else whom_to_ask(request.user, _NEW_CARD),
        "add_card_url": _address(request, _NEW_CARD, "integrations_card_add"),
    }
    html = render_to_string(TEMPLATE, context, request)
    return JsonResponse({"html": html, "is_unfinished": context["is_running"]})


def proposed_pair(table: Table, *, by: User) -> tuple[str, str] | None:
    """Propose for own rows the column of texts, and the key of the attribute (or a name of OwnRowsRule.OF_PERSON), of
    which people have the most of its values; None where they have less than half of any column's. Three queries.
    """
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


def choose(request: HttpRequest) -> JsonResponse:
    """Makes a card here of one of the BI, unless there is one; answers with its key and name."""
    if not request.user.has_perm(_NEW_CARD):
        raise PermissionDenied
    source = _bi_source(request)
    page_id, card_id = (request.POST.get(name, "") for name in ("page", "card"))
    if source is None or not card_id or max(len(page_id), len(card_id)) > ID_CHARACTERS:
        raise Http404
    known = Card.objects.filter(source=source, bi_page_id=page_id, bi_card_id=card_id).order_by("pk").first()
    if known is None:
        names = {its_id: name for its_id, name, has_rows in _entries(catalogue.latest_listing(page_id), "") if has_rows}
        if card_id not in names:
            raise Http404
        name = _free_name(source, names[card_id] or card_id)
        known = Card.objects.create(source=source, name=name, bi_page_id=page_id, bi_card_id=card_id)
    return JsonResponse({"id": known.pk, "name": known.name})


def _known_page(page_id: str) -> str:
    """Empty for what is no page of the BI's list."""
    pages = catalogue.latest_listing() if page_id else None
    return page_id if pages is not None and any(one[0] == page_id for one in pages.entries) else ""


def _entries(listing: Listing | None, wanted: str) -> list[tuple[str, str, bool]]:
    """The id and name of each page or card, and whether it holds rows."""
    entries = listing.entries if listing is not None else []
    fitting = [one for one in entries if wanted.casefold() in f"{one[1]}\n{one[0]}".casefold()]
    return [(one[0], one[1] or one[0], one[2] not in WITHOUT_ROWS) for one in fitting]


def _bi_source(request: HttpRequest) -> DataSource | None:
    """That of every company, where the person sees one."""
    found = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    return found.order_by(F("corp").asc(nulls_first=True), "pk").first()


def _name_of(page_id: str) -> str:
    pages = catalogue.latest_listing() if page_id else None
    return {one[0]: one[1] for one in pages.entries}.get(page_id, page_id) if pages else page_id


def _free_name(source: DataSource, name: str) -> str:
    """The BI's name, counted where a card of this source has it already."""
    name = name[: NAME_CHARACTERS - 6]
    taken = set(Card.objects.filter(source=source, name__startswith=name).values_list("name", flat=True))
    free = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in free if each not in taken)


def _way_to_bi(request: HttpRequest) -> dict[str, Any]:
    """Why there is no BI to choose from, and where it is connected or made a source, for whoever may do that; else whom
    to ask. Somebody who sees some companies alone learns of a source of no company that it is there."""
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
# About the request or the page, not typed.
_NOT_TYPED = (
    "csrfmiddlewaretoken",
    "token",
    "_token",
    "_id",
    "_as",
    "_save",
    "_try",
    "_enable",
    "_disable",
    "_buttons",
    "is_enabled",
)


def keep(person: User, page: str, values: QueryDict, *, now: datetime) -> bool:
    """Whether it was kept: what is longer than CHARACTERS_AT_MOST is not."""
    typed = values.copy()
    for name in _NOT_TYPED:
        typed.pop(name, None)
    text = typed.urlencode()
    if len(text) > CHARACTERS_AT_MOST:
        return False
    Draft.objects.update_or_create(person=person, page=page, defaults={"values": text, "saved_at": now})
    return True


def find(person: User, page: str, *, now: datetime) -> Draft | None:
    return Draft.objects.filter(person=person, page=page, saved_at__gt=now - DRAFT_KEPT).first()


def values_of(draft: Draft) -> QueryDict:
    return QueryDict(draft.values, mutable=True)


def drop(person: User, page: str) -> None:
    Draft.objects.filter(person=person, page=page).delete()
