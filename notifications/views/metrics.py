"""/metrics for Prometheus, with a token of its own; no cookie, no session."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from integrations.core.http import without_session
from notifications.delivery.metrics import PushCollector


def for_monitors(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """404 where no token is set; 401 for whoever does not bring it as `Authorization: Bearer …`."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not settings.METRICS_TOKEN:
            raise Http404
        if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
            return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
        return view(request)

    return checked


@without_session
@require_GET
@for_monitors
def metrics(_request: HttpRequest) -> HttpResponse:
    """For whoever brings the token."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PushCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
