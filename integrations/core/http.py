"""Requests and their targets: trusted proxies, hosts, content policies and paths of this site.

Only settings.TRUSTED_PROXIES are trusted. The same path rules hold for creating and following links.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from integrations.clients.transport import read_boot_clock
from integrations.core.validators import remove_invisible
from integrations.models import BiConnection, Corp, SiteAddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# X-Forwarded-Host and similar headers are never used, because a proxy passes the Host header on.
FORWARDED_HEADERS = (
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"),
    *("HTTP_X_FORWARDED_SERVER", "HTTP_X_REAL_IP", "HTTP_FORWARDED"),
)


def apply_forwarded_headers(meta: dict[str, Any]) -> bool:
    """Set the client's address and scheme where Django reads them, and drop every forwarded header.

    Return whether trusted proxies report that the browser came by plain http. All of them must: the inner of two
    often speaks http although the outer one spoke https with the browser (`https,http`).

    The address is the rightmost one in X-Forwarded-For that is not a trusted proxy, because the client itself can
    write anything to the left of it.
    """
    forwarded = {name: meta.pop(name) for name in FORWARDED_HEADERS if name in meta}
    if not is_trusted_peer(meta):
        return False
    client = _parse_address(meta["REMOTE_ADDR"])
    for word in reversed(forwarded.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address = _parse_address(word)
        if address is None:
            break
        client = address
        if not _is_trusted(address):
            break
    meta["REMOTE_ADDR"] = str(client)
    schemes = [word.strip().lower() for word in forwarded.get("HTTP_X_FORWARDED_PROTO", "").split(",")]
    meta["wsgi.url_scheme"] = "https" if "https" in schemes else meta.get("wsgi.url_scheme", "http")
    return set(schemes) == {"http"}


def is_trusted_peer(meta: dict[str, Any]) -> bool:
    """Return whether a trusted proxy forwards the request. Call it before `apply_forwarded_headers`."""
    peer = _parse_address(meta.get("REMOTE_ADDR", ""))
    return peer is not None and _is_trusted(peer)


def _is_trusted(address: IPAddress) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _parse_address(text: str) -> IPAddress | None:
    """Parse an address, also with a port; an IPv4-mapped IPv6 address becomes IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].split("]", 1)[0]
    elif text.count(":") == 1:
        text = text.split(":", 1)[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


# --- Host names of this site: the saved site addresses, and the names that the environment adds -----------------------

# How long a process still accepts a site address that was changed or deleted. A new one is accepted at once.
HOST_CACHE_SECONDS = 3.0
_DEFAULT_PORTS = {"http": "80", "https": "443"}


# By host: the scheme of its saved address, and until when it is used without a query.
_cached_schemes: dict[str, tuple[str, float]] = {}


def find_saved_scheme(host: str) -> str | None:
    """Return the scheme of the saved site address at `host` (a Host header in lower case); None if there is none.

    Only hits are cached: a miss queries the database, so a newly saved address works in every process.
    """
    cached, now = _cached_schemes.get(host), read_boot_clock()
    if cached is not None and now < cached[1]:
        return cached[0]
    # The canonical addresses that a Host header can stand for; some clients write the default port, too.
    addresses = [f"{scheme}://{host.removesuffix(f':{port}')}/" for scheme, port in _DEFAULT_PORTS.items()]
    saved = set(SiteAddress.objects.filter(url__in=addresses).values_list("url", flat=True))
    if not saved:
        _cached_schemes.pop(host, None)
        return None
    scheme = max(urlsplit(url).scheme for url in saved)  # https, if both are saved
    _cached_schemes[host] = scheme, now + HOST_CACHE_SECONDS
    return scheme


def is_extra_host(host: str) -> bool:
    """Return whether settings.EXTRA_ALLOWED_HOSTS names `host`; a name without a port covers every port."""
    names = {name.lower() for name in settings.EXTRA_ALLOWED_HOSTS}
    domain, _port = split_domain_port(host)
    return not names.isdisjoint({host, domain, domain.strip("[]")})


def clear_caches() -> None:
    """Clear this process's caches, because an address was changed here."""
    _cached_schemes.clear()
    _read_origins.cache_clear()


# --- Views for programs (WeCom, monitors), which neither read nor write a session -------------------------------------

_CACHE_ATTRIBUTE = "_needs_no_session"
View = TypeVar("View", bound=Callable[..., object])


def mark_without_session(view: View) -> View:
    """Mark a view whose response does not depend on the session."""
    view.is_without_session = True  # type: ignore[attr-defined]  # how Django marks views, too
    return view


def needs_no_session(request: HttpRequest) -> bool:
    """Return whether the request is for a marked view, by its path: middleware runs before a view is chosen."""
    is_marked: bool | None = getattr(request, _CACHE_ATTRIBUTE, None)  # several callers ask, and resolving takes long
    if is_marked is None:
        is_marked = _is_marked(request.path_info)
        setattr(request, _CACHE_ATTRIBUTE, is_marked)
    return is_marked


@lru_cache(maxsize=256)  # for the most frequent paths, because Django goes through all patterns each time
def _is_marked(path: str) -> bool:
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    return getattr(view, "is_without_session", False)


# --- Content-Security-Policy of every response: settings.CONTENT_SECURITY_POLICY, with additions for sign-in ----------

# How long a process uses the origins that it read, because pages are shown far more often than a corp changes.
ORIGIN_CACHE_SECONDS = 3.0
# Characters allowed in a policy: a semicolon or a comma would begin a new directive or policy.
_ORIGIN = re.compile(r"https?://[0-9A-Za-z.\-\[\]:]+")


def read_origin(url: str) -> str | None:
    """Return scheme, host and port of `url`; None if no policy can name them."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else None


@lru_cache(maxsize=1)
def _read_origins(_moment: int) -> list[str]:
    """Return the origins to which a sign-in may redirect: each corp's two WeCom addresses, the site addresses where it
    starts, and the BI, where it may end. `_moment`: changes when they must be read again."""
    corps = Corp.objects.signing_in().order_by()
    rows = corps.values_list("authorize_base_url", "qr_base_url", "site_address__url").distinct()
    urls = {url for row in rows for url in row}
    if urls:
        urls.update(SiteAddress.objects.filter(is_default=True).values_list("url", flat=True))
    urls.update(BiConnection.objects.filter(is_enabled=True).values_list("base_url", flat=True))
    return sorted(origin for origin in {read_origin(url) for url in urls if url} if origin)


class ContentPolicyMiddleware(CSPMiddleware):
    """Adds to the content policy that forms may redirect to a sign-in.

    Chromium checks each redirect after a form's POST against `form-action`, not only the first address. Inside WeCom,
    after a session has ended, any saved form and the language switch lead to a silent sign-in: login page, our start,
    open.weixin.qq.com. Without this addition the browser would stop and show nothing.
    """

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if "sandbox" in (parts.replace or {}):  # content of other people: its violations need no report
            parts.replace = {**(parts.replace or {}), "report-uri": None}
            return parts
        if not report_only and response.headers.get("Content-Type", "").startswith("text/html"):
            allowed = dict(parts.update or {})
            try:
                origins = _read_origins(int(read_boot_clock() / ORIGIN_CACHE_SECONDS))
            except DatabaseError:  # the page is served even then: it may report this failure
                origins = []
            allowed["form-action"] = [*allowed.get("form-action", ()), *origins]
            parts.update = allowed
        return parts


def allow_sources(response: HttpResponseBase, directive: str, sources: Iterable[str]) -> None:
    """Add `sources` to `directive` for this response only."""
    update: dict[str, list[str]] = getattr(response, "_csp_update", {})
    added = {**update, directive: [*update.get(directive, ()), *sources]}
    response._csp_update = added  # type: ignore[attr-defined]  # the place where django-csp looks


# --- Pages of this site, to which a link or redirect may lead ---------------------------------------------------------

HOME = "/"
LONGEST = 2048  # characters of a page's path with query and fragment
# An inner page is encoded twice in a link: with more characters the whole link could exceed the 1024 bytes of a menu
# entry.
LONGEST_IN_LINK = 640
# The form of a link in the product's specification: `/?path_url=survey-engine&a=1` for the page `/survey-engine?a=1`.
_PATH_URL = re.compile(r"(?:/?\?)?path_url=(?P<page>[^&]*)(?:&(?P<further>.*))?", re.DOTALL)
# Pages of signing in and out: landing there would start over.
_NOT_LANDINGS = ("/login/", "/logout/", "/wecom/")
# Limit of nested percent-encoding: no ordinary link has more.
_LAYERS = 5


def is_own_page(candidate: str) -> bool:
    """Return whether a link may lead to `candidate` (a path, maybe with query and fragment): a page of this site."""
    if not candidate.startswith("/") or len(candidate) > LONGEST or not is_plain(candidate):
        return False
    try:
        path = urlsplit(candidate).path
    except ValueError:
        return False
    if not url_has_allowed_host_and_scheme(candidate, allowed_hosts=None):
        return False
    for _layer in range(_LAYERS):
        # Without dots, because browsers resolve `/m/../login/` before requesting.
        if "//" in path or not is_plain(path) or not {".", ".."}.isdisjoint(path.split("/")):
            return False
        if f"{path}/".startswith(_NOT_LANDINGS):
            return False
        if (inner := unquote(path)) == path:
            return True
        path = inner
    return False


def choose_safe_path(candidate: str) -> str:
    """Return `candidate` if it is a page of this site, else the home page."""
    return candidate if is_own_page(candidate) else HOME


def add_leading_slash(page: str) -> str:
    """Return `survey-engine` as `/survey-engine`; empty for text that begins like a scheme."""
    if not page or ":" in page.split("/", 1)[0].split("?", 1)[0]:
        return ""
    return page if page.startswith("/") else f"/{page}"


def measure_in_link(text: str) -> int:
    """Return the length of `text` as a parameter of the home page link, where it is encoded twice."""
    return len(quote(quote(text, safe="/"), safe=""))


def parse_inner_page(typed: str, *, site_url: str) -> str:
    """Parse the page that an administrator typed for a deep link. Empty: the usual page.

    It may be a path (`survey-engine`, `/reports/1?tab=2`), a whole address of this site (`site_url`), of which the
    path is kept, or the form `path_url=survey-engine`, alone or in either. Raises ValidationError with a sentence.
    """
    page, origin = remove_invisible(typed), site_url.rstrip("/")
    if page.lower().startswith(("http://", "https://")):
        rest = page[len(origin) :]
        if not page.lower().startswith(origin.lower()) or rest[:1] not in ("", "/", "?", "#"):
            raise ValidationError(
                _("This address belongs to another site. A link can only lead to a page of %(site)s."),
                code="elsewhere",
                params={"site": site_url},
            )
        page = rest if rest.startswith("/") else f"/{rest}"
    if found := _PATH_URL.fullmatch(page):
        page, further = unquote_plus(found["page"]), found["further"]
        page += f"{'&' if '?' in page else '?'}{further}" if further else ""
    if not page:
        return ""
    if (length := measure_in_link(page)) > LONGEST_IN_LINK:
        raise ValidationError(
            _("The path is too long: it takes %(count)s characters in the link, at most %(limit)s."),
            code="long",
            params={"count": length, "limit": LONGEST_IN_LINK},
        )
    if not is_own_page(add_leading_slash(page)):
        raise ValidationError(
            _(
                "This is not a path of a page here. Write what follows the host in the browser's address, "
                "such as survey-engine or /m/1?from=menu; pages of signing in and out are no targets."
            ),
            code="path",
        )
    return page


def is_plain(text: str) -> bool:
    """Return whether `text` has no backslashes, control or invisible characters, which programs read differently."""
    return "\\" not in text and not any(unicodedata.category(char).startswith("C") for char in text)
