"""Probe the way to an outside host (name, port, proxy, TLS, clock), and read our own public pages and certificate."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from integrations.clients.errors import ConfigurationError
from integrations.clients.transport import (
    FAILURES,
    NotConnectedError,
    Reply,
    Route,
    list_causes,
    open_session,
    total_deadline,
)

CONTENT_BYTES_AT_MOST = 4096
# WeCom answers this call without a token with errcode 41001, and does not count it as one with a wrong Secret.
PROBE_PATH = "/cgi-bin/get_api_domain_ip"
_PORTS = {"http": 80, "https": 443}
_ADDRESSES_KEPT = 8


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe on the way to a host.

    `failed_at`: dns, tcp, proxy, tls or http; empty if an answer came. `host`, `port`: the first hop, which is the
    proxy if there is one. `proxy_status`: the HTTP status with which the proxy refused, else 0. `server_date`: the
    answer's Date header; `is_wecom`: whether the answer looks like WeCom's.
    """

    host: str
    port: int
    addresses: tuple[str, ...] = ()
    failed_at: str = ""
    reason: str = ""
    proxy_status: int = 0
    is_certificate_refused: bool = False
    server_date: datetime | None = None
    http_status: int = 0
    is_wecom: bool = False


def probe_route(
    base_url: str, *, proxy: str, ca_bundle: str | None, connect_seconds: float, total_seconds: float
) -> ProbeResult:
    """Probe the way to `base_url` step by step: look up, connect, request. Every failure is in the result.

    `proxy`: its address, empty for none. `ca_bundle`: a path. `connect_seconds`: for each address of a host;
    `total_seconds`: for the request after the look-up. Raises ConfigurationError for an invalid address.
    """
    first_hop = urlsplit(proxy or base_url)
    try:
        usual_port = _PORTS[first_hop.scheme]
        host, port = first_hop.hostname or "", first_hop.port or usual_port
    except (KeyError, ValueError):
        host, port = "", 0
    if not host:
        message = "not an address with http or https, a host and a port from 1 to 65535"
        raise ConfigurationError(message, system="wecom", operation="base_url")
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return ProbeResult(host, port, failed_at="dns", reason=_describe_os_error(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))[:_ADDRESSES_KEPT]
    try:
        socket.create_connection((host, port), timeout=connect_seconds).close()
    except OSError as error:
        return ProbeResult(host, port, addresses, failed_at="tcp", reason=_describe_os_error(error))
    hop: dict[str, Any] = {"host": host, "port": port, "addresses": addresses}
    try:
        with total_deadline(total_seconds), open_session(connections=1) as session:
            route = Route(session, system="wecom", connect_seconds=connect_seconds, proxy=proxy, ca_bundle=ca_bundle)
            answer = route.send("GET", base_url.rstrip("/") + PROBE_PATH, beginning_bytes=CONTENT_BYTES_AT_MOST)
    except FAILURES as error:
        return _describe_failure(error, hop)
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError):
        document = None
    date = parse_http_date(answer.headers.get("Date", ""))
    is_wecom = isinstance(document, dict) and isinstance(document.get("errcode"), int)
    return ProbeResult(**hop, server_date=date, http_status=answer.status, is_wecom=is_wecom)


def _describe_os_error(error: BaseException) -> str:
    """Return the text of an operating-system error, without an address."""
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None)
    return str(text) if text else type(error).__name__


def _describe_failure(error: Exception, hop: dict[str, Any]) -> ProbeResult:
    """Return the result of a failed request from its causes' classes: their texts may hold the proxy's password."""
    for cause in list_causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = str(cause.verify_message)
            return ProbeResult(**hop, failed_at="tls", reason=reason, is_certificate_refused=True)
        if isinstance(cause, NotConnectedError) and cause.proxy_status:
            reason = f"HTTP {cause.proxy_status}"
            return ProbeResult(**hop, failed_at="proxy", reason=reason, proxy_status=cause.proxy_status)
        if isinstance(cause, ssl.SSLError):
            return ProbeResult(**hop, failed_at="tls", reason=str(cause.reason or type(cause).__name__))
    return ProbeResult(**hop, failed_at="http", reason=_describe_os_error(list_causes(error)[-1]))


def parse_http_date(date: str) -> datetime | None:
    """Parse a Date header; return None if it is malformed."""
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


CONNECT_SECONDS = 3.05
TOTAL_SECONDS = 10.0


def fetch_page(url: str, *, total_seconds: float = TOTAL_SECONDS) -> Reply:
    """Return the beginning of the page at `url`, fetched without a proxy. `total_seconds`: for all after the look-up.
    Raises ConfigurationError for a certificate that is not trusted, TransientError for other failures."""
    with open_session(connections=1) as session:
        route = Route(session, system="site", connect_seconds=CONNECT_SECONDS)
        headers = {"Accept": "text/plain"}
        return route.exchange(
            "fetch", "GET", url, seconds=total_seconds, headers=headers, beginning_bytes=CONTENT_BYTES_AT_MOST
        )


def fetch_certificate_end(host: str, port: int, *, seconds: float) -> datetime | None:
    """Return when the certificate at `host` expires; None without TLS within `seconds`.

    The certificate is not verified, so that an expired one is reported, too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            der = encrypted.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(der).not_valid_after_utc if der else None
    except (OSError, ValueError):  # ValueError: an invalid host name or certificate
        return None
