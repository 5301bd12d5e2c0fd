"""An app's callback address that opens what comes with the client's own modules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from integrations.clients.wecom.callbacks import (
    Callback,
    CallbackCrypto,
    CallbackError,
    parse,
    read_envelope,
    verify_url,
)
from tests.http_server import serving
from tests.sandbox_process import CORPID

# The last character has bits that 32 bytes do not need, as real keys have.
TOKEN, AES_KEY = "QDG6eKtestToken01", "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"


@dataclass
class Listener:
    """`heard`: callbacks in order of arrival. `status`: of the answers."""

    url: str = ""
    crypto: CallbackCrypto = field(default_factory=lambda: CallbackCrypto(TOKEN, AES_KEY, CORPID))
    heard: list[Callback] = field(default_factory=list)
    receivers: list[tuple[str, str]] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    status: int = 200

    @property
    def settings(self) -> dict[str, str]:
        """As WeCom's console takes them."""
        return {"url": self.url, "token": TOKEN, "aes_key": AES_KEY}

    def wait(self, count: int, seconds: float = 60) -> list[Callback]:
        """The callbacks, as soon as there are so many."""
        deadline = time.monotonic() + seconds
        while len(self.heard) < count:
            assert time.monotonic() < deadline, f"{len(self.heard)} of {count} callbacks came"
            time.sleep(0.01)
        return self.heard


class _Handler(BaseHTTPRequestHandler):
    listener: Listener

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        signed = {name: query[name] for name in ("timestamp", "nonce", "echostr")}
        try:
            self._send(200, verify_url(self.listener.crypto, signature=query["msg_signature"], **signed))
        except CallbackError:
            self._send(403, b"")

    def do_POST(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        signed = {name: query[name] for name in ("timestamp", "nonce")}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            envelope = read_envelope(body)
            plain = self.listener.crypto.decrypt(envelope.encrypted, signature=query["msg_signature"], **signed)
            callback = parse(plain)
        except CallbackError:
            self._send(403, b"")
            return
        self.listener.receivers.append((envelope.receiver, envelope.agentid))
        self.listener.signatures.append(query["msg_signature"])
        self.listener.heard.append(callback)
        self._send(self.listener.status, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing: pytest shows what matters."""


@contextmanager
def listening() -> Iterator[Listener]:
    """A callback address on a free port while the block runs."""
    listener = Listener()
    with serving(_Handler, listener=listener) as port:
        listener.url = f"http://127.0.0.1:{port}/callback?corp=1"
        yield listener
