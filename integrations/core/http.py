"""Address, scheme and host of a request behind reverse proxies. Only settings.TRUSTED_PROXIES are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port
from django.urls import Resolver404, resolve

from integrations.clients.clock import read_boot_clock
from integrations.models import SiteAddress

if TYPE_CHECKING:
    from django.http import HttpRequest


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# X-Forwarded-Host and its kin are never used: a proxy passes the Host header on.
FORWARDED_HEADERS = (
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"),
    *("HTTP_X_FORWARDED_SERVER", "HTTP_X_REAL_IP", "HTTP_FORWARDED"),
)


def unwrap(meta: dict[str, Any]) -> bool:
    """Put the client's address and scheme where Django looks for them, and drop every forwarded header.

    Returns whether trusted proxies say that the browser came by plain http: all of them, since the inner of two often
    speaks http where the outer one spoke https with the browser (`https,http`).

    The address is the rightmost one in X-Forwarded-For that is no trusted proxy: what stands left of it was written
    by the client itself.
    """
    forwarded = {name: meta.pop(name) for name in FORWARDED_HEADERS if name in meta}
    peer = _address(meta.get("REMOTE_ADDR", ""))
    if peer is None or not _is_trusted(peer):
        return False
    meta["REMOTE_ADDR"] = str(_client(peer, forwarded.get("HTTP_X_FORWARDED_FOR", "")))
    schemes = [word.strip().lower() for word in forwarded.get("HTTP_X_FORWARDED_PROTO", "").split(",")]
    meta["wsgi.url_scheme"] = "https" if "https" in schemes else meta.get("wsgi.url_scheme", "http")
    return set(schemes) == {"http"}


def is_trusted_peer(meta: dict[str, Any]) -> bool:
    """Whether a trusted proxy hands the request on. To be asked before `unwrap`."""
    peer = _address(meta.get("REMOTE_ADDR", ""))
    return peer is not None and _is_trusted(peer)


def _client(peer: IPAddress, forwarded_for: str) -> IPAddress:
    client = peer
    for word in reversed(forwarded_for.split(",")):
        address = _address(word)
        if address is None:
            break
        client = address
        if not _is_trusted(address):
            break
    return client


def _is_trusted(address: IPAddress) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _address(text: str) -> IPAddress | None:
    """The address in `text`, also with a port behind it; IPv4 in IPv6's clothes counts as IPv4."""
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


# --- Under which host names this site answers: the saved site addresses, and the names that the environment adds ---

# How long a process goes on admitting an address that was changed or deleted. A new one is admitted at once.
ADMITTED_SECONDS = 3.0
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class _Admitted:
    scheme: str
    until: float


_admitted: dict[str, _Admitted] = {}


def scheme_of_saved(host: str) -> str | None:
    """The scheme of the saved site address at `host` (a Host header in lower case); None where there is none.

    Only hits are remembered: a miss asks the database, so an address that was just saved works in every process.
    """
    known, now = _admitted.get(host), read_boot_clock()
    if known is not None and now < known.until:
        return known.scheme
    saved = set(SiteAddress.objects.filter(url__in=_addresses_of(host)).values_list("url", flat=True))
    if not saved:
        _admitted.pop(host, None)
        return None
    scheme = max(urlsplit(url).scheme for url in saved)  # https, should both be saved
    _admitted[host] = _Admitted(scheme, now + ADMITTED_SECONDS)
    return scheme


def is_extra(host: str) -> bool:
    """Whether settings.EXTRA_ALLOWED_HOSTS names `host`; a name without port stands for every port."""
    names = {name.lower() for name in settings.EXTRA_ALLOWED_HOSTS}
    domain, _port = split_domain_port(host)
    return not names.isdisjoint({host, domain, domain.strip("[]")})


def is_admitted(host: str) -> bool:
    """Whether a request for `host` is answered."""
    return scheme_of_saved(host.lower()) is not None or is_extra(host.lower())


def forget() -> None:
    """Forget what this process remembers, because an address was changed here."""
    _admitted.clear()


def _addresses_of(host: str) -> list[str]:
    """The canonical addresses that a Host header can stand for; some clients write the default port, too."""
    return [f"{scheme}://{host.removesuffix(f':{port}')}/" for scheme, port in _DEFAULT_PORTS.items()]


# --- Views for programs: WeCom fetches a file or calls back, a monitor asks. For them no session is read or written ---

_KNOWN = "_needs_no_session"
View = TypeVar("View", bound=Callable[..., object])


def without_session(view: View) -> View:
    """Mark a view whose answer is the same whoever is signed in."""
    view.is_without_session = True  # type: ignore[attr-defined]  # how Django marks views, too
    return view


def needs_no_session(request: HttpRequest) -> bool:
    """Whether the request is for a marked view. Decided by the path: middleware runs before a view is chosen."""
    known: bool | None = getattr(request, _KNOWN, None)  # several ask, and going through all addresses takes long
    if known is None:
        known = _is_marked(request.path_info)
        setattr(request, _KNOWN, known)
    return known


@lru_cache(maxsize=256)  # of the paths that programs and people ask for most: Django goes through all addresses again
def _is_marked(path: str) -> bool:
    try:
        view = resolve(path).func
    except Resolver404:
        return False
    return getattr(view, "is_without_session", False)
