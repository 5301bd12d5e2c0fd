"""How gunicorn serves; it reads this file by itself where it is started in this folder.

A client that sends half a request holds one of the threads, and gunicorn has no limit for that. Here it is one of the
kernel: no single read or write of a connection waits longer than this. A client that sends a byte now and then is
stopped by the reverse proxy alone, which hands on whole requests (README).
"""

from __future__ import annotations

import socket
import struct
from typing import Any

RECEIVE_SECONDS = 10
SEND_SECONDS = 30


def when_ready(server: Any) -> None:
    """Called before the first worker starts. Connections inherit these limits from the sockets that accept them."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_SECONDS, 0))
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
