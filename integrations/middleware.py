"""The first middleware: the site answers under its saved addresses only, and their scheme decides what is secure."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import translation
from django.utils.translation import gettext as _

from integrations import hosts, proxies
from integrations.views import ANSWERED_UNDER_EVERY_HOST

logger = logging.getLogger(__name__)

# Half a year: long enough to protect people who come now and then, short enough for a site that must go back to http.
HSTS_SECONDS = 180 * 24 * 3600


class SiteAddressMiddleware:
    """Refuses each host that is neither a saved site address nor named by the environment.

    The saved address's scheme decides whether the request counts as secure, whatever the way from the reverse proxy
    to us looks like; so the CSRF check accepts the address as origin as soon as it is saved. A secure request's
    cookies all get the Secure flag, and its answer HSTS.

    Where a trusted proxy says that a browser came to an https address by plain http, the browser is sent to https.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_plain = proxies.unwrap(request.META)
        if request.path_info in ANSWERED_UNDER_EVERY_HOST:
            return self.get_response(request)
        try:
            host = request.get_host().lower()
        except DisallowedHost:
            return _refused(request, "")
        scheme = hosts.scheme_of_saved(host)
        if scheme == "https" and is_plain:
            return _to_https(request, host)
        if scheme is not None:
            request.META["wsgi.url_scheme"] = scheme
        elif not hosts.is_extra(host):
            return _refused(request, host)
        response = self.get_response(request)
        if request.is_secure():
            _secure(response)
        return response


def _to_https(request: HttpRequest, host: str) -> HttpResponse:
    """The same page under the saved address. What a form or a program sent was readable on the way: it is refused."""
    if request.method in {"GET", "HEAD"}:
        return HttpResponseRedirect(f"https://{host.removesuffix(':443')}{request.get_full_path()}")
    logger.warning("refused a %s by plain http for the host %r", request.method, host[:255])
    with translation.override(translation.get_language_from_request(request)):
        text = _("This was sent without encryption and is not accepted. Use the address that begins with https://.")
    return HttpResponse(text, status=403, content_type="text/plain; charset=utf-8")


def _secure(response: HttpResponse) -> None:
    response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
    for morsel in response.cookies.values():
        morsel["secure"] = True


def _refused(request: HttpRequest, host: str) -> HttpResponse:
    """A sentence in the browser's language: no page can be shown, because no link on it could be trusted."""
    logger.warning("refused a request for the host %r", host[:255])
    with translation.override(translation.get_language_from_request(request)):
        text = _(
            "This site does not answer under the address “%(host)s”. "
            "Use the address that your administrator gave you.\n"
            "For administrators: save this address on the page “Site addresses”, or name its host in ALLOWED_HOSTS. "
            "A reverse proxy must pass on the Host header as it comes, with its port."
        ) % {"host": host}
    return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
