"""Addresses of sources: which are allowed, and connections to allowed ones only.

An address is checked when the connection is made, not before the request, because a name may resolve differently at
the next look-up (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from integrations.clients.late import LazyModule
from integrations.clients.transport import (
    DeadlineAdapter,
    DeadlineConnection,
    DeadlineTLSConnection,
    limit_to_deadline,
)
from integrations.data import Problem, SourceError

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy import URL
else:
    sqlalchemy = LazyModule("sqlalchemy")

# Metadata services, where clouds give a machine's credentials to any local caller: never allowed.
_METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in (
        *("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
_SHARED_RANGE = ipaddress.ip_network("100.64.0.0/10")  # of internet providers (RFC 6598)
# The IPv4 address is in the last 32 bits: NAT64 (RFC 6052), IPv4-translated (RFC 2765).
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::ffff:0:0:0/96"))
# Here each network chooses the place of the IPv4 address (RFC 8215), so the target is unknown.
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


class AllowedNetwork(IntEnum):
    """The networks that a source may reach; each level includes the ones before it."""

    PUBLIC = 0
    PRIVATE = 1
    THIS_MACHINE = 2
    NOWHERE = 3  # the level of addresses that no source may reach; no source gets it


class AddressForbiddenError(OSError):
    """A name resolves to an address that the source may not reach. `needed`: the level that would allow it."""

    def __init__(self, needed: AllowedNetwork) -> None:
        super().__init__("the address is not allowed")
        self.needed = needed

    @property
    def problem(self) -> Problem:
        """The problem that the owner of a source reads."""
        return _PROBLEMS[self.needed]


_PROBLEMS = {
    AllowedNetwork.PRIVATE: Problem.ADDRESS_FORBIDDEN,
    AllowedNetwork.THIS_MACHINE: Problem.LOOPBACK_FORBIDDEN,
    AllowedNetwork.NOWHERE: Problem.ADDRESS_NEVER,
}


def find_needed_network(address: str) -> AllowedNetwork:
    """Return the lowest level that allows a source to connect to this IP address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return AllowedNetwork.NOWHERE
    if isinstance(found, ipaddress.IPv6Address):
        # An embedded IPv4 address decides.
        number = int(found)
        is_translated = 1 < number < 2**32 or any(found in network for network in _TRANSLATED)
        translated = ipaddress.IPv4Address(number & 0xFFFFFFFF) if is_translated else None
        teredo_client = found.teredo[1] if found.teredo else None
        found = found.ipv4_mapped or found.sixtofour or teredo_client or translated or found
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return AllowedNetwork.NOWHERE
    if found.is_loopback:
        return AllowedNetwork.THIS_MACHINE
    if found in _SHARED_RANGE:
        return AllowedNetwork.PRIVATE
    if found.is_reserved or found in _LOCAL_NAT64 or (found.version == 6 and found.is_site_local):
        return AllowedNetwork.NOWHERE
    if found.is_global:
        return AllowedNetwork.PUBLIC
    return AllowedNetwork.PRIVATE if found.is_private else AllowedNetwork.NOWHERE


