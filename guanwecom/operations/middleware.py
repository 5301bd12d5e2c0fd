"""Middleware before every view: request ids, the access log, refusals in a copy of the database and while web is busy.

While web is busy, requests that waited too long get 503 with Retry-After, so that later ones wait less. Nothing of a
refused request has been read or stored, so it can be repeated without loss; WeCom repeats its callbacks. Such a refusal
comes before Django, because it must cost much less than an answer.
"""

from __future__ import annotations

import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.cache import add_never_cache_headers
from structlog.contextvars import bound_contextvars

from guanwecom.operations.logs import hide_arguments_in_path
from integrations.core import installation
from integrations.core.http import is_trusted_peer, needs_no_session
from integrations.core.metrics import QUICK_SECONDS, CountedMetric, TimedMetric
from integrations.views import ANSWERED_UNDER_EVERY_HOST
from notifications.api import problems
from notifications.api.problems import ROOTS

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Views that monitors call every few seconds.
_MONITOR_VIEWS = frozenset({"health", "live", "ready", "engine", "metrics"})

_REQUESTS = CountedMetric("guanwecom_http_requests", "Requests answered", "view", "method", "status")
_SECONDS = TimedMetric("guanwecom_http_request_duration_seconds", "How long answers took", "view", edges=QUICK_SECONDS)


class AccessMiddleware:
    """Middleware that gives each request an id and writes the access log. The id is in the response's header
    X-Request-ID, and on the log lines of the request and of the tasks that it queues. A trusted proxy may set it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started, given = time.perf_counter(), request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _ID.fullmatch(given) and is_trusted_peer(request.META) else uuid.uuid4().hex
        with bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            method = request.method if request.method in _METHODS else "other"
            # Metrics count by the view's name. Clients can request any number of paths.
            view = "static" if request.path.startswith(settings.STATIC_URL) else "none"
            if request.resolver_match is not None:
                view = request.resolver_match.view_name
            _REQUESTS.add(view, str(method), str(response.status_code))
            _SECONDS.add(seconds, view)
            if view != "static" and view not in _MONITOR_VIEWS:
                # None unless the view read request.user: reading it here would query the database.
                user = getattr(request, "_cached_user", None)
                facts = {
                    "method": method,
                    "path": hide_arguments_in_path(request),
                    "view": view,
                    "status": response.status_code,
                }
                facts |= {"ms": round(seconds * 1000), "user": getattr(user, "pk", None)}
                logger.info("request", extra={**facts, "client": request.META.get("REMOTE_ADDR")})
        response.headers[REQUEST_ID_HEADER] = request_id
        return response


# Paths served in a copy: the administration, its sign-in by password, the guides, and metrics.
PATHS_SERVED_IN_COPY = ("/admin/", "/docs/", "/login/", "/logout/", "/i18n/", "/metrics")


class CopyMiddleware:
    """Middleware that refuses sign-ins with WeCom, WeCom's callbacks, the API, inbound channels and employees' pages if
    the database is a copy, such as a restored backup."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if (
            path in ANSWERED_UNDER_EVERY_HOST
            or path.startswith(PATHS_SERVED_IN_COPY)
            or not installation.is_copy_by_cache()
        ):
            return self.get_response(request)
        if path.startswith(ROOTS):
            return problems.make_response(problems.ProblemError("restored_copy"))
        if needs_no_session(request):
            return HttpResponse(status=503, content_type="text/plain")
        response = render(request, "copy.html", status=503)
        add_never_cache_headers(response)
        return response


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# gunicorn.conf.py sets this header on a late request. A client that sends it has only its own request refused.
LATE_HEADER = "HTTP_WAITED_TOO_LONG"
# Seconds of Retry-After, random for each response, so that refused requests do not all return at the same time.
RETRY_SECONDS = range(2, 7)
# Paths never refused: those of monitors, and of files, which cost no more than a refusal.
PATHS_NEVER_REFUSED = ("/metrics", settings.STATIC_URL, *ANSWERED_UNDER_EVERY_HOST)
LANGUAGES_AT_MOST = 100
# Headers that Django's middleware sets on other pages. It does not run for these responses.
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": build_policy(),
    "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_REFUSED = CountedMetric("guanwecom_http_refused", "Requests refused because web was busy", "method")


class LateRequestMiddleware:
    """WSGI middleware that answers requests that waited too long with 503 and Retry-After. For GET, a Refresh header
    lets browsers retry."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if LATE_HEADER not in environ or path.startswith(PATHS_NEVER_REFUSED):
            return self.application(environ, start_response)
        is_get = environ["REQUEST_METHOD"] == "GET"
        _REFUSED.add("GET" if is_get else "other")
        media_type, body = _render_refusal(environ.get("HTTP_ACCEPT_LANGUAGE", "")[:200], is_api=path.startswith(ROOTS))
        headers = {"Content-Type": media_type, "Content-Length": str(len(body)), **PAGE_HEADERS}
        seconds = str(random.choice(RETRY_SECONDS))  # noqa: S311  # no secret
        retry = {"Retry-After": seconds} | ({"Refresh": seconds} if is_get else {})
        start_response("503 Service Unavailable", list({**headers, **retry}.items()))
        return [body]


@lru_cache(LANGUAGES_AT_MOST)
def _render_refusal(accept_language: str, *, is_api: bool) -> tuple[str, bytes]:
    """Return the media type and the body of a refusal in the browser's language."""
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = accept_language
    with translation.override(translation.get_language_from_request(request)):
        if is_api:
            return problems.CONTENT_TYPE, problems.make_response(problems.ProblemError("busy")).content
        return "text/html; charset=utf-8", render_to_string("busy.html").encode()
