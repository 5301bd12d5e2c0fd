"""Typed settings from the environment. A bad value stops the start with a message that names the variable.

    COUNT = read(count, "COUNT", "120")    # a parser is named for what it returns

This module also converts the address of Valkey for redis-py, Django's cache and Celery.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from difflib import get_close_matches
from email.utils import parseaddr
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import certifi
import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

T = TypeVar("T")
UNSET: Any = object()
env = environ.FileAwareEnv()
# The original error is not shown: it quotes the part of a password before an unescaped "/" as a wrong port.
NOT_AN_ADDRESS = "not an address; percent-encode / # ? @ in its password (the value is not shown)"
_ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_0-9]+)=")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")

# Names of the variables that settings have read, and names in .env with their lines; `refuse_unknown` compares them.
read_names: set[str] = set()
_dotenv_lines: dict[str, int] = {}


def read_dotenv(path: Path) -> None:
    """Read a .env file, if it exists. The environment takes precedence. Raises ImproperlyConfigured."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path.name}: {_explain_unreadable(path, error)}") from None
    for number, line in enumerate(lines, start=1):
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            _dotenv_lines.setdefault(assignment[1], number)
        elif line.strip() and not line.lstrip().startswith("#"):
            raise ImproperlyConfigured(f"{path.name}: line {number} is not NAME=value (it is not shown)")
    env.read_env(path)


def refuse_unknown() -> None:
    """Raise ImproperlyConfigured if .env has a variable that no setting reads, since a misspelt name has no effect."""
    for name, line in _dotenv_lines.items():
        if name not in read_names and name.removesuffix("_FILE") not in read_names:
            likely = get_close_matches(name, read_names, n=1)
            advice = f"; did you mean {likely[0]}?" if likely else "; .env.example lists all variables"
            raise ImproperlyConfigured(f"{name}: no such variable (.env, line {line}){advice}")


def read(parse: Callable[[str], T], name: str, default: str | Any = UNSET) -> T:
    """Parse `name`, else the file that `<name>_FILE` names, else `default`. Raises ImproperlyConfigured."""
    read_names.add(name)
    try:
        text = env.ENVIRON[name]
    except KeyError:
        if default is UNSET:
            raise ImproperlyConfigured(f"{name}: not set") from None
        text = default
    except (OSError, UnicodeDecodeError) as error:
        file = env.ENVIRON.env[f"{name}_FILE"]
        raise ImproperlyConfigured(f"{name}_FILE: {_explain_unreadable(file, error)}") from None
    try:
        return parse(text.strip())
    except (ValueError, LookupError, OSError) as error:
        source = f"{name}_FILE" if env.ENVIRON.env.get(f"{name}_FILE") else name
        raise ImproperlyConfigured(f"{source}: {error}") from error


def _explain_unreadable(path: object, error: OSError | UnicodeDecodeError) -> str:
    reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
    return f"{path} cannot be read: {reason}"


