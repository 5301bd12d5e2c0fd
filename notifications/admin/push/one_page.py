"""What pages that make a thing in one form share: drafts, choosing data, and the list of what is wrong on top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from integrations.core.generics import AnyModelAdmin
from notifications.admin.base import administrator
from notifications.admin.push import data, drafts
from notifications.admin.report_forms import is_key
from notifications.models import Draft


@dataclass(frozen=True)
class Problem:
    """One sentence of the list above the form. `anchor`: the id of the field that it is about; empty for the whole."""

    text: str
    label: str = ""
    anchor: str = ""


class OnePage(AnyModelAdmin):
    """`draft_name`: of its drafts. The page sends the key of the row that it changes as `_id`."""

    draft_name: str

    def page_urls(self, wrapped: Callable[[Any], Any]) -> list[URLPattern]:
        views = (
            ("draft/", self.draft_view, "draft"),
            ("data/", self.data_view, "data"),
            ("data/choose/", self.choose_data_view, "data_choose"),
        )
        return [path(route, wrapped(require_POST(view)), name=self._url_name(name)) for route, view, name in views]

    def draft_view(self, request: HttpRequest) -> HttpResponse:
        """Keeps what was typed, or drops it and shows the page anew."""
        row, person = self.at_work(request), administrator(request)
        page = self._page_of(row)
        if "_drop" in request.POST:
            drafts.drop(person, page)
            return HttpResponseRedirect(self.address_of(row))
        return JsonResponse({"is_kept": drafts.keep(person, page, request.POST, now=timezone.now())})

    def data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return data.choices(request)

    def choose_data_view(self, request: HttpRequest) -> JsonResponse:
        self.at_work(request)
        return data.choose(request)

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
