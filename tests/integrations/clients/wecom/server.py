"""A WeCom at the other end of a real socket. It counts calls, checks tokens, and misbehaves if a test wants it."""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_server import QuietServer, serve_in_thread

SECRET = "right-secret-0123456789"


@dataclass
class WireServer:
    """The server's state. `misbehave` maps a path to a function that gets the socket in place of an answer."""

    url: str = ""
    valid_secret: str = SECRET
    # Runs before a token is given.
    before_token: Callable[[], object] = lambda: None
    expires_in: int = 7200
    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    misbehave: dict[str, Callable[[socket.socket], object]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    valid_token: str = ""
    new_token: str = ""  # empty: numbered ones
    connection_count: int = 0
    tokens_asked: int = 0  # counted before they wait
    open_connections: list[socket.socket] = field(default_factory=list)

    def close_connections(self) -> None:
        """Close all connections, as a server does with idle ones."""
        for connection in self.open_connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.open_connections.clear()

    def revoke(self) -> None:
        """Invalidate the token in use; the next gettoken makes another."""
        self.valid_token = ""

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        with self.lock:
            self.calls[path] += 1
            if path == "/cgi-bin/gettoken":
                return self._gettoken(query)
            if query.get("access_token") != [self.valid_token]:
                self.refused[path] += 1
                return {"errcode": 40014, "errmsg": "invalid access_token"}
        return {"errcode": 0, "errmsg": "ok", "agentid": 1000002, "userid": "lilei", "msgid": "sim-msg-0001"}

    def _gettoken(self, query: dict[str, list[str]]) -> dict[str, Any]:
        if query.get("corpsecret") != [self.valid_secret]:
            return {"errcode": 40001, "errmsg": "invalid credential, hint: [1764000000123456789012345]"}
        if not self.valid_token:
            self.valid_token = self.new_token or f"token-{self.calls['/cgi-bin/gettoken']}"
        return {"errcode": 0, "errmsg": "ok", "access_token": self.valid_token, "expires_in": self.expires_in}


@contextmanager
def wire_server() -> Iterator[WireServer]:
    """Run a server on a free port of this machine."""
    state = WireServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with state.lock:
                state.connection_count += 1
                state.open_connections.append(self.connection)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body:
                state.bodies.append(body)
            if parts.path in state.misbehave:
                state.calls[parts.path] += 1
                with suppress(OSError):
                    state.misbehave[parts.path](self.connection)
                self.close_connection = True
                return
            if parts.path == "/cgi-bin/gettoken":
                state.tokens_asked += 1
                state.before_token()
            answer = json.dumps(state.answer(parts.path, parse_qs(parts.query))).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
            self.wfile.write(head.encode() + answer)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serve_in_thread(QuietServer(("127.0.0.1", 0), Handler)) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state


@contextmanager
def listening(serve: Callable[[socket.socket], object], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Open a port whose connections go to `serve`, one after the other, by TLS if there is a context."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if context is None else "https"
    served: list[socket.socket] = []

    def run() -> None:
        with suppress(OSError):  # at the end: closing the listener wakes accept
            while True:
                connection, _address = listener.accept()
                with suppress(OSError), connection:
                    if context is None:
                        served.append(connection)
                        serve(connection)
                    else:
                        with context.wrap_socket(connection, server_side=True) as protected:
                            served.append(protected)
                            serve(protected)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in served:
            with suppress(OSError):  # already closed; one that is still served ends
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()


def make_answer(status: str, content: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that gives everybody this answer. Yield its address and the list of requests."""
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        connection.sendall(answer)

    with listening(serve) as url:
        yield url, requests


def at_once(count: int, call: Callable[[], object]) -> list[object]:
    """Start `count` threads together that call `call`. Return each result, or the error it raised."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001  # the test looks at what each thread got
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
