"""A real pgbouncer in transaction mode between the programs and PostgreSQL."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.programs import needs
from tools.services import free_port

needs_pgbouncer = needs("pgbouncer")
START_SECONDS = 60
# Fewer than the programs open, and used in turn: a client's next transaction gets another client's server session.
SERVER_CONNECTIONS = 8
_CONFIG = """
[databases]
* = host=127.0.0.1 port={target} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_round_robin = 1
server_login_retry = 1
"""


def pgbouncer_command(url: str, folder: Path) -> tuple[list[str], str]:
    """Write a configuration into `folder`. Return the command of a pgbouncer, and the address of `url` through it."""
    where, port = urlsplit(url), free_port()
    values = {"target": where.port, "user": where.username, "password": where.password, "size": SERVER_CONNECTIONS}
    config = folder / "pgbouncer.ini"
    config.write_text(_CONFIG.format(port=port, **values), encoding="utf-8")
    command = ["pgbouncer", *(["-u", "nobody"] if os.geteuid() == 0 else []), str(config)]
    return command, f"{url.replace(f':{where.port}/', f':{port}/')}?options="


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """Run a pgbouncer while the block runs. Yield the address of the database `url` through it."""
    with tempfile.TemporaryDirectory(prefix="guanwecom-pgbouncer-") as name, tempfile.TemporaryFile() as log:
        command, pooled = pgbouncer_command(url, Path(name))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while process.poll() is None and time.monotonic() < deadline and not answers(pooled):
                time.sleep(0.05)
            assert process.poll() is None, log.seek(0) or log.read()
            yield pooled
        finally:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Return whether something listens at the port of `url`."""
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=1).close()
    except OSError:
        return False
    return True
