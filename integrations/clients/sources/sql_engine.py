"""SQLAlchemy engines that connect to checked addresses: each name is resolved once, before the driver could."""

from __future__ import annotations

import os
from typing import Any

import certifi
import pymysql
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from integrations.clients.sources.ssrf import Reach, addresses_of, connected

# Each address of a name may take the whole time for connecting.
_ADDRESSES_AT_MOST = 4
# Values of sslmode that do not ask for TLS. But for "disable", both drivers take it where it is offered, unverified.
_WITHOUT_TLS = frozenset({None, "disable", "allow", "prefer"})


class UncheckedDriverError(OSError):
    """A driver that is not ours goes to what its options say: only a source that may enter inner networks has it."""


def engine_for(url: URL, *, reach: Reach, ca_bundle: str, connect_seconds: int, seconds: int) -> Engine:
    """Without a pool: a source is asked now and then, and its connections are not ours to keep.

    `seconds`: for each answer of the server. Raises AddressForbiddenError, UncheckedDriverError, and OSError where the
    name is not known.
    """
    known: dict[str, Any] = {"poolclass": NullPool, "pool_reset_on_return": None, "hide_parameters": True}
    match url.get_backend_name():
        case "postgresql":
            arguments = _to_postgresql(url, reach, ca_bundle, connect_seconds)
            return create_engine(url, connect_args=arguments, **known)
        case "mysql":
            return create_engine(url, creator=lambda: _mysql(url, reach, ca_bundle, connect_seconds, seconds), **known)
    if reach < Reach.PRIVATE:
        raise UncheckedDriverError
    addresses_of(url.host or "", url.port or 0, reach=reach)
    return create_engine(url, **known)


def _to_postgresql(url: URL, reach: Reach, ca_bundle: str, connect_seconds: int) -> dict[str, Any]:
    """`hostaddr` is what libpq connects to, `host` what it expects in the certificate: one for each address."""
    host = url.host or ""
    addresses = addresses_of(host, url.port or 5432, reach=reach)[:_ADDRESSES_AT_MOST]
    arguments: dict[str, Any] = {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}
    arguments |= {"connect_timeout": connect_seconds, "gssencmode": "disable", "passfile": os.devnull}
    if authorities := _find_authorities(url, ca_bundle):
        arguments |= {"sslrootcert": authorities, "sslmode": "verify-full"}
    return arguments


def _find_authorities(url: URL, ca_bundle: str) -> str:
    """Return the path of the certificates that the server's is verified by; empty where no TLS is asked for."""
    return ca_bundle or ("" if url.query.get("sslmode") in _WITHOUT_TLS else certifi.where())


def _mysql(url: URL, reach: Reach, ca_bundle: str, connect_seconds: int, seconds: int) -> Any:
    """A connection of PyMySQL over a line of ours; the certificate is that of the name."""
    line = connected(url.host or "", url.port or 3306, connect_seconds, reach=reach)
    positional, found = url.get_dialect()().create_connect_args(url)
    named = {name: value for name, value in found.items() if name != "sslmode"}
    named |= {"read_timeout": seconds, "write_timeout": seconds, "local_infile": False, "defer_connect": True}
    if authorities := _find_authorities(url, ca_bundle):
        named |= {"ssl": {"ca": authorities, "check_hostname": True}}
    elif url.query.get("sslmode") == "disable":
        named |= {"ssl_disabled": True}
    connection: Any = pymysql.connect(*positional, **named)
    connection.connect(line)
    return connection
