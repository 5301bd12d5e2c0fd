"""A server on this machine that answers at once, in place of WeCom, for measurements that are not about WeCom.

It has its own process, so that its processor time is not counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Reply = Callable[[bytes], bytes]
_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: %d\r\n"
    b"Connection: keep-alive\r\nX-W-No: 3\r\n\r\n%b"
)


class _Protocol(asyncio.Protocol):
    """Protocol that answers every complete request with the result of `reply`."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or len(rest) < _read_content_length(head):
            return
        answer, self._received = self._reply(self._received), b""
        self._transport.write(_HEAD % (len(answer), answer))


def _read_content_length(head: bytes) -> int:
    named = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _colon, value in named if name == b"content-length"), 0)


def _serve(sender: Any, reply: Reply) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Protocol(reply), "127.0.0.1", 0, backlog=512)
        sender.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def run_stand_in(reply: Reply) -> Iterator[str]:
    """Run the server and yield its address. `reply`: a module's function, from a whole request to the answer's JSON."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(sender, reply), daemon=True)
    process.start()
    sender.close()  # so that receiver.recv() fails if the server ends early
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()
