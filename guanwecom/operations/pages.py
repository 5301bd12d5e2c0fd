"""Pages of the administration for superusers: what operators otherwise do by commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from accounts.views import confirmation
from guanwecom.operations import installation, support_bundle
from guanwecom.operations.configuration.export import export
from guanwecom.operations.configuration.load import UnreadableError, load

# Longer files are for the command.
CONFIGURATION_BYTES_AT_MOST = 512 * 1024


def for_superusers(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Whoever sends something is asked for the password."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionDenied
        answer = confirmation.gate(request) if request.method == "POST" else None
        return view(request) if answer is None else answer

    return guarded


@for_superusers
@require_POST
def confirm_installation(request: HttpRequest) -> HttpResponse:
    """This copy of the database is the installation now."""
    count = installation.confirm()
    if count is None:
        messages.info(request, _("This was the real installation already."))
    else:
        text = ngettext(
            "This is the real installation now. %(count)d run that had waited was ended, and is not sent.",
            "This is the real installation now. %(count)d runs that had waited were ended, and are not sent.",
            count,
        )
        messages.success(request, text % {"count": count})
    return HttpResponseRedirect(reverse("admin:index"))


@for_superusers
@require_safe
def maintenance(request: HttpRequest) -> HttpResponse:
    return _page(request)


@for_superusers
@require_POST
def export_configuration(_request: HttpRequest) -> HttpResponse:
    return _file(export().encode(), "guanwecom-configuration", "yaml", "application/yaml")


@for_superusers
@require_POST
def support(_request: HttpRequest) -> HttpResponse:
    return _file(support_bundle.bundle(), "guanwecom-support", "zip", "application/zip")


@for_superusers
@require_POST
def import_configuration(request: HttpRequest) -> HttpResponse:
    """A file is compared; what was compared is written when its text is sent again."""
    upload, text = request.FILES.get("file"), request.POST.get("text", "")
    if upload is not None:
        if (upload.size or 0) > CONFIGURATION_BYTES_AT_MOST:
            return _page(request, problem=_("The file is too large; use the command import_configuration."))
        text = upload.read().decode("utf-8", errors="replace")
    if not text:
        return _page(request, problem=_("Choose a file."))
    try:
        result = load(text, writes=upload is None)
    except UnreadableError as error:
        return _page(request, problem=str(error))
    return _page(request, result=result, text=text, is_written=upload is None and not result.problems)


def _page(request: HttpRequest, **more: Any) -> HttpResponse:
    request.current_app = admin.site.name  # as Django's own admin views do
    context = {**admin.site.each_context(request), "title": _("Maintenance"), **more}
    return TemplateResponse(request, "admin/maintenance.html", context)


def _file(content: bytes, name: str, ending: str, content_type: str) -> HttpResponse:
    file_name = f"{name}-{timezone.localtime():%Y%m%d-%H%M}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "no-store"}
    return HttpResponse(content, content_type=content_type, headers=headers)
