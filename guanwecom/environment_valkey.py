"""Reads the address of Valkey, and says it to those who connect: redis-py, Django's cache, Celery."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from guanwecom.environment import NOT_AN_ADDRESS

_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT = 26379
_SHAPES = "redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://"
# Of TCP. A connection whose server went away without a word ends after half a minute, as those of PostgreSQL do.
_KEEPALIVE = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        option: value
        for name, value in {
            **{"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3},  # seconds, and how often
            "TCP_USER_TIMEOUT": 30_000,  # milliseconds for which sent data may stay unacknowledged
        }.items()
        if (option := getattr(socket, name, None)) is not None
    },
}


@dataclass(frozen=True)
class _Sentinels:
    """Who knows the primary called `master`: hosts with ports. The account is the one of Valkey itself."""

    hosts: list[tuple[str, int]]
    master: str
    database: int
    username: str | None
    password: str | None


class _AddressError(ValueError):
    """What is wrong with an address, in a sentence that does not show it."""


def address(text: str) -> str:
    """An address of one of _SHAPES, with the number of the database. Raises ValueError."""
    try:
        parts = urlsplit(text)
        if parts.scheme in _SENTINEL:
            _check_sentinels(parts)
        else:
            _check_server(parts)
    except _AddressError:
        raise
    except ValueError:
        raise ValueError(NOT_AN_ADDRESS) from None
    return text


def _check_server(parts: SplitResult) -> None:
    parts.port  # noqa: B018  # raises for a port that is none
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise _AddressError(f"expected {_SHAPES} (the value is not shown)")
    if parts.scheme == "unix":
        number = parse_qs(parts.query, keep_blank_values=True).get("db", ["0"])[0]
        if parts.netloc or not parts.path.strip("/"):
            raise _AddressError("names no socket after unix:/// (the value is not shown)")
    else:
        number = parts.path.strip("/") or "0"
        if not parts.hostname:
            raise _AddressError("names no host (the value is not shown)")
    _check_database(number)
    if any(name.startswith("ssl_") for name in parse_qs(parts.query, keep_blank_values=True)):
        raise _AddressError("takes no ssl_ options: certificates are always verified; VALKEY_CA_BUNDLE names whose")


def _check_sentinels(parts: SplitResult) -> None:
    if not all(host for host, _port in _hosts(parts)):
        raise _AddressError("names no host (the value is not shown)")
    master, _slash, number = parts.path.strip("/").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", master):
        raise _AddressError("names no primary, as in host:26379,host:26379/mymaster/0 (the value is not shown)")
    _check_database(number or "0")
    if parts.query:
        raise _AddressError("takes no options where it names Sentinels (the value is not shown)")


def _check_database(number: str) -> None:
    if not re.fullmatch("[0-9]{1,5}", number):
        raise _AddressError("the number of its database is none (the value is not shown)")


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Raises ValueError for a port that is none."""
    hosts = [urlsplit(f"//{each}") for each in parts.netloc.rpartition("@")[2].split(",")]
    return [(host.hostname or "", host.port or _SENTINEL_PORT) for host in hosts]


def _sentinels(url: str) -> _Sentinels | None:
    """What a Sentinel address says; None of any other."""
    parts = urlsplit(url)
    if parts.scheme not in _SENTINEL:
        return None
    master, _slash, number = parts.path.strip("/").partition("/")
    username, password = (unquote(word) if word else None for word in (parts.username, parts.password))
    return _Sentinels(_hosts(parts), master, int(number or 0), username, password)


def tls(url: str, ca_bundle: str) -> dict[str, Any]:
    """How redis-py and Celery verify the servers of a rediss address; empty for the others."""
    if urlsplit(url).scheme not in {"rediss", "rediss+sentinel"}:
        return {}
    verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    return {**verified, "ssl_ca_certs": ca_bundle} if ca_bundle else verified


def options(url: str, ca_bundle: str, sentinel_password: str) -> dict[str, Any]:
    """How integrations.core.redis connects: everything goes on without Valkey, not after minutes, and verifies who
    answers. Of Sentinels also which primary they are asked for, and how they are asked."""
    limits = {"socket_timeout": 5, "socket_connect_timeout": 3}
    known, verified = _sentinels(url), tls(url, ca_bundle)
    if known is None:
        return {**limits, **verified}
    connecting = {**limits, **verified, **({"ssl": True} if verified else {})}
    return {
        **{"sentinels": known.hosts, "service_name": known.master, "db": known.database},
        **{"username": known.username, "password": known.password},
        "sentinel_kwargs": {**connecting, "password": sentinel_password or None},
        **connecting,
    }


def cache(url: str, connecting: dict[str, Any]) -> dict[str, Any]:
    """Django's cache on Valkey. A list of one address, as Django would split a text at commas and semicolons."""
    backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": [url]}
    return {**backend, "OPTIONS": {"pool_class": "integrations.core.redis.ConnectionPools", **connecting}}


def broker_url(url: str) -> str:
    """Celery's spelling: a unix socket is redis+socket:// there, and each Sentinel has an address of its own."""
    known = _sentinels(url)
    if known is not None:
        account = f"{quote(known.username or '', safe='')}:{quote(known.password or '', safe='')}@"
        hosts = [f"{host}:{port}" for host, port in known.hosts]
        return ";".join(f"sentinel://{account if known.password else ''}{host}/{known.database}" for host in hosts)
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database_number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database_number}"


def broker_options(url: str, connecting: dict[str, Any]) -> dict[str, Any]:
    """Celery's transport options for this address, of the `options` of redis-py."""
    if urlsplit(url).scheme == "unix":
        return {}
    known = _sentinels(url)
    if known is None:
        return _KEEPALIVE
    # Without its limits a worker would wait for a Sentinel whose machine is gone as long as the system does.
    reached = {"socket_connect_timeout": connecting["socket_connect_timeout"]}
    return {**_KEEPALIVE, **reached, "master_name": known.master, "sentinel_kwargs": connecting["sentinel_kwargs"]}
