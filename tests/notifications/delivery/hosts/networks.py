"""Hosts as network namespaces: each with a network card that leads to our services, and one that leads to WeCom.

A frame to a hardware address that nobody has is lost without a word, as on a line that was cut.
"""

from __future__ import annotations

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
    """`number`: from 1 to 100."""

    number: int

    @property
    def name(self) -> str:
        return f"guanwecom-{os.getpid()}-{self.number}"

    @property
    def command(self) -> list[str]:
        """Before the command of a program that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def lose_outgoing(self) -> None:
        """What it says to our services does not arrive; it hears them, and reaches WeCom."""
        where = ("lladdr", _NOWHERE, "nud", "permanent", "dev", "services")
        _ip("-n", self.name, "neigh", "replace", f"10.213.{self.number}.1", *where)

    def lose_incoming(self) -> None:
        """What our services say does not arrive there."""
        where = ("lladdr", _NOWHERE, "nud", "permanent", "dev", f"gws{self.number}")
        _ip("neigh", "replace", f"10.213.{self.number}.2", *where)

    def heal(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("-n", self.name, "neigh", "del", f"10.213.{self.number}.1", "dev", "services")
        with suppress(subprocess.CalledProcessError):
            _ip("neigh", "del", f"10.213.{self.number}.2", "dev", f"gws{self.number}")


def to_services(pid: int) -> set[str]:
    """The open connections to our services on the host of a process, each by its own port and that of the server."""
    services = socket.inet_aton(SERVICES)[::-1].hex().upper()
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"{row[1]} {row[2]}" for row in rows if row[2].startswith(services) and row[3] == _ESTABLISHED}


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """The addresses SERVICES and WECOM are this machine's meanwhile."""
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
                exits.callback(_ip, "link", "del", outer)  # the end of a namespace takes it away only some time later
                _ip("addr", "add", f"{net}.1/30", "dev", outer)
                _ip("link", "set", outer, "up")
                _ip("-n", host.name, "addr", "add", f"{net}.2/30", "dev", purpose)
                _ip("-n", host.name, "link", "set", purpose, "up")
                _ip("-n", host.name, "route", "add", f"{target}/32", "via", f"{net}.1")
        yield made


class Forwarder:
    """Hands on what comes to one address and port to another; `seconds`: how late."""

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self.seconds = 0.0
        self._there = there
        self._listener = socket.create_server(here)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that accepts would keep the port
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
    # On a host: the sandbox answers only those who call it by the name of the machine itself.
    Forwarder(("127.0.0.1", int(sys.argv[1])), (WECOM, int(sys.argv[1]))).accept()
