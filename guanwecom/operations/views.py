"""/healthz/engine and /metrics, for monitors, and the page for errors.

Load balancers use /healthz/ready, which does not depend on the engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe
from django.views.defaults import server_error
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from guanwecom.operations import health
from guanwecom.operations.busy import PAGE_HEADERS
from guanwecom.operations.health import EngineHealth, Served
from guanwecom.operations.monitoring.metrics import EngineCollector
from integrations.core.background import is_database_away
from integrations.core.http import without_session
from notifications.api import problems
from notifications.api.problems import ROOTS


def failed(request: HttpRequest) -> HttpResponse:
    """Show the page for an error that nothing has caught: 503 while the database is away, else 500."""
    if not is_database_away(sys.exc_info()[1]):
        return server_error(request)
    with translation.override(translation.get_language_from_request(request)):
        headers = {**PAGE_HEADERS, "Retry-After": "10"}
        if request.path_info.startswith(ROOTS):
            return problems.response(problems.ProblemError("unavailable", headers=headers))
        return HttpResponse(render_to_string("database_away.html"), status=503, headers=headers)


def for_monitors(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 404 where no token is set; 401 to whoever does not bring it as `Authorization: Bearer …`."""

    @wraps(view)
    def check_token(request: HttpRequest) -> HttpResponse:
        if not settings.METRICS_TOKEN:
            raise Http404
        if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
            return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
        return view(request)

    return check_token


@without_session
@require_GET
@for_monitors
def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer a scrape of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EngineCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@without_session
@never_cache
@require_safe
@for_monitors
def engine(_request: HttpRequest) -> JsonResponse:
    """Answer 200 while everything scheduled goes out, else 503; the same in numbers."""
    try:
        state = health.read()
    except Error:
        return JsonResponse({"status": "down", "problems": ["database"]}, status=503)
    return JsonResponse(document(state), status=503 if state.problems else 200)


def document(state: EngineHealth) -> dict[str, object]:
    """Write `state` as the monitors read it; ages in seconds, None where nothing was heard."""
    return {
        "status": "down" if state.problems else "ok",
        "problems": state.problems,
        "beat": _served(state.beat),
        "queues": {queue.name: _served(queue) for queue in state.queues},
        "mail_door": _served(state.mail_door),
        "tick": {"seconds": _rounded(state.tick_seconds)},
        "overdue": {"count": state.overdue_count, "seconds": _rounded(state.overdue_seconds)},
    }


def _served(served: Served) -> dict[str, object]:
    return {"processes": served.process_count, "silent_seconds": _rounded(served.silent_seconds)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
