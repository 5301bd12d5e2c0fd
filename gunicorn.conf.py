"""Gunicorn's configuration, which it reads by itself when it is started in this folder.

A request that waited too long for a thread is marked, and guanwecom.operations.middleware answers it 503 with
Retry-After. Otherwise, if more requests came than web can answer, all of them would wait longer and longer.

Gunicorn has no time limit for a client that sends half a request and holds a thread. Therefore the kernel limits each
single read and write of a connection. A client that sends a byte now and then is stopped only by the reverse proxy,
which passes on whole requests (deploy/nginx).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

from gunicorn import systemd
from gunicorn.workers.gthread import TConn, ThreadWorker

RECEIVE_SECONDS = 10
SEND_SECONDS = 30
# The rest of a second remains for the answer, which other threads slow down. WeCom waits five seconds, people less.
WAIT_MILLISECONDS = 400
# In Linux's struct tcp_info: how long ago the last data came, in milliseconds.
LAST_DATA = slice(52, 56)
# Address of the socket to tell systemd that the service has started; None if systemd did not start it.
SYSTEMD = os.environ.get("NOTIFY_SOCKET")


def on_starting(server: Any) -> None:
    """Keep gunicorn from telling systemd that it has started before its workers have loaded the product."""
    os.environ.pop("NOTIFY_SOCKET", None)


def post_worker_init(worker: Any) -> None:
    """Tell systemd that this worker takes requests from now on. Then deploy/install.sh restarts the next web."""
    worker.started_at = time.monotonic()
    if SYSTEMD:
        os.environ["NOTIFY_SOCKET"] = SYSTEMD
        systemd.sd_notify("READY=1", worker.log, unset_environment=True)


def when_ready(server: Any) -> None:
    """Set time limits on the listening sockets, before the first worker starts. Accepted connections inherit them."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_SECONDS, 0))
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Worker that marks requests that waited too long. Never marked are a request behind which none waits, and one from
    before the worker's start while at most as many requests wait as there are threads."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queue: deque[TConn] = deque()
        self.started_at = time.monotonic()

    def accept(self, listener: Any) -> None:
        """Accept up to one connection for each thread. gunicorn accepts one, then waits for a free thread: the
        queue would be in the kernel, where its length is not known."""
        for _connection in range(self.cfg.threads):
            before = self.nr_conns
            super().accept(listener)
            if self.nr_conns == before:
                break

    def enqueue_req(self, conn: TConn) -> None:
        self.queue.append(conn)
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        self.queue.popleft()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        waited = read_waiting_milliseconds(conn.sock)
        is_from_before = waited > 1000 * (time.monotonic() - self.started_at)
        is_refused = len(self.queue) > (self.cfg.threads if is_from_before else 0)
        if is_refused and waited > WAIT_MILLISECONDS:
            req.headers.append(("WAITED-TOO-LONG", "1"))
        return bool(super().handle_request(req, conn))


def read_waiting_milliseconds(client: socket.socket) -> int:
    """Return how long ago the client's last bytes arrived: the time until this process accepts the connection counts,
    the time that a slow client takes does not. 0 if the kernel does not know."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA.stop)
    except OSError:  # a Unix socket
        return 0
    return int.from_bytes(info[LAST_DATA], sys.byteorder)


worker_class = Worker
# Further connections wait in the kernel. With gunicorn's default of 1,000 and our own files, a worker could use up the
# usual 1,024 descriptors of a process; it would then end, with all of its connections.
worker_connections = 500
