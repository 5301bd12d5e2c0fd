"""The delivery of events: answers in pieces, addresses that hang, names that change their address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from wecom_sandbox.callbacks.courier import Courier
from wecom_sandbox.state.events import Callback
from wecom_sandbox.state.world import World

from tests.sandbox.receiver import AES_KEY, TOKEN, Receiver, listening
from tests.sandbox.test_callbacks import APP, LILEI, log
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


def write(sandbox: SandboxHandle, agentid: int = AGENTID) -> None:
    sandbox.control("POST", f"{LILEI}/write", {"agentid": agentid, "text": "x"})


REPLY = "<xml><MsgType>text</MsgType><Content>好</Content></xml>"


def test_what_comes_in_chunks_is_read_whole(sandbox: SandboxHandle, receiver: Receiver) -> None:
    """Read the echo, an answer and a passive reply. The next app's address gets none of this one's cookies."""
    receiver.pieces = 2
    assert sandbox.control("POST", f"{APP}/callback/verify", {}) == {"problem": ""}
    answers: Iterator[str | tuple[int, str]] = iter([(200, "success"), REPLY])
    receiver.answer = lambda event: next(answers)
    for number in (1, 2):
        write(sandbox)
        log(sandbox, number)

    assert [outcome for _, _, outcome in log(sandbox, 2)] == ["ok", "replied"]
    assert sandbox.messages(CORPID, "lilei")[-1]["text"]["content"] == "好"
    assert receiver.cookies == [None, None]


@pytest.mark.parametrize(
    ("length", "pieces", "seconds", "outcome"),
    [(8, 8, 0.4, "no answer within 0.4 s"), (4 * 1024 * 1024, 4, 60, "bad reply: not XML")],
)
def test_the_deadline_is_that_of_the_last_chunk_and_an_endless_answer_is_cut(
    sandbox: SandboxHandle, receiver: Receiver, length: int, pieces: int, seconds: float, outcome: str
) -> None:
    receiver.pieces, receiver.answer = pieces, lambda event: (200, "x" * length)
    sandbox.control("PATCH", "settings", {"callback_timeout_seconds": seconds, "callback_attempts": 1})
    write(sandbox)

    assert log(sandbox, 1) == [("text", 1, outcome)]


def test_addresses_that_hang_delay_no_other_app(sandbox: SandboxHandle, receiver: Receiver) -> None:
    """Use 30 apps with four events each: more than a client's connections by default."""
    hanging = range(10, 40)
    with listening(CORPID) as deaf:
        deaf.delay_seconds = 60
        apps = [
            {"agentid": number, "name": str(number), "secret": f"s{number}", "callback": deaf.callback}
            for number in hanging
        ]
        sandbox.control("POST", f"companies/{CORPID}/apps", apps)
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


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers of the name service, one look-up after the other; the last one stays."""
    answers: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return answers


def verified(url: str) -> str:
    """Verify in a thread, because earlier browser tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, Courier(World()).verify(CORPID, Callback(url, TOKEN, AES_KEY))).result()


@pytest.mark.parametrize("answers", [["192.0.2.1"], ["127.0.0.1", "192.0.2.1"], ["127.0.0.1"]])
def test_a_name_that_means_another_machine_when_it_is_connected_to(names: list[str], answers: list[str]) -> None:
    """Ignore what the name meant a moment before: tests/conftest.py watches every connection."""
    names += answers
    with listening(CORPID) as receiver:
        problem = verified(receiver.url.replace("127.0.0.1", "rebound.example.com"))

        # The first look-up of a connection counts; if it gives this machine, the echo is right.
        assert problem == ("" if answers[0] == "127.0.0.1" else "not on this machine")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        *((f"http://{host}:9/cb", "not on this machine") for host in ("192.0.2.1", "[2001:db8::1]")),
        *((f"http://{host}:9/cb", "not on this machine") for host in ("[::ffff:192.0.2.1]", "0.0.0.0")),  # noqa: S104
        ("http://3221225985:9/cb", "no connection: InvalidUrlClientError"),
        *((address, "not an http address") for address in ("ftp://127.0.0.1/cb", "http:///cb", "nonsense")),
    ],
)
def test_only_this_machine_is_reached(address: str, problem: str) -> None:
    assert verified(address) == problem
