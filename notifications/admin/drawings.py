"""Where a page of the administration asks for the pictures and files that are made for whoever looks at it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from notifications import report_drawings
from notifications.admin.lists import administrator
from notifications.media_views import made_answer
from notifications.models import Medium

View = Callable[..., HttpResponse]


class WithDrawings:
    """For a ModelAdmin: `making_view` and `made_view` under the names `{drawings_name}_making` and `_made`."""

    drawings_name: str

    def check_may_look(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for whoever may not fill in the form."""
        raise NotImplementedError

    def making_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """How far one picture or file of the look is; with `show`, for whom scripts do not ask: itself, once it is
        made."""
        state = self._state(request, token)
        is_shown = "show" in request.GET
        if state.medium is None:
            if is_shown:
                return TemplateResponse(request, "admin/notifications/making_page.html", {"state": state})
            return JsonResponse({"seconds": state.seconds, "problem": state.problem})
        medium = state.medium
        extension = "svg" if medium.kind == Medium.Kind.PICTURE else medium.kind
        address = reverse(f"admin:{self.drawings_name}_made", args=[token, extension])
        if is_shown:
            return HttpResponseRedirect(address)
        return JsonResponse({"address": address, "kind": medium.kind, "width": medium.width, "height": medium.height})

    def made_view(self, request: HttpRequest, token: str, extension: str) -> HttpResponse:
        """The picture or the file itself."""
        return made_answer(self._state(request, token).medium, extension)

    def _state(self, request: HttpRequest, token: str) -> report_drawings.State:
        self.check_may_look(request)
        state = report_drawings.state_of(token, by=administrator(request), now=timezone.now())
        if state is None:
            raise Http404
        return state
