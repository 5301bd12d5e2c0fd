"""Probes the way to an outside host (name, port, proxy, TLS, clock), and reads our own public pages and certificate."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from cryptography import x509

from integrations.clients.errors import ConfigurationError, TransientError
from integrations.clients.transport import NotConnectedError, open_session, total_deadline
from integrations.clients.wecom.calls import USER_AGENT

CONTENT_BYTES_AT_MOST = 4096
# Asked without a token, it is answered with errcode 41001 and counts as no attempt with a wrong Secret.
QUESTION = "/cgi-bin/get_api_domain_ip"
_PORTS = {"http": 80, "https": 443}
_ADDRESSES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Journey:
    """How far the way to a host was passable.

    `failed_at`: dns, tcp, proxy, tls or http, empty where an answer came. `host`, `port`: of the first hop, so of the
    proxy where there is one. `proxy_status`: the proxy's refusal. `server_date`: of the answer's Date header;
    `is_wecom`: whether the answer looks like WeCom's.
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


@dataclass(frozen=True, slots=True)
class Beginning:
    """How an answer begins, whatever its status. `content`: at most CONTENT_BYTES_AT_MOST bytes, as they were sent."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


def beginning_of(
    url: str, *, connect_seconds: float, proxy: str = "", verify: str | bool = True, accept: str = "*/*"
) -> Beginning:
    """GET `url` without cookies or redirection, and read no more than the beginning of what comes.

    Why not a session's `get`? Of an answer that leads elsewhere it reads all, unpacked and into memory, and it stumbles
    over a place to go that is no address. Raises requests' errors, urllib3's, OSError and ValueError.
    """
    request = requests.PreparedRequest()
    headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    request.prepare(method="GET", url=url, headers=headers)
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    with open_session(connections=1) as session:
        adapter = session.get_adapter(url)
        answer = adapter.send(request, stream=True, timeout=connect_seconds, verify=verify, proxies=proxies)
        with closing(answer):
            content: bytes = answer.raw.read(CONTENT_BYTES_AT_MOST)
            return Beginning(answer.status_code, answer.headers, content)


def travel(
    base_url: str, *, proxy: str, ca_bundle: str | None, connect_seconds: float, total_seconds: float
) -> Journey:
    """Go the way to `base_url` step by step: look up, connect, ask. Every failure is in the answer.

    `proxy`: its address, empty for none. `ca_bundle`: a path. `connect_seconds`: for each address of a host;
    `total_seconds`: for the request after the look-up. Raises ConfigurationError for an address that is none.
    """
    host, port = _host_and_port(urlsplit(proxy or base_url))
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Journey(host, port, failed_at="dns", reason=_named(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:_ADDRESSES_KEPT]
    try:
        socket.create_connection((host, port), timeout=connect_seconds).close()
    except OSError as error:
        return Journey(host, port, addresses, failed_at="tcp", reason=_named(error))
    known: dict[str, Any] = {"host": host, "port": port, "addresses": addresses}
    try:
        with total_deadline(total_seconds):
            url = base_url.rstrip("/") + QUESTION
            answer = beginning_of(url, connect_seconds=connect_seconds, proxy=proxy, verify=ca_bundle or True)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return _stopped(error, known)
    return Journey(
        **known,
        server_date=moment_of(answer.headers.get("Date", "")),
        http_status=answer.status,
        is_wecom=_looks_like_wecom(answer.content),
    )


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1:
        message = "not an address with http or https, a host and a port from 1 to 65535"
        raise ConfigurationError(message, system="wecom", operation="base_url")
    return parts.hostname, port or _PORTS[parts.scheme]


def _named(error: BaseException) -> str:
    """What an error of the operating system says, without an address."""
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None)
    return str(text) if text else type(error).__name__


def _stopped(error: Exception, known: dict[str, Any]) -> Journey:
    """Where a failed request ended. The chain of causes tells; its texts may hold the proxy's password."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = str(cause.verify_message)
            return Journey(**known, failed_at="tls", reason=reason, is_certificate_refused=True)
        if isinstance(cause, NotConnectedError) and cause.proxy_status:
            reason = f"HTTP {cause.proxy_status}"
            return Journey(**known, failed_at="proxy", reason=reason, proxy_status=cause.proxy_status)
        if isinstance(cause, ssl.SSLError):
            return Journey(**known, failed_at="tls", reason=str(cause.reason or type(cause).__name__))
    return Journey(**known, failed_at="http", reason=_named(causes(error)[-1]))


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it wraps, from the outside in."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(found) < 20:
        cause = waiting.pop(0)
        if cause in found:
            continue
        found.append(cause)
        inner = [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
        waiting.extend(one for one in inner if isinstance(one, BaseException))
    return found


def moment_of(date: str) -> datetime | None:
    """The moment that a Date header names; None where it names none."""
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _looks_like_wecom(content: bytes) -> bool:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and isinstance(answer.get("errcode"), int)


CONNECT_SECONDS = 3.05
TOTAL_SECONDS = 10.0


def fetch_page(url: str, *, total_seconds: float = TOTAL_SECONDS) -> Beginning:
    """How the page at `url` begins, without a proxy. `total_seconds`: for the whole call, after the look-up.

    Raises ConfigurationError for a certificate that is not trusted, else TransientError.
    """
    try:
        with total_deadline(total_seconds):
            return beginning_of(url, connect_seconds=CONNECT_SECONDS, accept="text/plain")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        chain = causes(error)
        for cause in chain:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise ConfigurationError(cause.verify_message, system="site", operation="fetch") from error
        message = f"no answer ({type(chain[-1]).__name__})"
        raise TransientError(message, system="site", operation="fetch") from error


def ends_at(host: str, port: int, *, seconds: float) -> datetime | None:
    """When the certificate ends that answers at `host`; None where no TLS comes about within `seconds`.

    It is not verified: one that has ended is to be seen, too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            found = encrypted.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(found).not_valid_after_utc if found else None
    except (OSError, ValueError):  # a name that is none, too
        return None
