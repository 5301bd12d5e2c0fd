"""One HTTP exchange with WeCom: connections with deadlines, send, read, and what a failure below HTTP means."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.poolmanager import PoolManager
from urllib3.util import Url, parse_url

from integrations.clients.errors import ConfigurationError, IntegrationError, TransientError
from integrations.clients.wecom import deadline
from integrations.clients.wecom.api.base import Call, Params, Reply, Request

ANSWER_BYTES_AT_MOST = 32 * 1024 * 1024  # the largest file is 20 MB, the longest list about as much
API_BASE_URL = "https://qyapi.weixin.qq.com"
USER_AGENT = "guanwecom"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `connect_seconds`: for each address of the host. `total_seconds`: for a whole call, from waiting for a
    token to the last byte of the answer, a repeat with another token included; `transfer_seconds`: the same for
    files. A lease must be longer. What can still come on top is in `deadline`."""

    connect_seconds: float = 5.0
    total_seconds: float = 15.0
    transfer_seconds: float = 60.0


USUAL_TIMEOUTS = Timeouts()
_LEAST_SHARE = 0.25  # of a call's time that must be left when its request goes out


# For each host, of one process: as many as it may have calls under way, or each call above would open one of its own.
CONNECTIONS_KEPT = 500


class _NoQueries(logging.Filter):
    """Cuts the query off every address in a log record, because WeCom's carry secrets and tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) for arg in record.args)
        return True


def _without_query(value: object) -> object:
    shown = value if isinstance(value, str | int | float) else str(value)
    return re.sub(r"\?[^\s'\")]*", "?…", shown) if isinstance(shown, str) else shown


for _name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.response"):
    logging.getLogger(_name).addFilter(_NoQueries())


class DeadlineAdapter(HTTPAdapter):
    """requests over connections that end at their deadline, and that a forked process does not share."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._process != os.getpid():
            # A socket used by two processes mixes their answers. The parent keeps its own.
            self.proxy_manager = {}
            self.init_poolmanager(*self._pools[0], **self._pools[1])
        return super().get_connection_with_tls_context(*args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._process, self._pools = os.getpid(), (args, kwargs)
        self.poolmanager.pool_classes_by_scheme = deadline.POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = deadline.POOL_CLASSES
        return manager


def open_session(*, connections: int = CONNECTIONS_KEPT) -> requests.Session:
    """A session for clients. Keeps up to `connections` open per host, keeps no cookie, reads no environment."""
    session = requests.Session()
    session.trust_env = False
    adapter = DeadlineAdapter(pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _AnswerTooLongError(OSError):
    """The answer has more than ANSWER_BYTES_AT_MOST."""


class Transport:
    """One HTTP exchange: deadline, send, read. Knows nothing of tokens."""

    def __init__(
        self,
        *,
        base_url: str,
        session: requests.Session,
        timeouts: Timeouts,
        proxy: str | None,
        ca_bundle: str | None,
    ) -> None:
        self._base_url = _checked_base_url(base_url)
        self._timeouts = timeouts
        self._proxies = _checked_proxies(proxy)
        self._verify = _checked_bundle(ca_bundle)
        adapter = session.get_adapter(self._base_url)
        if not isinstance(adapter, DeadlineAdapter):
            raise TypeError("the session must come from open_session(), which enforces deadlines")
        self._adapter = adapter

    def seconds_for(self, call: Call) -> float:
        """How long the whole call may take."""
        return self._timeouts.transfer_seconds if call.is_transfer else self._timeouts.total_seconds

    def exchange(self, request: Request, call: Call, credentials: Params) -> Reply:
        """Send `call` with `credentials` in its query and read the whole answer."""
        seconds = self.seconds_for(call)
        if deadline.patience_seconds(seconds) < seconds * _LEAST_SHARE:
            # Not tried: a send that is bound to time out would be unclear; not begun, it is certain.
            raise TransientError("no time was left to send", system="wecom", operation=request.operation)
        failure: Exception | None = None
        with deadline.total_deadline(seconds), deadline.in_turn():
            try:
                return self._received(self._prepared(call, {**credentials, **(call.params or {})}))
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                failure = error
        # Raised outside the block: inside, the error would carry requests' own, which prints the address
        # with the secret in it.
        raise _connection_error(request, failure)

    def _prepared(self, call: Call, params: Params) -> requests.PreparedRequest:
        # Not request.prepare(): a seventh of a call's time, for cookies, hooks, and an address that is always the same.
        request = requests.PreparedRequest()
        request.method, request.body = call.method, call.body
        request.url = f"{_prepared_url(self._base_url + call.path)}?{urlencode(params, quote_via=quote, safe='')}"
        headers = {"Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
        if call.body is not None:
            headers |= {"Content-Type": call.content_type, "Content-Length": str(len(call.body))}
        request.headers = CaseInsensitiveDict(headers)
        return request

    def _received(self, request: requests.PreparedRequest) -> Reply:
        response = self._adapter.send(
            request,
            stream=True,
            timeout=self._timeouts.connect_seconds,
            verify=self._verify,
            proxies=self._proxies,
        )
        try:
            content: bytes = response.raw.read(ANSWER_BYTES_AT_MOST + 1, decode_content=True)
        finally:
            # A connection whose answer was read to its end has gone back to the pool by then, another is closed.
            response.close()
        if len(content) > ANSWER_BYTES_AT_MOST:
            raise _AnswerTooLongError
        return Reply(response.status_code, content)


# Of all calls: they are some sixty for each company's address.
@lru_cache(maxsize=1024)
def _prepared_url(address: str) -> str | None:
    """As requests sends it. Raises requests.RequestException for one that it does not take."""
    request = requests.PreparedRequest()
    request.prepare_url(address, None)
    return request.url


# Kept, because a client is made for each message.
@lru_cache(maxsize=256)
def _checked_base_url(base_url: str) -> str:
    parts = _parsed("base_url", base_url)
    if parts.scheme not in ("http", "https") or not parts.host or parts.auth or parts.query or parts.fragment:
        message = "the base address must have http or https, a host, no user and no query"
        raise ConfigurationError(message, system="wecom", operation="base_url")
    return base_url.rstrip("/")


def _checked_proxies(proxy: str | None) -> dict[str, str]:
    if not proxy:
        return {}
    parts = _parsed("proxy", proxy)
    if parts.scheme not in ("http", "https", "socks5", "socks5h") or not parts.host:
        message = "the proxy's address must have http, https or socks5, and a host"
        raise ConfigurationError(message, system="wecom", operation="proxy")
    return {"http": proxy, "https": proxy}


def _parsed(operation: str, address: str) -> Url:
    try:
        return parse_url(address)
    except urllib3.exceptions.LocationParseError:
        # Without its cause, which prints the address and perhaps a proxy's password.
        message = "not an address"
    raise ConfigurationError(message, system="wecom", operation=operation)


def _checked_bundle(ca_bundle: str | None) -> str | bool:
    if not ca_bundle:
        return True
    if not Path(ca_bundle).is_file():
        raise ConfigurationError("the file of trusted certificates is missing", system="wecom", operation="ca_bundle")
    return ca_bundle


def _connection_error(request: Request, failure: Exception) -> IntegrationError:
    """What a failure below HTTP means. Only without a connection is it certain that nothing was sent."""
    if isinstance(failure, _AnswerTooLongError):
        return request.foreign(f"the answer is longer than {ANSWER_BYTES_AT_MOST // 2**20} MB")
    cause = _root(failure)
    name = type(cause).__name__
    if isinstance(failure, _WRONG_ADDRESS):
        message = f"the address or the proxy of WeCom cannot be used ({name})"
        return ConfigurationError(message, system="wecom", operation=request.operation)
    if isinstance(cause, deadline.NotConnectedError):
        return _not_connected(request, cause)
    if isinstance(failure, requests.ConnectTimeout) or isinstance(cause, urllib3.exceptions.NewConnectionError):
        return TransientError(f"no connection ({name})", system="wecom", operation=request.operation)
    return request.unclear(f"the connection failed before the answer was complete ({name})")


def _not_connected(request: Request, cause: deadline.NotConnectedError) -> IntegrationError:
    if cause.is_certificate_refused or cause.is_bundle_unreadable:
        what = "the certificate of WeCom's address is not trusted"
        message = "the file of trusted certificates cannot be read" if cause.is_bundle_unreadable else what
        return ConfigurationError(message, system="wecom", operation=request.operation)
    if cause.proxy_status:
        cls = ConfigurationError if cause.proxy_status in _PROXY_REFUSES else TransientError
        return cls(f"the proxy answered {cause.proxy_status}", system="wecom", operation=request.operation)
    return TransientError(f"no connection ({cause.cause_name})", system="wecom", operation=request.operation)


# The proxy wants credentials, or does not let us out: somebody must change a setting.
_PROXY_REFUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
_WRONG_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
)


def _root(failure: Exception) -> BaseException:
    """The error inside what requests and urllib3 wrapped around it."""
    cause: BaseException = failure
    for _depth in range(5):
        inner = getattr(cause, "reason", None) or getattr(cause, "original_error", None)
        if inner is None and isinstance(cause, requests.RequestException) and cause.args:
            inner = cause.args[0]
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return cause
