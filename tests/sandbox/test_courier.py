"""How events travel: answers in pieces, addresses that hang, names that change what they mean."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from wecom_sandbox.callbacks.courier import Courier
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import World

from tests.sandbox.receiver import AES_KEY, TOKEN, listening
from tests.sandbox.test_callbacks import APP, LILEI, log
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A port where each connection is handed to `serve`, in a thread of its own. All are closed at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        # The other side may have given up.
        with connection, suppress(OSError):
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=answer, args=(connection,))
            thread.start()
            threads.append(thread)
            connections.append(connection)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def in_pieces(*pieces: bytes, pause_seconds: float = 0.1) -> Serve:
    """An answer in chunks, each sent alone."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(pause_seconds)
        connection.sendall(b"0\r\n\r\n")

    return serve


def set_callback(sandbox: SandboxHandle, url: str) -> None:
    sandbox.control("PATCH", APP, {"callback": {"url": url, "token": TOKEN, "aes_key": AES_KEY}})
    sandbox.control("PATCH", "settings", {"callback_pause_seconds": 0.02})


def write(sandbox: SandboxHandle, agentid: int = AGENTID) -> None:
    sandbox.control("POST", f"{LILEI}/write", {"agentid": agentid, "text": "x"})


# --- Answers in pieces -----------------------------------------------------------------------------------------------


def test_an_answer_in_two_chunks_is_read_whole(sandbox: SandboxHandle) -> None:
    with serving(in_pieces(b"suc", b"cess")) as port:
        set_callback(sandbox, f"http://127.0.0.1:{port}/cb")
        write(sandbox)

        assert log(sandbox, 1) == [("text", 1, "ok")]


def test_a_passive_reply_in_two_chunks_is_read_whole(sandbox: SandboxHandle) -> None:
    with listening(CORPID) as receiver:
        receiver.pieces, receiver.answer = 2, lambda event: "<xml><MsgType>text</MsgType><Content>好</Content></xml>"
        set_callback(sandbox, receiver.url)
        write(sandbox)

        assert log(sandbox, 1) == [("text", 1, "replied")]
        assert sandbox.messages(CORPID, "lilei")[-1]["text"]["content"] == "好"


def test_an_echo_in_two_chunks_is_read_whole(sandbox: SandboxHandle) -> None:
    with listening(CORPID) as receiver:
        receiver.pieces = 2
        set_callback(sandbox, receiver.url)

        assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}


def test_the_deadline_is_that_of_the_last_chunk(sandbox: SandboxHandle) -> None:
    with serving(in_pieces(*[b" "] * 8, pause_seconds=0.1)) as port:
        set_callback(sandbox, f"http://127.0.0.1:{port}/cb")
        sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 0.4, "callback_attempts": 1})
        write(sandbox)

        assert log(sandbox, 1) == [("text", 1, "no answer within 0.4 s")]


def test_an_endless_answer_is_cut(sandbox: SandboxHandle) -> None:
    with serving(in_pieces(*[b"x" * 65_536] * 64, pause_seconds=0)) as port:
        set_callback(sandbox, f"http://127.0.0.1:{port}/cb")
        write(sandbox)

        assert log(sandbox, 1) == [("text", 1, "bad reply: not XML")]


# --- Each app has its own queue --------------------------------------------------------------------------------------


def hang(connection: socket.socket) -> None:
    """Take everything, answer nothing, until the other side gives up."""
    while connection.recv(65_536):
        pass


def test_addresses_that_hang_delay_no_other_app(sandbox: SandboxHandle) -> None:
    """30 apps with four events each are more than the connections that a client opens by default."""
    hanging = range(10, 40)
    with serving(hang) as port, listening(CORPID) as receiver:
        callback = {"url": f"http://127.0.0.1:{port}/cb", "token": TOKEN, "aes_key": AES_KEY}
        apps = [
            {"agentid": number, "name": str(number), "secret": f"s{number}", "callback": callback} for number in hanging
        ]
        sandbox.control("POST", f"companies/{CORPID}/apps", apps)
        set_callback(sandbox, receiver.url)
        sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 60})
        for number in hanging:
            for _ in range(5):
                write(sandbox, number)

        write(sandbox)

        assert receiver.wait(1)[0]["AgentID"] == str(AGENTID)
        # Four of each hanging app are under way, the fifth waits.
        assert sandbox.control("GET", "callbacks")["waiting"] == 30
        sandbox.control("POST", "reset", {})
        after = sandbox.control("GET", "callbacks")
        assert (after["callbacks"], after["waiting"], after["under_way"]) == ([], 0, 0)


