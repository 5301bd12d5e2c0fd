"""Requests that come at a given rate, whatever becomes of those before them, as from people and from WeCom."""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

# The address of the site that a new installation has. The port of the connection is another.
HOST = "localhost:3001"
# Nobody waits longer.
GIVES_UP_SECONDS = 60.0
# In Linux's struct tcp_info: how long ago the last data came, in milliseconds.
LAST_DATA = slice(52, 56)


@dataclass(frozen=True)
class Answer:
    """`status` 0: none came. `seconds`: from the connection on until the kernel had the last of the answer. How long
    this program, which is busy, too, did not look at it does not count. `late`: by how much it began later than it
    should have."""

    status: int
    seconds: float
    head: str = ""
    late: float = 0.0

    @property
    def is_refusal(self) -> bool:
        """Told to come again, and when."""
        return self.status in {429, 503} and bool(self.header("retry-after"))

    def header(self, name: str) -> str:
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        lines = (line.partition(": ") for line in self.head.split("\r\n"))
        return [value for key, _colon, value in lines if key.lower() == name]


def get(path: str, *, cookies: str = "", agent: str = "Mozilla/5.0") -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", f"User-Agent: {agent}", "Accept-Language: zh-CN"]
    return _request(lines + ([f"Cookie: {cookies}"] if cookies else []))


def post(path: str, body: bytes) -> bytes:
    return _request([f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"], body)


def _request(lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


async def ask(port: int, request: bytes, *, since: float | None = None) -> Answer:
    """`since`: when it should have begun, of time.perf_counter()."""
    started = time.perf_counter()
    late = started - (since or started)
    try:
        async with asyncio.timeout(GIVES_UP_SECONDS):
            received, seconds = await _exchange(port, request, started)
    except OSError:  # TimeoutError is one
        return Answer(0, time.perf_counter() - started, late=late)
    head = received.partition(b"\r\n\r\n")[0].decode("latin-1")
    words = head.split(" ", 2)
    return Answer(int(words[1]) if len(words) > 1 else 0, seconds, head, late)


async def _exchange(port: int, request: bytes, started: float) -> tuple[bytes, float]:
    """What came, and how long after `started`."""
    loop, received = asyncio.get_running_loop(), b""
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        # Sent at once: a connection on this machine stands already, unless the listener's backlog is full.
        await loop.sock_sendall(client, request)
        while part := await loop.sock_recv(client, 65536):
            received += part
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA.stop)
        unseen = int.from_bytes(info[LAST_DATA], sys.byteorder) / 1000
        return received, time.perf_counter() - started - unseen


async def pour(visits: Iterable[Callable[[float], Awaitable[Any]]], *, per_second: float) -> None:
    """Begin the visits one after the other at this rate, and wait until all are over. Each gets the moment at which it
    should have begun."""
    first, under_way = time.perf_counter(), set()
    for number, visit in enumerate(visits):
        moment = first + number / per_second
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        under_way.add(asyncio.ensure_future(visit(moment)))
    await asyncio.gather(*under_way)


def percentile(seconds: Iterable[float], percent: int) -> float:
    """In milliseconds; 0 of nothing."""
    found = sorted(seconds)
    if len(found) < 2:
        return round(1000 * sum(found), 1)
    return round(1000 * statistics.quantiles(found, n=100, method="inclusive")[percent - 1], 1)


def summary(answers: list[Answer]) -> dict[str, Any]:
    """`answers`: of the web to requests that were sent for the first time or again."""
    served = [one.seconds for one in answers if one.status in {200, 302}]
    refused = [one for one in answers if one.is_refusal]
    others = Counter(one.status for one in answers if one.status not in {200, 302} and not one.is_refusal)
    return {
        "requests": len(answers),
        "served": len(served),
        "refused": len(refused),
        "other_answers": {str(status): count for status, count in others.items()},
        "served_p50_ms": percentile(served, 50),
        "served_p99_ms": percentile(served, 99),
        "refused_p99_ms": percentile((one.seconds for one in refused), 99),
        "sent_late_p99_ms": percentile((one.late for one in answers), 99),
    }
