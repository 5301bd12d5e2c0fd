"""A WeCom stand-in behind a real socket: keeps what was sent and answers as a test scripts it."""

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.http_server import QuietServer, serve_in_thread

Answer = dict[str, Any] | Callable[[socket.socket], None]
ACCEPTED = {"errcode": 0, "errmsg": "ok", "msgid": "msg-1"}


@dataclass
class WeComStub:
    """Answers to the next calls: `sends` for message/send, `tokens` for gettoken. Later calls succeed."""

    url: str = ""
    sends: deque[Answer] = field(default_factory=deque)
    tokens: deque[Answer] = field(default_factory=deque)
    bodies: list[bytes] = field(default_factory=list)
    on_send: Callable[[], object] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: bytes) -> Answer:
        with self.lock:
            if path == "/cgi-bin/gettoken":
                token = {"errcode": 0, "errmsg": "ok", "access_token": "token-1", "expires_in": 7200}
                return self.tokens.popleft() if self.tokens else token
            self.bodies.append(body)
            answer = self.sends.popleft() if self.sends else ACCEPTED
        self.on_send()
        return answer


def errcode(code: int, **fields: object) -> Answer:
    return {"errcode": code, "errmsg": "no, hint: [1764000000123456789012345], from ip: 203.0.113.9", **fields}


def http(status: int, content: str) -> Answer:
    """Return an answer that is not WeCom's, like a proxy's page."""

    def send(connection: socket.socket) -> None:
        length = len(content.encode())
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(head.encode() + content.encode())

    return send


def reset(connection: socket.socket) -> None:
    """Break the connection after the request was read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def running_wire() -> Iterator[WeComStub]:
    wire = WeComStub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = wire.answer(urlsplit(self.path).path, body)
            if callable(answer):
                self.close_connection = True
                with suppress(OSError):
                    answer(self.connection)
                return
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    with serve_in_thread(QuietServer(("127.0.0.1", 0), Handler)) as port:
        wire.url = f"http://127.0.0.1:{port}"
        yield wire
