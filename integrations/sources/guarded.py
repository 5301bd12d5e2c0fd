"""Connections that lead to admitted addresses only, looked at once: what was checked is what is connected to.

Why here and not before the request? A name may have another address at the next look-up (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from integrations.wecom.deadline import DeadlinedConnection, DeadlinedTLSConnection, patience_seconds

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


class AddressForbiddenError(OSError):
    """A name leads to an address that the source may not reach."""


def is_admitted(address: str, *, allows_private: bool) -> bool:
    """Whether a source may connect to this IP address. `allows_private`: also to internal networks and this machine."""
    try:
        found = _inner(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    if found.is_loopback or found in _SHARED:
        return allows_private
    if found.is_reserved or found in _LOCAL_NAT64 or (found.version == 6 and found.is_site_local):
        return False
    return found.is_global or (allows_private and found.is_private)


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


def _connected(host: str, port: int, seconds: float | None, *, allows_private: bool) -> socket.socket:
    """A connection to the first address of `host` that answers; to none where one of them is not admitted."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(is_admitted(one, allows_private=allows_private) for one in addresses):
        raise AddressForbiddenError("not an admitted address")
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=seconds and patience_seconds(seconds))
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


class _Guarded(DeadlinedConnection):
    allows_private = False

    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        return _connected(self._dns_host, self.port, seconds, allows_private=self.allows_private)


class _GuardedTLS(_Guarded, DeadlinedTLSConnection):
    """The same over TLS: the certificate is that of the name."""


class _Internal(_Guarded):
    allows_private = True


class _InternalTLS(_GuardedTLS):
    allows_private = True


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _GuardedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


class _InternalPool(HTTPConnectionPool):
    ConnectionCls = _Internal


class _InternalTLSPool(HTTPSConnectionPool):
    ConnectionCls = _InternalTLS


def open_pool(scheme: str, host: str, port: int, *, allows_private: bool, ca_file: str) -> HTTPConnectionPool:
    """Connections to one origin, without a proxy and without the environment."""
    plain, tls = (_InternalPool, _InternalTLSPool) if allows_private else (_GuardedPool, _GuardedTLSPool)
    known: dict[str, Any] = {"maxsize": 1, "retries": False}
    if scheme == "https":
        return tls(host, port, cert_reqs="CERT_REQUIRED", ca_certs=ca_file, **known)
    return plain(host, port, **known)