def look_up_addresses(host: str, port: int, *, allowed_network: AllowedNetwork) -> list[str]:
    """Look up a name once and return its addresses. Raises AddressForbiddenError if one of them is not allowed."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    needed = max(map(find_needed_network, addresses), default=AllowedNetwork.NOWHERE)
    if needed > allowed_network:
        raise AddressForbiddenError(needed)
    return addresses


def open_guarded_socket(
    host: str, port: int, seconds: float | None, *, allowed_network: AllowedNetwork
) -> socket.socket:
    """Connect to the first address of `host` that answers. Raises AddressForbiddenError if any is not allowed."""
    failure: OSError | None = None
    for address in look_up_addresses(host, port, allowed_network=allowed_network):
        try:
            return socket.create_connection((address, port), timeout=seconds and limit_to_deadline(seconds))
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


class _GuardedConnection(DeadlineConnection):
    def __init__(self, *args: Any, allowed_network: AllowedNetwork, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowed_network = allowed_network

    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        return open_guarded_socket(self._dns_host, self.port, seconds, allowed_network=self._allowed_network)


class _GuardedTLSConnection(_GuardedConnection, DeadlineTLSConnection):
    """A guarded connection over TLS; the certificate must match the host name, not the address."""


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _GuardedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLSConnection


class GuardedAdapter(DeadlineAdapter):
    """A requests adapter whose connections go only to allowed addresses."""

    pool_classes = {"http": _GuardedPool, "https": _GuardedTLSPool}

    def __init__(self, allowed_network: AllowedNetwork) -> None:
        super().__init__(pool_maxsize=1)
        self._allowed_network = allowed_network

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.conn_kw["allowed_network"] = self._allowed_network
        return pool


# Reasons for a failed connection, by the system's error.
_REASONS: dict[type[BaseException], str] = {
    socket.gaierror: "dns",
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
}


def explain_connection_failure(cause: BaseException) -> SourceError:
    """Return the error for a connection that failed because of `cause`."""
    return SourceError(Problem.UNREACHABLE, reason=_REASONS.get(type(cause), type(cause).__name__))


# --- Databases --------------------------------------------------------------------------------------------------------

# The driver for each kind of database.
DRIVERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), "postgresql+psycopg"),
        **dict.fromkeys(("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"), "mysql+pymysql"),
    }
)
# Options that change neither the target of a connection nor the files read on this machine.
_OPTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"postgresql": frozenset({"sslmode", "application_name"}), "mysql": frozenset({"charset", "sslmode"})}
)


class DatabasePrivilege(StrEnum):
    """A right of a database account beyond reading tables."""

    SUPERUSER = "superuser"
    FILES = "files"


def _parse_url(text: str) -> URL | None:
    try:
        return sqlalchemy.make_url(text.strip())
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None


def parse_database_url(text: str, drivers: Collection[str] = ()) -> URL:
    """Return the address with our driver for it. Raises SourceError (ADDRESS_REFUSED), whose `detail` is a refused
    option or driver, never a credential.

    `drivers`: additional drivers that the deployment allows. An address without a host is refused, because drivers
    would open a file or a local socket.
    """
    url = _parse_url(text)
    if url is None:
        raise _make_address_error("no-address")
    driver = DRIVERS.get(url.drivername, url.drivername if url.drivername in drivers else "")
    if not driver:
        raise _make_address_error("no-driver", url.drivername)
    url = url.set(drivername=driver)
    if not url.host or not set(url.host).isdisjoint("/@,%") or url.port == 0:
        raise _make_address_error("no-host")
    if not url.database:
        raise _make_address_error("no-database")
    unknown = sorted(set(url.query) - _OPTIONS.get(url.get_backend_name(), frozenset(url.query)))
    if unknown:
        raise _make_address_error("option", unknown[0])
    return url


def _make_address_error(what: str, detail: str = "") -> SourceError:
    return SourceError(Problem.ADDRESS_REFUSED, what=what, detail=detail[:40])


def is_driver_installed(driver: str) -> bool:
    """Return whether SQLAlchemy knows this kind of database and its driver can be imported."""
    try:
        dialect = sqlalchemy.make_url(f"{driver}://").get_dialect()
        importing = getattr(dialect, "import_dbapi", None)  # dialects for SQLAlchemy 1 have none and are accepted
        if importing is not None:
            importing()
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError):
        return False
    return True


def find_backend(text: str) -> str:
    """Return SQLAlchemy's name for the kind of database at this address; empty for an invalid address."""
    server = read_server(text)
    return server.driver.partition("+")[0] if server else ""


class DatabaseServer(NamedTuple):
    """The part of an address that says where the database is."""

    driver: str
    host: str
    port: int | None


def read_server(text: str) -> DatabaseServer | None:
    """Return driver, host and port of an address; None for an invalid one."""
    url = _parse_url(text)
    if url is None:
        return None
    return DatabaseServer(DRIVERS.get(url.drivername, url.drivername), (url.host or "").lower(), url.port)


def mask_address(text: str) -> str:
    """Return the address without password and options, for display; empty for an invalid one."""
    url = _parse_url(text)
    if url is None:
        return ""
    return url.set(query={}, password=None if url.password is None else "***").render_as_string(hide_password=True)


# --- Web services -----------------------------------------------------------------------------------------------------

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# Headers of the connection, which only we set.
_CONNECTION_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te", "trailer"}
)
HEADERS_AT_MOST = 20


class InvalidEntryError(ValueError):
    """An invalid header or address. `line`: the invalid header line, from 1; 0 if the whole text is invalid."""

    def __init__(self, line: int = 0) -> None:
        super().__init__("an invalid header or address")
        self.line = line


def parse_headers(text: str) -> dict[str, str]:
    """Parse headers, one "Name: value" a line. Raises InvalidEntryError, with the line, for an invalid one."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, mark, value = line.partition(":")
        name, value = name.strip(), value.strip()
        is_valid_name = bool(_HEADER_NAME.fullmatch(name)) and name.lower() not in _CONNECTION_HEADERS
        if not mark or not is_valid_name or not value or not (value.isprintable() and value.isascii()):
            raise InvalidEntryError(number)
        found[name] = value
    if len(found) > HEADERS_AT_MOST:
        raise InvalidEntryError
    return found


def is_base_url(url: str) -> bool:
    """Return whether `url` is http or https with a host, and without credentials, query and fragment."""
    return is_callable_address(url) and "?" not in url


def is_callable_address(url: str) -> bool:
    """Return whether `url` is http or https with a host, and without credentials and fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (port is None or port > 0)
    return is_whole and "@" not in parts.netloc and "#" not in url and is_plain(url)


def is_plain(text: str) -> bool:
    """Return whether `text` is free of characters that servers and browsers read in different ways."""
    return text.isprintable() and "\\" not in text and not any(letter.isspace() for letter in text)


def stays_below_base(path: str) -> bool:
    """Return whether a path with its query stays below the address that it is appended to."""
    inner = path.partition("?")[0]
    steps = re.split("[/;]", inner.lower().replace("%2e", "."))
    return (
        is_plain(path) and "#" not in path and "://" not in inner and not inner.startswith("//") and ".." not in steps
    )


def append_path(base: str, path: str) -> str:
    """Append a card's path to the service's address. Raises InvalidEntryError if the path would leave the service."""
    if not is_base_url(base) or not stays_below_base(path):
        raise InvalidEntryError
    if not path:
        return base
    return f"{base}{path}" if path.startswith("?") else f"{base.rstrip('/')}/{path.lstrip('/')}"
