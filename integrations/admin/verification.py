"""Section of a company's admin page to upload and check verification files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from integrations.admin.base import CorpPages, View
from integrations.companies import links, verification_files
from integrations.core.explanations import unqueued
from integrations.core.queues import queue_on_commit
from integrations.models import Corp, SiteAddress, VerificationFile
from integrations.tasks import check_verification_file

# A check that still waits after so long has no worker.
WORKER_MISSING = timedelta(seconds=20)
SECTION = "verification"


class VerificationPages(CorpPages):
    """Upload, check and remove a corp's verification files. Who may change the corp may do all three."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("verification/", "verification"): require_POST(self.upload_view),
            ("verification/panel/", "verification_panel"): require_GET(self.files_view),
            ("verification/<int:file_id>/check/", "verification_check"): require_POST(self.check_view),
            ("verification/<int:file_id>/remove/", "verification_remove"): require_POST(self.remove_view),
        }
        return [*self._routes(views), *super().get_urls()]

    def upload_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        corp = self._corp(request, corp_id, to_change=True)
        upload = request.FILES.get("file")
        if upload is None:
            messages.error(request, gettext("Choose the file first."))
            return self._to_page(corp, SECTION)
        content = upload.read(verification_files.FILE_BYTES_AT_MOST + 1)
        try:
            file = verification_files.store_file(corp=corp, name=upload.name or "", content=content, now=timezone.now())
        except ValidationError as refusal:
            messages.error(request, " ".join(refusal.messages))
            return self._to_page(corp, SECTION)
        self.log_change(request, corp, gettext("Verification file %(name)s uploaded.") % {"name": file})
        messages.success(request, gettext("%(name)s is served from now on.") % {"name": file})
        _start_check(request, file)
        return self._to_page(corp, SECTION)

    def check_view(self, request: HttpRequest, corp_id: int, file_id: int) -> HttpResponse:
        """Look for the file at its public address in the background; the page polls files_view."""
        corp = self._corp(request, corp_id, to_change=True)
        _start_check(request, get_object_or_404(VerificationFile, pk=file_id, corp=corp))
        return self._to_page(corp, SECTION)

    def remove_view(self, request: HttpRequest, corp_id: int, file_id: int) -> HttpResponse:
        corp = self._corp(request, corp_id, to_change=True)
        file = get_object_or_404(VerificationFile, pk=file_id, corp=corp)
        file.delete()
        self.log_change(request, corp, gettext("Verification file %(name)s removed.") % {"name": file})
        messages.success(request, gettext("%(name)s is no longer served.") % {"name": file})
        return self._to_page(corp, SECTION)

    def files_view(self, request: HttpRequest, corp_id: int) -> JsonResponse:
        """The list of files with their checks, as the page shows it."""
        return JsonResponse(self.verification_panel(request, self._corp(request, corp_id, to_change=False)))

    def verification_panel(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        """What the corp's page shows of its files, and whether to ask again."""
        site = links.site_address_for(corp)
        rows = [_row(site, file) for file in corp.verification_files.all()]
        context = {"corp": corp, "rows": rows, "can_act": self.has_change_permission(request, corp)}
        html = render_to_string("admin/integrations/corp/_verification_files.html", context, request)
        return {"is_unfinished": any(row["is_unfinished"] for row in rows), "html": html}


def _start_check(request: HttpRequest, file: VerificationFile) -> None:
    def give_up() -> None:
        verification_files.withdraw_check(file)
        messages.error(request, unqueued().what)

    if verification_files.request_check(file=file, now=timezone.now()):
        queue_on_commit(check_verification_file, file.pk, otherwise=give_up)


def _row(site: SiteAddress, file: VerificationFile) -> dict[str, Any]:
    url = verification_files.public_url(site, file)
    waiting = timezone.now() - file.check_requested_at if file.check_requested_at else timedelta()
    return {
        "file": file,
        "url": url,
        "is_unfinished": file.is_being_checked,
        "seems_lost": file.is_being_checked and waiting >= WORKER_MISSING,
        "is_outdated": bool(file.checked_url) and file.checked_url != url,
        "is_found": file.outcome == VerificationFile.Outcome.FOUND,
        "explanation": verification_files.explanation(file),
    }
