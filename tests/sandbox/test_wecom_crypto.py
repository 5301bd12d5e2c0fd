"""Callbacks against WeCom's own cryptography for Node, @wecom/crypto, in both directions, over the wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xmltodict

from tests.sandbox.programs import missing, npm_modules
from tests.sandbox.receiver import AES_KEY, TOKEN, Receiver
from tests.sandbox.test_callbacks import APP, LILEI, log
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


class Node:
    """@wecom/crypto in a process of its own, with the methods of wechatpy's WeChatCrypto."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            missing("node is not installed: @wecom/crypto was not tried")
        script = Path(__file__).with_name("wecom_crypto.js")
        env = {**os.environ, "NODE_PATH": str(npm_modules())}
        self.process = subprocess.Popen(
            [str(node), str(script)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # An answer shows that it runs: the sandbox waits for a callback address no longer than WeCom does.
        self.ask("encrypt", "", "0", "0")

    def ask(self, verb: str, text: str, timestamp: str, nonce: str) -> dict[str, Any]:
        """Return, for decrypt, {"message", "id", "signature"}; for encrypt, {"encrypted", "signature"}."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"verb": verb, "token": TOKEN, "key": AES_KEY, "id": CORPID, "text": text}
        self.process.stdin.write(json.dumps({**question, "timestamp": timestamp, "nonce": nonce}) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def check_signature(self, signature: str, timestamp: str, nonce: str, encrypted: str) -> str:
        answer = self.ask("decrypt", encrypted, timestamp, nonce)
        assert (answer["signature"], answer["id"]) == (signature, CORPID)
        return str(answer["message"])

    def decrypt_message(self, body: str, signature: str, timestamp: str, nonce: str) -> str:
        return self.check_signature(signature, timestamp, nonce, xmltodict.parse(body)["xml"]["Encrypt"])

    def encrypt_message(self, reply: str, nonce: str, timestamp: str) -> str:
        sealed = self.ask("encrypt", reply, timestamp, nonce)
        parts = {"Encrypt": sealed["encrypted"], "MsgSignature": sealed["signature"], "TimeStamp": timestamp}
        return str(xmltodict.unparse({"xml": {**parts, "Nonce": nonce}}))


@pytest.fixture
def node(receiver: Receiver) -> Iterator[Receiver]:
    """A callback address in which @wecom/crypto does all the cryptography."""
    crypto = Node()
    receiver.crypto = crypto
    yield receiver
    crypto.process.communicate(timeout=60)


@pytest.mark.parametrize("text", ["你好", "x" * 27, "x" * 28, "字" * 600, "<b>&"])
def test_both_directions(sandbox: SandboxHandle, node: Receiver, text: str) -> None:
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}
    node.answer = lambda event: (
        f"<xml><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[已收到：{event['Content']}]]></Content></xml>"
    )
    sandbox.control("POST", f"{LILEI}/write", {"agentid": AGENTID, "text": text})

    assert log(sandbox, 1) == [("text", 1, "replied")]
    assert node.events[0]["Content"] == text
    assert sandbox.messages(CORPID, "lilei")[-1]["text"]["content"] == f"已收到：{text}"
