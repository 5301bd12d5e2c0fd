"""Many threads and clients that need the BI at once sign in to it once, over real connections and a real Valkey."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from integrations.core import client_factory
from integrations.models import BiConnection
from tests.guandata import PASSWORD, fixture
from tests.integrations.clients.sources.web import WebService, says, web_service

THREADS = 8


class Bi:
    """Takes the newest token alone; `withdraw_token` leaves none that it takes."""

    def __init__(self) -> None:
        self.everyone_is_here = threading.Barrier(THREADS)
        self.sign_in_count = 0
        self._lock = threading.Lock()

    def answer(self, line: socket.socket, request: bytes) -> None:
        read_body(line, request)
        if request.startswith(b"POST /public-api/sign-in "):
            with self._lock:
                self.sign_in_count += 1
                number = self.sign_in_count
            say(line, {"result": "ok", "response": {"token": f"t{number}"}})
        elif f"X-Auth-Token: t{self.sign_in_count}\r\n".encode() in request:
            say(line, fixture("card_data"))
        else:
            say(line, {"result": "fail", "error": {"status": 401, "message": "token"}})

    def withdraw_token(self) -> None:
        self.sign_in_count += 1


def read_body(line: socket.socket, request: bytes) -> None:
    """A connection that is closed before everything was read is reset under the answer."""
    head, _, body = request.partition(b"\r\n\r\n")
    found = re.search(rb"Content-Length: (\d+)", head)
    missing = int(found[1]) - len(body) if found else 0
    while missing > 0:
        missing -= len(line.recv(missing))


def say(line: socket.socket, answer: dict[str, Any]) -> None:
    says(json.dumps(answer).encode(), headers="Connection: close")(line, b"")


@pytest.fixture
def bi() -> Iterator[tuple[Bi, WebService]]:
    bi = Bi()
    with web_service(bi.answer) as service:
        yield bi, service


def ask_at_once(bi: Bi, url: str) -> list[int]:
    """How many rows each thread gets, with a client of its own, as each task has one."""
    connection = BiConnection(base_url=url, api_login="robot", api_password=PASSWORD)

    def ask(_number: int) -> int:
        client = client_factory.guandata_client(connection)
        bi.everyone_is_here.wait(timeout=60)
        return sum(part.row_count for part in client.card_data("c1"))

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(ask, range(THREADS)))


def test_the_first_to_come_sign_in_once(bi: tuple[Bi, WebService]) -> None:
    rows = ask_at_once(bi[0], bi[1].url)

    assert len(set(rows)) == 1
    assert rows[0] > 0
    assert bi[0].sign_in_count == 1


def test_a_withdrawn_token_is_replaced_once(bi: tuple[Bi, WebService]) -> None:
    ask_at_once(bi[0], bi[1].url)
    bi[0].withdraw_token()
    before = bi[0].sign_in_count

    rows = ask_at_once(bi[0], bi[1].url)

    assert rows[0] > 0
    assert bi[0].sign_in_count == before + 1
