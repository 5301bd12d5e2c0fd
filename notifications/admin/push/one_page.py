"""What pages that make a thing in one form share: drafts, choosing data, and the list of what is wrong on top."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.forms.utils import ErrorDict, ErrorList
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from integrations.core.generics import AnyModelAdmin
from notifications.admin.base import administrator
from notifications.admin.push import data, drafts
from notifications.admin.report_forms import is_key
from notifications.models import Draft

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
            drafts.drop(person, page)
            return HttpResponseRedirect(self.address_of(row))
        is_kept = drafts.keep(person, page, request.POST, now=timezone.now())
        if is_kept and row is None and self._made_by(request) is not None:
            drafts.drop(person, page)
            is_kept = False
        return JsonResponse({"is_kept": is_kept})

    def data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return data.choices(request)

    def choose_data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return data.choose(request)

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
        return None if found is None else drafts.values_of(found)

    def forget_draft(self, request: HttpRequest, *, is_new: bool, row: Any) -> None:
        """What was typed is saved now."""
        drafts.drop(administrator(request), self._page_of(None if is_new else row))

    def address_of(self, row: Any) -> str:
        if row is None:
            return reverse(f"admin:{self._url_name('add')}")
        return reverse(f"admin:{self._url_name('change')}", args=[row.pk])

    def _draft(self, request: HttpRequest, row: Any) -> Draft | None:
        return drafts.find(administrator(request), self._page_of(row), now=timezone.now())

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
