"""Pages of integrations outside the admin."""

from __future__ import annotations

import logging

import redis
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from integrations import callbacks, tasks, verification
from integrations.models import CallbackEvent
from integrations.store import valkey
from integrations.wecom.crypto import CallbackError
from integrations.without_session import without_session

logger = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"


@without_session
@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 and "ok" while database and Valkey answer, else 503 and the name of what does not. Open to everybody."""
    failed = [name for name, is_up in (("database", _database_answers()), ("valkey", _valkey_answers())) if not is_up]
    if failed:
        logger.error("not healthy: %s", ", ".join(failed))
        return HttpResponse("down: " + ", ".join(failed), status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _valkey_answers() -> bool:
    try:
        return bool(valkey().ping())
    except redis.RedisError:
        return False


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
