"""A web service on this machine that answers a request with raw bytes, or misbehaves, as a test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket, bytes], object]


class WebService:
    """A service whose `requests` holds the raw requests with their headers."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                line, _address = self.listener.accept()
                self._lines.append(line)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            request = b""
            while b"\r\n\r\n" not in request:
                some = line.recv(65536)
                if not some:
                    return
                request += some
            self.requests.append(request)
            self.answer(line, request)

    def close(self) -> None:
        for line in [self.listener, *self._lines]:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@contextmanager
def web_service(answer: Answer) -> Iterator[WebService]:
    service = WebService(answer)
    try:
        yield service
    finally:
        service.close()


def says(content: bytes, *, status: str = "200 OK", headers: str = "Content-Type: application/json") -> Answer:
    """Make a complete answer, the last of its connection: a client that sends a second request there would lose it."""
    lines = "".join(f"{line}\r\n" for line in headers.split("\n") if line)

    def answer(line: socket.socket, _request: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\n{lines}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        line.sendall(head.encode() + content)

    return answer
