"""Reads settings from the environment with their types; a bad value stops the start and names the variable."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
UNSET: Any = object()
env = environ.FileAwareEnv()
# Why no cause behind it? Of a password with a bare "/", Python takes what stands before it for the port, and quotes it.
_NOT_AN_ADDRESS = "not an address; percent-encode / # ? @ in its password (the value is not shown)"


def read(parse: Callable[[str], T], name: str, default: str | Any = UNSET) -> T:
    """The variable `name` (or the content of the file named by `<name>_FILE`), parsed; `default` is text, too."""
    try:
        text = env.str(name, default=default) if default is not UNSET else env.str(name)
        return parse(text.strip())
    except (ValueError, LookupError, OSError) as error:
        raise ImproperlyConfigured(f"{name}: {error}") from error


def boolean(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in values:
        raise ValueError(f"expected true or false, not {text!r}")
    return values[text.lower()]


def positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"expected a whole number of at least 1, not {text}")
    return number


def natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"expected a whole number of at least 0, not {text}")
    return number


def percent(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100:
        raise ValueError(f"expected a whole number from 0 to 100, not {text}")
    return number


def positive_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"expected seconds above 0, not {text}")
    return seconds


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


def secret_text(text: str) -> str:
    if len(text) < 32:
        raise ValueError("expected at least 32 characters (the value is not shown)")
    return text


def optional_secret(text: str) -> str:
    """Empty, or long enough."""
    return secret_text(text) if text else ""


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def networks(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(word) for word in words(text)]


def fernet_keys(text: str) -> list[str]:
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
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {text!r}") from error
    return text


def folder(default: Path) -> Callable[[str], Path]:
    """Reads a folder; `default` where the variable is empty."""
    return lambda text: Path(text) if text else default


def valkey_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # raises for a port that is none
    except ValueError:
        raise ValueError(_NOT_AN_ADDRESS) from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("expected redis://, rediss:// or unix:// (the value is not shown)")
    return text


def database(text: str) -> dict[str, Any]:
    """A database URL as Django's settings. SQLite gets WAL and immediate transactions, or locks would lose work."""
    try:
        config: dict[str, Any] = dict(environ.Env.db_url_config(text))
    except ValueError:
        raise ValueError(_NOT_AN_ADDRESS) from None
    if config.get("ENGINE") == "django.db.backends.sqlite3":
        config["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
        }
    elif config.get("ENGINE") == "django.db.backends.postgresql":
        config["CONN_MAX_AGE"] = 60
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise ValueError("expected sqlite:///… or postgresql://… (the value is not shown)")
    return config


def email(text: str) -> dict[str, Any]:
    """A mail address of a server as Django's settings; empty: nothing is mailed."""
    parts = urlsplit(text or "dummymail://")
    if parts.scheme not in {"smtp", "smtp+tls", "smtp+ssl", "dummymail", "consolemail", "filemail"}:
        raise ValueError("expected smtp://, smtp+tls:// or smtp+ssl:// (the value is not shown)")
    try:
        return dict(environ.Env.email_url_config(text or "dummymail://"))
    except ValueError:
        raise ValueError(_NOT_AN_ADDRESS) from None


def broker_url(url: str) -> str:
    """Celery's spelling of a Valkey URL: a unix socket is `redis+socket://` there, its database `virtual_host`."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database_number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database_number}"
