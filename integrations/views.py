"""Pages of integrations outside the admin."""

from __future__ import annotations

import logging

import redis
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from integrations.store import valkey

logger = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"


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
