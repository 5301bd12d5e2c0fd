"""Tells requests to come again that waited too long for web, so that those behind them need not wait, too.

Nothing of them has been read or stored yet: whoever comes again loses nothing, and WeCom repeats its callbacks. This
stands before Django, because refusing must cost much less than answering.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import translation

from integrations.core.metrics import CountedMetric
from integrations.views import ANSWERED_UNDER_EVERY_HOST
from notifications.api import problems
from notifications.api.problems import ROOTS

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# gunicorn.conf.py marks a request with it. A client that sends it itself is refused, and nobody else.
LATE = "HTTP_WAITED_TOO_LONG"
# Drawn for each, or all that were refused at once would come again at once.
AGAIN_SECONDS = range(2, 7)
# Monitors, and what takes no longer than a refusal.
ANSWERED = ("/metrics", settings.STATIC_URL, *ANSWERED_UNDER_EVERY_HOST)
LANGUAGES_AT_MOST = 100
# What the middleware gives the site's own pages, which stands behind this.
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": build_policy(),
    "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_REFUSED = CountedMetric("guanwecom_http_refused", "Requests told to come again because web was busy", "method")


def refusing_late(application: Application) -> Application:
    """`application`, which gets only what did not wait too long. The others get 503 with Retry-After; a browser comes
    again by itself."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if LATE not in environ or path.startswith(ANSWERED):
            return application(environ, start_response)
        is_get = environ["REQUEST_METHOD"] == "GET"
        _REFUSED.add("GET" if is_get else "other")
        kind, body = _words(environ.get("HTTP_ACCEPT_LANGUAGE", "")[:200], is_api=path.startswith(ROOTS))
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **PAGE_HEADERS}
        seconds = str(random.choice(AGAIN_SECONDS))  # noqa: S311  # no secret
        again = {"Retry-After": seconds} | ({"Refresh": seconds} if is_get else {})
        start_response("503 Service Unavailable", list({**headers, **again}.items()))
        return [body]

    return answer


@lru_cache(LANGUAGES_AT_MOST)
def _words(accept_language: str, *, is_api: bool) -> tuple[str, bytes]:
    """Media type and body in the browser's language."""
    with translation.override(_language(accept_language)):
        if is_api:
            return problems.CONTENT_TYPE, problems.response(problems.ProblemError("busy")).content
        return "text/html; charset=utf-8", render_to_string("busy.html").encode()


def _language(accept_language: str) -> str:
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = accept_language
    return translation.get_language_from_request(request)
