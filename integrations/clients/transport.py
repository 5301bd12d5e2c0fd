"""HTTP connections of all clients: urllib3 with a total deadline, however slowly the other side sends.

The time-out of requests is per read: an answer that sends one byte every few seconds never ends. Here the caller sets
one deadline for its thread; it bounds everything on the socket: connecting, the TLS handshake, the proxy's answer,
sending, the header lines and the body.

Limits: the resolver alone bounds a name look-up (`resolv.conf`, usually 5 s a try), and a host with several addresses
gets the connect time-out for each of them.
"""

from __future__ import annotations

import http.client
import io
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.poolmanager import PoolManager

from integrations.clients.errors import (
    ConfigurationError,
    ForeignAnswerError,
    IntegrationError,
    OutcomeUnknownError,
    TransientError,
)

_thread = threading.local()
# A system without a clock that counts sleep, such as macOS, uses its monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# A socket's time-out is set again only if it differs by more than this, and more than this share, from the time left.
_TOLERATED_SECONDS, _TOLERATED_SHARE = 0.02, 0.02
# Connections kept open per host and process. A further parallel call opens a connection that is closed after it.
CONNECTIONS_KEPT = 500
# http.client gives the status only in the error's text.
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


def read_boot_clock() -> float:
    """Return the seconds since the machine was started, including sleep. The clock is never set back.

    Deadlines, permits, leases and cache lifetimes use it. A monotonic clock stops while the machine sleeps, although
    other machines continue and take over its work.
    """
    return time.clock_gettime(_CLOCK)


@contextmanager
def total_deadline(seconds: float) -> Iterator[None]:
    """End everything that this thread's connections do in the block after `seconds`, or at an outer deadline."""
    before = getattr(_thread, "ends_at", None)
    ends_at = read_boot_clock() + seconds
    _thread.ends_at = ends_at if before is None else min(before, ends_at)
    try:
        yield
    finally:
        _thread.ends_at = before


def limit_to_deadline(seconds: float) -> float:
    """Return `seconds`, or the time left of this thread's deadline if that is less; never below 0."""
    ends_at = getattr(_thread, "ends_at", None)
    return seconds if ends_at is None else max(0.0, min(seconds, ends_at - read_boot_clock()))


def remaining_seconds() -> float | None:
    """Return the time left of this thread's deadline; None without one. Raises TimeoutError when it has passed."""
    return _find_remaining(getattr(_thread, "ends_at", None))


def _find_remaining(ends_at: float | None) -> float | None:
    if ends_at is None:
        return None
    left = ends_at - read_boot_clock()
    if left <= 0:
        raise TimeoutError("total deadline passed")
    return left


def _limit_socket(sock: socket.socket, ends_at: float | None) -> None:
    """Set the socket's time-out to the remaining time, unless the present one is close enough: setting it is a system
    call, at which another thread may take the interpreter."""
    left, present = _find_remaining(ends_at), sock.gettimeout()
    if left is None or present is None or abs(present - left) > max(_TOLERATED_SECONDS, left * _TOLERATED_SHARE):
        sock.settimeout(left)


# --- Turns: while hundreds of calls wait for their answers, one thread at a time runs the interpreter ---


class _Turn:
    """The lock of `take_turn`. A forked process gets a new one, because the thread that held it is not in the child."""

    def __init__(self) -> None:
        self.renew_lock()

    def renew_lock(self) -> None:
        self.lock = threading.Lock()


_turn = _Turn()
os.register_at_fork(after_in_child=_turn.renew_lock)


@contextmanager
def take_turn() -> Iterator[None]:
    """Let one thread of this process at a time run the block; a thread that waits for the other side lets others in.

    The interpreter may switch threads at every system call, and threads that wait for it wake up 200 times a second; a
    thread that waits for this lock sleeps. With 400 calls under way, a message takes 0.88 ms of the workers' time
    instead of 1.17 ms (benchmarks/push_engine.py: own_speed). The block may wait only for this module's connections.
    """
    with _turn.lock:
        _thread.has_turn = True
        try:
            yield
        finally:
            _thread.has_turn = False


