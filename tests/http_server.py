"""HTTP servers in threads of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """For callers who give up half-way, hang up on a certificate or never end: that is what the tests are about."""

    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing."""


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve while the block runs. Gives the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], **attributes: object) -> Iterator[int]:
    """The same for a handler class, whose requests share these attributes."""
    shared = type("Handler", (handler,), attributes)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), shared)) as port:
        yield port
