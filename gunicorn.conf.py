"""How gunicorn serves; it reads this file by itself where it is started in this folder.

A request that waited too long for a thread is marked, and guanwecom.operations.busy tells it to come again. Without
that, more requests than web can answer would make all of them wait longer and longer.

A client that sends half a request holds one of the threads, and gunicorn has no limit for that. Here it is one of the
kernel: no single read or write of a connection waits longer than this. A client that sends a byte now and then is
stopped by the reverse proxy alone, which hands on whole requests (deploy/nginx).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any

from gunicorn import systemd
from gunicorn.workers.gthread import TConn, ThreadWorker

RECEIVE_SECONDS = 10
SEND_SECONDS = 30
# What is left of a second is for the answer. WeCom gives up after five, people sooner.
WAIT_MILLISECONDS = 500
# In Linux's struct tcp_info: how long ago the last data came, in milliseconds.
LAST_DATA = slice(52, 56)
# Where systemd hears that a service has started, if it started this one.
SYSTEMD = os.environ.get("NOTIFY_SOCKET")


def on_starting(server: Any) -> None:
    """gunicorn itself would say that it has started before its workers have loaded the product."""
    os.environ.pop("NOTIFY_SOCKET", None)


def post_worker_init(worker: Any) -> None:
    """Called in a worker that takes requests from now on. deploy/install.sh restarts the next web then."""
    if SYSTEMD:
        os.environ["NOTIFY_SOCKET"] = SYSTEMD
        systemd.sd_notify("READY=1", worker.log, unset_environment=True)


def when_ready(server: Any) -> None:
    """Called before the first worker starts. Connections inherit these limits from the sockets that accept them."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_SECONDS, 0))
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads that mark the requests that waited too long. A short queue, as behind a slow start, is answered."""

    def handle_request(self, req: Any, conn: TConn) -> bool:
        idle = len(self.keepalived_conns) + len(self.pending_conns)
        is_queue_long = self.nr_conns - idle > 2 * self.cfg.threads
        if is_queue_long and waited_milliseconds(conn.sock) > WAIT_MILLISECONDS:
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
