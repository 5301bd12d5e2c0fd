"""Who is calling, behind reverse proxies. A forwarded header is believed only from settings.TRUSTED_PROXIES."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# X-Forwarded-Host and its kin are never used: a proxy passes the Host header on.
FORWARDED_HEADERS = (
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"),
    *("HTTP_X_FORWARDED_SERVER", "HTTP_X_REAL_IP", "HTTP_FORWARDED"),
)


def unwrap(meta: dict[str, Any]) -> bool:
    """Put the client's address and scheme where Django looks for them, and drop every forwarded header.

    Returns whether trusted proxies say that the browser came by plain http: all of them, since the inner of two often
    speaks http where the outer one spoke https with the browser.

    The address is the rightmost one in X-Forwarded-For that is no trusted proxy: what stands left of it was written
    by the client itself.
    """
    forwarded = {name: meta.pop(name) for name in FORWARDED_HEADERS if name in meta}
    peer = _address(meta.get("REMOTE_ADDR", ""))
    if peer is None or not _is_trusted(peer):
        return False
    meta["REMOTE_ADDR"] = str(_client(peer, forwarded.get("HTTP_X_FORWARDED_FOR", "")))
    schemes = [word.strip().lower() for word in forwarded.get("HTTP_X_FORWARDED_PROTO", "").split(",")]
    if schemes[-1] in {"http", "https"}:
        meta["wsgi.url_scheme"] = schemes[-1]
    return set(schemes) == {"http"}


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
