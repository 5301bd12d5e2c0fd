"""Lists of the log, with what they show as csv: in the reader's language, the newest first. No cell is a formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone, translation

from accounts.importexport.writers import csv_line
from integrations.core.paginator import read_newest_first
from notifications.admin.base import IndexedLogAdmin

# More than a run has people; a list without any filter may be of years.
ROWS_AT_MOST = 200_000
BATCH = 1000


class ExportedLog(IndexedLogAdmin):
    """A log whose rows under the list's filters are a file, too, at most ROWS_AT_MOST of them."""

    change_list_template = "admin/notifications/log/change_list.html"

    def csv_titles(self) -> list[str]:
        raise NotImplementedError

    def csv_lines(self, rows: list[Any]) -> Iterable[list[str]]:
        """The cells of at most BATCH rows at once, in the order of the titles."""
        raise NotImplementedError

    @property
    def _names(self) -> str:
        return f"notifications_{self.opts.model_name}"

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.csv_view)
        return [path("csv/", page, name=f"{self._names}_csv"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"csv_url": reverse(f"admin:{self._names}_csv"), "csv_rows": f"{ROWS_AT_MOST:,}"}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:{self._names}_changelist"))
        lines = self._file(found, translation.get_language() or "")
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"{self.opts.model_name}-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _file(self, found: QuerySet[Any], language: str) -> Iterator[str]:
        """The language is fixed: the lines are written after the request, when another may be active."""
        with translation.override(language):
            head = "\ufeff" + csv_line(self.csv_titles())
        yield head
        rows = islice(read_newest_first(found, at_once=BATCH), ROWS_AT_MOST)
        while batch := list(islice(rows, BATCH)):
            with translation.override(language):
                text = "".join(csv_line(cells) for cells in self.csv_lines(batch))
            yield text
