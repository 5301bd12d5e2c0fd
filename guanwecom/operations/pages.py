"""Pages of the administration for superusers: what operators otherwise do by commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

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
    request.current_app = admin.site.name  # as Django's own admin views do
    context = {**admin.site.each_context(request), "title": _("Maintenance")}
    return TemplateResponse(request, "admin/maintenance.html", context)


@for_superusers
@require_POST
def support(_request: HttpRequest) -> HttpResponse:
    file_name = f"guanwecom-support-{timezone.localtime():%Y%m%d-%H%M}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "no-store"}
    return HttpResponse(support_bundle.bundle(), content_type="application/zip", headers=headers)