@contextmanager
def _release_turn() -> Iterator[None]:
    """Release the turn while the block waits for the other side."""
    if not getattr(_thread, "has_turn", False):
        yield
        return
    _thread.has_turn = False
    _turn.lock.release()
    try:
        yield
    finally:
        _turn.lock.acquire()
        _thread.has_turn = True


class NotConnectedError(NewConnectionError):
    """A connection that was not made, so nothing of the request was sent.

    `certificate_problem`: why a certificate was not trusted, empty for another cause; `is_bundle_unreadable`: the file
    of trusted certificates cannot be read; `proxy_status`: the status with which the proxy refused, else 0.
    """

    def __init__(self, connection: HTTPConnection, cause: Exception) -> None:
        super().__init__(connection, type(cause).__name__)
        self.cause_name = type(cause).__name__
        self.certificate_problem = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else ""
        # urllib3 wraps an SSL error in its own class only while it loads the file of trusted certificates.
        self.is_bundle_unreadable = isinstance(cause, SSLError)
        refused = _TUNNEL_REFUSED.match(str(cause))
        self.proxy_status = int(refused[1]) if refused else 0

    def explain(self) -> tuple[type[IntegrationError], str]:
        """Return the class of error (whether somebody must change a setting) and its message."""
        if self.certificate_problem:
            return ConfigurationError, f"the certificate is not trusted ({self.certificate_problem})"
        if self.is_bundle_unreadable:
            return ConfigurationError, "the file of trusted certificates cannot be read"
        if self.proxy_status:
            cls = ConfigurationError if self.proxy_status in _PROXY_REFUSAL_STATUSES else TransientError
            return cls, f"the proxy answered {self.proxy_status}"
        return TransientError, f"no connection ({self.cause_name})"


class _DeadlineReader(io.RawIOBase):
    """The reading side of a socket; every read gets only the time left of the deadline."""

    def __init__(self, sock: socket.socket, ends_at: float | None) -> None:
        self._sock = sock
        # A file, not recv: after `Connection: close` http.client closes the socket early, which the file survives.
        self._file = sock.makefile("rb", buffering=0)
        self._ends_at = ends_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _limit_socket(self._sock, self._ends_at)
        with _release_turn():
            return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _DeadlineSocket:
    """A connected socket whose time-out is set only by `_limit_socket`."""

    def __init__(self, connected: socket.socket) -> None:
        self.connected = connected

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connected, name)

    def settimeout(self, _seconds: float | None) -> None:
        """Do nothing: urllib3 would set its own time-out twice in each exchange."""

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self.connected, getattr(_thread, "ends_at", None)))


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        # A proxy's answer is read while `connect` runs, so `sock` is still a plain socket.
        wrapped = sock if isinstance(sock, _DeadlineSocket) else _DeadlineSocket(sock)
        super().__init__(wrapped, *args, **kwargs)  # type: ignore[arg-type]  # it only calls makefile


class DeadlineConnection(HTTPConnection):
    """A connection that keeps the deadline of the thread that uses it."""

    response_class = _DeadlineResponse

    def connect(self) -> None:
        try:
            left = remaining_seconds()
            if left is not None and isinstance(self.timeout, int | float):
                self.timeout = min(self.timeout, left)
            with _release_turn():
                super().connect()
        except ConnectTimeoutError:  # or NewConnectionError, a subclass
            raise
        except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
            self.close()
            raise NotConnectedError(self, error) from error
        self.sock = _DeadlineSocket(self.sock)

    def send(self, data: Any) -> None:
        """Send `data` (bytes) in pieces, so that the deadline also ends a call to a system that reads slowly."""
        if self.sock is None:
            self.connect()
        view = memoryview(data)
        with _release_turn():
            while view:
                _limit_socket(self.sock, getattr(_thread, "ends_at", None))
                view = view[self.sock.send(view) :]


class DeadlineTLSConnection(DeadlineConnection, HTTPSConnection):
    """A connection over TLS that keeps the deadline of the thread that uses it."""


class DeadlinePool(HTTPConnectionPool):
    ConnectionCls = DeadlineConnection


