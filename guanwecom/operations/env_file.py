"""The text of a new .env: .env.example with fresh keys and this installation's addresses.

Needs no settings: those that it writes are not there yet.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from guanwecom import environment as e

_LINE = re.compile(r"^#?(?P<name>[A-Z_]+)=.*$", re.MULTILINE)
# Programs that read an .env file (ours, a shell, compose) take these in different ways.
_AMBIGUOUS = re.compile(r"[\s\"'$`\\#]")
# The database and Valkey of compose.yaml, by the names of their services.
COMPOSE_DATABASE = "postgresql://guanwecom:{password}@postgres:5432/guanwecom"
COMPOSE_VALKEY = "redis://:{password}@valkey:6379/0"
# Those of one machine, as Debian's packages set them up.
LOCAL_DATABASE = "postgresql://guanwecom:@/guanwecom?host=/var/run/postgresql"
LOCAL_VALKEY = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True, slots=True)
class Installation:
    """What only its operator knows: the addresses of the site, of PostgreSQL and of Valkey."""

    site: str
    database: str
    valkey: str


def for_compose(site: str) -> Installation:
    """`site` with the services of compose.yaml, which take these new passwords as they start for the first time."""
    database, valkey = (
        address.format(password=secrets.token_hex(24)) for address in (COMPOSE_DATABASE, COMPOSE_VALKEY)
    )
    return Installation(site, database, valkey)


def site_address(text: str) -> str:
    """Scheme and host, such as https://bi.example.com. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"expected an address such as https://bi.example.com, without a path, not {text!r}")
    if len(e.hosts(parts.netloc)) != 1:
        raise ValueError(f"expected an address such as https://bi.example.com, not {text!r}")
    return f"{parts.scheme}://{parts.netloc}"


def database_url(text: str) -> str:
    """A database URL that every reader of an .env file understands alike. Raises ValueError without showing it."""
    e.database(text)
    return _unambiguous(text)


def valkey_url(text: str) -> str:
    """The same of a Valkey URL."""
    e.check_valkey_address(text)
    return _unambiguous(text)


def render(example: str, installation: Installation) -> str:
    """`example` (.env.example) with this installation's values in place of its own, and all of its comments."""
    values = _values(installation)
    return _LINE.sub(
        lambda line: f"{line['name']}={values[line['name']]}" if line["name"] in values else line[0], example
    )


def _values(installation: Installation) -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "METRICS_TOKEN": secrets.token_urlsafe(32),
        "INSTALLATION_NAME": secrets.token_hex(4),
        "DATABASE_URL": installation.database,
        "VALKEY_URL": installation.valkey,
        "ALLOWED_HOSTS": urlsplit(installation.site).netloc,
        # The reverse proxy of the same machine; compose.yaml names its own network in its place.
        "TRUSTED_PROXIES": "127.0.0.1,::1",
    }


def _unambiguous(text: str) -> str:
    found = _AMBIGUOUS.search(text)
    if found:
        raise ValueError(f"percent-encode {found[0]!r} as %{ord(found[0]):02X} (the value is not shown)")
    return text
