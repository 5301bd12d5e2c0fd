"""How gunicorn serves; it reads this file by itself where it is started in this folder.

A client that sends half a request holds one of the threads, and gunicorn has no limit for that. Here it is one of the
kernel: no single read or write of a connection waits longer than this. A client that sends a byte now and then is
stopped by the reverse proxy alone, which hands on whole requests (deploy/nginx).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from gunicorn import systemd

RECEIVE_SECONDS = 10
SEND_SECONDS = 30
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
