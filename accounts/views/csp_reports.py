"""Takes browsers' reports of what the Content-Security-Policy refused, and writes them to the log, damped."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import redis
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.authentication import throttling
from integrations.core.csp import origin_of
from integrations.core.http import without_session

logger = logging.getLogger(__name__)

BYTES_AT_MOST = 16 * 1024
REPORTS_AT_MOST = 20
# Within a minute: reports of one address (of IPv6: its /48), lines of one kind, and lines of all kinds together.
REPORTS_PER_ADDRESS, LINES_PER_KIND, LINES_AT_MOST = 60, 1, 30
# The longest name of a host, its scheme and port: what is longer would fill lines and keys.
ORIGIN_CHARACTERS = 268
# A report, in the two forms that browsers send: the names of its directive, of what was refused, and of its page.
_OLD = ("effective-directive", "blocked-uri", "document-uri")
_NEW = ("effectiveDirective", "blockedURL", "documentURL")
_WORD = re.compile(r"[a-z-]{1,40}")


@without_session
@csrf_exempt
@never_cache
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Open to every browser. 204 whether a line was written or not; 400, 413, 429, 503 for what is not taken."""
    try:
        if not throttling.allows(_key(throttling.network_of(request) or "unknown"), at_most=REPORTS_PER_ADDRESS):
            return HttpResponse(status=429)
        body = request.read(BYTES_AT_MOST + 1)
        if len(body) > BYTES_AT_MOST:
            return HttpResponse(status=413)
        for directive, refused, page in _reports(json.loads(body)):
            _note(directive, refused, page)
    except redis.RedisError:
        return HttpResponse(status=503)
    except (ValueError, RecursionError):
        return HttpResponse(status=400)
    return HttpResponse(status=204)


def _reports(document: Any) -> Iterator[tuple[str, str, str]]:
    """Of what was sent, whatever it is, in words that a line of a log can hold."""
    rows = document if isinstance(document, list) else [document]
    for row in rows[:REPORTS_AT_MOST]:
        for key, names in (("csp-report", _OLD), ("body", _NEW)):
            report = row.get(key) if isinstance(row, dict) else None
            if isinstance(report, dict):
                directive, refused, page = (str(report.get(name) or "") for name in names)
                yield _word(directive), _source(refused), _page(page)


def _note(directive: str, refused: str, page: str) -> None:
    is_new = throttling.allows(_key(f"{directive} {refused} {page}"), at_most=LINES_PER_KIND)
    if is_new and throttling.allows(_key("lines"), at_most=LINES_AT_MOST):
        logger.warning("content policy: %s refused %s on %s", directive, refused, page)


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) else "other"


def _source(text: str) -> str:
    """A word of the policy (inline, eval, data), or the origin of an address, never its path."""
    try:
        origin = origin_of(text) or _word(text.partition(":")[0])
        return origin if len(origin) <= ORIGIN_CHARACTERS else "other"
    except ValueError:
        return "other"


def _page(text: str) -> str:
    """The pattern of the page's address: what stands in its place, or behind a question mark, is not for a log."""
    try:
        return f"/{resolve(urlsplit(text).path).route}"
    except (Resolver404, ValueError):
        return "another page"


def _key(text: str) -> str:
    return f"content-policy:{text}"
