"""Ways in which the other side of a connection misbehaves, each a function of its socket."""

from __future__ import annotations

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
    """In the place of `time`, for the deadlines of calls and for what drips: a second passes with each drop.

    So a busy machine may take as long as it likes for all that comes before the first drop.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.readings: list[float] = []  # of the clients

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
    """From now on the deadlines of our clients and all that drips here share a clock of their own."""
    standing = StandingClock()
    patch.setattr(transport, "read_boot_clock", standing.read)
    patch.setitem(globals(), "clock", standing)
    return standing


def hangs(connection: socket.socket) -> None:
    """Says nothing, until the client has gone."""
    connection.settimeout(20)
    connection.recv(1)


def takes_nothing(connection: socket.socket) -> bool:
    """Reads nothing, until the client has gone; whether it has."""
    events = select.poll()
    events.register(connection, select.POLLRDHUP)
    return bool(events.poll(20_000))


def closes(connection: socket.socket) -> None:
    """Hangs up without an answer; the request may have been done."""


def resets(connection: socket.socket) -> None:
    """Breaks the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drips_status(connection: socket.socket) -> None:
    """The status line, a byte at a time, without an end."""
    _drip(connection, b"HTTP/1.1 200 O", b"K")


def drips_headers(connection: socket.socket) -> None:
    """Header lines without an end."""
    _drip(connection, b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n")


def drips_one_header(connection: socket.socket) -> None:
    """One header line without an end."""
    _drip(connection, b"HTTP/1.1 200 OK\r\nX-A: ", b"1")


def drips_body(connection: socket.socket) -> None:
    """A body whose length is known, a byte at a time."""
    _drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")


def never_ends(head: bytes) -> Callable[[socket.socket], None]:
    """An answer with this head and a body that comes fast, until the client has gone."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        for piece in repeat(b"x" * 65536):
            connection.sendall(piece)

    return serve


def drips_chunks(connection: socket.socket) -> None:
    """A chunked body without an end."""
    _drip(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def drips_continue(connection: socket.socket) -> None:
    """Interim answers without an end."""
    _drip(connection, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def drips_until_close(connection: socket.socket) -> None:
    """A body that ends only with the connection."""
    _drip(connection, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ")


def stops_half_way(connection: socket.socket) -> None:
    """A body that is shorter than it said."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"errcode":0')


def talks_nonsense(connection: socket.socket) -> None:
    """Not HTTP at all."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")


def sends_broken_gzip(connection: socket.socket) -> None:
    """A body that says it is compressed and is not."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")


def _drip(connection: socket.socket, head: bytes, drop: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(head)
    for piece in repeat(drop, DRIPS_AT_MOST):
        connection.sendall(piece)
        clock.sleep(DRIP_SECONDS)


DRIPS: tuple[Callable[[socket.socket], None], ...] = (
    drips_status,
    drips_headers,
    drips_one_header,
    drips_body,
    drips_chunks,
    drips_continue,
    drips_until_close,
)
BREAKS: tuple[Callable[[socket.socket], None], ...] = (
    closes,
    resets,
    stops_half_way,
    talks_nonsense,
    sends_broken_gzip,
)
