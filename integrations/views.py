"""Pages outside the administration: health, guides, WeCom's callbacks; and the middleware that checks the host."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe
from django.views.static import serve

from integrations import callbacks
from integrations.clients.wecom.callbacks import CallbackError
from integrations.core import heartbeats, http, sentences
from integrations.core.http import mark_without_session
from integrations.models import CallbackEvent, Corp

logger = logging.getLogger(__name__)

# The first path is that of earlier versions. guanwecom.operations answers at the last one, the push engine's.
HEALTH_PATH, LIVE_PATH, READY_PATH, ENGINE_PATH = "/healthz", "/healthz/live", "/healthz/ready", "/healthz/engine"
# Load balancers and monitors request these by IP address.
ANSWERED_UNDER_EVERY_HOST = frozenset({HEALTH_PATH, LIVE_PATH, READY_PATH, ENGINE_PATH})


@mark_without_session
@never_cache
@require_safe
def answer_liveness(_request: HttpRequest) -> HttpResponse:
    """Answer 200 while this process runs, for programs that restart processes. Needs no sign-in."""
    return HttpResponse("ok", content_type="text/plain")


@mark_without_session
@never_cache
@require_safe
def answer_readiness(_request: HttpRequest) -> HttpResponse:
    """Answer 200 and "ok" while this process can serve people, else 503 and the failures. A load balancer requests it
    from each web process. Needs no sign-in."""
    if failed := heartbeats.find_readiness_failures():
        logger.error("not ready: %s", ", ".join(failed))
        return HttpResponse("down: " + ", ".join(failed), status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")


@mark_without_session
@never_cache
@require_safe
def serve_verification_file(request: HttpRequest, code: str) -> HttpResponse:
    """Serve the file that proves to WeCom that this domain is ours: exactly its code. Needs no sign-in."""
    if not Corp.objects.filter(verification_files__contains=[{"code": code}]).exists():
        return HttpResponse(status=404, content_type="text/plain")
    return HttpResponse(code, content_type="text/plain")


@require_safe
@staff_member_required
def show_guide(request: HttpRequest, path: str) -> HttpResponseBase:
    """Serve the guides built by `make docs`; 404 without them. Only for people who may enter the administration."""
    return serve(request, path, document_root=str(sentences.GUIDES_FOLDER))


@require_safe
@staff_member_required
def redirect_to_first_guide(_request: HttpRequest) -> HttpResponse:
    """Redirect to the guides' first page in the reader's language; 404 without guides. Only for people who may enter
    the administration."""
    address = sentences.find_guide_address("index")
    if not address:
        raise Http404
    return HttpResponseRedirect(address)


@mark_without_session
@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def receive_event(request: HttpRequest, corp_id: int, kind: CallbackEvent.Kind) -> HttpResponse:
    """Answer at a callback address: WeCom's check by GET, its events by POST. The corp's keys authenticate the caller.

    Every other caller gets the same 403, whatever is wrong: it must not reveal which corps exist.
    """
    query, now = request.GET, timezone.now()
    names = {"signature": "msg_signature", "timestamp": "timestamp", "nonce": "nonce"}
    signed = {name: query.get(key, "") for name, key in names.items()}
    try:
        if request.method == "GET":
            echo = callbacks.verify_address(
                corp_id=corp_id, kind=kind, signed=signed, echostr=query.get("echostr", ""), now=now
            )
            return HttpResponse(echo, content_type="text/plain")
        body = request.read(callbacks.BODY_BYTES_AT_MOST + 1)
        if len(body) > callbacks.BODY_BYTES_AT_MOST:
            callbacks.record_refusal(corp_id=corp_id, kind=kind, reason="the body is too long", now=now)
            return HttpResponse(status=413, content_type="text/plain")
        callbacks.store_event(corp_id=corp_id, kind=kind, signed=signed, body=body, now=now)
    except CallbackError as error:
        callbacks.record_refusal(corp_id=corp_id, kind=kind, reason=error.reason, now=now)
        return HttpResponse(status=403, content_type="text/plain")
    # An empty answer means: no reply, and do not deliver again. After a failure WeCom delivers again.
    return HttpResponse(content_type="text/plain")


# --- The first middleware: it answers only at saved addresses, whose scheme decides what is secure --------------------

# One year: long enough to protect occasional visitors, short enough for a site that must go back to http.
HSTS_SECONDS = 365 * 24 * 3600


class SiteAddressMiddleware:
    """Refuses requests for a host that is neither a saved site address nor named by the environment.

    The scheme of the saved address decides whether the request counts as secure, whatever scheme the reverse proxy
    uses, so the CSRF check accepts the address as origin as soon as it is saved. All cookies of a secure request get
    the Secure flag, and its answer gets HSTS.

    If a trusted proxy reports that a browser came to an https address by plain http, it is redirected to https.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_plain = http.apply_forwarded_headers(request.META)
        if request.path_info in ANSWERED_UNDER_EVERY_HOST:
            return self.get_response(request)
        try:
            host = request.get_host().lower()
        except DisallowedHost:
            return _refuse_host(request, "")
        scheme = http.find_saved_scheme(host)
        if scheme == "https" and is_plain:
            if request.method in {"GET", "HEAD"}:
                return HttpResponseRedirect(f"https://{host.removesuffix(':443')}{request.get_full_path()}")
            # The content of a form or API call was readable on its way, so it is refused.
            logger.warning("refused a %s by plain http for the host %r", request.method, host[:255])
            with translation.override(translation.get_language_from_request(request)):
                text = _(
                    "This was sent without encryption and is not accepted. Use the address that begins with https://."
                )
            return HttpResponse(text, status=403, content_type="text/plain; charset=utf-8")
        if scheme is not None:
            request.META["wsgi.url_scheme"] = scheme
        elif not http.is_extra_host(host):
            return _refuse_host(request, host)
        response = self.get_response(request)
        if request.is_secure():
            response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
            for morsel in response.cookies.values():
                morsel["secure"] = True
        return response


def _refuse_host(request: HttpRequest, host: str) -> HttpResponse:
    """Answer with a sentence in the browser's language, because no link of a page could be trusted."""
    logger.warning("refused a request for the host %r", host[:255])
    with translation.override(translation.get_language_from_request(request)):
        text = _(
            "This site does not answer under the address “%(host)s”. "
            "Use the address that your administrator gave you.\n"
            "For administrators: save this address on the page “Site addresses”, or name its host in ALLOWED_HOSTS. "
            "A reverse proxy must pass on the Host header as it comes, with its port."
        ) % {"host": host}
    return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
