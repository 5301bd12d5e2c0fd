"""Misbehaviours of the other side of a connection, each a function of its socket."""

import select
import socket
import struct
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

from integrations.clients import transport

DRIP_SECONDS = 0.05
DRIPS_AT_MOST = 400


class StandingClock:
    """A clock for the deadlines of calls and for drips, in place of `time`. A second passes with each drop.

    So a busy machine may take any time for what comes before the first drop.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.readings: list[float] = []  # by the clients

    def read(self) -> float:
        self.readings.append(self.now)
        return self.now

    def set_forward(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, _seconds: float) -> None:
        self.set_forward(1)
        time.sleep(0.001)  # the other side's turn


clock: Any = time


def let_drops_pass_time(patch: pytest.MonkeyPatch) -> StandingClock:
    """Let the deadlines of our clients and the drips of this module share a clock of their own."""
    standing = StandingClock()
    patch.setattr(transport, "read_boot_clock", standing.read)
    patch.setitem(globals(), "clock", standing)
    return standing


Misbehaviour = Callable[[socket.socket], object]


def hangs(connection: socket.socket) -> None:
    """Say nothing until the client has gone."""
    connection.settimeout(20)
    while connection.recv(65536):
        pass


def takes_nothing(connection: socket.socket) -> bool:
    """Read nothing until the client has gone. Return whether it has."""
    events = select.poll()
    events.register(connection, select.POLLRDHUP)
    return bool(events.poll(20_000))


def closes(connection: socket.socket) -> None:
    """Hang up without an answer; the request may have been done."""


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def never_ends(head: bytes) -> Misbehaviour:
    """Make an answer with this head and a fast body without an end, until the client has gone."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        for piece in repeat(b"x" * 65536):
            connection.sendall(piece)

    return serve


def drips(head: bytes, drop: bytes) -> Misbehaviour:
    """Send this head, then one drop after the other without an end."""

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head)
        for piece in repeat(drop, DRIPS_AT_MOST):
            connection.sendall(piece)
            clock.sleep(DRIP_SECONDS)

    return serve


def says(answer: bytes) -> Misbehaviour:
    return lambda connection: connection.sendall(answer)


_OK = b"HTTP/1.1 200 OK\r\n"
drips_headers = drips(_OK, b"X-A: 1\r\n")
drips_body = drips(_OK + b"Content-Length: 100000\r\n\r\n", b" ")
DRIPS: dict[str, Misbehaviour] = {
    "a status line": drips(b"HTTP/1.1 200 O", b"K"),
    "header lines": drips_headers,
    "one header line": drips(_OK + b"X-A: ", b"1"),
    "a body of a known length": drips_body,
    "a chunked body": drips(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "interim answers": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body that ends with the connection": drips(_OK + b"Connection: close\r\n\r\n", b" "),
}
stops_half_way = says(_OK + b'Content-Length: 100\r\n\r\n{"errcode":0')
BREAKS: dict[str, Misbehaviour] = {
    "closes": closes,
    "resets": resets,
    "stops half way": stops_half_way,
    "no HTTP": says(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "broken gzip": says(_OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"),
}
