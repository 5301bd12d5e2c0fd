"""Pages of data sources and cards: what is typed is tried by a click, or as soon as it is filled in, before saving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from integrations.core.generics import AnyModelAdmin
from integrations.core.page_versions import VERSION
from integrations.datasources import source_tests
from integrations.datasources.source_tests import UnsavedTest
from integrations.models import Card, DataSource, SourceKind, datasource_messages

TEMPLATE = "admin/integrations/datasource/_unsaved.html"
# What may still be missing while the rest is tried.
UNTRIED = frozenset({"name", "corp"})
# The fields which the page tries by itself, once all of them are filled in. A database may be one without a password.
NEEDED_OF_SOURCE = {
    SourceKind.SQL: ("db_host", "db_name", "db_user", "db_password"),
    SourceKind.JSON: ("http_url",),
}
NEEDED_OF_CARD = {SourceKind.SQL: ("sql",), SourceKind.GUANDATA: ("bi_card_id",)}


class UnsavedTests(AnyModelAdmin):
    """For the admin of data sources, and of cards. The page sends its form, with the key of the row that it changes as
    `_id`; the answer has an address at which one learns how far it is."""

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        own = [
            path("try/", wrapped(require_POST(self.try_view)), name=self._view_name("try")),
            path("try/<str:token>/", wrapped(require_GET(self.tried_view)), name=self._view_name("tried")),
        ]
        return [*own, *super().get_urls()]

    def try_view(self, request: HttpRequest) -> JsonResponse:
        """The form as it stands. Nothing is saved, and what is wrong without asking anybody is said at once."""
        row = self._at_work(request)
        form: Any = self.get_form(request, row, change=row is not None)(request.POST, request.FILES, instance=row)
        form.fields.pop(VERSION, None)  # what others saved meanwhile is said when it is saved
        form.is_valid()
        problems = list(_problems(form))
        if problems:
            html = render_to_string(TEMPLATE, {"problems": problems}, request)
            return JsonResponse({"html": html, "is_unfinished": False})
        tried: Any = form.instance
        source, card = (tried.source, tried) if isinstance(tried, Card) else (tried, None)
        person_id, now = _person_id(request), timezone.now()
        token = source_tests.request_unsaved_test(source, card, person_id=person_id, now=now)
        return self._state(request, token)

    def tried_view(self, request: HttpRequest, token: str) -> JsonResponse:
        """How far it is, for whoever asked."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return self._state(request, token)

    def _state(self, request: HttpRequest, token: str) -> JsonResponse:
        found = source_tests.latest_unsaved_test(token, person_id=_person_id(request))
        if found is None:
            raise Http404
        is_given_up = source_tests.is_given_up(found, now=timezone.now())
        is_running = found.finished_at is None and not is_given_up
        table = found.table
        context = {
            "test": found,
            "is_running": is_running,
            "problem": _sentence(found, is_given_up=is_given_up),
            "table": table,
        }
        return JsonResponse(
            {
                "html": render_to_string(TEMPLATE, context, request),
                "is_unfinished": is_running,
                "url": reverse(f"admin:{self._view_name('tried')}", args=[token]),
            }
        )

    def _at_work(self, request: HttpRequest) -> Any:
        """The row that the page is about, which the person may change; None for a new one, which they may add."""
        key = request.POST.get("_id", "")
        if not key:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return None
        row = self.get_queryset(request).filter(pk=int(key)).first() if key.isdecimal() and len(key) < 19 else None
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def unsaved_test(self, request: HttpRequest, row: DataSource | Card | None, kind: SourceKind | None) -> Any:
        """For the page's template; nothing for whoever may not fill in the form, and for the BI's own connection."""
        may = self.has_add_permission(request) if row is None else self.has_change_permission(request, row)
        is_bi = kind == SourceKind.GUANDATA and self.model is DataSource
        if not may or kind is None or is_bi:
            return None
        needs = NEEDED_OF_CARD if self.model is Card else NEEDED_OF_SOURCE
        url = reverse(f"admin:{self._view_name('try')}")
        return {"url": url, "id": "" if row is None else row.pk, "needs": " ".join(needs.get(kind, ()))}

    def _view_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


def _problems(form: Any) -> Iterator[str]:
    for name, texts in form.errors.items():
        if name not in UNTRIED:
            label = form.fields[name].label if name in form.fields else ""
            yield from (gettext("%(field)s: %(problem)s") % {"field": label, "problem": text} for text in texts)


def _sentence(found: UnsavedTest, *, is_given_up: bool) -> str:
    if is_given_up:
        return gettext("No worker has answered: does one take from the queue “data”?")
    return datasource_messages.sentence(found.problem, found.facts) if found.problem else ""


def _person_id(request: HttpRequest) -> int:
    """The admin's own check has let nobody else in."""
    if request.user.pk is None:
        raise PermissionDenied
    return int(request.user.pk)
