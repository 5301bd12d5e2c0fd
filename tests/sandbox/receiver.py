"""An app's callback address: a server in a thread that decrypts with wechatpy, an independent program."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import xmltodict
from wechatpy.enterprise.crypto import WeChatCrypto

from tests.http_server import QuietHandler, serve_with_handler

TOKEN, AES_KEY = "QDG6eKtestToken01", "XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM"
Answer = Callable[[dict[str, object]], "str | tuple[int, str] | None"]


@dataclass
class Receiver:
    """Received callbacks: `events` holds the decrypted texts in order of arrival.

    `answer` maps an event to a plain reply, (status, body) or None.
    """

    # Checks, decrypts and encrypts like wechatpy's WeChatCrypto.
    crypto: Any
    url: str = ""
    events: list[dict[str, object]] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    agentids: list[object] = field(default_factory=list)
    # Cookies that came back: each answer sets one, and ports share cookies.
    cookies: list[str | None] = field(default_factory=list)
    answer: Answer = lambda event: None
    echo: Callable[[str], str] = lambda plain: plain
    # An answer waits no longer than the receiver lives.
    delay_seconds: float = 0.0
    is_ending: threading.Event = field(default_factory=threading.Event)
    # Number of chunks of an answer.
    pieces: int = 1

    @property
    def callback(self) -> dict[str, str]:
        return {"url": self.url, "token": TOKEN, "aes_key": AES_KEY}

    def wait(self, count: int, seconds: float = 60) -> list[dict[str, object]]:
        """Return the events once there are `count` of them. Fail when they do not come."""
        deadline = time.monotonic() + seconds
        while len(self.events) < count:
            assert time.monotonic() < deadline, f"{len(self.events)} of {count} events came: {self.events}"
            time.sleep(0.01)
        return self.events

    def names(self) -> list[str]:
        return [str(event.get("ChangeType") or event.get("Event") or event["MsgType"]) for event in self.events]


class _Handler(QuietHandler):
    receiver: Receiver

    def do_GET(self) -> None:
        if self.path.startswith("/WW_verify_"):
            self._send(200, self.path.removeprefix("/WW_verify_").removesuffix(".txt"))
            return
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.receiver.is_ending.wait(self.receiver.delay_seconds)
        plain = self.receiver.crypto.check_signature(
            query["msg_signature"], query["timestamp"], query["nonce"], query["echostr"]
        )
        self._send(200, self.receiver.echo(plain))

    def do_POST(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        crypto = self.receiver.crypto
        plain = crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
        event = dict(xmltodict.parse(plain)["xml"])
        self.receiver.agentids.append(xmltodict.parse(body)["xml"]["AgentID"])
        self.receiver.cookies.append(self.headers["Cookie"])
        self.receiver.signatures.append(query["msg_signature"])
        self.receiver.events.append(event)
        self.receiver.is_ending.wait(self.receiver.delay_seconds)
        answer = self.receiver.answer(event)
        if isinstance(answer, tuple):
            self._send(*answer)
        elif answer is None:
            self._send(200, "")
        else:
            self._send(200, crypto.encrypt_message(answer, query["nonce"], query["timestamp"]))

    def _send(self, status: int, text: str) -> None:
        """Answer in chunks, each sent alone. Some tests want a sandbox that gave up before."""
        body, pieces = text.encode(), self.receiver.pieces
        self.protocol_version = "HTTP/1.1"
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        length = max(1, -(-len(body) // pieces))
        with suppress(ConnectionError):
            for start in range(0, len(body), length):
                piece = body[start : start + length]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(0.1 if pieces > 1 else 0)
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def listening(corpid: str) -> Iterator[Receiver]:
    receiver = Receiver(WeChatCrypto(TOKEN, AES_KEY, corpid))
    with serve_with_handler(_Handler, receiver=receiver) as port:
        receiver.url = f"http://127.0.0.1:{port}/callback?app=1"
        try:
            yield receiver
        finally:
            receiver.is_ending.set()
