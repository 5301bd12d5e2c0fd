"""Exports people to a sheet: a small one at once, a large one in the background."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts import tasks
from accounts.admin.base import RunPages
from accounts.admin.imports import may_import
from accounts.audit import services
from accounts.importexport import jobs, writers
from accounts.importexport.readers import ROWS_AT_MOST
from accounts.models import AuditEntry, PeopleExport, User
from integrations.admin.base import own_page
from integrations.core.admin_pages import AnyModelAdmin
from integrations.core.background import queue_on_commit

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FOLDER = "admin/accounts/peopleexport"
# More than this many people take longer than somebody should wait for a page: about 0.7 ms each.
AT_ONCE = 2000


class ExportPages(AnyModelAdmin):
    """A part of UserAdmin."""

    def get_urls(self) -> list[URLPattern]:
        xlsx = self.admin_site.admin_view(require_http_methods(["GET", "POST"])(self.xlsx_view))
        csv = self.admin_site.admin_view(require_GET(self.csv_view))
        routes = [
            path("export.xlsx", xlsx, name="accounts_user_xlsx"),
            path("export.csv", csv, name="accounts_user_csv"),
        ]
        return [*routes, *super().get_urls()]

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The people of the list, with its filters and search, in the order of their keys."""
        people = self._people(request)
        _record(people.count())
        sheet = writers.Sheet(people=people, reader=_reader(request))
        response = StreamingHttpResponse(writers.csv_lines(sheet), content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{_name("csv")}"'
        return response

    def xlsx_view(self, request: HttpRequest) -> HttpResponseBase:
        """GET: a few people at once; of many, the question whether it should be made. POST: have it made."""
        people = self._people(request)
        if request.method != "POST" and people[: AT_ONCE + 1].count() <= AT_ONCE:
            _record(people.count())
            file = writers.write_xlsx(writers.Sheet(people=people, reader=_reader(request)))
            return FileResponse(file, as_attachment=True, filename=_name("xlsx"), content_type=_XLSX)
        keys = list(people.order_by("pk").values_list("pk", flat=True)[: ROWS_AT_MOST + 1])
        if request.method == "POST":
            return _begun(request, keys[:ROWS_AT_MOST])
        context = {
            "title": gettext("Download as xlsx"),
            "count": min(len(keys), ROWS_AT_MOST),
            "is_cut": len(keys) > ROWS_AT_MOST,
        }
        return own_page(self, request, f"{FOLDER}/request.html", context)

    def _people(self, request: HttpRequest) -> QuerySet[User]:
        if not may_import(request.user) or not self.has_view_permission(request):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        found = changelist.get_queryset(request).order_by().values("pk")
        return User.objects.filter(pk__in=found)


@admin.register(PeopleExport)
class PeopleExportAdmin(RunPages):
    """Everybody sees their own only: a sheet holds what its reader may see."""

    folder = FOLDER
    tones = {PeopleExport.Status.DONE: "good", PeopleExport.Status.FAILED: "bad"}
    empty_list = _("Sheets of many people stand here for a day, once you have asked for one in the list of users.")
    list_display = ("requested_at", "status", "row_count", "expires_at")

    class Media:
        css = {"all": ["integrations/corp.css", "accounts/imports.css"]}
        js = ["integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeopleExport]:
        own = PeopleExport.objects.filter(requested_by=request.user.pk).defer("user_ids")
        return own.exclude(pk__in=own.expired(timezone.now()).values("pk")).order_by("-pk")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_import(request.user)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.file_view))
        return [path("<int:run_id>/people.xlsx", view, name="accounts_peopleexport_file"), *super().get_urls()]

    def around(self, request: HttpRequest, run: PeopleExport, state: dict[str, Any]) -> dict[str, Any]:
        return {"title": gettext("Sheet of people")}

    def file_view(self, request: HttpRequest, run_id: int) -> HttpResponseBase:
        run = self.run_of(request, run_id)
        content = jobs.read_export_file(export=run, now=timezone.now())
        if content is None:
            return _to(run)
        _record(run.row_count)
        response = HttpResponse(content, content_type=_XLSX)
        response.headers["Content-Disposition"] = f'attachment; filename="{_name("xlsx")}"'
        return response


def _begun(request: HttpRequest, keys: list[int]) -> HttpResponse:
    now, language = timezone.now(), get_language() or ""
    export = jobs.request_export(reader=_reader(request), user_ids=keys, language=language, now=now)

    message = gettext("The queue cannot be reached: the sheet is made as soon as it can.")
    queue_on_commit(tasks.make_people_export, export.pk, otherwise=partial(messages.warning, request, message))
    return _to(export)


def _reader(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _name(kind: str) -> str:
    return f"people-{timezone.localdate():%Y-%m-%d}.{kind}"


def _to(export: PeopleExport) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:accounts_peopleexport_change", args=[export.pk]))


def _record(count: int) -> None:
    note = gettext("People downloaded as a sheet: %(count)d.") % {"count": count}
    services.record(action=AuditEntry.Action.DONE, note=note)
