"""Pages of integrations outside the admin."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from integrations import callbacks, tasks, verification
from integrations.core import readiness
from integrations.models import CallbackEvent
from integrations.wecom.crypto import CallbackError
from integrations.without_session import without_session

logger = logging.getLogger(__name__)

# The first is that of earlier versions. The last one is the engine's, guanwecom.operations.
HEALTH_PATH, LIVE_PATH, READY_PATH, ENGINE_PATH = "/healthz", "/healthz/live", "/healthz/ready", "/healthz/engine"
# Load balancers and monitors ask for these by address.
ANSWERED_UNDER_EVERY_HOST = frozenset({HEALTH_PATH, LIVE_PATH, READY_PATH, ENGINE_PATH})


@without_session
@never_cache
@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    """200 while this process answers at all: whoever restarts processes asks this. Open to everybody."""
    return HttpResponse("ok", content_type="text/plain")


@without_session
@never_cache
@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    """200 and "ok" while this process can serve people, else 503 and what fails. A load balancer asks this of each web
    process. Open to everybody."""
    if failed := readiness.failures():
        logger.error("not ready: %s", ", ".join(failed))
        return HttpResponse("down: " + ", ".join(failed), status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")


@without_session
@never_cache
@require_safe
def verification_file(request: HttpRequest, code: str) -> HttpResponse:
    """The file by which WeCom sees that this domain is ours: its code and not a byte more. Open to everybody."""
    if not verification.is_served(code):
        return HttpResponse(status=404, content_type="text/plain")
    return HttpResponse(code, content_type="text/plain")


@without_session
@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def events(request: HttpRequest, corp_id: int, kind: CallbackEvent.Kind) -> HttpResponse:
    """A callback address: WeCom's check by GET, its events by POST. Who holds the corp's keys gets in.

    Everybody else gets the same 403, whatever is wrong, and learns nothing of which corps there are.
    """
    try:
        return _checked(request, corp_id, kind) if request.method == "GET" else _received(request, corp_id, kind)
    except CallbackError as error:
        callbacks.note_refusal(corp_id=corp_id, kind=kind, reason=error.reason, now=timezone.now())
        return HttpResponse(status=403, content_type="text/plain")


def _checked(request: HttpRequest, corp_id: int, kind: CallbackEvent.Kind) -> HttpResponse:
    echostr, now = request.GET.get("echostr", ""), timezone.now()
    answer = callbacks.verify_address(corp_id=corp_id, kind=kind, signed=_signed(request), echostr=echostr, now=now)
    return HttpResponse(answer, content_type="text/plain")


def _received(request: HttpRequest, corp_id: int, kind: CallbackEvent.Kind) -> HttpResponse:
    """An empty answer says: stored, do not repeat, no reply. Any failure before makes WeCom deliver again."""
    body = request.read(callbacks.BODY_BYTES_AT_MOST + 1)
    if len(body) > callbacks.BODY_BYTES_AT_MOST:
        callbacks.note_refusal(corp_id=corp_id, kind=kind, reason="the body is too long", now=timezone.now())
        return HttpResponse(status=413, content_type="text/plain")
    now = timezone.now()
    for name in callbacks.receive(corp_id=corp_id, kind=kind, signed=_signed(request), body=body, now=now):
        tasks.queue_events(corp_id, name)
    return HttpResponse(content_type="text/plain")


def _signed(request: HttpRequest) -> callbacks.Signed:
    query = request.GET
    return callbacks.Signed(query.get("msg_signature", ""), query.get("timestamp", ""), query.get("nonce", ""))