def _quote_value(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def boolean(text: str) -> bool:
    """Parse true, 1, yes, on or false, 0, no, off, in any case. Raises ValueError."""
    values = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in values:
        raise ValueError(f"expected true or false, not {_quote_value(text)}")
    return values[text.lower()]


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, not {_quote_value(text)}")
        return int(text)

    return parse


count = whole(1, 1_000_000)
limit = whole(0, 10_000_000)
percent = whole(0, 100)
days = whole(1, 36_500)
hours = whole(1, 8_760)
minutes = whole(1, 10_080)


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of one of `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, not {_quote_value(text)}")
        return text

    return parse


def matching(pattern: str, expected: str, *, is_secret: bool = False) -> Callable[[str], str]:
    """Return a parser of texts that match `pattern`. `expected`: its description in errors, which show the value unless
    it is secret."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            shown = " (the value is not shown)" if is_secret else f", not {_quote_value(text)}"
            raise ValueError(f"expected {expected}{shown}")
        return text

    return parse


secret_text = matching(r".{32,}", "at least 32 characters", is_secret=True)
short_name = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "up to 64 letters, digits, dots, dashes or underscores")
# An address for the Content-Security-Policy, where spaces, semicolons and commas end a value. It may be empty.
report_address = matching(
    r"(https?://[^\s;,]+)?", "https://host/path without spaces, semicolons and commas", is_secret=True
)


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that returns None for an empty text, and otherwise the result of `parse`."""
    return lambda text: parse(text) if text else None


def words(text: str) -> list[str]:
    """Split at commas, and drop empty parts."""
    return [word.strip() for word in text.split(",") if word.strip()]


def list_of(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Return a parser of a list separated by commas; `parse` reads each value."""
    return lambda text: [parse(word) for word in words(text)]


def host(text: str) -> str:
    """Parse a host with or without port, as browsers write it: lower case, IPv6 in brackets. Raises ValueError."""
    if _HOST.fullmatch(text):
        return text.lower()
    if _is_ip_address(text):
        return f"[{text.lower()}]"
    raise ValueError(f"expected host names such as bi.example.com, without scheme or path, not {_quote_value(text)}")


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse an IP network. Raises ValueError, also for the whole internet."""
    parsed = ipaddress.ip_network(text)
    if parsed.prefixlen == 0:
        raise ValueError("expected single networks, not the whole internet")
    return parsed


def listen_address(text: str) -> tuple[str, int]:
    """Parse host:port where a process listens, such as [::1]:2525 for IPv6. Raises ValueError."""
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (_is_ip_address(host) or _HOST.fullmatch(host)):
        raise ValueError(f"expected an address and a port such as 127.0.0.1:2525, not {_quote_value(text)}")
    return host, whole(1, 65_535)(port)


def syslog_server(text: str) -> tuple[str, tuple[str, int]]:
    """Parse tcp://host:port or udp://host:port into the protocol and a pair of host and port. Raises ValueError."""
    protocol, _separator, address = text.partition("://")
    if protocol not in {"tcp", "udp"}:
        raise ValueError(f"expected tcp://host:port or udp://host:port, not {_quote_value(text)}")
    return protocol, listen_address(address)


def mail_domains(text: str) -> list[str]:
    """Parse mail domains separated by commas, at least one. Raises ValueError."""
    domains = [word.lower() for word in words(text)]
    if not domains or not all(_DOMAIN.fullmatch(domain) for domain in domains):
        raise ValueError(f"expected domains such as wecom.local, not {_quote_value(text)}")
    return domains


def mail_address(text: str) -> str:
    """Check a mail address, with or without a name before it: 数据 <bi@example.com>. Raises ValueError."""
    try:
        validate_email(parseaddr(text)[1])
    except ValidationError:
        raise ValueError(f"expected a mail address, not {_quote_value(text)}") from None
    return text


def fernet_keys(text: str) -> list[str]:
    """Parse Fernet keys separated by commas, at least one. Raises ValueError."""
    keys = words(text)
    if not keys:
        raise ValueError("expected at least one key")
    for key in keys:
        try:
            Fernet(key)
        except ValueError as error:
            raise ValueError("not a Fernet key: 32 bytes in url-safe base64 (the value is not shown)") from error
    return keys


def time_zone(text: str) -> str:
    """Check a name of the IANA time zone database. Raises ValueError."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected the name of a time zone such as Asia/Shanghai, not {_quote_value(text)}") from None
    return text


def folder(default: Path) -> Callable[[str], Path]:
    """Return a parser of a folder's absolute path; `default` if the variable is empty."""

    def parse(text: str) -> Path:
        if text and not Path(text).is_absolute():
            raise ValueError(f"expected a whole path, which begins with /, not {_quote_value(text)}")
        return Path(text) if text else default

    return parse


def certificates(text: str) -> str:
    """Check the path of a PEM file with trusted certificates; empty for the system's. Raises ValueError."""
    if not text:
        return ""
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:  # ssl.SSLError is an OSError, too
        reason = "it holds no certificates (PEM)" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"{text}: {reason}") from None
    return text


# Options of libpq. Without them a process would wait long for a server that vanished, as in a failover: the system
# gives up on unacknowledged data after some 15 minutes, and never on an idle connection.
_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 10,  # seconds, for each address of the host
    # An idle connection is probed after 15 s, three times, 5 s apart. Without an answer it ends after 30 s.
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds for which sent data may stay unacknowledged
    # The same for the server, which would otherwise keep the locks of a lost client for two hours. The last option is
    # for suspended clients, and for lost clients behind a proxy that still answers the probes.
    "options": "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=30000 -c idle_in_transaction_session_timeout=60000",
}


def database(text: str) -> dict[str, Any]:
    """Parse a database URL into Django's settings, with the time limits of _POSTGRESQL. The primary of several hosts is
    used unless the URL has target_session_attrs; sslmode=require verifies the server's certificate. Raises ValueError,
    which does not show the value."""
    if text.partition("://")[0] not in {"postgres", "postgresql"}:
        raise ValueError("expected postgresql://… (the value is not shown)")
    try:
        config: dict[str, Any] = dict(environ.Env.db_url_config(text))
    except ValueError:
        raise ValueError(NOT_AN_ADDRESS) from None
    if not config["NAME"]:
        raise ValueError("names no database (the value is not shown)")
    # Connect to the host that takes writes; the others are standbys.
    writable = {"target_session_attrs": "read-write"} if "," in str(config.get("HOST", "")) else {}
    config["OPTIONS"] = _POSTGRESQL | writable | config.get("OPTIONS", {})
    if ("options", "") in parse_qsl(urlsplit(text).query, keep_blank_values=True):
        del config["OPTIONS"]["options"]  # a pooler may refuse options
    if config["OPTIONS"].get("sslmode") == "require":  # libpq would accept any certificate
        trusted = {"sslrootcert": ssl.get_default_verify_paths().cafile or certifi.where()}
        config["OPTIONS"] = trusted | config["OPTIONS"] | {"sslmode": "verify-full"}
    config["CONN_MAX_AGE"] = 60
    config["CONN_HEALTH_CHECKS"] = True
    # A pooler in transaction mode gives each statement another session, which does not know an earlier cursor.
    config["DISABLE_SERVER_SIDE_CURSORS"] = True
    return config


def email(text: str) -> dict[str, Any]:
    """Parse a mail server's URL into Django's settings; if it is empty, nothing is mailed. Raises ValueError."""
    parts = urlsplit(text or "dummymail://")
    if parts.scheme not in {"smtp", "smtp+tls", "smtp+ssl", "dummymail", "consolemail", "filemail"}:
        raise ValueError("expected smtp://, smtp+tls:// or smtp+ssl:// (the value is not shown)")
    try:
        config = dict(environ.Env.email_url_config(text or "dummymail://"))
    except ValueError:
        raise ValueError(NOT_AN_ADDRESS) from None
    if parts.scheme.startswith("smtp") and not config["EMAIL_HOST"]:
        raise ValueError("names no host (the value is not shown)")
    config = {name: value for name, value in config.items() if value and name.startswith("EMAIL_")}
    return {**config, "EMAIL_TIMEOUT": 15}


def parse_robot_webhook(text: str) -> tuple[str, str]:
    """Return the base address and the key of a group robot's webhook. Raises ValueError, which does not show them."""
    parts = urlsplit(text)
    key = parse_qs(parts.query).get("key", [""])[0]
    if parts.scheme not in {"http", "https"} or not parts.hostname or not key:
        raise ValueError("expected a group robot's webhook address, https://…?key=… (the value is not shown)")
    return f"{parts.scheme}://{parts.netloc}", key


def check_sentry_dsn(text: str) -> str:
    """Check an http(s) address, which may be empty, and Sentry's package. Raises ValueError without the address."""
    if text and find_spec("sentry_sdk") is None:
        raise ValueError("needs the package sentry-sdk: pip install sentry-sdk")
    parts = urlsplit(text)
    if text and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("expected an address that begins with https:// (the value is not shown)")
    return text


_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT = 26379
_VALKEY_SCHEMES = "redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://"
# TCP options: a connection to a vanished server ends after half a minute, as for PostgreSQL.
_KEEPALIVE = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        option: value
        for name, value in {
            "TCP_KEEPIDLE": 15,  # seconds
            "TCP_KEEPINTVL": 5,  # seconds
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 30_000,  # milliseconds for which sent data may stay unacknowledged
        }.items()
        if (option := getattr(socket, name, None)) is not None
    },
}


def check_valkey_address(text: str) -> str:
    """Check an address's scheme, host and database number. Raises ValueError, which does not show the address."""
    try:
        parts = urlsplit(text)
        has_sentinels = parts.scheme in _SENTINEL
        hosts = _split_hosts(parts) if has_sentinels else [(parts.hostname, parts.port)]
    except ValueError:  # the port is no number
        raise ValueError(NOT_AN_ADDRESS) from None
    path, query = parts.path.strip("/"), parse_qs(parts.query, keep_blank_values=True)
    primary, database_number, is_socket = path.partition("/")[0], path, parts.scheme == "unix"
    if has_sentinels:
        database_number = path.partition("/")[2]
    elif is_socket:
        database_number = query.get("db", ["0"])[0]
    problems = (
        (parts.scheme not in {"redis", "rediss", "unix", *_SENTINEL}, f"expected {_VALKEY_SCHEMES}"),
        (is_socket and (parts.netloc or not path), "names no socket after unix:///"),
        (not is_socket and not all(host for host, _port in hosts), "names no host"),
        (
            has_sentinels and not re.fullmatch(r"[A-Za-z0-9._-]+", primary),
            "names no primary, as in host:26379,host:26379/mymaster/0",
        ),
        (not re.fullmatch("[0-9]{1,5}", database_number or "0"), "its database is not a number"),
        (has_sentinels and query, "takes no options if it names Sentinels"),
        (
            any(name.startswith("ssl_") for name in query),
            "takes no ssl_ options: certificates are always verified; VALKEY_CA_BUNDLE names the trusted ones",
        ),
    )
    for is_wrong, sentence in problems:
        if is_wrong:
            raise ValueError(f"{sentence} (the value is not shown)")
    return text


def _split_hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Return the hosts and ports of Sentinels. Raises ValueError for a bad port."""
    hosts = [urlsplit(f"//{each}") for each in parts.netloc.rpartition("@")[2].split(",")]
    return [(host.hostname or "", host.port or _SENTINEL_PORT) for host in hosts]


class ValkeySettings(NamedTuple):
    """The settings of all clients of Valkey.

    `redis_options`: for integrations.core.redis. `broker_url`, `broker_options`: for Celery. `tls_options`: for both,
    how to verify the server's certificate; empty for an address without TLS.
    """

    redis_options: dict[str, Any]
    broker_url: str
    broker_options: dict[str, Any]
    tls_options: dict[str, Any]


def build_valkey_settings(url: str, ca_bundle: str, sentinel_password: str) -> ValkeySettings:
    """Convert Valkey's address into settings of its clients.

    Time-outs are short because web works without Valkey. User and password in an address with Sentinels are Valkey's.
    Celery spells a unix socket redis+socket://, and needs an address for each Sentinel.
    """
    parts = urlsplit(url)
    tls_options: dict[str, Any] = {}
    if parts.scheme in {"rediss", "rediss+sentinel"}:
        tls_options = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        tls_options |= {"ssl_ca_certs": ca_bundle} if ca_bundle else {}
    options = {"socket_timeout": 5, "socket_connect_timeout": 3, **tls_options}  # seconds
    if parts.scheme == "unix":
        virtual_host = parse_qs(parts.query).get("db", ["0"])[0]
        broker_url = f"redis+socket://{parts.path}?virtual_host={virtual_host}"
        return ValkeySettings(options, broker_url, {}, tls_options)
    if parts.scheme not in _SENTINEL:
        return ValkeySettings(options, url, _KEEPALIVE, tls_options)
    primary, _slash, number = parts.path.strip("/").partition("/")
    username, password = (unquote(word) if word else None for word in (parts.username, parts.password))
    sentinels, database_number = _split_hosts(parts), int(number or 0)
    options |= {"ssl": True} if tls_options else {}
    sentinel_options = {**options, "password": sentinel_password or None}
    redis_options = {
        **options,
        "sentinels": sentinels,
        "service_name": primary,
        "db": database_number,
        "username": username,
        "password": password,
        "sentinel_kwargs": sentinel_options,
    }
    account = f"{quote(username or '', safe='')}:{quote(password, safe='')}@" if password else ""
    addresses = [f"sentinel://{account}{name}:{port}/{database_number}" for name, port in sentinels]
    broker_options = {
        **_KEEPALIVE,
        # Otherwise a worker would wait for a vanished Sentinel until the system's own time-out.
        "socket_connect_timeout": options["socket_connect_timeout"],
        "master_name": primary,
        "sentinel_kwargs": sentinel_options,
    }
    return ValkeySettings(redis_options, ";".join(addresses), broker_options, tls_options)
