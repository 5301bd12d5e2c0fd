"""The first middleware: gives each request its id, counts it, and writes the access log."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bound_contextvars

from guanwecom.operations.logs import path_for_logs
from integrations.core.http import is_trusted_peer
from integrations.core.metrics import QUICK_SECONDS, CountedMetric, TimedMetric

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds for ever.
_MONITORS = frozenset({"health", "live", "ready", "engine", "metrics"})

_REQUESTS = CountedMetric("guanwecom_http_requests", "Requests answered", "view", "method", "status")
_SECONDS = TimedMetric("guanwecom_http_request_duration_seconds", "How long answers took", "view", edges=QUICK_SECONDS)


class AccessMiddleware:
    """The id of a request is in the answer's header X-Request-ID, on each log line of the request and of the tasks that
    it queues. A trusted proxy may bring its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started, request_id = time.perf_counter(), _id_of(request)
        with bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            _note(request, response, time.perf_counter() - started)
        response.headers[REQUEST_ID_HEADER] = request_id
        return response


def _id_of(request: HttpRequest) -> str:
    given = request.META.get("HTTP_X_REQUEST_ID")
    if given and _ID.fullmatch(given) and is_trusted_peer(request.META):
        return str(given)
    return uuid.uuid4().hex


def _note(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    view, method = _view(request), request.method if request.method in _METHODS else "other"
    _REQUESTS.add(view, str(method), str(response.status_code))
    _SECONDS.add(seconds, view)
    if not settings.ACCESS_LOG or view == "static" or view in _MONITORS:
        return
    user = getattr(request, "_cached_user", None)  # set where the view looked; asking would ask the database
    facts = {"method": method, "path": path_for_logs(request), "view": view, "status": response.status_code}
    facts |= {"ms": round(seconds * 1000), "user": getattr(user, "pk", None), "client": request.META.get("REMOTE_ADDR")}
    logger.info("request", extra=facts)


def _view(request: HttpRequest) -> str:
    """Its name in the table of addresses: those are few, whatever is asked for."""
    if request.resolver_match is not None:
        return request.resolver_match.view_name
    return "static" if request.path.startswith(settings.STATIC_URL) else "none"
