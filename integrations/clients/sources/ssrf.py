"""Connects to admitted addresses only: the address that was checked is the one connected to.

Checked here and not before the request: a name may have another address at the next look-up (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from integrations.clients.sources.errors import Problem
from integrations.clients.wecom.deadline import DeadlinedConnection, DeadlinedTLSConnection, patience_seconds

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand a machine's credentials to whoever asks from it: never, whatever is allowed.
_METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in (
        *("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
_SHARED = ipaddress.ip_network("100.64.0.0/10")
# The IPv4 address stands in the last 32 bits: NAT64 (RFC 6052), IPv4-translated (RFC 2765).
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
# Here it stands where the network likes (RFC 8215), so nobody knows where such an address leads.
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


class Reach(IntEnum):
    """How far a source may reach; each includes the ones before it."""

    PUBLIC = 0
    PRIVATE = 1
    THIS_MACHINE = 2
    NOWHERE = 3  # what no source may reach needs this


class AddressForbiddenError(OSError):
    """A name leads to an address that the source may not reach. `needed`: the reach that would admit it."""

    def __init__(self, needed: Reach) -> None:
        super().__init__("not an admitted address")
        self.needed = needed

    @property
    def problem(self) -> Problem:
        """As the owner of a source is told it."""
        return _PROBLEMS[self.needed]


_PROBLEMS = {
    Reach.PRIVATE: Problem.ADDRESS_FORBIDDEN,
    Reach.THIS_MACHINE: Problem.LOOPBACK_FORBIDDEN,
    Reach.NOWHERE: Problem.ADDRESS_NEVER,
}


def needed_for(address: str) -> Reach:
    """The least reach with which a source may connect to this IP address."""
    try:
        found = _inner(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return Reach.NOWHERE
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return Reach.NOWHERE
    if found.is_loopback:
        return Reach.THIS_MACHINE
    if found in _SHARED:
        return Reach.PRIVATE
    if found.is_reserved or found in _LOCAL_NAT64 or (found.version == 6 and found.is_site_local):
        return Reach.NOWHERE
    if found.is_global:
        return Reach.PUBLIC
    return Reach.PRIVATE if found.is_private else Reach.NOWHERE


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if address.version == 4:
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED) or int(address) >> 32 == 0 and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def addresses_of(host: str, port: int, *, reach: Reach) -> list[str]:
    """The addresses of a name, looked up once. Raises AddressForbiddenError where one of them is out of reach."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    needed = max(map(needed_for, addresses), default=Reach.NOWHERE)
    if needed > reach:
        raise AddressForbiddenError(needed)
    return addresses


def connected(host: str, port: int, seconds: float | None, *, reach: Reach) -> socket.socket:
    """A connection to the first address of `host` that answers; to none where one of them is out of reach."""
    failure: OSError | None = None
    for address in addresses_of(host, port, reach=reach):
        try:
            return socket.create_connection((address, port), timeout=seconds and patience_seconds(seconds))
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


class _Guarded(DeadlinedConnection):
    def __init__(self, *args: Any, reach: Reach, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reach = reach

    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        return connected(self._dns_host, self.port, seconds, reach=self._reach)


class _GuardedTLS(_Guarded, DeadlinedTLSConnection):
    """The same over TLS: the certificate is that of the name."""


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _GuardedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


def open_pool(scheme: str, host: str, port: int, *, reach: Reach, ca_file: str) -> HTTPConnectionPool:
    """Connections to one origin, without a proxy and without the environment."""
    known: dict[str, Any] = {"maxsize": 1, "retries": False, "reach": reach}
    if scheme == "https":
        return _GuardedTLSPool(host, port, cert_reqs="CERT_REQUIRED", ca_certs=ca_file, **known)
    return _GuardedPool(host, port, **known)
