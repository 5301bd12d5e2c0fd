"""In a copy of the database the web processes serve administrators and monitors, and nobody else."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

from integrations.core import installation
from integrations.core.http import needs_no_session
from integrations.views import ANSWERED_UNDER_EVERY_HOST
from notifications.api import problems
from notifications.api.problems import ROOTS

# The administration with its sign-in by password and its guides, and what monitors ask.
SERVED = ("/admin/", "/docs/", "/login/", "/logout/", "/i18n/", "/metrics")


class CopyMiddleware:
    """Refuses sign-ins with WeCom, its callbacks, the API, inbound channels and the pages of employees."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in ANSWERED_UNDER_EVERY_HOST or path.startswith(SERVED) or not installation.is_known_copy():
            return self.get_response(request)
        if path.startswith(ROOTS):
            return problems.response(problems.ProblemError("restored_copy"))
        if needs_no_session(request):
            return HttpResponse(status=503, content_type="text/plain")
        response = render(request, "copy.html", status=503)
        add_never_cache_headers(response)
        return response
