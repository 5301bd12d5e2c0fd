"""Pages of the administration for superusers: what operators otherwise do by commands."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from accounts.views import confirmation
from guanwecom.operations import installation


@require_POST
def confirm_installation(request: HttpRequest) -> HttpResponse:
    """This copy of the database is the installation now: for superusers, who are asked for their password."""
    if not request.user.is_superuser:
        raise PermissionDenied
    if (answer := confirmation.gate(request)) is not None:
        return answer
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
