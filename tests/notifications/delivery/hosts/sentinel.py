"""Valkey with a replica, and a Sentinel that promotes the replica when the primary is silent."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import redis

from tools.services import START_SECONDS, Service, free_port, start_valkey, valkey_command

MASTER = "main.primary"
PASSWORD, SENTINEL_PASSWORD = "of;both,Valkeys", "of-the-Sentinel"
SILENT_MILLISECONDS = 2000


@dataclass(frozen=True)
class Watched:
    """Valkey, its replica and their Sentinel. `url` names a Sentinel that does not exist before the one that does."""

    url: str
    primary: Service
    replica: Service
    sentinel: redis.Redis

    def primary_port(self) -> int:
        """Ask the Sentinel for the port of the primary."""
        _host, port = cast("tuple[str, int]", self.sentinel.sentinel_get_master_addr_by_name(MASTER))
        return port


@contextmanager
def watched_valkeys() -> Iterator[Watched]:
    with ExitStack() as exits:
        primary, replica = start_valkey(), start_valkey()
        exits.callback(primary.stop)
        exits.callback(replica.stop)
        # A stopped process does not react to SIGTERM until it continues.
        exits.callback(primary.process.send_signal, signal.SIGCONT)
        for server in (primary, replica):
            own = redis.Redis.from_url(server.url)
            own.config_set("masterauth", PASSWORD)
            own.config_set("requirepass", PASSWORD)
        copy = redis.Redis(port=_port(replica), password=PASSWORD)
        copy.replicaof("127.0.0.1", _port(primary))
        _wait(lambda: copy.info("replication")["master_link_status"] == "up")
        port = exits.enter_context(_sentinel(_port(primary)))
        sentinel = redis.Redis(port=port, password=SENTINEL_PASSWORD)
        _wait(lambda: len(sentinel.sentinel_slaves(MASTER)) == 1)
        hosts = f"127.0.0.1:1,127.0.0.1:{port}"
        url = f"redis+sentinel://:of%3Bboth%2CValkeys@{hosts}/{MASTER}/3"
        yield Watched(url, primary, replica, sentinel)


@contextmanager
def _sentinel(watched_port: int) -> Iterator[int]:
    port = free_port()
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"requirepass {SENTINEL_PASSWORD}",
        f"sentinel monitor {MASTER} 127.0.0.1 {watched_port} 1",
        f'sentinel auth-pass {MASTER} "{PASSWORD}"',
        f"sentinel down-after-milliseconds {MASTER} {SILENT_MILLISECONDS}",
        f"sentinel failover-timeout {MASTER} 10000",
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sentinel.conf"  # the Sentinel writes to it
        config.write_text("\n".join(lines) + "\n")
        command = [valkey_command()[0], str(config), "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port, password=SENTINEL_PASSWORD)
            _wait(lambda: _answers(client))
            yield port
        finally:
            process.kill()
            process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _wait(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _port(server: Service) -> int:
    return int(urlsplit(server.url).port or 0)
