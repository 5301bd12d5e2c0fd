"""A server between two of ours that a test lets go wrong: TLS of a private authority, a clock, paths that get lost."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_server import QuietServer, running

# Of one connection, not of the message.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date"})


@dataclass
class Gateway:
    """What it does to what it passes on. `lost_prefix`: paths that it answers itself, with 404, while not empty."""

    target: str
    port: int = 0
    clock_is_behind: timedelta = timedelta()
    lost_prefix: str = ""

    def date(self) -> str:
        return format_datetime(datetime.now(UTC) - self.clock_is_behind, usegmt=True)


class _Server(QuietServer):
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Why the handshake here? A caller that never speaks must not keep the others waiting."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as protected:
            super().finish_request(protected, client_address)


@contextmanager
def gateway(target: str, context: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    """A running one in front of `target` (host:port, plain HTTP), behind TLS where a context is given."""
    state = Gateway(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.close_connection = True
            if state.lost_prefix and self.path.startswith(state.lost_prefix):
                self._answer(404, {}, b"not here")
                return
            connection = http.client.HTTPConnection(state.target, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
            connection.close()

        do_POST = do_GET

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Date", state.date())
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.context = context
    with running(server) as state.port:
        yield state