class DeadlineTLSPool(HTTPSConnectionPool):
    ConnectionCls = DeadlineTLSConnection


# --- Sessions ---------------------------------------------------------------------------------------------------------


_QUERY = re.compile(r"\?[^\s'\")]*")


class _QueryRemover(logging.Filter):
    """Cuts the query off every address in a log record, because WeCom's queries carry secrets and tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            values = [one if isinstance(one, str | int | float) else str(one) for one in record.args]
            record.args = tuple(_QUERY.sub("?…", one) if isinstance(one, str) else one for one in values)
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.response"):
    logging.getLogger(_name).addFilter(_QueryRemover())


class DeadlineAdapter(HTTPAdapter):
    """A requests adapter whose connections keep the deadline and are not shared with a forked process."""

    pool_classes: dict[str, type] = {"http": DeadlinePool, "https": DeadlineTLSPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._process != os.getpid():
            # A socket used by two processes mixes their answers. The parent keeps its own.
            self.proxy_manager = {}
            self.init_poolmanager(*self._pool_arguments[0], **self._pool_arguments[1])
        return super().get_connection_with_tls_context(*args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._process, self._pool_arguments = os.getpid(), (args, kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pool_classes

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self.pool_classes
        return manager


def open_session(*, connections: int = CONNECTIONS_KEPT, adapter: DeadlineAdapter | None = None) -> requests.Session:
    """Return a session for clients. It keeps up to `connections` open per host and ignores the environment."""
    session = requests.Session()
    session.trust_env = False
    adapter = adapter or DeadlineAdapter(pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


# --- Exchanges --------------------------------------------------------------------------------------------------------

ANSWER_BYTES_AT_MOST = 32 * 1024 * 1024  # the largest file is 20 MB, the longest list about as much
USER_AGENT = "guanwecom"
# The classes of errors that a failed exchange raises, such as no connection or a broken answer.
FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
# The proxy asks for credentials or forbids the connection: somebody must change a setting.
_PROXY_REFUSAL_STATUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
_ADDRESS_ERRORS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
)


class AnswerTooLongError(OSError):
    """The answer has more bytes than we read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status, not yet checked."""

    status: int
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Route:
    """The way to one system (`system`: its name in errors) over a session from `open_session`.

    `connect_seconds`: time limit for each address of the host. `proxy`: an address, empty for none. `ca_bundle`: path
    of a file of certificates to trust instead of the usual ones.
    """

    def __init__(
        self,
        session: requests.Session,
        *,
        system: str,
        connect_seconds: float,
        proxy: str | None = "",
        ca_bundle: str | None = None,
    ) -> None:
        adapter = session.get_adapter("https://")
        if not isinstance(adapter, DeadlineAdapter):
            raise TypeError("the session must come from open_session(), which enforces deadlines")
        self._adapter, self._system, self._ca_bundle = adapter, system, ca_bundle
        self._options: dict[str, Any] = {
            "timeout": connect_seconds,
            "verify": ca_bundle or True,
            "proxies": {"http": proxy, "https": proxy} if proxy else {},
        }

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        beginning_bytes: int = 0,
    ) -> Reply:
        """Make one request and read the answer. Raises one of FAILURES.

        `beginning_bytes`: read only so many bytes, undecoded; 0 reads everything, up to ANSWER_BYTES_AT_MOST.
        """
        encoding = {"Accept-Encoding": "identity"} if beginning_bytes else {}
        with self.open(method, url, body=body, headers={**encoding, **(headers or {})}) as response:
            if beginning_bytes:
                content: bytes = response.raw.read(beginning_bytes, decode_content=False)
            else:
                content = read_content(response, ANSWER_BYTES_AT_MOST)
        return Reply(response.status_code, content, response.headers)

    @contextmanager
    def open(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """Make one request, without cookies and redirections, and yield the answer once its headers are read. Raises
        one of FAILURES."""
        # Not request.prepare(): it takes a seventh of a call's time, for cookies, hooks and authentication.
        request = requests.PreparedRequest()
        request.method, request.body = method, body
        request.prepare_url(url, None)
        usual = {"Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
        request.headers = CaseInsensitiveDict({**usual, **(headers or {})})
        if body is not None:
            request.headers["Content-Length"] = str(len(body))
        response = self._adapter.send(request, stream=True, **self._options)
        try:
            yield response
        finally:
            # If the answer was read to its end, the connection is back in the pool already; otherwise this closes it.
            response.close()

    def exchange(
        self, operation: str, method: str, url: str, *, seconds: float, is_repeatable: bool = True, **request: Any
    ) -> Reply:
        """Send the `request` within `seconds` in total. Raises an IntegrationError if no answer comes.

        No error holds an address, which may carry secrets. `is_repeatable`: repeating the request does no harm, so an
        unclear failure may be tried again; otherwise it is an OutcomeUnknownError.
        """
        if self._ca_bundle and not Path(self._ca_bundle).is_file():
            message = "the file of trusted certificates cannot be read"
            raise ConfigurationError(message, system=self._system, operation=operation)
        failure = Exception()
        with total_deadline(seconds), take_turn():
            try:
                return self.send(method, url, **request)
            except FAILURES as error:
                failure = error
        # Raised outside the block: inside, its __context__ would be the error of requests, whose text holds the address
        # with its secret.
        raise self._explain(operation, failure, is_repeatable=is_repeatable)

    def _explain(self, operation: str, failure: Exception, *, is_repeatable: bool) -> IntegrationError:
        """Return the error for one of FAILURES. Only a failed connection proves that nothing was sent."""

        def make(cls: type[IntegrationError], message: str) -> IntegrationError:
            return cls(message, system=self._system, operation=operation)

        chain = list_causes(failure)
        name = type(chain[-1]).__name__
        if isinstance(failure, AnswerTooLongError):
            message = f"the answer is longer than {ANSWER_BYTES_AT_MOST // 2**20} MB"
            return make(ForeignAnswerError if is_repeatable else OutcomeUnknownError, message)
        if isinstance(failure, _ADDRESS_ERRORS) or isinstance(chain[-1], _ADDRESS_ERRORS):
            return make(ConfigurationError, f"the address or its proxy cannot be used ({name})")
        for cause in chain:
            if isinstance(cause, NotConnectedError):
                return make(*cause.explain())
            if isinstance(cause, NewConnectionError | requests.ConnectTimeout):
                return make(TransientError, f"no connection ({name})")
        cls = TransientError if is_repeatable else OutcomeUnknownError
        return make(cls, f"the connection failed before the answer was complete ({name})")


def read_content(response: requests.Response, at_most: int) -> bytes:
    """Return the decoded content of an answer. Raises AnswerTooLongError for more than `at_most` bytes."""
    content: bytes = response.raw.read(at_most + 1, decode_content=True)
    if len(content) > at_most:
        raise AnswerTooLongError
    return content


def list_causes(error: BaseException) -> list[BaseException]:
    """Return the error and the errors that it wraps, outermost first."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(found) < 20:
        cause = waiting.pop(0)
        if cause in found:
            continue
        found.append(cause)
        # Not __context__: it may belong to an earlier call, unrelated to this failure.
        inner = [getattr(cause, "reason", None), cause.__cause__, *cause.args]
        waiting.extend(one for one in inner if isinstance(one, BaseException))
    return found


# --- Observers of calls -----------------------------------------------------------------------------------------------

# Called with the operation, the outcome and the seconds. The outcome is "0" or the error number of the other side;
# without a number it is the name of our error class: "transient", "outcome_unknown".
Observe: TypeAlias = Callable[[str, str, float], None]


def ignore_call(_operation: str, _outcome: str, _seconds: float) -> None:
    """Do nothing: the observer of clients whose calls are not counted."""


@contextmanager
def observe_call(observe: Observe, operation: str) -> Iterator[None]:
    """Report the call that the block makes to `observe`, also if it fails."""
    started, outcome = time.perf_counter(), "crashed"
    try:
        yield
        outcome = "0"
    except IntegrationError as error:
        name = type(error).__name__.removesuffix("Error")
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        outcome = words if error.code is None else str(error.code)
        raise
    finally:
        observe(operation, outcome, time.perf_counter() - started)
