"""HTTP servers in threads of the test's own process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """A server that prints no errors, for callers that give up, refuse certificates or never end."""

    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing."""


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that prints no requests."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextmanager
def serve_in_thread(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve while the block runs. Yield the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve_with_handler(handler: type[BaseHTTPRequestHandler], **attributes: object) -> Iterator[int]:
    """Serve with a handler class whose requests share these attributes. Yield the port."""
    shared = type("Handler", (handler,), attributes)
    with serve_in_thread(ThreadingHTTPServer(("127.0.0.1", 0), shared)) as port:
        yield port
