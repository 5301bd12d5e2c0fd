"""People as a sheet, for those who may upload it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from accounts import audit
from accounts.import_pages import may_import
from accounts.models import AuditEntry, User
from accounts.sheets import writing

if TYPE_CHECKING:
    UserModelAdmin = admin.ModelAdmin[User]
else:
    UserModelAdmin = admin.ModelAdmin

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ExportPages(UserModelAdmin):
    """A part of UserAdmin."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.export_view))
        routes = [
            path(f"export.{kind}", view, {"kind": kind}, name=f"accounts_user_{kind}") for kind in ("xlsx", "csv")
        ]
        return [*routes, *super().get_urls()]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """The people of the list, with its filters and search, in the order of their keys."""
        if not may_import(request.user) or not self.has_view_permission(request):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        found = changelist.get_queryset(request).order_by().values("pk")
        sheet = writing.Sheet(people=User.objects.filter(pk__in=found), reader=request.user)
        audit.record(action=AuditEntry.Action.DONE, note=gettext("People were downloaded as a sheet."))
        name = f"people-{timezone.localdate():%Y-%m-%d}.{kind}"
        if kind == "xlsx":
            return FileResponse(writing.write_xlsx(sheet), as_attachment=True, filename=name, content_type=_XLSX)
        response = StreamingHttpResponse(writing.csv_lines(sheet), content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