def test_what_waits_of_one_app_goes_when_there_is_room(sandbox: SandboxHandle) -> None:
    with listening(CORPID) as receiver:
        receiver.delay_seconds = 0.05
        set_callback(sandbox, receiver.url)
        for _ in range(12):
            write(sandbox)

        assert len(receiver.wait(12)) == 12
        assert log(sandbox, 12) == [("text", 1, "ok")] * 12
        assert sandbox.control("GET", "callbacks")["waiting"] == 0


def test_nothing_is_tried_again_after_a_reset(sandbox: SandboxHandle) -> None:
    with listening(CORPID) as receiver:
        receiver.answer = lambda event: (500, "broken")
        set_callback(sandbox, receiver.url)
        sandbox.control("PATCH", "settings", {"callback_pause_seconds": 1})
        write(sandbox)
        log(sandbox, 1)
        sandbox.control("POST", "reset", {})
        before = len(receiver.events)
        time.sleep(1.3)

        assert len(receiver.events) == before
        assert sandbox.control("GET", "callbacks")["callbacks"] == []


def test_a_reply_that_comes_after_a_reset_changes_nothing(sandbox: SandboxHandle) -> None:
    called, was_reset = threading.Event(), threading.Event()

    def answer(event: dict[str, object]) -> str:
        called.set()
        assert was_reset.wait(60)
        return "<xml><MsgType>text</MsgType><Content>late</Content></xml>"

    with listening(CORPID) as receiver:
        receiver.answer = answer
        set_callback(sandbox, receiver.url)
        sandbox.control("PATCH", "settings", {"callback_timeout_seconds": 60})
        write(sandbox)
        assert called.wait(60)
        sandbox.control("POST", "reset", {})
        was_reset.set()
        receiver.answer = lambda event: None
        write(sandbox)
        log(sandbox, 1)
        time.sleep(0.3)

    assert [one["text"]["content"] for one in sandbox.messages(CORPID, "lilei")] == ["x"]


# --- This machine only -----------------------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the name service answers, one look-up after the other; the last answer stays."""
    answers: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return answers


def verified(url: str) -> str:
    """In a thread: where browser tests ran before, this one has a loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, Courier(World()).verify(CORPID, Callback(url, TOKEN, AES_KEY))).result()


@pytest.mark.parametrize("answers", [["192.0.2.1"], ["127.0.0.1", "192.0.2.1"]])
def test_a_name_that_means_another_machine_when_it_is_connected_to(names: list[str], answers: list[str]) -> None:
    """Whether the name meant this machine a moment before is no matter: tests/conftest.py watches every connection."""
    names += answers
    with listening(CORPID) as receiver:
        problem = verified(receiver.url.replace("127.0.0.1", "rebound.example.com"))

        # The first look-up of a connection counts; where that is this machine's, the echo is right.
        assert problem == ("" if answers[0] == "127.0.0.1" else "not on this machine")


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("192.0.2.1", "not on this machine"),
        ("[2001:db8::1]", "not on this machine"),
        ("[::ffff:192.0.2.1]", "not on this machine"),
        ("0.0.0.0", "not on this machine"),  # noqa: S104  # this is refused
        ("3221225985", "no connection: InvalidUrlClientError"),
    ],
)
def test_addresses_in_figures(host: str, problem: str) -> None:
    assert verified(f"http://{host}:9/cb") == problem


def test_names_of_this_machine_are_reached(names: list[str]) -> None:
    names.append("127.0.0.1")
    with listening(CORPID) as receiver:
        assert verified(receiver.url.replace("127.0.0.1", "portal.example.com")) == ""


def test_no_cookie_comes_back(sandbox: SandboxHandle) -> None:
    """Ports share cookies: what one app sets would reach the next."""
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heads.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with serving(serve) as port:
        set_callback(sandbox, f"http://localhost:{port}/cb")
        write(sandbox)
        log(sandbox, 1)
        write(sandbox)
        log(sandbox, 2)

    assert [b"cookie:" in head.lower() for head in heads] == [False, False]
