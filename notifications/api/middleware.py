"""Middleware of the API: drops cookies, forbids caching, answers errors as JSON."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import translation

from notifications.api.json_body import MULTIPART
from notifications.api.problems import ProblemError, instead_of, response

ROOTS = ("/api/", "/in/")
BODY_BYTES_AT_MOST = 256 * 1024
# Of a path that takes more: a message has a long text and many recipients.
MORE_BYTES_AT_MOST = {"/api/v1/messages": 1024 * 1024}
# Of a form with files: 20 MB of them, and what is around.
FORM_BYTES_AT_MOST = 21 * 1024 * 1024
FORM_PATHS = frozenset({"/api/v1/messages", "/api/v1/uploads"})
# An inbound channel may get pictures and files; it reads no more than its kind of body may have.
INBOUND_BYTES_AT_MOST = 24 * 1024 * 1024


class ApiMiddleware:
    """Takes the cookies off each call of the API before anybody reads them: a session opens nothing there, so that
    no page of another site can make a browser ask for anything. After SiteAddressMiddleware, before the sessions.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(ROOTS):
            return self.get_response(request)
        request.META.pop("HTTP_COOKIE", None)
        with translation.override(translation.get_language_from_request(request)):
            if _length_of(request) > _bytes_at_most(request):
                answer = response(ProblemError("body_too_large"))
            else:
                answer = instead_of(self.get_response(request))
        answer.headers["Cache-Control"] = "no-store"
        return answer


def _bytes_at_most(request: HttpRequest) -> int:
    if request.path_info in FORM_PATHS and request.content_type == MULTIPART:
        return FORM_BYTES_AT_MOST
    if request.path_info.startswith("/in/"):
        return INBOUND_BYTES_AT_MOST
    return MORE_BYTES_AT_MOST.get(request.path_info, BODY_BYTES_AT_MOST)


def _length_of(request: HttpRequest) -> int:
    """What the server has promised us; one without a length has no body for Django."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
