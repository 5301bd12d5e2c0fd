"""Requests that come at a given rate, whatever becomes of those before them, as from people and from WeCom."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

# The address of the site that a new installation has. The port of the connection is another.
HOST = "localhost:3001"
# Nobody waits longer.
GIVES_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """`status` 0: none came. `seconds`: from the connection on. `late`: by how much this program, which is busy, too,
    began later than it should have."""

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


class _Exchange(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    @property
    def head(self) -> str:
        return self._received.partition(b"\r\n\r\n")[0].decode("latin-1")

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(time.perf_counter())


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
    loop, exchange = asyncio.get_running_loop(), _Exchange(request)
    try:
        async with asyncio.timeout(GIVES_UP_SECONDS):
            transport, _protocol = await loop.create_connection(lambda: exchange, "127.0.0.1", port)
            try:
                ended = await exchange.ended
            finally:
                transport.close()
    except OSError:  # TimeoutError is one
        return Answer(0, time.perf_counter() - started, late=late)
    words = exchange.head.split(" ", 2)
    return Answer(int(words[1]) if len(words) > 1 else 0, ended - started, exchange.head, late)


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
