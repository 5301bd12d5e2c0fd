"""Callbacks against WeCom's own cryptography for Node, @wecom/crypto, in both directions, over the wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.programs import missing, npm_modules
from tests.sandbox.test_callbacks import log
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

TOKEN, AES_KEY = "QDG6eKtestToken01", "XJkoxTakYd9Lo1Z2tTHEcHZsMSiWYhpx6jtYQGd8CqM"
APP = f"companies/{CORPID}/apps/{AGENTID}"
REPLY = "<xml><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[已收到：{text}]]></Content></xml>"


class Node:
    """@wecom/crypto in a process of its own."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            missing("node is not installed: @wecom/crypto was not tried")
        script = Path(__file__).with_name("wecom_crypto.js")
        env = {**os.environ, "NODE_PATH": str(npm_modules())}
        self.process = subprocess.Popen(
            [str(node), str(script)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # Once it has answered, it is up: the sandbox waits for a callback address no longer than WeCom does.
        self.ask("encrypt", "", "0", "0")

    def ask(self, verb: str, text: str, timestamp: str, nonce: str) -> dict[str, Any]:
        """decrypt: {"message", "id", "signature"}; encrypt: {"encrypted", "signature"}."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"verb": verb, "token": TOKEN, "key": AES_KEY, "id": CORPID, "text": text}
        self.process.stdin.write(json.dumps({**question, "timestamp": timestamp, "nonce": nonce}) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def end(self) -> None:
        self.process.communicate(timeout=60)


class Handler(BaseHTTPRequestHandler):
    """A callback address in which @wecom/crypto does all the cryptography."""

    node: Node
    received: list[ElementTree.Element]

    def do_GET(self) -> None:
        query = self.query()
        answer = self.node.ask("decrypt", query["echostr"], query["timestamp"], query["nonce"])
        assert answer["signature"] == query["msg_signature"]
        self.answer(answer["message"])

    def do_POST(self) -> None:
        query = self.query()
        body = ElementTree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))  # noqa: S314  # our sandbox's
        answer = self.node.ask("decrypt", body.findtext("Encrypt", ""), query["timestamp"], query["nonce"])
        assert answer["signature"] == query["msg_signature"]
        assert answer["id"] == CORPID
        event = ElementTree.fromstring(answer["message"])  # noqa: S314  # our sandbox's
        self.received.append(event)
        reply = REPLY.format(text=event.findtext("Content"))
        sealed = self.node.ask("encrypt", reply, "1764000002", "998877")
        self.answer(
            f"<xml><Encrypt><![CDATA[{sealed['encrypted']}]]></Encrypt>"
            f"<MsgSignature><![CDATA[{sealed['signature']}]]></MsgSignature>"
            "<TimeStamp>1764000002</TimeStamp><Nonce><![CDATA[998877]]></Nonce></xml>"
        )

    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Nothing: pytest shows what matters."""


@pytest.fixture
def received(sandbox: SandboxHandle) -> Iterator[list[ElementTree.Element]]:
    """What the app's callback received."""
    node, events = Node(), list[ElementTree.Element]()
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"node": node, "received": events}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    sandbox.control("PATCH", APP, {"callback": {"url": url, "token": TOKEN, "aes_key": AES_KEY}})
    yield events
    server.shutdown()
    thread.join()
    server.server_close()
    node.end()


def test_the_address_is_verified(sandbox: SandboxHandle, received: list[ElementTree.Element]) -> None:
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}


@pytest.mark.parametrize("text", ["你好", "x" * 27, "x" * 28, "字" * 600, "<b>&]]>"])
def test_both_directions(api: Api, sandbox: SandboxHandle, received: list[ElementTree.Element], text: str) -> None:
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/write", {"agentid": AGENTID, "text": text})

    assert log(sandbox, 1)[0][2] == "replied" if "]]>" not in text else log(sandbox, 1)
    assert received[0].findtext("Content") == text
    if "]]>" not in text:
        assert sandbox.messages(CORPID, "lilei")[-1]["text"]["content"] == f"已收到：{text}"
