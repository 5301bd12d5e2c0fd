"""How gunicorn serves; it reads this file by itself where it is started in this folder.

A request that waited too long for a thread is marked, and guanwecom.operations.middleware tells it to come again.
Without that, more requests than web can answer would make all of them wait longer and longer.

A client that sends half a request holds one of the threads, and gunicorn has no limit for that. Here it is one of the
kernel: no single read or write of a connection waits longer than this. A client that sends a byte now and then is
stopped by the reverse proxy alone, which hands on whole requests (deploy/nginx).
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
# What is left of a second is for the answer, which other threads slow down. WeCom gives up after five, people sooner.
WAIT_MILLISECONDS = 400
# In Linux's struct tcp_info: how long ago the last data came, in milliseconds.
LAST_DATA = slice(52, 56)
# Where systemd hears that a service has started, if it started this one.
SYSTEMD = os.environ.get("NOTIFY_SOCKET")


def on_starting(server: Any) -> None:
    """gunicorn itself would say that it has started before its workers have loaded the product."""
    os.environ.pop("NOTIFY_SOCKET", None)


def post_worker_init(worker: Any) -> None:
    """Called in a worker that takes requests from now on. deploy/install.sh restarts the next web then."""
    worker.started_at = time.monotonic()
    if SYSTEMD:
        os.environ["NOTIFY_SOCKET"] = SYSTEMD
        systemd.sd_notify("READY=1", worker.log, unset_environment=True)


def when_ready(server: Any) -> None:
    """Called before the first worker starts. Connections inherit these limits from the sockets that accept them."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_SECONDS, 0))
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads that mark the requests that waited too long. Two kinds are answered however long they waited: the last of
    the queue, because nobody waits for it, and a short queue from before the start."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queue: deque[TConn] = deque()
        self.started_at = time.monotonic()

    def accept(self, listener: Any) -> None:
        """One for each thread. gunicorn takes a single one, and waits for busy threads before the next: the queue would
        stand in the kernel, where its length is not known."""
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
        waited = waited_milliseconds(conn.sock)
        is_from_before = waited > 1000 * (time.monotonic() - self.started_at)
        is_refused = len(self.queue) > (self.cfg.threads if is_from_before else 0)
        if is_refused and waited > WAIT_MILLISECONDS:
            req.headers.append(("WAITED-TOO-LONG", "1"))
        return bool(super().handle_request(req, conn))


def waited_milliseconds(client: socket.socket) -> int:
    """How long ago the client sent the last of its request: waiting for this process to accept it counts, and what a
    slow client takes does not. 0 where the kernel does not say."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA.stop)
    except OSError:  # a Unix socket
        return 0
    return int.from_bytes(info[LAST_DATA], sys.byteorder)


worker_class = Worker
# More wait in the kernel. gunicorn's 1,000 and our own files are more than the 1,024 descriptors that a process usually
# has, and a worker that has none left ends, with all of its connections.
worker_connections = 500
