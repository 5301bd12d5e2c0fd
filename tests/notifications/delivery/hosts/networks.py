"""Hosts as network namespaces, each with one interface to our services and one to WeCom.

A frame to an unused hardware address is lost without an error, as on a cable that was cut.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVICES, WECOM = "10.213.255.1", "10.213.255.2"
_NOWHERE = "02:00:00:00:00:99"
_ESTABLISHED = "01"  # in /proc/net/tcp
HAS_NAMESPACES = os.geteuid() == 0 and shutil.which("ip") is not None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """A network namespace. `number` is from 1 to 100."""

    number: int

    @property
    def name(self) -> str:
        return f"guanwecom-{os.getpid()}-{self.number}"

    @property
    def command(self) -> list[str]:
        """Words to put before a command that is to run on the host."""
        return ["ip", "netns", "exec", self.name]

    def lose_outgoing(self) -> None:
        """Drop what the host sends to our services. It still receives from them, and reaches WeCom."""
        where = ("lladdr", _NOWHERE, "nud", "permanent", "dev", "services")
        _ip("-n", self.name, "neigh", "replace", f"10.213.{self.number}.1", *where)

    def lose_incoming(self) -> None:
        """Drop what our services send to the host."""
        where = ("lladdr", _NOWHERE, "nud", "permanent", "dev", f"gws{self.number}")
        _ip("neigh", "replace", f"10.213.{self.number}.2", *where)

    def heal(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("-n", self.name, "neigh", "del", f"10.213.{self.number}.1", "dev", "services")
        with suppress(subprocess.CalledProcessError):
            _ip("neigh", "del", f"10.213.{self.number}.2", "dev", f"gws{self.number}")


def to_services(pid: int) -> set[str]:
    """Return the open connections from the host of process `pid` to our services, as pairs of local and remote port."""
    services = socket.inet_aton(SERVICES)[::-1].hex().upper()
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"{row[1]} {row[2]}" for row in rows if row[2].startswith(services) and row[3] == _ESTABLISHED}


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Add this many hosts for a while. SERVICES and WECOM are addresses of this machine meanwhile."""
    with ExitStack() as exits:
        for address in (SERVICES, WECOM):
            _ip("addr", "add", f"{address}/32", "dev", "lo")
            exits.callback(_ip, "addr", "del", f"{address}/32", "dev", "lo")
        made = [Host(number) for number in range(1, count + 1)]
        for host in made:
            _ip("netns", "add", host.name)
            exits.callback(_ip, "netns", "del", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
            for network, (card, purpose, target) in enumerate((("gws", "services", SERVICES), ("gww", "wecom", WECOM))):
                outer, net = f"{card}{host.number}", f"10.213.{host.number + 100 * network}"
                _ip("link", "add", outer, "type", "veth", "peer", "name", purpose, "netns", host.name)
                exits.callback(_ip, "link", "del", outer)  # deleting the namespace removes it only later
                _ip("addr", "add", f"{net}.1/30", "dev", outer)
                _ip("link", "set", outer, "up")
                _ip("-n", host.name, "addr", "add", f"{net}.2/30", "dev", purpose)
                _ip("-n", host.name, "link", "set", purpose, "up")
                _ip("-n", host.name, "route", "add", f"{target}/32", "via", f"{net}.1")
        yield made


class Forwarder:
    """Forwards TCP from one address to another, `seconds` late."""

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self.seconds = 0.0
        self._there = there
        self._listener = socket.create_server(here)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # otherwise the accepting thread would keep the port
        self._listener.close()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(self._there)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), closing(source), closing(target):
            while received := source.recv(8192):
                time.sleep(self.seconds)
                target.sendall(received)


if __name__ == "__main__":
    # Runs on a host: the sandbox answers only calls to a local address.
    Forwarder(("127.0.0.1", int(sys.argv[1])), (WECOM, int(sys.argv[1]))).accept()
